//! The configuration as checked values: what the rest of the gateway reads.
//!
//! Field names are the keys of the YAML. How text becomes these values stands in `raw`; what must hold between them in `check`.

mod control;
mod listeners;
mod overload;
mod plugins;
mod resources;
mod routes;
mod upstreams;
mod balancing;
mod health;
mod discovery;
mod traffic;
mod tls;

mod scalar;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use self::balancing::{Affinity, Balance};
pub use self::control::{Admin, AdminToken, Drain, Overrides, Role, Upgrade};
pub use self::discovery::{Discovery, DiscoveryServer, DiscoverySource};
pub use self::health::{HealthCheck, OutlierEjection, Probe};
pub use self::listeners::{ListenAddress, Listener, ListenerLimits};
pub use self::overload::{MemoryLimit, Overload};
pub use self::plugins::{Canary, Grants, Isolation, Plugin, PluginLimits, PluginSource, Recycle, Reload, RollbackWhen};
pub use self::resources::{
    HmacAlgorithm, KeySet, KeySetSource, Limiter, OnStoreError, SecretRef, SecretSource, Store, Table,
};
pub use self::routes::{Defaults, Failure, FieldMatch, FilterUse, Match, OnError, PathMatch, Respond, Route, Target};
pub use self::scalar::{ByteSize, Rate};
pub use self::tls::{Acme, CertificateFiles, ClientCertificates, KeySource, ListenerTls, TlsVersion};
pub use self::traffic::{Hedge, Retries, RetryWhen, UpstreamLimits, UpstreamProtocol, UpstreamTls};
pub use self::upstreams::{Endpoint, EndpointUrl, Upstream, UpstreamTimeouts};
use crate::telemetry::TelemetryRules;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Version of the format; 1 is the only one.
    pub version: u32,
    /// Key `config`.
    pub follow: Follow,
    /// Data-plane threads; `None` is `auto`, one per core.
    pub workers: Option<usize>,
    /// Where compiled plugins are kept; `None` leaves the choice to the caller.
    pub state_dir: Option<PathBuf>,
    pub runtime: Runtime,
    pub overload: Overload,
    /// `None`: there is no admin server.
    pub admin: Option<Admin>,
    /// Where `/livez`, `/readyz` and `/metrics` stand alone; key `probes.address`.
    pub probes: Option<ListenAddress>,
    pub drain: Drain,
    pub upgrade: Upgrade,
    /// Where the number of the process that serves is written.
    pub pid_file: Option<PathBuf>,
    pub secrets: BTreeMap<String, SecretSource>,
    pub key_sets: BTreeMap<String, KeySet>,
    pub tables: BTreeMap<String, Table>,
    pub stores: BTreeMap<String, Store>,
    pub limiters: BTreeMap<String, Limiter>,
    /// At least one, with distinct names, and distinct addresses unless the port is 0.
    pub listeners: Vec<Listener>,
    /// By name; no name is that of a native filter.
    pub plugins: BTreeMap<String, Plugin>,
    pub upstreams: BTreeMap<String, Upstream>,
    /// Named filter lists; none contains itself, however indirectly.
    pub chains: BTreeMap<String, Vec<FilterUse>>,
    pub defaults: Defaults,
    /// In the order of the file, with distinct names.
    pub routes: Vec<Route>,
    pub telemetry: TelemetryRules,
}

/// How the gateway follows its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follow {
    /// Whether a change takes effect by itself; `None` leaves the choice to the kind of source.
    pub watch: Option<bool>,
    /// Configurations that are kept to go back to; 10.
    pub history: usize,
}

impl Default for Follow {
    fn default() -> Self {
        Self { watch: None, history: 10 }
    }
}

/// Figures of the plugin engine that are fixed at start; none is zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// Instances of all plugins that may live at once; 1024.
    pub slots: u32,
    /// Largest component that is accepted; 32 MiB: those with the engine of a language in them have 12-18.
    pub component: ByteSize,
    /// Wall clock and CPU time for compiling one component; 120 s.
    pub compile_timeout: Duration,
    /// Address space of the compiling child; 2 GiB.
    pub compile_memory: ByteSize,
    /// Components that are compiled at once; 2.
    pub parallel_compiles: usize,
    /// Compiled code and kept components in `state_dir`; 1 GiB.
    pub cache: ByteSize,
    /// CPU time in the guests of all plugins over one request; 100 ms.
    pub request_deadline: Duration,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            slots: 1024,
            component: ByteSize::mib(32),
            compile_timeout: Duration::from_secs(120),
            compile_memory: ByteSize::mib(2048),
            parallel_compiles: 2,
            cache: ByteSize::mib(1024),
            request_deadline: Duration::from_millis(100),
        }
    }
}
