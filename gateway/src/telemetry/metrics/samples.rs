//! What is known of plugins, routes, listeners and upstreams at the moment of a scrape, handed over by those who count it.

use super::listeners::{CertificateSample, HandshakeSample};
use super::upstreams::UpstreamSample;
use crate::telemetry::requests::RequestSamples;

/// What is known of plugins, routes and upstreams at the moment of a scrape.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    pub versions: Vec<VersionSample>,
    /// Declared plugins, and whether an override decides what serves.
    pub overrides: Vec<(String, bool)>,
    /// What plugins count themselves, through the capability `metrics`.
    pub counters: Vec<GuestSample>,
    pub gauges: Vec<GuestSample>,
    /// Plugins, and what they wrote in vain: under names that are malformed, too many, or in use for the other kind.
    pub dropped: Vec<(String, u64)>,
    pub key_sets: Vec<KeySetSample>,
    pub circuits: Vec<CircuitSample>,
    pub limits: Vec<LimitSample>,
    pub endpoints: Vec<EndpointSample>,
    /// Whether the source of the configuration could be read last.
    pub has_config_source: bool,
    /// Upstreams that are discovered, and whether their source gave a good answer last.
    pub discoveries: Vec<(String, bool)>,
    pub upstreams: Vec<UpstreamSample>,
    pub certificates: Vec<CertificateSample>,
    pub handshakes: Vec<HandshakeSample>,
    pub requests: RequestSamples,
    /// Listeners, and their open connections.
    pub connections: Vec<(String, u64)>,
    /// Lines of the access log that could not be written.
    pub access_log_dropped: u64,
    /// Spans by what became of them; empty where requests are not traced.
    pub spans: Vec<(&'static str, u64)>,
}

/// A circuit of a route; routes seldom have two.
#[derive(Debug, Clone)]
pub struct CircuitSample {
    pub route: String,
    /// The states, and whether it is in them.
    pub states: [(&'static str, bool); 3],
    /// Requests that it did not let pass.
    pub refused: u64,
}

/// What the limits of a route decided.
#[derive(Debug, Clone)]
pub struct LimitSample {
    pub route: String,
    pub decisions: [(&'static str, u64); 3],
}

/// An endpoint of an upstream.
#[derive(Debug, Clone)]
pub struct EndpointSample {
    pub upstream: String,
    /// `HOST:PORT`.
    pub endpoint: String,
    pub is_healthy: bool,
}

/// One version of a declared plugin, summed over all workers.
#[derive(Debug, Clone, Default)]
pub struct VersionSample {
    pub plugin: String,
    /// The component's SHA-256 in hex; its first 12 digits are the label `version`.
    pub sha256: String,
    pub hooks: Vec<HookSample>,
    pub memory_bytes: u64,
    /// Live instances by state.
    pub instances: Vec<(&'static str, u64)>,
    /// Instances that were made in the place of failed ones.
    pub restarts: u64,
    /// Calls that the breaker of a plugin that fails open left out.
    pub skipped: u64,
    /// Verdicts of a shadow run, by how they compared with what was served.
    pub shadow: Vec<(&'static str, u64)>,
}

/// The calls of one hook.
#[derive(Debug, Clone, Default)]
pub struct HookSample {
    pub hook: &'static str,
    /// Calls by how they ended.
    pub outcomes: Vec<(&'static str, u64)>,
    /// Ascending bounds in seconds, each with the calls that took no longer.
    pub buckets: Vec<(f64, u64)>,
    pub sum_seconds: f64,
}

/// A number that a plugin gave a name.
#[derive(Debug, Clone)]
pub struct GuestSample {
    pub plugin: String,
    pub name: String,
    pub value: f64,
}

/// A key set of the configuration.
#[derive(Debug, Clone)]
pub struct KeySetSample {
    pub name: String,
    /// Keys in use.
    pub keys: u64,
    /// Loads by how they ended: `ok` and `failed`.
    pub loads: [(&'static str, u64); 2],
    /// When a load last found good keys, in seconds of Unix time.
    pub last_good: Option<f64>,
}
