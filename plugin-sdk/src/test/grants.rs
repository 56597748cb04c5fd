//! What a test grants its plugin: stores, tables, secrets and limiters of its own, and a clock that moves when the test says so.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use super::Harness;
use super::network::Granted;
use crate::Exported;
use crate::host::{Capabilities, ResourceKind, kv::KvError, rate_limit};
use crate::kv::StoreError;

/// The named things of a configuration that a plugin is granted, for [`Harness::granted`].
///
/// ```
/// use std::time::Duration;
/// use witgate_plugin::test::{Grants, Harness, TestRequest, json};
/// # use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, config::NoConfig, export_plugin, kv::Store, kv::StoreError};
/// # struct Counter(Store);
/// # impl Plugin for Counter {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> {
/// #         Ok(Counter(Store::open("local")?))
/// #     }
/// #     fn on_request(&self, request: &mut Request) -> Verdict {
/// #         let count = self.0.increment("count", 1, Some(Duration::from_secs(60))).unwrap_or(-1);
/// #         request.set_header("x-count", count.to_string());
/// #         Verdict::Next
/// #     }
/// # }
/// # export_plugin!(Counter: request);
///
/// let grants = Grants::new()
///     .store("local")
///     .table("clients", json!({ "ada": { "id": 1 } }))
///     .secret("pepper", "x")
///     .revealed_secret("signing-key", "s3cret")
///     .limiter("logins", 3, Duration::from_secs(60));
/// let mut plugin = Harness::<Counter>::granted(grants, json!({}))?;
/// let mut count = |plugin: &mut Harness<Counter>| {
///     plugin.request(TestRequest::get("/")).passed().value("x-count").map(str::to_owned)
/// };
/// assert_eq!(count(&mut plugin).as_deref(), Some("1"));
/// assert_eq!(count(&mut plugin).as_deref(), Some("2"));
/// plugin.advance(Duration::from_secs(60));
/// assert_eq!(count(&mut plugin).as_deref(), Some("1"));
/// // What it did is seen from here, and a store can fail.
/// assert_eq!(plugin.stored("local", "count").as_deref(), Some(&b"1"[..]));
/// plugin.break_store("local", Some(StoreError::Unavailable));
/// assert_eq!(count(&mut plugin).as_deref(), Some("-1"));
/// assert_eq!(plugin.metric("refused"), None);
/// # Ok::<(), witgate_plugin::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Grants {
    stores: BTreeMap<String, Store>,
    tables: BTreeMap<String, BTreeMap<String, String>>,
    secrets: BTreeMap<String, Vec<u8>>,
    revealed: BTreeSet<String>,
    limiters: BTreeMap<String, Limiter>,
    metrics: RefCell<BTreeMap<String, f64>>,
    /// Since the test began.
    time: Cell<Duration>,
    random: Cell<u64>,
    seed: RandomState,
    pub(super) network: Granted,
}

#[derive(Debug, Default)]
struct Store {
    values: RefCell<BTreeMap<String, Entry>>,
    broken: Cell<Option<StoreError>>,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Vec<u8>,
    expires: Option<Duration>,
}

#[derive(Debug)]
struct Limiter {
    units: u32,
    period: Duration,
    /// When each bucket is full again.
    full_at: RefCell<BTreeMap<String, Duration>>,
}

impl Grants {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Grant a store; it is empty, and never full.
    #[must_use]
    pub fn store(mut self, name: &str) -> Self {
        self.stores.insert(name.to_owned(), Store::default());
        self
    }

    /// Grant a table of these entries, a JSON object.
    ///
    /// # Panics
    ///
    /// When `entries` is no object.
    #[must_use]
    #[track_caller]
    pub fn table(mut self, name: &str, entries: serde_json::Value) -> Self {
        let serde_json::Value::Object(entries) = entries else { panic!("a table is an object: {entries}") };
        let entries = entries.into_iter().map(|(key, entry)| (key, entry.to_string())).collect();
        self.tables.insert(name.to_owned(), entries);
        self
    }

    /// Grant a secret to be used, not to be read.
    #[must_use]
    pub fn secret(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.secrets.insert(name.to_owned(), bytes.as_ref().to_vec());
        self
    }

    /// Grant a secret to be used and read.
    #[must_use]
    pub fn revealed_secret(mut self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.revealed.insert(name.to_owned());
        self.secret(name, bytes)
    }

    /// Grant a limiter whose buckets hold `units` and fill in `period`.
    #[must_use]
    pub fn limiter(mut self, name: &str, units: u32, period: Duration) -> Self {
        let limiter = Limiter { units: units.max(1), period, full_at: RefCell::default() };
        self.limiters.insert(name.to_owned(), limiter);
        self
    }

    fn store_of(&self, name: &str) -> Result<&Store, KvError> {
        let store = self.stores.get(name).expect("only a store that is granted was opened");
        match store.broken.get() {
            None => Ok(store),
            Some(StoreError::Unavailable) => Err(KvError::Unavailable),
            Some(StoreError::OverQuota) => Err(KvError::OverQuota),
            Some(StoreError::TooLarge) => Err(KvError::TooLarge),
            Some(StoreError::NotANumber) => Err(KvError::NotANumber),
        }
    }

    fn expiry(&self, ttl_ms: Option<u64>) -> Option<Duration> {
        ttl_ms.map(|ttl| self.time.get().saturating_add(Duration::from_millis(ttl.max(1))))
    }
}

/// What a plugin did with what it is granted, and what becomes of it meanwhile.
impl<P: Exported> Harness<P> {
    /// Let time pass, for the clock, times to live and limiters.
    pub fn advance(&mut self, time: Duration) {
        let grants = self.gateway.grants();
        grants.time.set(grants.time.get().saturating_add(time));
    }

    /// What a counter stands at, or what a gauge was set to last.
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.gateway.grants().metrics.borrow().get(name).copied()
    }

    /// The value under a key of a store.
    pub fn stored(&self, store: &str, key: &str) -> Option<Vec<u8>> {
        let grants = self.gateway.grants();
        grants.stores.get(store)?.live(key, grants.time.get()).map(|entry| entry.value)
    }

    /// Let every call to a store fail so, or with `None` no longer.
    ///
    /// # Panics
    ///
    /// When the plugin is granted no such store.
    #[track_caller]
    pub fn break_store(&mut self, store: &str, error: Option<StoreError>) {
        let grants = self.gateway.grants();
        let store = grants.stores.get(store).unwrap_or_else(|| panic!("no store `{store}` is granted"));
        store.broken.set(error);
    }
}

impl Store {
    fn live(&self, key: &str, now: Duration) -> Option<Entry> {
        self.values.borrow().get(key).filter(|entry| entry.expires.is_none_or(|expires| now < expires)).cloned()
    }

    fn put(&self, key: &str, value: Vec<u8>, expires: Option<Duration>) -> Result<(), KvError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(KvError::TooLarge);
        }
        self.values.borrow_mut().insert(key.to_owned(), Entry { value, expires });
        Ok(())
    }
}

impl Capabilities for Grants {
    fn count(&self, name: &str, by: u64) {
        *self.metrics.borrow_mut().entry(name.to_owned()).or_default() += by as f64;
    }

    fn gauge(&self, name: &str, value: f64) {
        self.metrics.borrow_mut().insert(name.to_owned(), value);
    }

    fn unix_ms(&self) -> u64 {
        u64::try_from((BEGINNING + self.time.get()).as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.time.get().as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&self, length: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length as usize {
            self.random.set(self.random.get() + 1);
            bytes.extend(self.seed.hash_one(self.random.get()).to_le_bytes());
        }
        bytes.truncate(length as usize);
        bytes
    }

    fn open(&self, kind: ResourceKind, name: &str) -> Result<(), String> {
        let (is_granted, thing) = match kind {
            ResourceKind::Store => (self.stores.contains_key(name), "store"),
            ResourceKind::Table => (self.tables.contains_key(name), "table"),
            ResourceKind::Secret => (self.secrets.contains_key(name), "secret"),
            ResourceKind::Limiter => (self.limiters.contains_key(name), "limiter"),
        };
        if is_granted { Ok(()) } else { Err(format!("this plugin is granted no {thing} `{name}`")) }
    }

    fn kv_get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, KvError> {
        check_key(key)?;
        Ok(self.store_of(store)?.live(key, self.time.get()).map(|entry| entry.value))
    }

    fn kv_set(&self, store: &str, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), KvError> {
        check_key(key)?;
        self.store_of(store)?.put(key, value.to_vec(), self.expiry(ttl_ms))
    }

    fn kv_delete(&self, store: &str, key: &str) -> Result<bool, KvError> {
        check_key(key)?;
        let store = self.store_of(store)?;
        let lived = store.live(key, self.time.get()).is_some();
        store.values.borrow_mut().remove(key);
        Ok(lived)
    }

    fn kv_increment(&self, store: &str, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
        check_key(key)?;
        let store = self.store_of(store)?;
        let (old, expires) = match store.live(key, self.time.get()) {
            Some(entry) => (number(&entry.value).ok_or(KvError::NotANumber)?, entry.expires),
            None => (0, self.expiry(ttl_ms)),
        };
        let new = old.checked_add(by).ok_or(KvError::NotANumber)?;
        store.put(key, new.to_string().into_bytes(), expires)?;
        Ok(new)
    }

    fn kv_compare_and_set(
        &self,
        store: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<bool, KvError> {
        check_key(key)?;
        let store = self.store_of(store)?;
        let is_expected = store.live(key, self.time.get()).map(|entry| entry.value).as_deref() == expected;
        if is_expected {
            store.put(key, value.to_vec(), self.expiry(ttl_ms))?;
        }
        Ok(is_expected)
    }

    fn table_get(&self, table: &str, key: &str) -> Option<String> {
        self.tables[table].get(key).cloned()
    }

    fn secret(&self, name: &str) -> Vec<u8> {
        self.secrets[name].clone()
    }

    fn reveal(&self, name: &str) -> Result<Vec<u8>, String> {
        if !self.revealed.contains(name) {
            return Err(format!("this plugin may use the secret `{name}`, but not read it"));
        }
        Ok(self.secret(name))
    }

    fn take(&self, limiter: &str, key: &str, cost: u32) -> rate_limit::Decision {
        let limiter = &self.limiters[limiter];
        let (limit, cost, now) = (limiter.units, cost.max(1), self.time.get());
        let interval = (limiter.period / limit).max(Duration::from_nanos(1));
        let mut full_at = limiter.full_at.borrow_mut();
        let full_at = full_at.entry(key.to_owned()).or_default();
        *full_at = (*full_at).max(now);
        let taken = |time: Duration| u32::try_from(time.as_nanos().div_ceil(interval.as_nanos())).unwrap_or(u32::MAX);
        let remaining = |full_at: Duration| limit.saturating_sub(taken(full_at - now));
        if cost > limit {
            return rate_limit::Decision {
                allowed: false,
                limit,
                remaining: remaining(*full_at),
                retry_after_ms: u64::MAX,
            };
        }
        let next = *full_at + interval * cost;
        let wait = (next - now).saturating_sub(interval * limit);
        if wait.is_zero() {
            *full_at = next;
        }
        rate_limit::Decision {
            allowed: wait.is_zero(),
            limit,
            remaining: remaining(*full_at),
            retry_after_ms: u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX),
        }
    }
}

fn check_key(key: &str) -> Result<(), KvError> {
    if key.len() > KEY_BYTES_MAX { Err(KvError::TooLarge) } else { Ok(()) }
}

/// A whole number, just as it would be written.
fn number(value: &[u8]) -> Option<i64> {
    let text = str::from_utf8(value).ok()?;
    text.parse().ok().filter(|number: &i64| number.to_string() == text)
}

const KEY_BYTES_MAX: usize = 1 << 10;
const VALUE_BYTES_MAX: usize = 1 << 20;
/// Where the clock of a test begins: 2026-01-01T00:00:00Z.
const BEGINNING: Duration = Duration::from_secs(1_767_225_600);
