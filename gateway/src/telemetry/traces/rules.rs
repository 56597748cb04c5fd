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

impl Default for TracingRules {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4318/v1/traces".to_owned(),
            sample: 1.0,
            errors: false,
            name: "witgate".to_owned(),
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            queue_spans_max: 16_384,
        }
    }
}
