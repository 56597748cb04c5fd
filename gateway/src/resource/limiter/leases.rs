//! Units of a limit that several gateways share: leased from a store in batches, and spent here.
//!
//! A unit is taken from the store before it is spent, so that all gateways together never allow more than the limit. A key that is in
//! demand leases more at a time, up to a twentieth of its bucket, and one whose bucket is empty is not asked about again before there
//! is something to get: a hot key costs a round trip now and then, whatever the number of its requests. What a lease did not spend is
//! given back with the next question.
//!
//! While the store cannot be reached nobody waits for it: one request in a while tries, and the others are decided as the limiter says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use super::buckets::{ByKey, Key, Keys, shards_for};
use super::{Decision, LimiterOptions};
use crate::resource::store::{LeaseTerms, Store, StoreFault};

/// What is decided while the store cannot be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreError {
    /// By the buckets of this process.
    Local,
    /// Everything is allowed.
    Open,
    /// Nothing is allowed.
    Closed,
}

/// Where the units of a limiter are, and what happens when they cannot be had.
#[derive(Debug, Clone)]
pub struct Sharing {
    /// On a server.
    pub store: Arc<Store>,
    pub on_error: OnStoreError,
}

impl PartialEq for Sharing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store) && self.on_error == other.on_error
    }
}

/// The leases of one limiter, over all workers.
pub(super) struct Leases {
    pub(super) sharing: Sharing,
    /// What its keys begin with in the store.
    prefix: String,
    interval: Duration,
    burst: u32,
    batch_max: u32,
    /// Between two questions about a key whose bucket is empty.
    pause: Duration,
    keys: Keys,
    shards: Box<[Mutex<ByKey<Lease>>]>,
    shard_keys_max: usize,
    start: Instant,
    /// Until then the store is not asked, in nanoseconds since `start`; 0 while it can be reached.
    away_until: AtomicU64,
}

/// What is known of one key.
#[derive(Debug)]
struct Lease {
    units: u32,
    since: Instant,
    /// How many were asked for last.
    size: u32,
    /// What the store still had then.
    left: u32,
    empty: Option<Empty>,
    /// Somebody is asking.
    asking: Option<Arc<Notify>>,
}

/// There are fewer than `cost` units until then.
#[derive(Debug, Clone, Copy)]
struct Empty {
    cost: u32,
    until: Instant,
}

/// What to do about a wish for units.
enum Turn {
    Decided(Decision),
    /// Wait for the one who asks, then look again.
    Wait(OwnedNotified),
    /// Ask for so many, and give so many back.
    Ask {
        wanted: u32,
        returned: u32,
    },
    /// By the rule for a store that is away.
    Away,
}

impl Leases {
    pub(super) fn new(name: &str, options: &LimiterOptions, sharing: Sharing) -> Self {
        let shards = shards_for(options.keys_max);
        let pause = (options.fill() / PAUSES_PER_FILL).min(PAUSE_MAX);
        Self {
            sharing,
            prefix: format!("limiter:{name}:"),
            interval: options.interval(),
            burst: options.burst.get(),
            batch_max: (options.burst.get() / BATCHES_PER_BURST).max(1),
            pause,
            keys: Keys::default(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_keys_max: options.keys_max.div_ceil(shards) * 5 / 4,
            start: Instant::now(),
            away_until: AtomicU64::new(0),
        }
    }

    /// Decides without asking, if that can be done; `None` inside is for a store that is away.
    pub(super) fn try_take(&self, key: &[u8], cost: u32) -> Option<Option<Decision>> {
        let now = Instant::now();
        if self.is_away(now) {
            return Some(None);
        }
        let key = self.keys.of(key);
        let mut shard = self.shard(key);
        self.decide(shard.get_mut(&key)?, cost, now).map(Some)
    }

    /// Decides, and asks the store if that has to be; `None` for a store that is away.
    pub(super) async fn take(&self, bytes: &[u8], cost: u32) -> Option<Decision> {
        let key = self.keys.of(bytes);
        loop {
            match self.turn(key, cost, Instant::now()) {
                Turn::Decided(decision) => return Some(decision),
                Turn::Away => return None,
                // Not for ever: who asks may have gone just now.
                Turn::Wait(asked) => drop(tokio::time::timeout(self.sharing.store.timeout(), asked).await),
                Turn::Ask { wanted, returned } => return self.ask(bytes, key, cost, wanted, returned).await,
            }
        }
    }

    fn turn(&self, key: Key, cost: u32, now: Instant) -> Turn {
        if self.is_away(now) {
            return Turn::Away;
        }
        let mut shard = self.shard(key);
        if !shard.contains_key(&key) {
            self.make_room(&mut shard, now);
        }
        let is_full = shard.len() >= self.shard_keys_max;
        match shard.get_mut(&key) {
            Some(lease) => {
                if let Some(decision) = self.decide(lease, cost, now) {
                    return Turn::Decided(decision);
                }
                if let Some(asked) = &lease.asking {
                    return Turn::Wait(asked.clone().notified_owned());
                }
                if !self.may_ask(now) {
                    return Turn::Away;
                }
                lease.begin(cost, self.batch_max, now)
            }
            None if !self.may_ask(now) => Turn::Away,
            // Without a place to keep a lease, each request asks for itself.
            None if is_full => Turn::Ask { wanted: cost, returned: 0 },
            None => {
                let asking = Some(Arc::default());
                shard.insert(key, Lease { units: 0, since: now, size: 1, left: 0, empty: None, asking });
                Turn::Ask { wanted: cost, returned: 0 }
            }
        }
    }

    fn decide(&self, lease: &mut Lease, cost: u32, now: Instant) -> Option<Decision> {
        let limit = self.burst;
        if lease.units >= cost && now.saturating_duration_since(lease.since) < LEASE_LIFE {
            lease.units -= cost;
            let remaining = lease.units.saturating_add(lease.left).min(limit);
            let retry_after = Duration::ZERO;
            return Some(Decision { allowed: true, limit, remaining, retry_after, is_unavailable: false });
        }
        let empty = lease.empty.filter(|empty| empty.cost <= cost && now < empty.until)?;
        let retry_after = empty.until.saturating_duration_since(now);
        let remaining = lease.units;
        Some(Decision { allowed: false, limit, remaining, retry_after, is_unavailable: false })
    }

    async fn ask(&self, bytes: &[u8], key: Key, cost: u32, wanted: u32, returned: u32) -> Option<Decision> {
        // Also when the client goes away amid the question.
        let _done = Asking { leases: self, key };
        let terms = LeaseTerms { interval: self.interval, burst: self.burst, cost, wanted, returned };
        let answer = self.sharing.store.lease(&self.prefix, bytes, terms).await;
        let now = Instant::now();
        let leased = match answer {
            Ok(leased) => leased,
            Err(fault) => {
                self.note_away(fault, now);
                return None;
            }
        };
        self.away_until.store(0, Ordering::Relaxed);
        let mut shard = self.shard(key);
        if let Some(lease) = shard.get_mut(&key) {
            lease.since = now;
            lease.left = leased.left;
            lease.units += leased.granted.saturating_sub(cost);
            // What was got is all there was: more comes at the limit's rate only.
            let wait = leased.wait.max(self.pause);
            lease.empty = (leased.granted < wanted).then(|| {
                let cost = if leased.granted == 0 { cost } else { 1 };
                Empty { cost, until: now + wait }
            });
        }
        let allowed = leased.granted >= cost;
        let remaining = (leased.granted.saturating_sub(cost)).saturating_add(leased.left).min(self.burst);
        let retry_after = if allowed { Duration::ZERO } else { leased.wait };
        Some(Decision { allowed, limit: self.burst, remaining, retry_after, is_unavailable: false })
    }

    fn is_away(&self, now: Instant) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        until > 0 && self.nanoseconds(now) < until
    }

    /// Whether the store may be asked: by everybody while it answers, and by one in a while when it did not.
    fn may_ask(&self, now: Instant) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        let next = self.nanoseconds(now + AWAY_PAUSE);
        !self.is_away(now)
            && self.away_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn note_away(&self, fault: StoreFault, now: Instant) {
        tracing::debug!(store = &*self.sharing.store.name, %fault, "a limiter goes without its store for a while");
        self.away_until.store(self.nanoseconds(now + AWAY_PAUSE), Ordering::Relaxed);
    }

    /// Lets go of keys of which nothing need be remembered, before the table would grow.
    fn make_room(&self, shard: &mut ByKey<Lease>, now: Instant) {
        if shard.len() >= shard.capacity().min(self.shard_keys_max) {
            shard.retain(|_, lease| {
                let is_empty = lease.empty.is_some_and(|empty| now < empty.until);
                let is_fresh = now.saturating_duration_since(lease.since) < LEASE_LIFE;
                lease.asking.is_some() || is_empty || is_fresh
            });
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, ByKey<Lease>> {
        self.shards[key.part(self.shards.len())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.start)).max(1)
    }
}

impl Lease {
    /// Somebody asks now: for more than last time where that did not last, for little where nobody used it.
    fn begin(&mut self, cost: u32, batch_max: u32, now: Instant) -> Turn {
        let was_used_up = now.saturating_duration_since(self.since) < LEASE_LIFE;
        self.size = if was_used_up { self.size.saturating_mul(2).min(batch_max) } else { 1 };
        let returned = if was_used_up { 0 } else { std::mem::take(&mut self.units) };
        self.asking = Some(Arc::default());
        Turn::Ask { wanted: self.size.max(cost), returned }
    }
}

/// Somebody asks about a key, until this is dropped.
struct Asking<'l> {
    leases: &'l Leases,
    key: Key,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let asked = self.leases.shard(self.key).get_mut(&self.key).and_then(|lease| lease.asking.take());
        if let Some(asked) = asked {
            asked.notify_waiters();
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The largest lease is this part of a bucket: so much can be elsewhere than where it is wanted.
const BATCHES_PER_BURST: u32 = 20;
/// How often a bucket that is empty is looked at while it would fill.
const PAUSES_PER_FILL: u32 = 20;
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// A lease that lay about for longer is given back.
const LEASE_LIFE: Duration = Duration::from_secs(1);
/// Between two tries of a store that is away.
const AWAY_PAUSE: Duration = Duration::from_millis(250);
