//! Which requests are traced, and where their spans go.

use std::collections::BTreeMap;
use std::time::Duration;

/// Tracing as the configuration wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct TracingRules {
    /// Where spans are sent, with its path.
    pub endpoint: String,
    /// The share of the traces begun here that is sampled, from 0 to 1, where a route does not say otherwise.
    pub sample: f64,
    /// Whose word on a trace counts.
    pub trust: ParentTrust,
    /// Whether a failed request is told of though its trace is not sampled.
    pub errors: bool,
    /// The name that this gateway has in traces.
    pub name: String,
    /// Header fields of each export, by name.
    pub headers: BTreeMap<String, String>,
    /// How long an export may take, with all its tries.
    pub timeout: Duration,
    /// Spans that wait to be sent, over all workers; further ones are given up.
    pub queue_spans_max: usize,
}

/// Whose `traceparent` is believed. Anybody can write one; who may decide with it what is sampled can flood the collector, and who may choose
/// the trace can write into those of others (W3C Trace Context §7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParentTrust {
    /// Peers among the listener's trusted proxies decide; the traces of others are continued, and sampled as those that begin here.
    #[default]
    TrustedProxies,
    /// Everybody decides.
    All,
    /// Nobody does: each request begins a trace, with a link to where its client says it belongs.
    None,
}

impl Default for TracingRules {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4318/v1/traces".to_owned(),
            sample: 1.0,
            trust: ParentTrust::default(),
            errors: false,
            name: "witgate".to_owned(),
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            queue_spans_max: 16_384,
        }
    }
}
