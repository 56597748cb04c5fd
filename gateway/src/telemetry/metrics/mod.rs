//! Metrics of one gateway, in Prometheus's text format or in that of OpenMetrics.
//!
//! Rare events are counted here as they happen. What requests count lives with the workers that count it, and is handed
//! over at each scrape as [`Samples`]; `families` gives it its names.

mod families;
mod format;
mod listeners;
mod open_metrics;
mod requests;
mod routes;
mod samples;
mod upstreams;

pub use format::MetricsFormat;
pub use listeners::{CertificateSample, HandshakeSample};
pub use samples::{
    CircuitSample, EndpointSample, GuestSample, HookSample, KeySetSample, LimitSample, Samples, VersionSample,
};
pub use upstreams::UpstreamSample;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::process_collector::ProcessCollector;
use prometheus::{Gauge, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

/// The metrics of a gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    generation: IntGauge,
    reloads: IntCounterVec,
    reload_successful: IntGauge,
    reload_success_timestamp: Gauge,
    swaps: IntCounterVec,
    certificate_renewals: IntCounterVec,
    upgrades: IntCounterVec,
    admin_refused: IntCounterVec,
    overload: IntGauge,
    worker_lag: Gauge,
    refused: IntCounterVec,
}

impl Metrics {
    /// Metrics that have seen nothing yet.
    pub fn new() -> Self {
        let metrics = Self {
            registry: Registry::new(),
            generation: gauge("witgate_config_generation", "Number of the configuration that serves."),
            reloads: counters(
                "witgate_config_reloads_total",
                "Configurations read, by what asked for it and how it ended.",
                &["source", "outcome"],
            ),
            reload_successful: gauge(
                "witgate_config_last_reload_successful",
                "Whether the last configuration that was read now serves.",
            ),
            reload_success_timestamp: Gauge::new(
                "witgate_config_last_reload_success_timestamp_seconds",
                "When a configuration that was read last began to serve, in Unix time.",
            )
            .expect(VALID),
            swaps: counters(
                "witgate_plugin_swaps_total",
                "Changes of a plugin's version, by how they ended.",
                &["plugin", "outcome"],
            ),
            certificate_renewals: counters(
                "witgate_tls_certificate_renewals_total",
                "Certificates whose files changed, by how that ended.",
                &["listener", "outcome"],
            ),
            admin_refused: counters("witgate_admin_refused_total", ADMIN_REFUSED, &["reason"]),
            upgrades: counters(
                "witgate_upgrades_total",
                "Processes that were started to take this one's place, by whether they do.",
                &["outcome"],
            ),
            overload: gauge(
                "witgate_overload_state",
                "What is given up: 0 nothing, 1 keep-alive, 2 new requests, 3 new connections.",
            ),
            worker_lag: Gauge::new(
                "witgate_worker_lag_seconds",
                "How late the latest worker was, when last looked at.",
            )
            .expect(VALID),
            refused: counters(
                "witgate_clients_refused_total",
                "Connections that were not accepted, or closed for what the client did, by reason.",
                &["reason"],
            ),
        };
        let build_info =
            IntGaugeVec::new(Opts::new("witgate_build_info", "Always 1; the version is the label."), &["version"])
                .expect(VALID);
        build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let register = |collector| metrics.registry.register(collector).expect(DISTINCT);
        register(Box::new(build_info));
        register(Box::new(metrics.generation.clone()));
        register(Box::new(metrics.reloads.clone()));
        register(Box::new(metrics.reload_successful.clone()));
        register(Box::new(metrics.reload_success_timestamp.clone()));
        register(Box::new(metrics.swaps.clone()));
        register(Box::new(metrics.certificate_renewals.clone()));
        register(Box::new(metrics.upgrades.clone()));
        register(Box::new(metrics.admin_refused.clone()));
        register(Box::new(metrics.overload.clone()));
        register(Box::new(metrics.worker_lag.clone()));
        register(Box::new(metrics.refused.clone()));
        register(Box::new(ProcessCollector::for_self()));
        metrics
    }

    /// A configuration serves that was read because of `source`: `start`, `signal`, `admin`, `watch`.
    pub fn reloaded(&self, source: &str, generation: u64) {
        self.reloads.with_label_values(&[source, "ok"]).inc();
        self.reload_successful.set(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.reload_success_timestamp.set(now.as_secs_f64());
        self.generation(generation);
    }

    /// A configuration was read and refused.
    pub fn reload_failed(&self, source: &str) {
        self.reloads.with_label_values(&[source, "failed"]).inc();
        self.reload_successful.set(0);
    }

    /// Another generation serves, whatever made it.
    pub fn generation(&self, generation: u64) {
        self.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// The admin server did not let a request in.
    pub fn admin_refused(&self, reason: &str) {
        self.admin_refused.with_label_values(&[reason]).inc();
    }

    /// Another process took this one's place, or should have.
    pub fn upgraded(&self, outcome: &str) {
        self.upgrades.with_label_values(&[outcome]).inc();
    }

    /// A plugin's version changed, or should have.
    pub fn swapped(&self, plugin: &str, outcome: &str) {
        self.swaps.with_label_values(&[plugin, outcome]).inc();
    }

    /// A certificate was taken up because its file changed, or should have been.
    pub fn certificate_renewed(&self, listener: &str, outcome: &str) {
        self.certificate_renewals.with_label_values(&[listener, outcome]).inc();
    }

    /// What is given up, as a number, and how late the latest worker was.
    pub fn overload(&self, step: i64, late: Duration) {
        self.overload.set(step);
        self.worker_lag.set(late.as_secs_f64());
    }

    /// So many more clients were turned away for this reason.
    pub fn refused(&self, reason: &str, more: u64) {
        self.refused.with_label_values(&[reason]).inc_by(more);
    }

    /// Everything.
    pub fn render(&self, samples: &Samples, format: MetricsFormat) -> String {
        let mut all = self.registry.gather();
        all.extend(families::of(samples));
        all.extend(routes::of(samples));
        all.extend(listeners::of(samples));
        all.extend(requests::of(samples));
        match format {
            // Only a family without a metric can fail, and none of these is.
            MetricsFormat::Text => TextEncoder::new().encode_to_string(&all).unwrap_or_default(),
            MetricsFormat::OpenMetrics => open_metrics::encode(&all, |family, labels, bucket| {
                requests::exemplar(&samples.requests, family, labels, bucket)
            }),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect(VALID)
}

fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), labels).expect(VALID)
}

const VALID: &str = "names and labels are constants that Prometheus allows";
const DISTINCT: &str = "every metric has a name of its own";

const ADMIN_REFUSED: &str = "Requests that the admin server did not let in, by reason.";

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of a sample, without its value.
    fn value<'t>(text: &'t str, series: &str) -> &'t str {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    fn version() -> VersionSample {
        VersionSample {
            plugin: "jwt".to_owned(),
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
            hooks: vec![HookSample {
                hook: "request",
                outcomes: vec![("ok", 7), ("trap", 1)],
                buckets: vec![(0.000_001, 5), (0.1, 7)],
                sum_seconds: 0.25,
            }],
            memory_bytes: 4096,
            instances: vec![("idle", 2), ("busy", 0)],
            ..VersionSample::default()
        }
    }

    #[test]
    fn reloads_tell_what_asked_for_them_and_how_they_ended() {
        let metrics = Metrics::new();
        metrics.reloaded("start", 1);
        metrics.reload_failed("signal");
        let text = metrics.render(&Samples::default(), MetricsFormat::Text);
        assert_eq!(value(&text, r#"witgate_config_reloads_total{outcome="ok",source="start"}"#), "1");
        assert_eq!(value(&text, r#"witgate_config_reloads_total{outcome="failed",source="signal"}"#), "1");
        assert_eq!(value(&text, "witgate_config_last_reload_successful"), "0");
        assert_eq!(value(&text, "witgate_config_generation"), "1");
        assert!(value(&text, "witgate_config_last_reload_success_timestamp_seconds").starts_with('1'));
        metrics.reloaded("admin", 2);
        let text = metrics.render(&Samples::default(), MetricsFormat::Text);
        assert_eq!(value(&text, "witgate_config_last_reload_successful"), "1");
        assert_eq!(value(&text, "witgate_config_generation"), "2");
    }

    #[test]
    fn calls_of_a_plugin_are_a_counter_and_a_histogram_of_its_version() {
        let samples = Samples { versions: vec![version()], ..Samples::default() };
        let text = Metrics::new().render(&samples, MetricsFormat::Text);
        let labels = r#"hook="request",plugin="jwt",version="ba7816bf8f01""#;
        let calls = r#"witgate_plugin_calls_total{hook="request",outcome="trap",plugin="jwt",version="ba7816bf8f01"}"#;
        assert_eq!(value(&text, calls), "1");
        let bucket = |bound| format!(r#"witgate_plugin_duration_seconds_bucket{{{labels},le="{bound}"}}"#);
        assert_eq!(value(&text, &bucket("0.000001")), "5");
        assert_eq!(value(&text, &bucket("0.1")), "7");
        assert_eq!(value(&text, &bucket("+Inf")), "8", "a call beyond the last bound still counts");
        assert_eq!(value(&text, &format!("witgate_plugin_duration_seconds_sum{{{labels}}}")), "0.25");
        assert_eq!(value(&text, &format!("witgate_plugin_duration_seconds_count{{{labels}}}")), "8");
        assert_eq!(value(&text, r#"witgate_plugin_memory_bytes{plugin="jwt",version="ba7816bf8f01"}"#), "4096");
        let idle = r#"witgate_plugin_instances{plugin="jwt",state="idle",version="ba7816bf8f01"}"#;
        assert_eq!(value(&text, idle), "2");
        assert!(text.contains(r#"witgate_plugin_info{plugin="jwt",sha256="ba7816bf8f01cfea"#), "{text}");
    }

    #[test]
    fn overrides_swaps_and_what_plugins_count_themselves_are_told() {
        let metrics = Metrics::new();
        metrics.swapped("jwt", "ok");
        metrics.swapped("jwt", "refused");
        let sample = |value| GuestSample { plugin: "jwt".to_owned(), name: "hits".to_owned(), value };
        let text = metrics.render(
            &Samples {
                overrides: vec![("jwt".to_owned(), true), ("audit".to_owned(), false)],
                counters: vec![sample(3.0)],
                gauges: vec![sample(0.5)],
                ..Samples::default()
            },
            MetricsFormat::Text,
        );
        assert_eq!(value(&text, r#"witgate_plugin_swaps_total{outcome="refused",plugin="jwt"}"#), "1");
        assert_eq!(value(&text, r#"witgate_plugin_override{plugin="jwt"}"#), "1");
        assert_eq!(value(&text, r#"witgate_plugin_override{plugin="audit"}"#), "0");
        assert_eq!(value(&text, r#"witgate_guest_counter_total{name="hits",plugin="jwt"}"#), "3");
        assert_eq!(value(&text, r#"witgate_guest_gauge{name="hits",plugin="jwt"}"#), "0.5");
    }

    #[test]
    fn key_sets_tell_how_their_loads_ended() {
        let sample = |name: &str, last_good| KeySetSample {
            name: name.to_owned(),
            keys: 2,
            loads: [("ok", 5), ("failed", 3)],
            last_good,
        };
        let key_sets = vec![sample("idp", Some(1_800_000_000.5)), sample("new", None)];
        let text = Metrics::new().render(&Samples { key_sets, ..Samples::default() }, MetricsFormat::Text);
        assert_eq!(value(&text, r#"witgate_key_set_keys{key_set="idp"}"#), "2");
        assert_eq!(value(&text, r#"witgate_key_set_loads_total{key_set="idp",outcome="failed"}"#), "3");
        assert_eq!(value(&text, r#"witgate_key_set_loads_total{key_set="new",outcome="ok"}"#), "5");
        let last_good = "witgate_key_set_last_good_timestamp_seconds";
        assert_eq!(value(&text, &format!(r#"{last_good}{{key_set="idp"}}"#)), "1800000000.5");
        assert!(!text.contains(&format!(r#"{last_good}{{key_set="new"}}"#)), "it never was");
    }

    #[test]
    fn routes_tell_the_state_of_their_circuits_and_what_their_limits_decided() {
        let circuit = |open: bool, refused| CircuitSample {
            route: "users".to_owned(),
            states: [("closed", !open), ("open", open), ("half-open", false)],
            refused,
        };
        let decisions = [("allowed", 7), ("limited", 2), ("unavailable", 0)];
        let text = Metrics::new().render(
            &Samples {
                circuits: vec![circuit(false, 1), circuit(true, 2)],
                limits: vec![LimitSample { route: "users".to_owned(), decisions }],
                ..Samples::default()
            },
            MetricsFormat::Text,
        );
        assert_eq!(value(&text, r#"witgate_circuit_state{route="users",state="open"}"#), "1");
        assert_eq!(value(&text, r#"witgate_circuit_state{route="users",state="half-open"}"#), "0");
        assert_eq!(value(&text, r#"witgate_circuit_refused_total{route="users"}"#), "3");
        assert_eq!(value(&text, r#"witgate_rate_limit_total{decision="limited",route="users"}"#), "2");
    }

    #[test]
    fn two_gateways_of_one_process_count_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.swapped("jwt", "ok");
        assert!(one.render(&Samples::default(), MetricsFormat::Text).contains("witgate_plugin_swaps_total"));
        assert!(!other.render(&Samples::default(), MetricsFormat::Text).contains("witgate_plugin_swaps_total"));
    }

    #[test]
    fn the_process_and_the_build_are_told() {
        let text = Metrics::new().render(&Samples::default(), MetricsFormat::Text);
        for name in ["process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"] {
            assert!(value(&text, name).parse::<f64>().is_ok(), "{name}");
        }
        let build = format!(r#"witgate_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"));
        assert_eq!(value(&text, &build), "1");
    }
}
