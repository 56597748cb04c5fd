//! What native filters know beyond one snapshot: buckets, circuits, counts. Shared by all workers, carried over where the filter is
//! unchanged, dropped with the filter.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use super::circuit::{Circuit, Flip};
use crate::filter::Exchange;
use crate::resource::Limiter;

/// The states of one snapshot.
pub struct States {
    limiters: Kept<Limiter>,
    circuits: Kept<Circuit>,
    tallies: Kept<Tally>,
    flips: broadcast::Sender<Flip>,
}

/// Of one kind, by the filter that they belong to.
struct Kept<T>(BTreeMap<Identity, Arc<T>>);

/// A route, a filter with its config, and how many such stand before it.
type Identity = (Arc<str>, Box<str>, usize);

/// The decisions of one route's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub route: Arc<str>,
    /// By decision.
    pub decisions: [(&'static str, u64); 3],
}

impl States {
    /// Whoever listens hears each time that a circuit opens or closes.
    pub fn flips(&self) -> broadcast::Receiver<Flip> {
        self.flips.subscribe()
    }

    /// The circuits, each once.
    pub fn circuits(&self) -> impl Iterator<Item = &Circuit> {
        self.circuits.0.values().map(|circuit| &**circuit)
    }

    /// What the limits of each route decided.
    pub fn counted(&self) -> impl Iterator<Item = Counted> {
        self.tallies.0.iter().map(|((route, ..), tally)| Counted { route: route.clone(), decisions: tally.read() })
    }
}

impl Default for States {
    fn default() -> Self {
        Self {
            limiters: Kept(BTreeMap::new()),
            circuits: Kept(BTreeMap::new()),
            tallies: Kept(BTreeMap::new()),
            flips: broadcast::channel(FLIPS_KEPT).0,
        }
    }
}

/// New states while they are made, with the old ones at hand.
pub(super) struct Carried {
    old: Option<Arc<States>>,
    new: States,
}

impl Carried {
    pub(super) fn after(old: Option<Arc<States>>) -> Self {
        let mut new = States::default();
        if let Some(old) = &old {
            new.flips = old.flips.clone();
        }
        Self { old, new }
    }

    /// A limiter of this filter alone. `identity` tells two of them apart.
    pub(super) fn limiter<E>(
        &mut self,
        route: &Arc<str>,
        identity: String,
        make: impl FnOnce() -> Result<Limiter, E>,
    ) -> Result<Arc<Limiter>, E> {
        self.new.limiters.take_up(self.old.as_ref().map(|old| &old.limiters), route, identity, make)
    }

    pub(super) fn circuit(
        &mut self,
        route: &Arc<str>,
        identity: String,
        make: impl FnOnce(broadcast::Sender<Flip>) -> Circuit,
    ) -> Arc<Circuit> {
        let flips = self.new.flips.clone();
        let make = || Ok::<_, std::convert::Infallible>(make(flips));
        let Ok(circuit) = self.new.circuits.take_up(self.old.as_ref().map(|old| &old.circuits), route, identity, make);
        circuit
    }

    /// The counts of a route, whatever its filters are.
    pub(super) fn tally(&mut self, route: &Arc<str>) -> Arc<Tally> {
        let identity: Identity = (route.clone(), "".into(), 0);
        let old = self.old.as_ref().and_then(|old| old.tallies.0.get(&identity)).cloned();
        self.new.tallies.0.entry(identity).or_insert_with(|| old.unwrap_or_default()).clone()
    }

    pub(super) fn finish(self) -> States {
        self.new
    }
}

impl<T> Kept<T> {
    fn take_up<E>(
        &mut self,
        old: Option<&Self>,
        route: &Arc<str>,
        identity: String,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut identity: Identity = (route.clone(), identity.into(), 0);
        while self.0.contains_key(&identity) {
            identity.2 += 1;
        }
        let state = match old.and_then(|old| old.0.get(&identity)) {
            Some(old) => old.clone(),
            None => Arc::new(make()?),
        };
        self.0.insert(identity, state.clone());
        Ok(state)
    }
}

/// What a route's limits decided, counted in several places so that workers seldom meet at one.
#[derive(Debug, Default)]
pub(super) struct Tally([TallySlot; TALLY_SLOTS]);

#[derive(Debug, Default)]
#[repr(align(128))]
struct TallySlot([AtomicU64; 3]);

/// What a limit decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    Allowed,
    Limited,
    /// The store was not there, and the limiter is closed then.
    Unavailable,
}

impl Tally {
    pub(super) fn count(&self, exchange: &Exchange, counting: Counting) {
        self.0[exchange.spread(TALLY_SLOTS)].0[counting as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> [(&'static str, u64); 3] {
        let sum = |at: usize| self.0.iter().map(|slot| slot.0[at].load(Ordering::Relaxed)).sum();
        [("allowed", sum(0)), ("limited", sum(1)), ("unavailable", sum(2))]
    }
}

const TALLY_SLOTS: usize = 8;
/// Flips that a slow reader may lag behind.
const FLIPS_KEPT: usize = 256;
