//! Named things that plugins, limiters and the admin server use: secrets, key sets, tables, stores, limiters.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ByteSize, Rate};

/// `secret://NAME`: the name of a secret that exists. Displayed in that form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef(pub String);

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret://{}", self.0)
    }
}

/// Where the bytes of a secret are. Whether they can be read is for the room that reads them to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Env(String),
    /// A relative path is already resolved against the folder of the file that names it.
    File(PathBuf),
}

/// Keys that tokens are verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    pub source: KeySetSource,
    /// Age at which the keys are loaded again; 5 m.
    pub refresh: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetSource {
    /// Key `jwks_url`: `https://`, or `http://` to a loopback address.
    Url(String),
    /// Key `jwks_file`.
    File(PathBuf),
    /// Keys `secret` and `algorithm`: one key that both sides hold.
    Secret { secret: SecretRef, algorithm: HmacAlgorithm },
}

/// Algorithms of RFC 7518 §3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacAlgorithm {
    Hs256,
    Hs384,
    Hs512,
}

/// Look-up data that the gateway holds, and loads again when its file changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// A relative path is already resolved against the folder of the file that names it.
    pub file: PathBuf,
}

/// Values by key, kept for plugins and limiters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// In the memory of this process, `bytes` at most.
    Memory { bytes: ByteSize },
    /// On a Redis server; `url` may hold a password where there is no `password`, and one operation takes `timeout` at most, 50 ms.
    Redis { url: String, password: Option<SecretRef>, timeout: Duration },
}

impl Store {
    /// Time for one operation on a server, where the file gives none.
    pub const TIMEOUT: Duration = Duration::from_millis(50);
}

/// A limit that routes and plugins can share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limiter {
    pub rate: Rate,
    /// Capacity of the bucket, 1 or more; the count of `rate` where the file gives none.
    pub burst: u32,
    /// The name of a store: one on a server is shared with other gateways; in memory, as without one, this process counts for itself.
    pub store: Option<String>,
    /// What is decided while the store cannot be reached.
    pub on_store_error: OnStoreError,
    /// Keys that have a bucket of their own at a time.
    pub keys: usize,
}

impl Limiter {
    /// `keys`, where the file gives none.
    pub const KEYS: usize = 100_000;
    /// Memory for more is taken for a mistake.
    pub const KEYS_MAX: u64 = 100_000_000;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// By the buckets of this process.
    #[default]
    Local,
    /// Everything is allowed.
    Open,
    /// Nothing is allowed.
    Closed,
}
