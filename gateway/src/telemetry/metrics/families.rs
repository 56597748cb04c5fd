//! The metric families of plugins, key sets and endpoints, from the samples of one scrape.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::{EndpointSample, GuestSample, HookSample, KeySetSample, Samples, VersionSample, upstreams};

/// All that have a metric.
pub(super) fn of(samples: &Samples) -> Vec<MetricFamily> {
    let all = of_versions(&samples.versions).into_iter().chain(of_names(samples)).chain(of_key_sets(&samples.key_sets));
    let all = all
        .chain([of_endpoints(&samples.endpoints)])
        .chain(of_sources(samples))
        .chain(upstreams::of(&samples.upstreams));
    // The format has no way to say that a family is empty.
    all.filter(|family| !family.get_metric().is_empty()).collect()
}

fn of_versions(samples: &[VersionSample]) -> [MetricFamily; 8] {
    let versions = || samples.iter();
    let hooks = || versions().flat_map(|version| version.hooks.iter().map(move |hook| (version, hook)));
    [
        family(
            "witgate_plugin_info",
            "Always 1; the whole digest of each version is the label.",
            MetricType::GAUGE,
            versions().map(|version| gauge(1.0, [&version.labels()[..], &[("sha256", &version.sha256)]].concat())),
        ),
        family(
            "witgate_plugin_calls_total",
            "Calls of a plugin's hooks, by how they ended.",
            MetricType::COUNTER,
            hooks().flat_map(|(version, hook)| calls(version, hook)),
        ),
        family(
            "witgate_plugin_duration_seconds",
            "Time that calls of a plugin's hooks took.",
            MetricType::HISTOGRAM,
            hooks().map(|(version, hook)| durations(version, hook)),
        ),
        family(
            "witgate_plugin_memory_bytes",
            "Linear memory that live instances hold.",
            MetricType::GAUGE,
            versions().map(|version| gauge(number(version.memory_bytes), version.labels().to_vec())),
        ),
        family(
            "witgate_plugin_instances",
            "Live instances, by what they are doing.",
            MetricType::GAUGE,
            versions().flat_map(|version| by(version, "state", &version.instances, gauge)),
        ),
        family(
            "witgate_plugin_restarts_total",
            "Instances made in the place of failed ones.",
            MetricType::COUNTER,
            versions().map(|version| counter(number(version.restarts), version.labels().to_vec())),
        ),
        family(
            "witgate_plugin_skipped_total",
            "Calls left out while the breaker of a plugin that fails open was open.",
            MetricType::COUNTER,
            versions().map(|version| counter(number(version.skipped), version.labels().to_vec())),
        ),
        family(
            "witgate_plugin_shadow_total",
            "Verdicts of shadow runs, by how they compared with what was served.",
            MetricType::COUNTER,
            versions().flat_map(|version| by(version, "outcome", &version.shadow, counter)),
        ),
    ]
}

/// Of what concerns a plugin whatever its version.
fn of_names(samples: &Samples) -> [MetricFamily; 4] {
    [
        family(
            "witgate_plugin_override",
            "Whether an override, and not the configuration, decides what serves.",
            MetricType::GAUGE,
            samples.overrides.iter().map(|(plugin, set)| gauge(f64::from(u8::from(*set)), vec![("plugin", plugin)])),
        ),
        family(
            "witgate_guest_counter_total",
            "What plugins count themselves.",
            MetricType::COUNTER,
            samples.counters.iter().map(|sample| counter(sample.value, sample.labels())),
        ),
        family(
            "witgate_guest_gauge",
            "What plugins measure themselves.",
            MetricType::GAUGE,
            samples.gauges.iter().map(|sample| gauge(sample.value, sample.labels())),
        ),
        family(
            "witgate_guest_dropped_total",
            "What plugins wrote under names that are malformed, too many, or in use for the other kind.",
            MetricType::COUNTER,
            samples.dropped.iter().map(|(plugin, writes)| counter(number(*writes), vec![("plugin", plugin)])),
        ),
    ]
}

fn of_key_sets(samples: &[KeySetSample]) -> [MetricFamily; 3] {
    [
        family(
            "witgate_key_set_keys",
            "Keys in use, the last good ones where a load failed.",
            MetricType::GAUGE,
            samples.iter().map(|set| gauge(number(set.keys), set.labels())),
        ),
        family(
            "witgate_key_set_loads_total",
            "Loads of a key set, by how they ended.",
            MetricType::COUNTER,
            samples.iter().flat_map(|set| {
                let metric =
                    |(outcome, loads)| counter(number(loads), [set.labels(), vec![("outcome", outcome)]].concat());
                set.loads.into_iter().map(metric)
            }),
        ),
        family(
            "witgate_key_set_last_good_timestamp_seconds",
            "When a load last found good keys, in Unix time.",
            MetricType::GAUGE,
            samples.iter().filter_map(|set| Some(gauge(set.last_good?, set.labels()))),
        ),
    ]
}

fn of_endpoints(samples: &[EndpointSample]) -> MetricFamily {
    family(
        "witgate_upstream_healthy",
        "Whether neither checks nor failed requests speak against an endpoint.",
        MetricType::GAUGE,
        samples.iter().map(|sample| {
            let labels = vec![("upstream", &*sample.upstream), ("endpoint", &*sample.endpoint)];
            gauge(f64::from(u8::from(sample.is_healthy)), labels)
        }),
    )
}

fn of_sources(samples: &Samples) -> [MetricFamily; 2] {
    let up = |is_up: bool, labels: Vec<Label<'_>>| gauge(f64::from(u8::from(is_up)), labels);
    [
        family(
            "witgate_config_source_up",
            "Whether the source of the configuration could be read when it was asked last.",
            MetricType::GAUGE,
            std::iter::once(up(samples.has_config_source, Vec::new())),
        ),
        family(
            "witgate_upstream_discovery_up",
            "Whether the source of an upstream's endpoints gave a good answer when it was asked last.",
            MetricType::GAUGE,
            samples.discoveries.iter().map(|(upstream, is_up)| up(*is_up, vec![("upstream", upstream)])),
        ),
    ]
}

/// A label's name and value.
pub(super) type Label<'a> = (&'static str, &'a str);

impl VersionSample {
    fn labels(&self) -> [Label<'_>; 2] {
        let version = self.sha256.get(..VERSION_DIGITS).unwrap_or(&self.sha256);
        [("plugin", &self.plugin), ("version", version)]
    }
}

impl GuestSample {
    fn labels(&self) -> Vec<Label<'_>> {
        vec![("name", &self.name), ("plugin", &self.plugin)]
    }
}

impl KeySetSample {
    fn labels(&self) -> Vec<Label<'_>> {
        vec![("key_set", &self.name)]
    }
}

fn calls<'a>(version: &'a VersionSample, hook: &'a HookSample) -> impl Iterator<Item = Metric> {
    hook.outcomes.iter().map(|(outcome, calls)| {
        let labels = [&version.labels()[..], &[("hook", hook.hook), ("outcome", *outcome)]].concat();
        counter(number(*calls), labels)
    })
}

fn durations(version: &VersionSample, hook: &HookSample) -> Metric {
    let count = hook.outcomes.iter().map(|(_, calls)| calls).sum();
    let labels = [&version.labels()[..], &[("hook", hook.hook)]].concat();
    histogram(hook.buckets.iter().copied(), count, hook.sum_seconds, labels)
}

/// Bounds in seconds, each with the count of what took no longer.
pub(super) fn histogram(
    buckets: impl Iterator<Item = (f64, u64)>,
    count: u64,
    sum_seconds: f64,
    labels: Vec<Label<'_>>,
) -> Metric {
    let buckets = buckets.map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_sum(sum_seconds);
    histogram.set_sample_count(count);
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}

/// One metric for each value of a label.
fn by<'a>(
    version: &'a VersionSample,
    label: &'static str,
    counts: &'a [(&'static str, u64)],
    metric: fn(f64, Vec<Label<'_>>) -> Metric,
) -> impl Iterator<Item = Metric> {
    counts
        .iter()
        .map(move |(value, count)| metric(number(*count), [&version.labels()[..], &[(label, *value)]].concat()))
}

pub(super) fn family(name: &str, help: &str, kind: MetricType, metrics: impl Iterator<Item = Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}

pub(super) fn counter(value: f64, labels: Vec<Label<'_>>) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn gauge(value: f64, labels: Vec<Label<'_>>) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

/// Labels in the order of their names, as the registry writes its own.
fn labelled(mut labels: Vec<Label<'_>>) -> Metric {
    labels.sort_unstable();
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

#[allow(clippy::cast_precision_loss, reason = "the format has floats only; counts below 2^53 are exact")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// Digits of a digest that tell versions apart.
const VERSION_DIGITS: usize = 12;
