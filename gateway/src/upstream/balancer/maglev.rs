//! Maglev hashing: a table in which every endpoint has its share of places, and keeps nearly all of them when others come
//! or go (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, §3.4).

use std::sync::Arc;

use super::super::Endpoint;
use crate::message::hash;

/// Where hashes lead.
#[derive(Debug)]
pub(super) struct Maglev(Box<[u16]>);

/// How an endpoint goes through the table while it is filled.
struct Candidate {
    place: u16,
    next: usize,
    step: usize,
    /// Its weight as a share of the largest.
    weight: f64,
    owed: f64,
}

impl Maglev {
    pub(super) fn new(endpoints: &[Arc<Endpoint>], weights: &[u32]) -> Self {
        let mut candidates = candidates(endpoints, weights);
        if candidates.is_empty() {
            return Self(Box::default());
        }
        let mut table = vec![FREE; SIZE];
        let mut filled = 0;
        while filled < SIZE {
            // Each in turn takes the next free place on its own way, the lighter ones not in every round.
            for candidate in &mut candidates {
                candidate.owed += candidate.weight;
                if candidate.owed < 1.0 || filled == SIZE {
                    continue;
                }
                candidate.owed -= 1.0;
                while table[candidate.next] != FREE {
                    candidate.next = (candidate.next + candidate.step) % SIZE;
                }
                table[candidate.next] = candidate.place;
                filled += 1;
            }
        }
        Self(table.into())
    }

    /// The endpoint of a hash, and after it those that stand in for it: for each hash others, so that they share.
    #[allow(clippy::cast_possible_truncation, reason = "the size is far smaller")]
    pub(super) fn places(&self, hash: u64) -> impl Iterator<Item = usize> {
        let start = (hash % SIZE as u64) as usize;
        let (before, from) = self.0.split_at(start.min(self.0.len()));
        from.iter().chain(before).map(|place| usize::from(*place))
    }
}

/// In the order of their names, so that the table does not hang on the order in which they are told.
#[allow(clippy::cast_possible_truncation, reason = "remainders of the size")]
fn candidates(endpoints: &[Arc<Endpoint>], weights: &[u32]) -> Vec<Candidate> {
    let largest = f64::from(weights.iter().copied().max().unwrap_or_default());
    let mut named: Vec<(&Arc<Endpoint>, u16, u32)> =
        endpoints.iter().zip(0..).zip(weights).map(|((endpoint, place), weight)| (endpoint, place, *weight)).collect();
    named.retain(|(_, _, weight)| *weight > 0);
    named.sort_unstable();
    let candidate = |(endpoint, place, weight): (&Arc<Endpoint>, u16, u32)| {
        let hash = hash(endpoint.to_string().as_bytes());
        let (high, low) = (hash >> 32, hash & u64::from(u32::MAX));
        Candidate {
            place,
            next: (high % SIZE as u64) as usize,
            step: (low % (SIZE as u64 - 1)) as usize + 1,
            weight: f64::from(weight) / largest,
            owed: 0.0,
        }
    };
    named.into_iter().map(candidate).collect()
}

/// A prime, so that every step goes through the whole table. It is the same for any number of endpoints, because another
/// size would send every hash elsewhere.
const SIZE: usize = 65_537;
/// No endpoint has this place, see [`super::super::ENDPOINTS_MAX`].
const FREE: u16 = u16::MAX;
