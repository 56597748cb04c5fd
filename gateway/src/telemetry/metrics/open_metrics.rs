//! The OpenMetrics text format 1.0.0, for scrapers that ask for it: the same families as always, with exemplars.

use std::fmt::Write as _;
use std::time::UNIX_EPOCH;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use crate::telemetry::requests::Exemplar;

/// Writes the families. `exemplar` knows those of a histogram: by its family's name, its labels, and the place of a bucket.
pub(super) fn encode<'e>(
    families: &[MetricFamily],
    exemplar: impl Fn(&str, &[LabelPair], usize) -> Option<&'e Exemplar>,
) -> String {
    let mut text = String::new();
    for family in families {
        // A counter's family has the name without the ending that its samples have.
        let (name, kind) = match family.get_field_type() {
            MetricType::COUNTER => (family.name().strip_suffix("_total").unwrap_or(family.name()), "counter"),
            MetricType::HISTOGRAM => (family.name(), "histogram"),
            _ => (family.name(), "gauge"),
        };
        let _ = writeln!(text, "# TYPE {name} {kind}\n# HELP {name} {}", Escaped(family.help()));
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::COUNTER => {
                    sample(&mut text, name, "_total", metric, None, metric.get_counter().get_value())
                }
                MetricType::HISTOGRAM => histogram(&mut text, name, metric, &exemplar),
                _ => sample(&mut text, name, "", metric, None, metric.get_gauge().get_value()),
            }
            text.push('\n');
        }
    }
    text.push_str("# EOF\n");
    text
}

fn histogram<'e>(
    text: &mut String,
    name: &str,
    metric: &Metric,
    exemplar: &impl Fn(&str, &[LabelPair], usize) -> Option<&'e Exemplar>,
) {
    let histogram = metric.get_histogram();
    let bounded = histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let all = bounded.chain([(f64::INFINITY, histogram.get_sample_count())]);
    for (place, (bound, count)) in all.enumerate() {
        let bound = spelled(bound);
        sample(text, name, "_bucket", metric, Some(&bound), count);
        if let Some(Exemplar { trace, took, at }) = exemplar(name, metric.get_label(), place) {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let trace = String::from_utf8_lossy(trace);
            let _ = write!(text, " # {{trace_id=\"{trace}\"}} {} {:.3}", took.as_secs_f64(), at.as_secs_f64());
        }
        text.push('\n');
    }
    sample(text, name, "_sum", metric, None, histogram.get_sample_sum());
    text.push('\n');
    sample(text, name, "_count", metric, None, histogram.get_sample_count());
}

/// A bound, always with a point: the format wants one spelling of each.
fn spelled(bound: f64) -> String {
    if bound.is_infinite() {
        return "+Inf".to_owned();
    }
    let spelled = bound.to_string();
    if spelled.contains('.') { spelled } else { spelled + ".0" }
}

/// A line without its end.
fn sample(
    text: &mut String,
    name: &str,
    ending: &str,
    metric: &Metric,
    bound: Option<&str>,
    value: impl std::fmt::Display,
) {
    let _ = write!(text, "{name}{ending}");
    let labels = metric.get_label().iter().map(|label| (label.name(), label.value()));
    for (number, (name, value)) in labels.chain(bound.map(|bound| ("le", bound))).enumerate() {
        let _ = write!(text, "{}{name}=\"{}\"", if number == 0 { '{' } else { ',' }, Escaped(value));
    }
    let end = if metric.get_label().is_empty() && bound.is_none() { "" } else { "}" };
    let _ = write!(text, "{end} {value}");
}

/// A text between quotes, or to the end of a line.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::families::{counter, family, gauge, histogram};
    use super::*;

    #[test]
    fn families_are_written_as_the_format_has_them() {
        let buckets = [(0.5, 1), (1.0, 2)];
        let families = [
            family(
                "a_total",
                "Said \"twice\".",
                MetricType::COUNTER,
                [counter(3.0, vec![("x", "a\\b\"c\nd")])].into_iter(),
            ),
            family("b", "B.", MetricType::GAUGE, [gauge(0.25, Vec::new())].into_iter()),
            family(
                "c_seconds",
                "C.",
                MetricType::HISTOGRAM,
                [histogram(buckets.into_iter(), 3, 4.5, vec![("route", "r")])].into_iter(),
            ),
        ];
        let exemplar = Exemplar {
            trace: *b"0af7651916cd43dd8448eb211c80319c",
            took: Duration::from_millis(750),
            at: UNIX_EPOCH + Duration::from_millis(1_800_000_000_500),
        };
        let text = encode(&families, |name, labels, place| {
            (name == "c_seconds" && labels[0].value() == "r" && place == 1).then_some(&exemplar)
        });
        let expected = r#"# TYPE a counter
# HELP a Said \"twice\".
a_total{x="a\\b\"c\nd"} 3
# TYPE b gauge
# HELP b B.
b 0.25
# TYPE c_seconds histogram
# HELP c_seconds C.
c_seconds_bucket{route="r",le="0.5"} 1
c_seconds_bucket{route="r",le="1.0"} 2 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.75 1800000000.500
c_seconds_bucket{route="r",le="+Inf"} 3
c_seconds_sum{route="r"} 4.5
c_seconds_count{route="r"} 3
# EOF
"#;
        assert_eq!(text, expected);
    }
}
