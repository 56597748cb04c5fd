//! A store in the memory of the process, bounded by bytes.
//!
//! Keys are shared out to shards, each behind a lock that is held for one look-up and never across an await. What has
//! expired goes first, a little at each write and all of it when the store is full; what lives is never dropped.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::StoreFault;

/// Values by key. Times are given by the caller.
pub(super) struct Memory {
    bytes_max: usize,
    /// By all shards, with the overhead of each entry.
    bytes: AtomicUsize,
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Arc<str>, Entry>,
    /// Of the entries that have a time to live, the earliest first.
    expiries: BTreeSet<(Instant, Arc<str>)>,
}

struct Entry {
    value: Bytes,
    expires: Option<Instant>,
}

/// What a write makes of the entry it found.
struct Write<T> {
    /// `None` leaves everything as it is.
    entry: Option<Entry>,
    outcome: T,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn get(&self, key: &str, now: Instant) -> Option<Bytes> {
        self.shard(key).live(key, now).map(|entry| entry.value.clone())
    }

    pub(super) fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>, now: Instant) -> Result<(), StoreFault> {
        let expires = expiry(now, ttl);
        self.write(key, now, |_| Ok(Write { entry: Some(Entry { value: value.clone(), expires }), outcome: () }))
    }

    pub(super) fn delete(&self, key: &str, now: Instant) -> bool {
        let mut shard = self.shard(key);
        let lived = shard.live(key, now).is_some();
        let freed = shard.remove(key);
        self.release(freed);
        lived
    }

    pub(super) fn increment(&self, key: &str, by: i64, ttl: Option<Duration>, now: Instant) -> Result<i64, StoreFault> {
        self.write(key, now, |present| {
            let (old, expires) = match present {
                Some(entry) => (number(&entry.value).ok_or(StoreFault::NotANumber)?, entry.expires),
                None => (0, expiry(now, ttl)),
            };
            let new = old.checked_add(by).ok_or(StoreFault::NotANumber)?;
            Ok(Write { entry: Some(Entry { value: new.to_string().into(), expires }), outcome: new })
        })
    }

    pub(super) fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Bytes,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Result<bool, StoreFault> {
        let expires = expiry(now, ttl);
        self.write(key, now, |present| {
            let is_expected = present.map(|entry| &entry.value[..]) == expected;
            let entry = is_expected.then(|| Entry { value: value.clone(), expires });
            Ok(Write { entry, outcome: is_expected })
        })
    }

    /// Reads and writes one entry in one step. When there is no room, expired entries of all shards go, and it is tried once more.
    fn write<T>(
        &self,
        key: &str,
        now: Instant,
        decide: impl Fn(Option<&Entry>) -> Result<Write<T>, StoreFault>,
    ) -> Result<T, StoreFault> {
        for is_last in [false, true] {
            {
                let mut shard = self.shard(key);
                let freed = shard.remove_expired(now, EXPIRED_PER_WRITE);
                self.release(freed);
                let Write { entry, outcome } = decide(shard.live(key, now))?;
                let Some(entry) = entry else { return Ok(outcome) };
                let old_bytes = shard.entries.get(key).map_or(0, |old| cost(key, &old.value));
                if self.reserve(cost(key, &entry.value), old_bytes) {
                    shard.put(key, entry);
                    return Ok(outcome);
                }
            }
            if !is_last {
                // Without a lock in hand: two writers that held one each would wait for each other.
                for shard in &self.shards {
                    let freed = lock(shard).remove_expired(now, usize::MAX);
                    self.release(freed);
                }
            }
        }
        Err(StoreFault::OverQuota)
    }

    /// Takes room for `new_bytes` in the place of `old_bytes`, if there is so much.
    fn reserve(&self, new_bytes: usize, old_bytes: usize) -> bool {
        let replace = |bytes: usize| {
            let bytes = bytes - old_bytes + new_bytes;
            (bytes <= self.bytes_max || new_bytes <= old_bytes).then_some(bytes)
        };
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, replace).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

impl Shard {
    fn live(&self, key: &str, now: Instant) -> Option<&Entry> {
        self.entries.get(key).filter(|entry| entry.expires.is_none_or(|expires| now < expires))
    }

    fn put(&mut self, key: &str, entry: Entry) {
        self.remove(key);
        let key: Arc<str> = key.into();
        if let Some(expires) = entry.expires {
            self.expiries.insert((expires, key.clone()));
        }
        self.entries.insert(key, entry);
    }

    /// Returns the bytes that the entry took.
    fn remove(&mut self, key: &str) -> usize {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return 0 };
        let bytes = cost(&key, &entry.value);
        if let Some(expires) = entry.expires {
            self.expiries.remove(&(expires, key));
        }
        bytes
    }

    /// Returns the bytes that the entries took.
    fn remove_expired(&mut self, now: Instant, entries_max: usize) -> usize {
        let mut bytes = 0;
        for _ in 0..entries_max {
            let Some((expires, _)) = self.expiries.first() else { break };
            if now < *expires {
                break;
            }
            let (_, key) = self.expiries.pop_first().expect("there is a first one");
            let entry = self.entries.remove(&key).expect("an expiry has its entry");
            bytes += cost(&key, &entry.value);
        }
        bytes
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn expiry(now: Instant, ttl: Option<Duration>) -> Option<Instant> {
    ttl.map(|ttl| now + ttl)
}

/// A whole number as Redis reads it: just as it would be written.
pub(super) fn number(value: &[u8]) -> Option<i64> {
    let text = str::from_utf8(value).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_OVERHEAD_BYTES
}

/// What an entry takes beside its key and value, with a time to live: its place in the map and among the expiries, and two
/// allocations.
const ENTRY_OVERHEAD_BYTES: usize = 256;
const SHARDS: usize = 16;
/// More than one, so that expired entries become fewer even where every write adds one.
const EXPIRED_PER_WRITE: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn set(store: &Memory, key: &str, value_bytes: usize, ttl_ms: Option<u64>, now: Instant) -> Result<(), StoreFault> {
        store.set(key, vec![b'x'; value_bytes].into(), ttl_ms.map(Duration::from_millis), now)
    }

    fn room_for(entries: usize, value_bytes: usize) -> Memory {
        Memory::new(entries * (2 + value_bytes + ENTRY_OVERHEAD_BYTES))
    }

    #[test]
    fn a_full_store_takes_nothing_more_and_drops_nothing() {
        let now = Instant::now();
        let store = room_for(3, 100);
        for key in ["k1", "k2", "k3"] {
            set(&store, key, 100, None, now).unwrap();
        }
        assert_eq!(set(&store, "k4", 0, None, now), Err(StoreFault::OverQuota));
        assert_eq!(set(&store, "k1", 101, None, now), Err(StoreFault::OverQuota));
        assert_eq!(store.increment("k4", 1, None, now), Err(StoreFault::OverQuota));
        assert_eq!(store.compare_and_set("k4", None, Bytes::new(), None, now), Err(StoreFault::OverQuota));
        set(&store, "k1", 100, None, now).unwrap();
        set(&store, "k2", 1, None, now).unwrap();
        set(&store, "k1", 199, None, now).unwrap();
        assert!(["k1", "k2", "k3"].iter().all(|key| store.get(key, now).is_some()));
        assert!(store.delete("k3", now));
        set(&store, "k4", 100, None, now).unwrap();
    }

    #[test]
    fn what_has_expired_makes_room_and_is_counted_no_more() {
        let start = Instant::now();
        let store = room_for(100, 10);
        for number in 0..100 {
            // Keys of two bytes.
            set(&store, &format!("{number:02}"), 10, Some(50), start).unwrap();
        }
        assert_eq!(set(&store, "k1", 10, None, start), Err(StoreFault::OverQuota));
        let later = start + Duration::from_millis(50);
        assert!(store.get("00", later).is_none() && !store.delete("01", later));
        set(&store, "k1", 10, None, later).unwrap();
        for number in 0..99 {
            set(&store, &format!("{number:02}"), 10, None, later).unwrap();
        }
        assert_eq!(store.bytes.load(Ordering::Relaxed), store.bytes_max);
        (0..99).for_each(|number| assert!(store.delete(&format!("{number:02}"), later)));
        assert!(store.delete("k1", later));
        assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
        assert!(store.shards.iter().all(|shard| lock(shard).expiries.is_empty()));
    }

    #[test]
    fn a_time_to_live_belongs_to_the_value_it_was_set_with() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let store = Memory::new(1 << 20);
        set(&store, "k", 1, Some(10), start).unwrap();
        set(&store, "k", 1, None, at(5)).unwrap();
        assert!(store.get("k", at(1000)).is_some(), "the second value has none");
        set(&store, "k", 1, Some(10), at(1000)).unwrap();
        set(&store, "k", 1, Some(20), at(1005)).unwrap();
        assert!(store.get("k", at(1024)).is_some() && store.get("k", at(1025)).is_none());
        let ttl = Some(Duration::from_millis(10));
        assert_eq!(store.increment("n", 2, ttl, start), Ok(2));
        assert_eq!(store.increment("n", 3, ttl, at(9)), Ok(5), "the time counts from the first");
        assert_eq!(store.increment("n", 1, ttl, at(10)), Ok(1));
        assert_eq!(store.compare_and_set("n", None, Bytes::new(), None, at(20)), Ok(true), "an expired one is absent");
    }

    #[test]
    fn writers_that_race_lose_no_bytes() {
        let store = room_for(50, 8);
        let now = Instant::now();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let store = &store;
                scope.spawn(move || {
                    for round in 0..2000_u64 {
                        let key = format!("{:02}", (round * 7 + thread) % 60);
                        let _ =
                            set(store, &key, (round % 9) as usize, Some(round % 3), now + Duration::from_millis(round));
                        let _ = store.increment("n1", 1, None, now);
                        if round % 5 == 0 {
                            store.delete(&key, now);
                        }
                    }
                });
            }
        });
        let kept: usize = store
            .shards
            .iter()
            .map(|shard| lock(shard).entries.iter().map(|(key, entry)| cost(key, &entry.value)).sum::<usize>())
            .sum();
        assert_eq!(store.bytes.load(Ordering::Relaxed), kept);
        assert!(kept <= store.bytes_max);
    }
}
