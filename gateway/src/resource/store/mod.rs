//! Stores: values by key, in the memory of the process or on a Redis server, behind one interface.
//!
//! Both give the same answers; `tests` holds them to it. A key and a value have a largest size, a time to live is at least
//! a millisecond, and no value is ever dropped to make room for another.

mod memory;
mod redis;
mod scratch;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::memory::Memory;
use self::redis::{Connection, Redis};

/// A store of the configuration. What can be asked of it is asked of an [`OpenStore`].
pub struct Store {
    pub name: Arc<str>,
    pub options: StoreOptions,
    place: Place,
    scratch: Option<Arc<Memory>>,
}

/// Where a store keeps its values.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreOptions {
    /// In this process; keys and values with what it takes to keep them have `bytes_max` at most.
    Memory { bytes_max: usize },
    /// On a server; one operation takes `timeout` at most.
    Redis { url: String, timeout: Duration },
}

/// What went wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    #[error("the store cannot be reached in time")]
    Unavailable,
    #[error("the store is full")]
    OverQuota,
    #[error("a key has more than {KEY_BYTES_MAX} bytes, or a value more than {VALUE_BYTES_MAX}")]
    TooLarge,
    #[error("the value is no whole number, or would grow beyond one")]
    NotANumber,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the URL cannot be used: {0}")]
    Url(String),
}

/// What somebody wants of a bucket on a server.
#[derive(Debug, Clone, Copy)]
pub(in crate::resource) struct LeaseTerms {
    /// Time that one unit takes to come back.
    pub(in crate::resource) interval: Duration,
    /// The bucket's capacity in units.
    pub(in crate::resource) burst: u32,
    /// Fewer are of no use.
    pub(in crate::resource) cost: u32,
    /// More are not taken.
    pub(in crate::resource) wanted: u32,
    /// From an earlier lease, unspent.
    pub(in crate::resource) returned: u32,
}

/// What was got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::resource) struct Leased {
    /// 0, or between `cost` and `wanted`.
    pub(in crate::resource) granted: u32,
    /// Units that are left in the bucket.
    pub(in crate::resource) left: u32,
    /// Until `cost` units are there; zero when they were.
    pub(in crate::resource) wait: Duration,
}

#[derive(Clone)]
enum Place {
    Memory(Arc<Memory>),
    Redis(Arc<Redis>),
}

impl Store {
    /// Makes the store; a server is connected to when it is first asked something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn new(name: Arc<str>, options: StoreOptions) -> Result<Self, StoreError> {
        let place = match &options {
            StoreOptions::Memory { bytes_max } => Place::Memory(Arc::new(Memory::new(*bytes_max))),
            StoreOptions::Redis { url, timeout } => Place::Redis(Arc::new(Redis::new(name.clone(), url, *timeout)?)),
        };
        Ok(Self { name, options, place, scratch: None })
    }

    /// The same store for somebody whose changes nobody else may see.
    pub fn scratch_over(&self) -> Self {
        Self {
            name: self.name.clone(),
            options: self.options.clone(),
            place: self.place.clone(),
            scratch: Some(Arc::new(Memory::new(SCRATCH_BYTES_MAX))),
        }
    }

    /// Whether its values are on a server, which other gateways may use too.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Place::Redis(_))
    }

    /// How long one operation may take.
    pub(in crate::resource) fn timeout(&self) -> Duration {
        match &self.options {
            StoreOptions::Memory { .. } => Duration::ZERO,
            StoreOptions::Redis { timeout, .. } => *timeout,
        }
    }

    /// Takes units of a bucket that is kept on the server. A store in memory has no buckets: limiters have their own.
    pub(in crate::resource) async fn lease(
        &self,
        prefix: &str,
        key: &[u8],
        terms: LeaseTerms,
    ) -> Result<Leased, StoreFault> {
        match &self.place {
            Place::Memory(_) => Err(StoreFault::Unavailable),
            Place::Redis(redis) => redis.connect().lease(prefix, key, terms).await,
        }
    }

    /// Opens the store for the tasks of this thread's runtime, which must be tokio's.
    pub fn open(&self) -> OpenStore {
        let place = match &self.place {
            Place::Memory(memory) => OpenPlace::Memory(memory.clone()),
            Place::Redis(redis) => OpenPlace::Redis(redis.connect()),
        };
        OpenStore { place, scratch: self.scratch.clone() }
    }
}

/// Without the URL, which may hold a password.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match &self.place {
            Place::Memory(_) => "memory",
            Place::Redis(_) => "redis",
        };
        f.debug_struct("Store").field("name", &self.name).field("place", &place).finish_non_exhaustive()
    }
}

/// A store as the tasks of one runtime use it. In memory every operation is done at its first poll.
pub struct OpenStore {
    place: OpenPlace,
    /// Changes that only whoever opened the store sees; the store itself is then read alone.
    scratch: Option<Arc<Memory>>,
}

enum OpenPlace {
    Memory(Arc<Memory>),
    Redis(Connection),
}

impl OpenStore {
    /// # Errors
    /// Any [`StoreFault`], as with all operations.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreFault> {
        check_key(key)?;
        match &self.scratch {
            None => self.place.get(key).await,
            Some(changes) => scratch::get(changes, &self.place, key).await,
        }
    }

    /// Without a time to live the value stays until it is deleted.
    pub async fn set(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreFault> {
        check_key(key)?;
        check_value(&value)?;
        let ttl = ttl.map(within_bounds);
        match (&self.scratch, &self.place) {
            (Some(changes), _) => scratch::set(changes, key, Some(&value), ttl),
            (None, OpenPlace::Memory(memory)) => memory.set(key, value, ttl, Instant::now()),
            (None, OpenPlace::Redis(connection)) => connection.set(key, &value, ttl).await,
        }
    }

    /// Whether there was a value.
    pub async fn delete(&self, key: &str) -> Result<bool, StoreFault> {
        check_key(key)?;
        match (&self.scratch, &self.place) {
            (Some(changes), place) => scratch::delete(changes, place, key).await,
            (None, OpenPlace::Memory(memory)) => Ok(memory.delete(key, Instant::now())),
            (None, OpenPlace::Redis(connection)) => connection.delete(key).await,
        }
    }

    /// Adds to a whole number kept as decimal text; an absent one is 0. The time to live counts from the first increment.
    pub async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreFault> {
        check_key(key)?;
        let ttl = ttl.map(within_bounds);
        match (&self.scratch, &self.place) {
            (Some(changes), place) => scratch::increment(changes, place, key, by, ttl).await,
            (None, OpenPlace::Memory(memory)) => memory.increment(key, by, ttl, Instant::now()),
            (None, OpenPlace::Redis(connection)) => connection.increment(key, by, ttl).await,
        }
    }

    /// Sets the value if the present one is `expected`, in one step. Whether it did.
    pub async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreFault> {
        check_key(key)?;
        check_value(expected.unwrap_or_default())?;
        check_value(&value)?;
        let ttl = ttl.map(within_bounds);
        match (&self.scratch, &self.place) {
            (Some(changes), place) => scratch::compare_and_set(changes, place, key, expected, &value, ttl).await,
            (None, OpenPlace::Memory(memory)) => memory.compare_and_set(key, expected, value, ttl, Instant::now()),
            (None, OpenPlace::Redis(connection)) => connection.compare_and_set(key, expected, &value, ttl).await,
        }
    }
}

impl OpenPlace {
    async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreFault> {
        match self {
            Self::Memory(memory) => Ok(memory.get(key, Instant::now())),
            Self::Redis(connection) => connection.get(key).await,
        }
    }
}

fn check_key(key: &str) -> Result<(), StoreFault> {
    if key.len() > KEY_BYTES_MAX { Err(StoreFault::TooLarge) } else { Ok(()) }
}

fn check_value(value: &[u8]) -> Result<(), StoreFault> {
    if value.len() > VALUE_BYTES_MAX { Err(StoreFault::TooLarge) } else { Ok(()) }
}

/// Redis takes no time to live of zero, and clocks do not count for ever.
fn within_bounds(ttl: Duration) -> Duration {
    ttl.clamp(TTL_MIN, TTL_MAX)
}

pub const KEY_BYTES_MAX: usize = 1 << 10;
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Changes of one store that a scratch holds.
const SCRATCH_BYTES_MAX: usize = 4 << 20;
const TTL_MIN: Duration = Duration::from_millis(1);
const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
