//! Limiters: token buckets by key (GCRA), exact over all workers of the process, for a bounded number of keys.
//!
//! The arithmetic is the `governor` crate's; the table of buckets is ours, because it has to stay bounded whatever keys
//! clients come up with. A bucket that is full again is the same as none and makes room first; when there is no room left,
//! keys without a bucket share one, so that a flood of keys is limited harder and not at all less.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use governor::clock::{Clock, DefaultClock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

/// A limiter of the configuration.
pub struct Limiter<C: Clock = DefaultClock> {
    pub name: Arc<str>,
    pub options: LimiterOptions,
    inner: RateLimiter<String, Buckets<C>, C, StateInformationMiddleware>,
}

/// How much a limiter allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimiterOptions {
    /// So many units in each `period`, evenly.
    pub units: NonZeroU32,
    pub period: Duration,
    /// The bucket's whole capacity in units.
    pub burst: NonZeroU32,
}

/// What became of a wish for units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// The bucket's capacity in units.
    pub limit: u32,
    /// Units left.
    pub remaining: u32,
    /// Until so many units are there; zero when allowed.
    pub retry_after: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum LimiterError {
    #[error("filling a bucket of {burst} would take longer than {} days", BUCKET_DAYS_MAX)]
    TooSlow { burst: u32 },
}

impl Limiter {
    /// A limiter with every bucket full.
    ///
    /// # Errors
    /// [`LimiterError`].
    pub fn new(name: Arc<str>, options: LimiterOptions) -> Result<Self, LimiterError> {
        Self::with_clock(name, options, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(name: Arc<str>, options: LimiterOptions, clock: C) -> Result<Self, LimiterError> {
        let burst = options.burst;
        let interval = (options.period / options.units.get()).max(Duration::from_nanos(1));
        let fill = interval.checked_mul(burst.get()).filter(|fill| *fill <= BUCKET_FILL_MAX);
        let (Some(_), Some(quota)) = (fill, Quota::with_period(interval)) else {
            return Err(LimiterError::TooSlow { burst: burst.get() });
        };
        let buckets = Buckets::new(KEYS_MAX, clock.clone());
        let inner = RateLimiter::new(quota.allow_burst(burst), buckets, clock);
        Ok(Self { name, options, inner })
    }

    /// One of the same kind with buckets of its own, all full: what is taken from it is missing nowhere.
    pub fn twin(&self) -> Self
    where
        C: Default,
    {
        Self::with_clock(self.name.clone(), self.options.clone(), C::default()).expect("the options made one before")
    }

    /// Takes `cost` units of the key's bucket, or none if there are not so many. A cost of 0 counts as 1.
    pub fn take(&self, key: String, cost: u32) -> Decision {
        let limit = self.options.burst.get();
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        // No bucket ever holds so many; the arithmetic below may rely on it.
        let Ok(outcome) = (if cost.get() > limit { Err(()) } else { self.check(&within_bounds(key), cost) }) else {
            return Decision { allowed: false, limit, remaining: 0, retry_after: Duration::MAX };
        };
        outcome
    }

    fn check(&self, key: &String, cost: NonZeroU32) -> Result<Decision, ()> {
        let limit = self.options.burst.get();
        Ok(match self.inner.check_key_n(key, cost).map_err(drop)? {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Decision { allowed: true, limit, remaining, retry_after: Duration::ZERO }
            }
            Err(not_until) => {
                let retry_after = not_until.wait_time_from(self.inner.clock().now());
                let missing = retry_after.as_nanos().div_ceil(not_until.quota().replenish_interval().as_nanos());
                let remaining = cost.get().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX));
                Decision { allowed: false, limit, remaining, retry_after }
            }
        })
    }
}

impl<C: Clock> fmt::Debug for Limiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("name", &self.name).field("options", &self.options).finish_non_exhaustive()
    }
}

/// Long keys are known by their digest, so that the table's memory has a bound.
fn within_bounds(key: String) -> String {
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let digest = digest::digest(&digest::SHA256, key.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When each bucket is full again, as time since the limiter was made.
struct Buckets<C: Clock> {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    shard_keys_max: usize,
    /// Of keys for which there is no room.
    shared: Mutex<Option<Nanos>>,
    clock: C,
    start: C::Instant,
}

#[derive(Default)]
struct Shard {
    full_at: HashMap<String, Nanos>,
    /// No bucket is full again before this: until then it is no use to look for one.
    none_before: Option<Nanos>,
}

impl<C: Clock> Buckets<C> {
    fn new(keys_max: usize, clock: C) -> Self {
        let start = clock.now();
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            shard_keys_max: keys_max.div_ceil(SHARDS),
            shared: Mutex::default(),
            clock,
            start,
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let place = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clock> StateStore for Buckets<C> {
    type Key = String;

    fn measure_and_replace<T, F, E>(&self, key: &String, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut shard = self.shard(key);
        if let Some(full_at) = shard.full_at.get_mut(key) {
            let (outcome, next) = f(Some(*full_at))?;
            *full_at = next;
            return Ok(outcome);
        }
        if shard.full_at.len() >= self.shard_keys_max {
            shard.make_room(self.clock.now().duration_since(self.start));
        }
        if shard.full_at.len() >= self.shard_keys_max {
            drop(shard);
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (outcome, next) = f(*shared)?;
            *shared = Some(next);
            return Ok(outcome);
        }
        let (outcome, next) = f(None)?;
        shard.full_at.insert(key.clone(), next);
        shard.none_before = Some(shard.none_before.map_or(next, |before| before.min(next)));
        Ok(outcome)
    }
}

impl Shard {
    fn make_room(&mut self, now: Nanos) {
        if self.none_before.is_some_and(|before| now < before) {
            return;
        }
        self.full_at.retain(|_, full_at| now < *full_at);
        self.none_before = self.full_at.values().min().copied();
    }
}

/// Keys of one limiter that have a bucket of their own at a time.
const KEYS_MAX: usize = 100_000;
/// Longest key that is kept as it is.
const KEY_BYTES_MAX: usize = 64;
/// So many locks share the keys out, so that workers seldom meet at one.
const SHARDS: usize = 64;
const BUCKET_DAYS_MAX: u64 = 36_500;
/// Times are counted in nanoseconds of 64 bits.
const BUCKET_FILL_MAX: Duration = Duration::from_secs(BUCKET_DAYS_MAX * 24 * 3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn options(units: u32, period: Duration, burst: u32) -> LimiterOptions {
        LimiterOptions { units: units.try_into().unwrap(), period, burst: burst.try_into().unwrap() }
    }

    /// 10 a second, 3 at once.
    fn limiter() -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let options = options(10, Duration::from_secs(1), 3);
        (Limiter::with_clock("per-user".into(), options, clock.clone()).unwrap(), clock)
    }

    fn allowed(remaining: u32) -> Decision {
        Decision { allowed: true, limit: 3, remaining, retry_after: Duration::ZERO }
    }

    fn refused(remaining: u32, retry_after_ms: u64) -> Decision {
        Decision { allowed: false, limit: 3, remaining, retry_after: Duration::from_millis(retry_after_ms) }
    }

    #[test]
    fn a_bucket_empties_and_fills_evenly() {
        let (limiter, clock) = limiter();
        let take = |cost| limiter.take("ada".to_owned(), cost);
        assert_eq!([take(1), take(1), take(1)], [allowed(2), allowed(1), allowed(0)]);
        assert_eq!(take(1), refused(0, 100));
        clock.advance(Duration::from_millis(99));
        assert_eq!(take(1), refused(0, 1));
        clock.advance(Duration::from_millis(1));
        assert_eq!(take(1), allowed(0));
        clock.advance(Duration::from_secs(3600));
        assert_eq!(take(1), allowed(2), "no more than its capacity");
    }

    #[test]
    fn a_cost_is_taken_whole_or_not_at_all() {
        let (limiter, clock) = limiter();
        let take = |cost| limiter.take("ada".to_owned(), cost);
        assert_eq!(take(2), allowed(1));
        assert_eq!(take(3), refused(1, 200));
        assert_eq!(take(0), allowed(0), "nothing counts as one");
        clock.advance(Duration::from_millis(300));
        assert_eq!(take(3), allowed(0));
        for never in [4, u32::MAX] {
            assert_eq!(take(never), Decision { retry_after: Duration::MAX, ..refused(0, 0) });
        }
    }

    #[test]
    fn keys_have_their_own_buckets_however_long_they_are() {
        let (limiter, _) = limiter();
        let long = "x".repeat(100_000);
        for key in ["ada", "bob", &long, &format!("{long}y")] {
            assert_eq!(limiter.take(key.to_owned(), 3), allowed(0));
            assert!(!limiter.take(key.to_owned(), 1).allowed);
        }
    }

    #[test]
    fn beyond_the_last_free_bucket_new_keys_share_one() {
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(Duration::from_millis(100)).unwrap().allow_burst(3.try_into().unwrap());
        let buckets = Buckets::new(SHARDS, clock.clone());
        let one_each = RateLimiter::<_, _, _, StateInformationMiddleware>::new(quota, buckets, clock.clone());
        let take = |key: &str| one_each.check_key(&key.to_owned()).is_ok();
        // Some key in each shard, and then none has room.
        for number in 0..10_000 {
            take(&format!("filler-{number}"));
        }
        assert!(!take("newcomer"), "the fillers emptied what newcomers share");
        assert!(take("filler-0"), "a key that has a bucket keeps it");
        clock.advance(Duration::from_millis(300));
        assert!((0..3).all(|_| take("newcomer")), "the fillers' full buckets have made room");
        assert!(!take("newcomer"));
    }

    #[test]
    fn no_unit_is_given_twice_to_threads_that_race() {
        let limiter = Limiter::new("per-user".into(), options(1, Duration::from_secs(86_400), 1000)).unwrap();
        let taken: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| limiter.take("k".to_owned(), 1).allowed).count()))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }

    #[test]
    fn a_bucket_that_takes_centuries_to_fill_is_refused() {
        let century = Duration::from_secs(100 * 365 * 86_400);
        for (options, fits) in [
            (options(1, century, 1), true),
            (options(1, century, 2), false),
            (options(1, Duration::MAX, 1), false),
            (options(u32::MAX, Duration::from_millis(1), u32::MAX), true),
        ] {
            assert_eq!(Limiter::new("l".into(), options.clone()).is_ok(), fits, "{options:?}");
        }
    }
}
