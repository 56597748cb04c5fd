//! Limiters: token buckets by key (GCRA), exact over all workers of the process, for a bounded number of keys.
//!
//! The arithmetic is the `governor` crate's; the table of `buckets` is ours, because it has to stay bounded whatever keys
//! clients come up with. A bucket that is full again is the same as none and makes room first; when there is no room left,
//! keys without a bucket share one, so that a flood of keys is limited harder and not at all less.

mod buckets;
mod leases;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};

use self::buckets::{Buckets, Key, Keys};
use self::leases::Leases;
pub use self::leases::{OnStoreError, Sharing};

/// A limiter of the configuration.
pub struct Limiter<C: Clock = DefaultClock> {
    pub name: Arc<str>,
    pub options: LimiterOptions,
    keys: Keys,
    inner: Governed<C>,
    /// Where other gateways share the units.
    leases: Option<Leases>,
}

/// The arithmetic over our table.
type Governed<C> = RateLimiter<Key, Buckets<C>, C, StateInformationMiddleware>;

/// How much a limiter allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimiterOptions {
    /// So many units in each `period`, evenly.
    pub units: NonZeroU32,
    pub period: Duration,
    /// The bucket's whole capacity in units.
    pub burst: NonZeroU32,
    /// Keys that have a bucket of their own at a time, about.
    pub keys_max: usize,
}

impl LimiterOptions {
    /// Keys with a bucket of their own, where nothing is said of them.
    pub const KEYS_MAX: usize = 100_000;

    /// How long an empty bucket takes until it is full.
    pub fn fill(&self) -> Duration {
        self.interval().saturating_mul(self.burst.get())
    }

    /// How long one unit takes.
    pub fn interval(&self) -> Duration {
        (self.period / self.units.get()).max(Duration::from_nanos(1))
    }
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
    /// Not allowed only because the store of the limiter cannot be reached.
    pub is_unavailable: bool,
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

    /// A limiter whose units all gateways share that have one of its name on the same store.
    ///
    /// # Errors
    /// [`LimiterError`].
    pub fn shared(name: Arc<str>, options: LimiterOptions, sharing: Sharing) -> Result<Self, LimiterError> {
        let leases = Some(Leases::new(&name, &options, sharing));
        Ok(Self { leases, ..Self::new(name, options)? })
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(name: Arc<str>, options: LimiterOptions, clock: C) -> Result<Self, LimiterError> {
        let burst = options.burst;
        let fill = options.interval().checked_mul(burst.get()).filter(|fill| *fill <= BUCKET_FILL_MAX);
        let (Some(fill), Some(quota)) = (fill, Quota::with_period(options.interval())) else {
            return Err(LimiterError::TooSlow { burst: burst.get() });
        };
        let buckets = Buckets::new(options.keys_max, fill, clock.clone());
        let inner = RateLimiter::new(quota.allow_burst(burst), buckets, clock);
        Ok(Self { name, options, keys: Keys::default(), inner, leases: None })
    }

    /// One of the same kind with buckets of its own, all full: what is taken from it is missing nowhere.
    pub fn twin(&self) -> Self
    where
        C: Default,
    {
        Self::with_clock(self.name.clone(), self.options.clone(), C::default()).expect("the options made one before")
    }

    /// Who shares the units, if anybody does.
    pub fn sharing(&self) -> Option<&Sharing> {
        self.leases.as_ref().map(|leases| &leases.sharing)
    }

    /// As [`Self::take`], where no other machine has to be asked.
    pub fn try_take(&self, key: &[u8], cost: u32) -> Option<Decision> {
        match &self.leases {
            Some(leases) if cost <= self.options.burst.get() => {
                let decision = leases.try_take(key, cost.max(1))?;
                Some(decision.unwrap_or_else(|| self.take_alone(leases, key, cost)))
            }
            _ => Some(self.take_own(key, cost)),
        }
    }

    /// Takes `cost` units of the key's bucket, or none if there are not so many. A cost of 0 counts as 1.
    pub async fn take(&self, key: &[u8], cost: u32) -> Decision {
        match &self.leases {
            Some(leases) if cost <= self.options.burst.get() => {
                let decision = leases.take(key, cost.max(1)).await;
                decision.unwrap_or_else(|| self.take_alone(leases, key, cost))
            }
            _ => self.take_own(key, cost),
        }
    }

    /// Decides while the store is away.
    fn take_alone(&self, leases: &Leases, key: &[u8], cost: u32) -> Decision {
        let limit = self.options.burst.get();
        match leases.sharing.on_error {
            OnStoreError::Local => self.take_own(key, cost),
            OnStoreError::Open => {
                Decision { allowed: true, limit, remaining: limit, retry_after: Duration::ZERO, is_unavailable: false }
            }
            OnStoreError::Closed => Decision {
                allowed: false,
                limit,
                remaining: 0,
                retry_after: Duration::from_secs(1),
                is_unavailable: true,
            },
        }
    }

    /// Takes `cost` units of the key's bucket, or none if there are not so many. A cost of 0 counts as 1.
    fn take_own(&self, key: &[u8], cost: u32) -> Decision {
        let limit = self.options.burst.get();
        let cost = NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN);
        // No bucket ever holds so many; the arithmetic below may rely on it.
        let Ok(outcome) = (if cost.get() > limit { Err(()) } else { self.check(self.keys.of(key), cost) }) else {
            return Decision { allowed: false, limit, remaining: 0, retry_after: Duration::MAX, is_unavailable: false };
        };
        outcome
    }

    fn check(&self, key: Key, cost: NonZeroU32) -> Result<Decision, ()> {
        let limit = self.options.burst.get();
        Ok(match self.inner.check_key_n(&key, cost).map_err(drop)? {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Decision { allowed: true, limit, remaining, retry_after: Duration::ZERO, is_unavailable: false }
            }
            Err(not_until) => {
                let retry_after = not_until.wait_time_from(self.inner.clock().now());
                let missing = retry_after.as_nanos().div_ceil(not_until.quota().replenish_interval().as_nanos());
                let remaining = cost.get().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX));
                Decision { allowed: false, limit, remaining, retry_after, is_unavailable: false }
            }
        })
    }
}

impl<C: Clock> fmt::Debug for Limiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("name", &self.name).field("options", &self.options).finish_non_exhaustive()
    }
}

const BUCKET_DAYS_MAX: u64 = 36_500;
/// Times are counted in nanoseconds of 64 bits.
const BUCKET_FILL_MAX: Duration = Duration::from_secs(BUCKET_DAYS_MAX * 24 * 3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use governor::clock::FakeRelativeClock;

    use super::*;

    fn options(units: u32, period: Duration, burst: u32) -> LimiterOptions {
        LimiterOptions { units: units.try_into().unwrap(), period, burst: burst.try_into().unwrap(), keys_max: 100 }
    }

    /// 10 a second, 3 at once.
    fn limiter() -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let options = options(10, Duration::from_secs(1), 3);
        (Limiter::with_clock("per-user".into(), options, clock.clone()).unwrap(), clock)
    }

    fn allowed(remaining: u32) -> Decision {
        Decision { allowed: true, limit: 3, remaining, retry_after: Duration::ZERO, is_unavailable: false }
    }

    fn refused(remaining: u32, retry_after_ms: u64) -> Decision {
        Decision {
            allowed: false,
            limit: 3,
            remaining,
            retry_after: Duration::from_millis(retry_after_ms),
            is_unavailable: false,
        }
    }

    #[test]
    fn a_bucket_empties_and_fills_evenly() {
        let (limiter, clock) = limiter();
        let take = |cost| limiter.take_own(b"ada", cost);
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
        let take = |cost| limiter.take_own(b"ada", cost);
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
            assert_eq!(limiter.take_own(key.as_bytes(), 3), allowed(0));
            assert!(!limiter.take_own(key.as_bytes(), 1).allowed);
        }
    }

    #[test]
    fn no_unit_is_given_twice_to_threads_that_race() {
        let limiter = Limiter::new("per-user".into(), options(1, Duration::from_secs(86_400), 1000)).unwrap();
        let taken: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter(|_| limiter.take_own(b"k", 1).allowed).count()))
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
