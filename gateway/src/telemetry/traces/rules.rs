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
    /// Whether anybody's word counts at all.
    pub heeds_parents: bool,
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

impl TracingRules {
    /// The same with a sampler as `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name it (OpenTelemetry, "Environment Variable
    /// Specification"). `None` when it is not one of those that take at most a share.
    #[must_use]
    pub fn sampled_as(&self, sampler: &str, argument: Option<&str>) -> Option<Self> {
        let (kind, heeds_parents) = match sampler.strip_prefix("parentbased_") {
            Some(kind) => (kind, true),
            None => (sampler, false),
        };
        let sample = match kind {
            "always_on" => 1.0,
            "always_off" => 0.0,
            "traceidratio" => argument.map_or(Some(1.0), |share| share.trim().parse().ok())?,
            _ => return None,
        };
        (0.0..=1.0).contains(&sample).then(|| Self { sample, heeds_parents, ..self.clone() })
    }
}

impl Default for TracingRules {
    fn default() -> Self {
        Self {
            endpoint: "http://127.0.0.1:4318/v1/traces".to_owned(),
            sample: 1.0,
            trust: ParentTrust::default(),
            heeds_parents: true,
            errors: false,
            name: "witgate".to_owned(),
            headers: BTreeMap::new(),
            timeout: Duration::from_secs(10),
            queue_spans_max: 16_384,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_have_the_names_of_the_specification() {
        for (sampler, argument, expected) in [
            ("always_on", None, Some((1.0, false))),
            ("always_off", Some("1"), Some((0.0, false))),
            ("traceidratio", Some("0.25"), Some((0.25, false))),
            ("traceidratio", None, Some((1.0, false))),
            ("parentbased_always_on", None, Some((1.0, true))),
            ("parentbased_always_off", None, Some((0.0, true))),
            ("parentbased_traceidratio", Some(" 0.5 "), Some((0.5, true))),
            ("traceidratio", Some("5%"), None),
            ("traceidratio", Some("1.5"), None),
            ("traceidratio", Some("NaN"), None),
            ("xray", None, None),
            ("parentbased_jaeger_remote", None, None),
        ] {
            let rules = TracingRules { sample: 0.75, ..TracingRules::default() }.sampled_as(sampler, argument);
            assert_eq!(rules.map(|rules| (rules.sample, rules.heeds_parents)), expected, "{sampler} {argument:?}");
        }
    }
}
