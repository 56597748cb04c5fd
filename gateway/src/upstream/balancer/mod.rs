//! Balancers: whose turn is it among the endpoints of an upstream?
//!
//! ```text
//! weighted   round-robin: each by its weight, in turn; also for the upstreams of a route
//! lot        by lot, and the better of two lots: random, least-request, p2c-ewma
//! maglev     by a hash, from a table
//! ring       by a hash, from a ring
//! ```
//!
//! None looks at all endpoints. Each is made for all of them, and looks again when it finds one that takes no requests now:
//! the panic threshold sees to it that few looks are enough. So nothing need be made anew when an endpoint's health changes,
//! and a hash finds its endpoint again when that comes back.

mod weighted;
mod lot;
mod maglev;
mod ring;

pub use weighted::Weighted;

use std::sync::Arc;

use lot::Lots;
use maglev::Maglev;
use ring::Ring;

use super::{Endpoint, EndpointState};

/// How endpoints are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    RoundRobin,
    Random,
    /// Of two at random the one with fewer tries under way.
    LeastRequest,
    /// Of two at random the one that is expected to answer sooner.
    P2cEwma,
    Maglev,
    RingHash,
}

/// Chooses an endpoint for each try.
#[derive(Debug)]
pub struct Balancer(Kind);

#[derive(Debug)]
enum Kind {
    RoundRobin { turns: Weighted, lots: Lots },
    Random(Lots),
    LeastRequest(Lots),
    P2cEwma(Lots),
    Maglev(Maglev),
    RingHash(Ring),
}

impl Balance {
    pub const ALL: [(&'static str, Self); 6] = [
        ("round-robin", Self::RoundRobin),
        ("least-request", Self::LeastRequest),
        ("p2c-ewma", Self::P2cEwma),
        ("random", Self::Random),
        ("maglev", Self::Maglev),
        ("ring-hash", Self::RingHash),
    ];

    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

impl Balancer {
    /// Endpoints of weight 0 are never chosen.
    pub fn new(balance: Balance, endpoints: &[Arc<Endpoint>], weights: &[u32]) -> Self {
        Self(match balance {
            Balance::RoundRobin => Kind::RoundRobin { turns: Weighted::new(weights), lots: Lots::new(weights) },
            Balance::Random => Kind::Random(Lots::new(weights)),
            Balance::LeastRequest => Kind::LeastRequest(Lots::new(weights)),
            Balance::P2cEwma => Kind::P2cEwma(Lots::new(weights)),
            Balance::Maglev => Kind::Maglev(Maglev::new(endpoints, weights)),
            Balance::RingHash => Kind::RingHash(Ring::new(endpoints, weights)),
        })
    }

    /// An endpoint that `admits` takes, or `None` when a few looks have found none. `admits` is told a place and a number of
    /// 32 bits, which for the same place and hash is the same each time.
    pub(super) fn pick(
        &self,
        hash: Option<u64>,
        states: &[Arc<EndpointState>],
        admits: impl Fn(usize, u32) -> bool,
    ) -> Option<usize> {
        let admitted = |place: &usize| admits(*place, fastrand::u32(..));
        match &self.0 {
            // In the place of one that takes none, one by lot: the next in turn would always be the same.
            Kind::RoundRobin { turns, lots } => {
                turns.next().filter(admitted).or_else(|| lots.draws(LOOKS_MAX).find(admitted))
            }
            Kind::Random(lots) => lots.draws(LOOKS_MAX).find(admitted),
            Kind::LeastRequest(lots) => {
                lots.better(LOOKS_MAX, admitted, |one, other| lots.is_less_busy(one, other, states))
            }
            Kind::P2cEwma(lots) => lots.better(LOOKS_MAX, admitted, |one, other| lots.is_faster(one, other, states)),
            Kind::Maglev(table) => by_hash(hash, |hash| table.places(hash), admits),
            Kind::RingHash(ring) => by_hash(hash, |hash| ring.places(hash), admits),
        }
    }

    /// Whether it wants to know how long tries take.
    pub(super) fn learns_latency(&self) -> bool {
        matches!(self.0, Kind::P2cEwma(_))
    }
}

/// Who has no hash gets any. The hash is mixed anew, because the choice of the upstream may have looked at it already.
fn by_hash<I: Iterator<Item = usize>>(
    hash: Option<u64>,
    places: impl FnOnce(u64) -> I,
    admits: impl Fn(usize, u32) -> bool,
) -> Option<usize> {
    let hash = mixed(hash.unwrap_or_else(|| fastrand::u64(..)));
    #[allow(clippy::cast_possible_truncation, reason = "one half of it")]
    let coin = |place: usize| mixed(hash ^ place as u64) as u32;
    places(hash).take(LOOKS_MAX).find(|place| admits(*place, coin(*place)))
}

/// Every bit of the outcome hangs on every bit of the number (the finaliser of MurmurHash3).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}

/// How often a balancer looks for an endpoint that takes requests. With half of them out, once in four billion times it looks
/// in vain; whoever asked it then looks at all of them.
const LOOKS_MAX: usize = 32;

#[cfg(test)]
mod tests;
