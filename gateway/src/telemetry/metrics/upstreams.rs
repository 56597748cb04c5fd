//! The metric families of upstreams, from the samples of one scrape.

use prometheus::proto::{MetricFamily, MetricType};

use super::families::{Label, counter, family, gauge, number};

/// One upstream, over all workers.
#[derive(Debug, Clone, Default)]
pub struct UpstreamSample {
    pub name: String,
    /// Further tries by how they ended.
    pub retries: Vec<(&'static str, u64)>,
    /// Copies of other upstreams' requests, by what became of them.
    pub mirrored: Vec<(&'static str, u64)>,
    /// What is under way, waiting and open, by the name of its limit.
    pub load: Vec<(&'static str, u64)>,
}

pub(super) fn of(samples: &[UpstreamSample]) -> [MetricFamily; 3] {
    [
        family(
            "witgate_retries_total",
            "Further tries of requests, by how they ended.",
            MetricType::COUNTER,
            by(samples, "outcome", |upstream| &upstream.retries).map(|(labels, count)| counter(number(count), labels)),
        ),
        family(
            "witgate_mirrored_total",
            "Copies of requests made for this upstream, by what became of them.",
            MetricType::COUNTER,
            by(samples, "outcome", |upstream| &upstream.mirrored).map(|(labels, count)| counter(number(count), labels)),
        ),
        family(
            "witgate_upstream_load",
            "What counts against the limits of this upstream.",
            MetricType::GAUGE,
            by(samples, "limit", |upstream| &upstream.load).map(|(labels, count)| gauge(number(count), labels)),
        ),
    ]
}

fn by<'s>(
    samples: &'s [UpstreamSample],
    label: &'static str,
    counts: fn(&UpstreamSample) -> &[(&'static str, u64)],
) -> impl Iterator<Item = (Vec<Label<'s>>, u64)> {
    samples.iter().flat_map(move |upstream| {
        let labelled = move |&(value, count)| (vec![("upstream", upstream.name.as_str()), (label, value)], count);
        counts(upstream).iter().map(labelled)
    })
}
