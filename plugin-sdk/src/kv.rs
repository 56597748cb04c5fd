//! Values by key, in a store of the gateway's configuration: in its memory or on Redis, as the operator chose.
//!
//! Needs `grants: { stores: [NAME] }`. Plugins that are granted one store see the same keys. A store may be on another
//! machine: a call waits for it, and counts to the plugin's `timeout`, not to its `deadline`.
//!
//! ```
//! use std::time::Duration;
//! use witgate_plugin::config::NoConfig;
//! use witgate_plugin::{Error, Part, Plugin, Reply, Request, Setup, Verdict, kv::Store};
//!
//! /// Lets each address pass a thousand times a day.
//! struct Quota {
//!     store: Store,
//!     client: Part,
//! }
//!
//! impl Plugin for Quota {
//!     type Config = NoConfig;
//!
//!     fn configure(_config: NoConfig, setup: &mut Setup) -> Result<Self, Error> {
//!         Ok(Quota { store: Store::open("quotas")?, client: setup.want_client() })
//!     }
//!
//!     fn on_request(&self, request: &mut Request) -> Verdict {
//!         match self.store.increment(request.part(self.client), 1, Some(Duration::from_secs(86_400))) {
//!             Ok(count) if count <= 1000 => Verdict::Next,
//!             Ok(_) => Reply::problem(429, "come back tomorrow").into(),
//!             // Whether to let pass what cannot be counted is the plugin's choice.
//!             Err(_) => Verdict::Next,
//!         }
//!     }
//! }
//! ```

use std::fmt;
use std::time::Duration;

use crate::Error;
use crate::host::kv;

/// A store of the configuration, opened.
///
/// Keys have at most 1 KiB, values 1 MiB. Without a time to live a value stays until it is deleted; one below a millisecond
/// counts as a millisecond.
#[derive(Debug)]
pub struct Store(kv::Store);

/// Why a store did not do what it was asked.
///
/// ```
/// use witgate_plugin::kv::StoreError;
///
/// assert_eq!(StoreError::OverQuota.to_string(), "the store is full");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreError {
    /// The store cannot be reached in time. Whether a change was made is not known.
    Unavailable,
    /// The store is full.
    OverQuota,
    /// The key or the value is larger than a store takes.
    TooLarge,
    /// The value under the key is no whole number, or would grow beyond one.
    NotANumber,
}

impl Store {
    /// Open a store by its name in the configuration; do it in [`Plugin::configure`](crate::Plugin::configure), so that a wrong
    /// name is found before any request comes.
    ///
    /// # Errors
    ///
    /// The plugin's declaration is not granted this store.
    ///
    /// ```
    /// # use witgate_plugin::{Error, kv::Store};
    /// # fn configure(name: &str) -> Result<Store, Error> {
    /// Store::open(name).map_err(|error| Error::at("store", error))
    /// # }
    /// ```
    pub fn open(name: &str) -> Result<Store, Error> {
        kv::Store::open(name).map(Store).map_err(Error::new)
    }

    /// The value under a key.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`] but [`NotANumber`](StoreError::NotANumber), as with all that follow.
    ///
    /// ```
    /// # use witgate_plugin::kv::{Store, StoreError};
    /// # fn user(store: &Store, session: &str) -> Result<Option<String>, StoreError> {
    /// let value = store.get(&format!("session:{session}"))?;
    /// Ok(value.and_then(|bytes| String::from_utf8(bytes).ok()))
    /// # }
    /// ```
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key).map_err(fault)
    }

    /// Set the value under a key.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use witgate_plugin::kv::{Store, StoreError};
    /// # fn remember(store: &Store, user: &str) -> Result<(), StoreError> {
    /// store.set("last-user", user, Some(Duration::from_secs(60)))
    /// # }
    /// ```
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.0.set(key, value.as_ref(), ttl.map(milliseconds)).map_err(fault)
    }

    /// Delete the value under a key. Says whether there was one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use witgate_plugin::kv::{Store, StoreError};
    /// # fn log_out(store: &Store, session: &str) -> Result<bool, StoreError> {
    /// store.delete(&format!("session:{session}"))
    /// # }
    /// ```
    pub fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.0.delete(key).map_err(fault)
    }

    /// Add to a whole number that is kept as decimal text, in one step; an absent one is 0. Gives the sum. The time to live
    /// counts from the increment that made the number.
    ///
    /// # Errors
    ///
    /// Any [`StoreError`]; the number then is as it was.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use witgate_plugin::kv::{Store, StoreError};
    /// # fn failures(store: &Store, user: &str) -> Result<i64, StoreError> {
    /// store.increment(&format!("failures:{user}"), 1, Some(Duration::from_secs(600)))
    /// # }
    /// ```
    pub fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreError> {
        self.0.increment(key, by, ttl.map(milliseconds)).map_err(fault)
    }

    /// Set the value if the present one is `expected` (`None`: there is none), in one step. Says whether it did.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use witgate_plugin::kv::{Store, StoreError};
    /// # fn is_first(store: &Store, nonce: &str) -> Result<bool, StoreError> {
    /// store.compare_and_set(&format!("nonce:{nonce}"), None, "", Some(Duration::from_secs(300)))
    /// # }
    /// ```
    pub fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: impl AsRef<[u8]>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.0.compare_and_set(key, expected, value.as_ref(), ttl.map(milliseconds)).map_err(fault)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            StoreError::Unavailable => "the store cannot be reached in time",
            StoreError::OverQuota => "the store is full",
            StoreError::TooLarge => "the key or the value is larger than a store takes",
            StoreError::NotANumber => "the value is no whole number, or would grow beyond one",
        })
    }
}

impl std::error::Error for StoreError {}

fn fault(fault: kv::KvError) -> StoreError {
    match fault {
        kv::KvError::Unavailable => StoreError::Unavailable,
        kv::KvError::OverQuota => StoreError::OverQuota,
        kv::KvError::TooLarge => StoreError::TooLarge,
        kv::KvError::NotANumber => StoreError::NotANumber,
    }
}

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
