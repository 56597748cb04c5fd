//! The configuration as checked values: what the rest of the gateway reads.
//!
//! Field names are the keys of the YAML. How text becomes these values stands in `raw`; what must hold between them in `check`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Version of the format; 1 is the only one.
    pub version: u32,
    /// Data-plane threads; `None` is `auto`, one per core.
    pub workers: Option<usize>,
    /// Where compiled plugins are kept; `None` leaves the choice to the caller.
    pub state_dir: Option<PathBuf>,
    pub runtime: Runtime,
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
    pub telemetry: Telemetry,
}

/// Figures of the plugin engine that are fixed at start.
#[derive(Debug, Clone, PartialEq)]
pub struct Runtime {
    /// Instances of all plugins that may live at once; 1024.
    pub slots: u32,
    /// Largest component that is accepted; 16 MiB.
    pub component: ByteSize,
    /// Wall clock and CPU time for compiling one component; 60 s.
    pub compile_timeout: Duration,
    /// Address space of the compiling child; 2 GiB.
    pub compile_memory: ByteSize,
}

impl Default for Runtime {
    fn default() -> Self {
        Self {
            slots: 1024,
            component: ByteSize::mib(16),
            compile_timeout: Duration::from_secs(60),
            compile_memory: ByteSize::mib(2048),
        }
    }
}

/// One address that is listened on.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: String,
    pub address: SocketAddr,
    /// Peers whose forwarding headers are believed. An address alone is a network of one.
    pub trusted_proxies: Vec<IpNet>,
    pub limits: ListenerLimits,
}

/// Limits of one listener; none is zero, except `body`, where zero refuses every body.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerLimits {
    /// Open connections; 10,000.
    pub connections: usize,
    /// Size of a request's head; 64 KiB.
    pub headers: ByteSize,
    /// Time for a request's head to arrive; 10 s.
    pub header_timeout: Duration,
    /// Time that a connection may stand still; 60 s.
    pub idle_timeout: Duration,
    /// Size of a request's body; 10 MiB.
    pub body: ByteSize,
    /// Requests that one connection may carry; 100,000.
    pub requests_per_connection: u64,
    /// Concurrent HTTP/2 streams of one connection; 128.
    pub streams: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            headers: ByteSize::kib(64),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body: ByteSize::mib(10),
            requests_per_connection: 100_000,
            streams: 128,
        }
    }
}

/// A declared component; rights and limits belong to the declaration.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    pub source: PluginSource,
    /// The only digest that may be loaded.
    pub sha256: Option<[u8; 32]>,
    pub isolation: Isolation,
    pub limits: PluginLimits,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PluginSource {
    /// `builtin:NAME`: bundled in the binary. Whether the name exists is for the loader to say.
    Builtin(String),
    /// `file:PATH`: a relative one is already resolved against the folder of the file that names it.
    File(PathBuf),
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
        }
    }
}

/// Endpoints that serve the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// At least one, and at least one whose weight is not zero.
    pub endpoints: Vec<Endpoint>,
    pub timeouts: UpstreamTimeouts,
    pub limits: UpstreamLimits,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub url: EndpointUrl,
    /// Share of the upstream's requests, relative to the other endpoints; 1, and 0 takes the endpoint out.
    pub weight: u32,
}

/// `http://HOST:PORT`; no path, query or user. Displayed in that form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// A name or an address; an IPv6 address stands here without its brackets.
    pub host: String,
    /// 80 where the URL has none; never 0.
    pub port: u16,
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "http://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "http://{}:{}", self.host, self.port)
        }
    }
}

/// Times that a request may spend on an upstream; none is zero.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamTimeouts {
    /// To connect; 1 s.
    pub connect: Duration,
    /// From the start of a try to the head of its response; 15 s.
    pub per_try: Duration,
    /// A body that stands still, and a pooled connection that is unused; 30 s.
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), per_try: Duration::from_secs(15), idle: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamLimits {
    /// Idle connections that each worker keeps; 1024, and 0 keeps none.
    pub connections: usize,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { connections: 1024 }
    }
}

/// One entry of a filter list: `use` a plugin or native filter, or splice a `chain`.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterUse {
    /// `config` is an empty object where the file gives none.
    Use { name: String, config: serde_json::Value, on_error: OnError },
    /// The name of a chain that exists.
    Chain(String),
}

/// What a failing plugin does to its request, by kind of failure; closed by default, `limit` always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnError {
    pub load: Failure,
    pub trap: Failure,
    pub deadline: Failure,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Failure {
    /// The request ends with an error.
    #[default]
    Closed,
    /// The request goes on as if the filter were not there.
    Open,
}

/// What every route begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    pub filters: Vec<FilterUse>,
    /// Time for a whole request; 30 s.
    pub timeout: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { filters: Vec::new(), timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: String,
    /// Key `match`.
    pub matches: Match,
    pub filters: Vec<FilterUse>,
    /// Names of `defaults.filters` (of a plugin, a native filter or a chain) that this route leaves out.
    pub skip: Vec<String>,
    /// Keys `upstream` or `respond`.
    pub target: Target,
    /// `None`: that of `defaults`.
    pub timeout: Option<Duration>,
    /// Overrides the rank of the path within a host; 0, and larger goes first.
    pub priority: i32,
}

/// What becomes of a request once its filters let it pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Upstream names with weights, not all zero; `upstream: users` is one name with weight 1.
    Upstream(Vec<(String, u32)>),
    Respond(Respond),
}

/// A fixed response.
#[derive(Debug, Clone, PartialEq)]
pub struct Respond {
    /// 200 to 599; 200 where the file gives none.
    pub status: u16,
    /// By name in lower case; neither framing nor hop-by-hop headers.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What a request must be for a route to take it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Match {
    /// Empty: all.
    pub listeners: Vec<String>,
    /// Empty: any. The syntax of a pattern is the router's to judge.
    pub hosts: Vec<String>,
    pub path: PathMatch,
    /// Empty: any.
    pub methods: Vec<String>,
    /// By name in lower case.
    pub headers: BTreeMap<String, FieldMatch>,
    pub query: BTreeMap<String, FieldMatch>,
}

/// Exact paths, prefixes and templates begin with `/`; templates and regexes are the router's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    Exact(String),
    Prefix(String),
    Template(String),
    Regex(String),
}

impl Default for PathMatch {
    /// Every path.
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// What a header or a query parameter must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldMatch {
    Equals(String),
    Regex(String),
    Present(bool),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Telemetry {
    pub access_log: AccessLog,
}

/// Only `output: off` exists so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessLog;

/// A size in bytes, written `64KiB`. Displayed in the largest unit that leaves no fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    pub const fn kib(kib: u64) -> Self {
        Self(kib << 10)
    }

    /// In memory; what no memory holds counts as all of it.
    pub fn in_memory(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}B", self.0)
    }
}
