//! What plugins did, counted: for metrics, and as the evidence on which a trial is judged.
//!
//! Each pool has counters of its own that only its worker writes, so that counting a call costs a few stores; whoever reads
//! adds them up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::buckets::{BUCKETS, bucket_bound, bucket_of};
use super::digest::Digest;
use super::failure::{Failure, FailureKind};
use super::version::Hook;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It passed the message on.
    Ok,
    /// It answered in the upstream's place.
    Respond,
    /// It gave a verdict that cannot be carried out, or exceeded a limit other than memory.
    Error,
    Trap,
    Deadline,
    Memory,
}

/// How the verdict of a version in a shadow run compared with that of the version that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Same,
    Differs,
    /// It gave none.
    Failed,
}

/// The counters of one pool.
#[derive(Debug)]
pub struct Stats {
    plugin: Arc<str>,
    digest: Digest,
    hooks: [HookStats; Hook::ALL.len()],
    comparisons: [AtomicU64; 3],
    instances: [AtomicU64; InstanceState::ALL.len()],
    memory_bytes: AtomicU64,
    /// Instances made in the place of failed ones.
    restarts: AtomicU64,
    skipped: AtomicU64,
}

#[derive(Debug)]
struct HookStats {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    buckets: [AtomicU64; BUCKETS],
    sum_ns: AtomicU64,
}

/// What instances are there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// They wait for a call.
    Idle,
    /// They serve one.
    Busy,
    /// They are held by a request or a body between calls.
    Parked,
}

/// The counters of a version under a name, added up over all workers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    pub hooks: [HookTotals; Hook::ALL.len()],
    pub same: u64,
    pub differs: u64,
    pub failed: u64,
    pub instances: [u64; InstanceState::ALL.len()],
    pub memory_bytes: u64,
    pub restarts: u64,
    /// Calls that were left out because the plugin fails open and kept failing.
    pub skipped: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct HookTotals {
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Calls by the time they took, cumulative: up to [`bucket_bound`] of each place; longer ones in the last.
    pub buckets: [u64; BUCKETS],
    pub sum: Duration,
}

/// The counters of all pools of a process.
#[derive(Debug, Default)]
pub struct Registry(Mutex<Shelves>);

#[derive(Debug, Default)]
struct Shelves {
    live: Vec<Arc<Stats>>,
    /// What pools that are gone had counted.
    retired: BTreeMap<(Arc<str>, Digest), Totals>,
    /// In the order of their retirement.
    order: Vec<(Arc<str>, Digest)>,
}

impl Outcome {
    pub const ALL: [Self; 6] = [Self::Ok, Self::Respond, Self::Error, Self::Trap, Self::Deadline, Self::Memory];

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Respond => "respond",
            Self::Error => "error",
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
        }
    }

    pub fn is_failure(self) -> bool {
        !matches!(self, Self::Ok | Self::Respond)
    }
}

impl From<&Failure> for Outcome {
    fn from(failure: &Failure) -> Self {
        match (failure, failure.kind()) {
            (Failure::Limit { limit: "limits.memory", .. }, _) => Self::Memory,
            (Failure::Verdict(_), _) | (_, FailureKind::Limit | FailureKind::Load) => Self::Error,
            (_, FailureKind::Trap) => Self::Trap,
            (_, FailureKind::Deadline) => Self::Deadline,
        }
    }
}

impl InstanceState {
    pub const ALL: [Self; 3] = [Self::Idle, Self::Busy, Self::Parked];

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Parked => "parked",
        }
    }
}

impl Stats {
    fn new(plugin: Arc<str>, digest: Digest) -> Self {
        Self {
            plugin,
            digest,
            hooks: Default::default(),
            comparisons: Default::default(),
            instances: Default::default(),
            memory_bytes: AtomicU64::default(),
            restarts: AtomicU64::default(),
            skipped: AtomicU64::default(),
        }
    }

    pub(super) fn call(&self, hook: Hook, outcome: Outcome, took: Duration) {
        let hook = &self.hooks[hook as usize];
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&hook.outcomes[outcome as usize], 1);
        add(&hook.buckets[bucket_of(took_ns)], 1);
        add(&hook.sum_ns, took_ns);
    }

    pub fn compared(&self, comparison: Comparison) {
        add(&self.comparisons[comparison as usize], 1);
    }

    pub(super) fn restarted(&self) {
        add(&self.restarts, 1);
    }

    pub(super) fn skipped(&self) {
        add(&self.skipped, 1);
    }

    pub(super) fn set_instances(&self, idle: usize, busy: usize, parked: usize) {
        for (counter, count) in self.instances.iter().zip([idle, busy, parked]) {
            counter.store(count as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn set_memory(&self, bytes: usize) {
        self.memory_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    fn add_to(&self, totals: &mut Totals) {
        for (hook, total) in self.hooks.iter().zip(&mut totals.hooks) {
            hook.add_to(total);
        }
        let [same, differs, failed] = &self.comparisons;
        for (counter, total) in [
            (same, &mut totals.same),
            (differs, &mut totals.differs),
            (failed, &mut totals.failed),
            (&self.memory_bytes, &mut totals.memory_bytes),
            (&self.restarts, &mut totals.restarts),
            (&self.skipped, &mut totals.skipped),
        ] {
            *total += counter.load(Ordering::Relaxed);
        }
        for (counter, total) in self.instances.iter().zip(&mut totals.instances) {
            *total += counter.load(Ordering::Relaxed);
        }
    }
}

impl Default for HookStats {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum_ns: AtomicU64::default(),
        }
    }
}

impl HookStats {
    fn add_to(&self, total: &mut HookTotals) {
        for (counter, total) in self.outcomes.iter().zip(&mut total.outcomes) {
            *total += counter.load(Ordering::Relaxed);
        }
        let mut cumulative = 0;
        for (counter, total) in self.buckets.iter().zip(&mut total.buckets) {
            cumulative += counter.load(Ordering::Relaxed);
            *total += cumulative;
        }
        total.sum += Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed));
    }
}

impl Default for HookTotals {
    fn default() -> Self {
        Self { outcomes: Default::default(), buckets: [0; BUCKETS], sum: Duration::ZERO }
    }
}

impl HookTotals {
    pub fn calls(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        subtract(&mut since.outcomes, &earlier.outcomes);
        subtract(&mut since.buckets, &earlier.buckets);
        since.sum = since.sum.saturating_sub(earlier.sum);
        since
    }
}

impl Totals {
    pub fn hook(&self, hook: Hook) -> &HookTotals {
        &self.hooks[hook as usize]
    }

    pub fn calls(&self) -> u64 {
        self.hooks.iter().map(HookTotals::calls).sum()
    }

    /// Calls of every hook that ended so.
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.hooks.iter().map(|hook| hook.of(outcome)).sum()
    }

    pub fn failures(&self) -> u64 {
        Outcome::ALL.into_iter().filter(|outcome| outcome.is_failure()).map(|outcome| self.of(outcome)).sum()
    }

    /// The time that so large a share of all calls stayed within, to the next bucket's bound; `None` without calls.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let calls = self.calls();
        #[allow(clippy::cast_precision_loss, reason = "a share of a count needs no more precision than f64 has")]
        let wanted = calls as f64 * share;
        let counted = |bucket: usize| self.hooks.iter().map(|hook| hook.buckets[bucket]).sum::<u64>();
        #[allow(clippy::cast_precision_loss, reason = "as above")]
        let found = (0..BUCKETS).find(|bucket| counted(*bucket) as f64 >= wanted)?;
        (calls > 0).then(|| bucket_bound(found))
    }

    /// What was counted after `earlier`; gauges are those of now.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (hook, earlier) in since.hooks.iter_mut().zip(&earlier.hooks) {
            *hook = hook.since(earlier);
        }
        for (total, earlier) in [
            (&mut since.same, earlier.same),
            (&mut since.differs, earlier.differs),
            (&mut since.failed, earlier.failed),
            (&mut since.restarts, earlier.restarts),
            (&mut since.skipped, earlier.skipped),
        ] {
            *total = total.saturating_sub(earlier);
        }
        since
    }
}

impl Registry {
    /// Counters for a new pool.
    pub(super) fn register(&self, plugin: Arc<str>, digest: Digest) -> Arc<Stats> {
        let stats = Arc::new(Stats::new(plugin, digest));
        self.shelves(|shelves| {
            shelves.retire();
            shelves.live.push(stats.clone());
        });
        stats
    }

    /// Everything that was counted, by plugin and version. Counters of the last few versions of each plugin are kept after
    /// they have gone.
    pub fn totals(&self) -> BTreeMap<(Arc<str>, Digest), Totals> {
        self.shelves(|shelves| {
            shelves.retire();
            let mut totals = shelves.retired.clone();
            for stats in &shelves.live {
                stats.add_to(totals.entry((stats.plugin.clone(), stats.digest)).or_default());
            }
            totals
        })
    }

    fn shelves<T>(&self, work: impl FnOnce(&mut Shelves) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shelves {
    /// Folds in the counters of pools that are gone.
    fn retire(&mut self) {
        for stats in std::mem::take(&mut self.live) {
            if Arc::strong_count(&stats) > 1 {
                self.live.push(stats);
                continue;
            }
            // Nothing lives there any more.
            stats.set_instances(0, 0, 0);
            stats.set_memory(0);
            let key = (stats.plugin.clone(), stats.digest);
            stats.add_to(self.retired.entry(key.clone()).or_default());
            self.order.retain(|known| *known != key);
            self.order.push(key);
        }
        while self.order.len() > RETIRED_MAX {
            let oldest = self.order.remove(0);
            self.retired.remove(&oldest);
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    // One writer: no read-modify-write is needed, and none is paid for.
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

fn subtract(from: &mut [u64], what: &[u64]) {
    for (left, right) in from.iter_mut().zip(what) {
        *left = left.saturating_sub(*right);
    }
}

/// Versions of all plugins whose counters outlive them.
const RETIRED_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_add_up_and_outlive_themselves() {
        let registry = Registry::default();
        let digest = Digest::of(b"a");
        let pools = [registry.register("p".into(), digest), registry.register("p".into(), digest)];
        for stats in &pools {
            stats.call(Hook::Request, Outcome::Ok, Duration::from_micros(2));
            stats.call(Hook::Response, Outcome::Trap, Duration::from_millis(1));
            stats.set_memory(100);
        }
        let key = ("p".into(), digest);
        let before = registry.totals()[&key].clone();
        assert_eq!((before.calls(), before.of(Outcome::Trap), before.failures(), before.memory_bytes), (4, 2, 2, 200));
        drop(pools);
        let after = registry.totals()[&key].clone();
        assert_eq!((after.calls(), after.memory_bytes), (4, 0));
        assert_eq!(after.since(&before).calls(), 0);
    }

    #[test]
    fn a_quantile_is_a_bound_that_the_share_stayed_within() {
        let registry = Registry::default();
        let stats = registry.register("p".into(), Digest::of(b"a"));
        for _ in 0..98 {
            stats.call(Hook::Request, Outcome::Ok, Duration::from_nanos(500));
        }
        stats.call(Hook::Request, Outcome::Ok, Duration::from_millis(3));
        stats.call(Hook::Response, Outcome::Ok, Duration::from_millis(50));
        let totals = registry.totals().into_values().next().expect("one version");
        assert_eq!(totals.quantile(0.5), Some(Duration::from_micros(1)));
        assert!(totals.quantile(0.99) >= Some(Duration::from_millis(3)));
        assert!(totals.quantile(0.99) < Some(Duration::from_millis(5)));
        assert!(totals.quantile(1.0) >= Some(Duration::from_millis(50)));
        assert_eq!(Totals::default().quantile(0.99), None);
    }
}
