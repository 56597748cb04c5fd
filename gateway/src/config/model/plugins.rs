//! Declared plugins: sources, rights, limits, and how one version takes the place of another.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::ByteSize;
use crate::message::RequestKey;

/// A declared component; rights and limits belong to the declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    pub source: PluginSource,
    /// The only digest that may be loaded.
    pub sha256: Option<[u8; 32]>,
    /// The minisign key that must have signed the component: the base64 line of a public key file.
    pub public_key: Option<String>,
    pub reload: Reload,
    pub isolation: Isolation,
    pub recycle: Recycle,
    pub limits: PluginLimits,
    pub grants: Grants,
    /// Another version that is tried on some of the requests.
    pub canary: Option<Canary>,
}

/// Where a component comes from. Displayed in the form of the configuration.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginSource {
    /// `builtin:NAME`: bundled in the binary. Whether the name exists is for the loader to say.
    Builtin(String),
    /// `file:PATH`: a relative one is already resolved against the folder of the file that names it.
    File(PathBuf),
    /// `cargo:DIR`: a crate that `witgate dev` builds; resolved as a file's path is.
    Cargo(PathBuf),
    /// `https://HOST/PATH`, or `http://` to a loopback address; comes with a digest or a public key.
    Https { url: String },
}

impl fmt::Display for PluginSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Cargo(folder) => write!(f, "cargo:{}", folder.display()),
            Self::Https { url } => f.write_str(url),
        }
    }
}

/// What makes a changed component take the place of the one that runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reload {
    /// A reload of the configuration, or somebody's order.
    #[default]
    Manual,
    /// A change of its file as well; only where `source` is a file.
    Watch,
}

/// Who may share an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// One instance serves many requests, one after the other.
    #[default]
    Shared,
    /// Each request has an instance of its own.
    Fresh,
}

/// When an instance is replaced by a new one, although nothing is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recycle {
    /// After so many calls; 1,000,000.
    pub uses: u64,
    /// At this age; 1 h, and `None` (`never`) at no age.
    pub age: Option<Duration>,
    /// When its memory has grown to this size; at none.
    pub memory: Option<ByteSize>,
}

impl Default for Recycle {
    fn default() -> Self {
        Self { uses: 1_000_000, age: Some(Duration::from_secs(3600)), memory: None }
    }
}

/// What a plugin may use; none is zero, except `log_lines`.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginLimits {
    /// Linear memory of one instance; 16 MiB, at most 64 MiB.
    pub memory: ByteSize,
    /// CPU time in the guest for one call; 10 ms.
    pub deadline: Duration,
    /// Wall clock for one call, with host calls; 5 s.
    pub timeout: Duration,
    /// Live instances per worker; 64.
    pub instances: usize,
    /// Size of a reply that a plugin makes; 1 MiB.
    pub reply: ByteSize,
    /// Log lines per second; 100, and 0 silences the plugin.
    pub log_lines: u32,
    /// Instances per worker that wait with their request, apart from `instances`; 256.
    pub parked: usize,
    /// Elements of one table of an instance; 20,000.
    pub tables: u32,
    /// Calls from the guest to the host during one call; 1,000.
    pub host_calls: u32,
    /// Bytes that the guest hands to the host during one call; 4 MiB.
    pub host_bytes: ByteSize,
    /// Requests of its own during one call; 16.
    pub outbound_calls: u32,
    /// Size of a body that is collected for the plugin; 1 MiB.
    pub body: ByteSize,
    /// Attributes that the plugin sets on one request; 64.
    pub attributes: usize,
    /// Distinct names of its own metrics; 64.
    pub metrics: usize,
    /// Attributes that the plugin sets on the span of one call; 32.
    pub span_attributes: usize,
    /// Open resource handles of one instance; 1,024.
    pub handles: u32,
    /// Instances per worker that are replaced after failures in one second; 1,000.
    pub restarts: u32,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(16),
            deadline: Duration::from_millis(10),
            timeout: Duration::from_secs(5),
            instances: 64,
            reply: ByteSize::mib(1),
            log_lines: 100,
            parked: 256,
            tables: 20_000,
            host_calls: 1000,
            host_bytes: ByteSize::mib(4),
            outbound_calls: 16,
            body: ByteSize::mib(1),
            attributes: 64,
            metrics: 64,
            span_attributes: 32,
            handles: 1024,
            restarts: 1000,
        }
    }
}

/// What of the configuration a plugin may use: names that exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Origins as `scheme://host[:port]`: in lower case, without the scheme's own port.
    pub http: Vec<String>,
    /// Whether those origins may be at loopback, link-local and private addresses.
    pub private_addresses: bool,
    pub stores: Vec<String>,
    pub tables: Vec<String>,
    pub key_sets: Vec<String>,
    pub limiters: Vec<String>,
    pub secrets: Vec<String>,
    /// Those of `secrets` that the plugin may also read.
    pub reveal: Vec<String>,
}

/// Another version of a plugin, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Canary {
    pub source: PluginSource,
    /// The only digest that may be loaded; a public key is that of the plugin.
    pub sha256: Option<[u8; 32]>,
    /// Share of the requests in percent: more than 0, at most 100; 0 where `shadow`.
    pub percent: f64,
    /// Whether it runs beside the stable version, for a verdict that is compared and then dropped.
    pub shadow: bool,
    /// What keeps one client on one version; `None` decides for each request.
    pub sticky: Option<RequestKey>,
    pub rollback_when: RollbackWhen,
    /// How long it must hold to take the stable version's place; `None` waits for an order.
    pub promote_after: Option<Duration>,
}

/// When a canary has failed, compared with the stable version.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackWhen {
    /// So many times the stable version's share of failed calls; 2, and never less than 1.
    pub error_ratio: f64,
    /// So many times the stable version's 99th percentile; 2, and never less than 1.
    pub p99_ratio: f64,
    /// Calls of the canary before it is judged; 500.
    pub min_calls: u64,
    /// How far back calls count; `None` counts all since it began.
    pub window: Option<Duration>,
}

impl Default for RollbackWhen {
    fn default() -> Self {
        Self { error_ratio: 2.0, p99_ratio: 2.0, min_calls: 500, window: None }
    }
}
