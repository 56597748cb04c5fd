//! The metric families of listeners: their certificates, and how handshakes end.

use prometheus::proto::{MetricFamily, MetricType};

use super::Samples;
use super::families::{counter, family, gauge, number};

/// A certificate of a listener.
#[derive(Debug, Clone)]
pub struct CertificateSample {
    pub listener: String,
    /// As the configuration writes its file.
    pub certificate: String,
    /// In seconds of Unix time.
    pub not_after: i64,
}

/// The handshakes of a listener, over all workers.
#[derive(Debug, Clone)]
pub struct HandshakeSample {
    pub listener: String,
    /// By how they ended.
    pub outcomes: Vec<(&'static str, u64)>,
}

/// All that have a metric.
pub(super) fn of(samples: &Samples) -> Vec<MetricFamily> {
    let expiries = samples.certificates.iter().map(|sample| {
        let labels = vec![("listener", &*sample.listener), ("certificate", &*sample.certificate)];
        #[allow(clippy::cast_precision_loss, reason = "the format has floats only; seconds below 2^53 are exact")]
        gauge(sample.not_after as f64, labels)
    });
    let handshakes = samples.handshakes.iter().flat_map(|sample| {
        let metric = |(outcome, count): &(&'static str, u64)| {
            counter(number(*count), vec![("listener", &*sample.listener), ("outcome", *outcome)])
        };
        sample.outcomes.iter().map(metric)
    });
    let families = [
        family(
            "witgate_tls_certificate_expiry_timestamp_seconds",
            "When a certificate that serves expires, in Unix time.",
            MetricType::GAUGE,
            expiries,
        ),
        family(
            "witgate_tls_handshakes_total",
            "Handshakes with clients, by how they ended.",
            MetricType::COUNTER,
            handshakes,
        ),
    ];
    families.into_iter().filter(|family| !family.get_metric().is_empty()).collect()
}
