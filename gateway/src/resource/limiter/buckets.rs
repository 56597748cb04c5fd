//! The table of buckets: when each is full again, by a key's hash; bounded, and exact over all workers.
//!
//! A key takes 24 bytes and its share of a hash table's free room. A bucket that is full again is the same as none: such are thrown
//! out when a shard would have to grow, and a shard is small, so that nobody waits long at its lock.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::nanos::Nanos;
use governor::state::StateStore;

/// What a key is known by: 128 bits of keyed hashes. Two keys that share them are less likely than a fault of the memory, and who does
/// not know the seeds cannot look for such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key([u64; 2]);

/// Makes keys of bytes; two makers give the same bytes different keys.
#[derive(Debug, Default)]
pub(super) struct Keys([RandomState; 2]);

impl Keys {
    pub(super) fn of(&self, bytes: &[u8]) -> Key {
        Key(self.0.each_ref().map(|seed| {
            let mut hasher = seed.build_hasher();
            hasher.write(bytes);
            hasher.finish()
        }))
    }
}

impl Key {
    /// One of `parts`, a power of two, by bits that no hash table looks at first.
    pub(super) fn part(self, parts: usize) -> usize {
        self.0[1] as usize & (parts - 1)
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(self.0[0]);
    }
}

/// A map by keys, which are hashes already.
pub(super) type ByKey<V> = HashMap<Key, V, BuildHasherDefault<Hashed>>;

/// Takes a hash as it is.
#[derive(Debug, Default)]
pub(super) struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key writes one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// When each bucket is full again, as time since the table was made.
pub(super) struct Buckets<C: Clock> {
    shards: Box<[Mutex<Shard>]>,
    shard_keys_max: usize,
    /// Of keys for which there is no room.
    shared: Mutex<Option<Nanos>>,
    /// Between two sweeps of a shard, so that a full one is not swept for each newcomer.
    pause: Nanos,
    clock: C,
    start: C::Instant,
}

#[derive(Default)]
struct Shard {
    full_at: ByKey<Nanos>,
    sweep_after: Nanos,
}

impl<C: Clock> Buckets<C> {
    /// Room for `keys_max` keys, of which each is gone `fill` after it was used last.
    pub(super) fn new(keys_max: usize, fill: Duration, clock: C) -> Self {
        let shards = shards_for(keys_max);
        let start = clock.now();
        Self {
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            // Keys do not spread evenly: without some slack the first shard would be full long before the table.
            shard_keys_max: keys_max.div_ceil(shards) * 5 / 4,
            shared: Mutex::default(),
            pause: (fill / SWEEPS_PER_FILL).into(),
            clock,
            start,
        }
    }
}

/// How many shards a table of so many keys has.
pub(super) fn shards_for(keys_max: usize) -> usize {
    (keys_max / SHARD_KEYS).next_power_of_two().clamp(SHARDS_MIN, SHARDS_MAX)
}

impl<C: Clock> StateStore for Buckets<C> {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let shard = &self.shards[key.part(self.shards.len())];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = shard.full_at.get_mut(key) {
            let (outcome, next) = f(Some(*full_at))?;
            *full_at = next;
            return Ok(outcome);
        }
        if shard.full_at.len() >= shard.full_at.capacity().min(self.shard_keys_max) {
            shard.sweep(self.clock.now().duration_since(self.start), self.pause);
        }
        if shard.full_at.len() >= self.shard_keys_max {
            drop(shard);
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            let (outcome, next) = f(*shared)?;
            *shared = Some(next);
            return Ok(outcome);
        }
        let (outcome, next) = f(None)?;
        shard.full_at.insert(*key, next);
        Ok(outcome)
    }
}

impl Shard {
    fn sweep(&mut self, now: Nanos, pause: Nanos) {
        if now >= self.sweep_after {
            self.full_at.retain(|_, full_at| now < *full_at);
            self.sweep_after = now + pause;
        }
    }
}

/// Keys of one shard, about: so many are swept or moved in some ten microseconds.
const SHARD_KEYS: usize = 1024;
/// So many locks at least, so that workers seldom meet at one.
const SHARDS_MIN: usize = 16;
const SHARDS_MAX: usize = 4096;
const SWEEPS_PER_FILL: u32 = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use governor::clock::FakeRelativeClock;
    use governor::{Quota, RateLimiter};

    use super::super::Governed;
    use super::*;

    /// 10 a second, 3 at once.
    fn table(keys_max: usize) -> (Governed<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let quota = Quota::with_period(Duration::from_millis(100)).unwrap().allow_burst(3.try_into().unwrap());
        let buckets = Buckets::new(keys_max, Duration::from_millis(300), clock.clone());
        (RateLimiter::new(quota, buckets, clock.clone()), clock)
    }

    #[test]
    fn beyond_the_last_free_bucket_new_keys_share_one() {
        let (table, clock) = table(SHARDS_MIN);
        let keys = Keys::default();
        let take = |key: &str| table.check_key(&keys.of(key.as_bytes())).is_ok();
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
    fn buckets_that_are_full_again_are_thrown_out_before_the_table_grows() {
        let (table, clock) = table(1_000_000);
        let keys = Keys::default();
        for round in 0..20 {
            for number in 0..20_000 {
                assert!(table.check_key(&keys.of(format!("{round}/{number}").as_bytes())).is_ok());
            }
            clock.advance(Duration::from_secs(1));
        }
        let shards = table.into_state_store().shards;
        let kept: usize = shards.into_iter().map(|shard| shard.into_inner().unwrap().full_at.len()).sum();
        assert!(kept < 80_000, "{kept}");
    }

    #[test]
    fn as_many_keys_as_asked_for_have_a_bucket_of_their_own() {
        let (table, _) = table(100_000);
        let keys = Keys::default();
        for number in 0..100_000 {
            assert!((0..3).all(|_| table.check_key(&keys.of(format!("{number}").as_bytes())).is_ok()), "{number}");
        }
    }
}
