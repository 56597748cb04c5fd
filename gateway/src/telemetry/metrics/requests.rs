//! The metric families of requests, from what the workers counted.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::Samples;
use super::families::{Label, counter, family, gauge, histogram, number};
use crate::telemetry::requests::{CLASSES, Exemplar, HistogramTotals, METHODS, RequestSamples, code_name};

/// All that have a metric.
pub(super) fn of(samples: &Samples) -> Vec<MetricFamily> {
    let families = of_requests(&samples.requests).into_iter().chain(of_gateway(samples));
    families.filter(|family| !family.get_metric().is_empty()).collect()
}

fn of_requests(samples: &RequestSamples) -> [MetricFamily; 5] {
    [
        family(
            "witgate_http_requests_total",
            "Requests that are over, by the status that they were answered with.",
            MetricType::COUNTER,
            requests(samples),
        ),
        family(
            DURATIONS,
            "Time from a request's head to the end of its response's body.",
            MetricType::HISTOGRAM,
            samples.times.iter().flat_map(|(route, totals)| {
                CLASSES
                    .iter()
                    .zip(&totals.durations)
                    .filter(|(_, durations)| !durations.is_empty())
                    .map(move |(class, durations)| times(durations, vec![("route", route), ("code_class", class)]))
            }),
        ),
        family(
            "witgate_overhead_seconds",
            "The gateway's own time of a request: all of it less the time that its upstream took.",
            MetricType::HISTOGRAM,
            samples.times.iter().map(|(route, totals)| times(&totals.overhead, vec![("route", route)])),
        ),
        family(
            "witgate_upstream_request_duration_seconds",
            "Time from the beginning of a try at an upstream to the head of its response, or to its failure.",
            MetricType::HISTOGRAM,
            samples.upstreams.iter().map(|(upstream, tries)| times(tries, vec![("upstream", upstream)])),
        ),
        family(
            "witgate_filter_duration_seconds",
            "Time that a filter's hooks took; a request and its response count apart.",
            MetricType::HISTOGRAM,
            samples
                .filters
                .iter()
                .map(|((route, filter), calls)| times(calls, vec![("route", route), ("filter", filter)])),
        ),
    ]
}

fn of_gateway(samples: &Samples) -> [MetricFamily; 4] {
    [
        family(
            "witgate_http_requests_in_flight",
            "Requests whose response has not left yet.",
            MetricType::GAUGE,
            [gauge(number(samples.requests.in_flight), Vec::new())].into_iter(),
        ),
        family(
            "witgate_connections",
            "Open connections of clients.",
            MetricType::GAUGE,
            samples.connections.iter().map(|(listener, open)| gauge(number(*open), vec![("listener", listener)])),
        ),
        family(
            "witgate_access_log_dropped_total",
            "Lines of the access log that were given up, because they could not be written fast enough or at all.",
            MetricType::COUNTER,
            [counter(number(samples.access_log_dropped), Vec::new())].into_iter(),
        ),
        family(
            "witgate_otlp_spans_total",
            "Spans for the collector, by what became of them.",
            MetricType::COUNTER,
            samples.spans.iter().map(|(outcome, count)| counter(number(*count), vec![("outcome", outcome)])),
        ),
    ]
}

/// A traced request whose time is in this bucket, where there was one.
pub(super) fn exemplar<'s>(
    samples: &'s RequestSamples,
    family: &str,
    labels: &[LabelPair],
    bucket: usize,
) -> Option<&'s Exemplar> {
    if family != DURATIONS {
        return None;
    }
    let label = |name| labels.iter().find(|label| label.name() == name).map(LabelPair::value);
    let class = CLASSES.iter().position(|class| Some(*class) == label("code_class"))?;
    samples.times.get(label("route")?)?.durations[class].exemplar(bucket)
}

fn requests(samples: &RequestSamples) -> impl Iterator<Item = Metric> {
    samples.requests.iter().flat_map(|((listener, route), totals)| {
        totals.requests.iter().map(move |((method, code), count)| {
            let code = code_name(*code);
            let labels =
                vec![("listener", &**listener), ("route", route), ("method", METHODS[*method]), ("code", &code)];
            counter(number(*count), labels)
        })
    })
}

fn times(totals: &HistogramTotals, labels: Vec<Label<'_>>) -> Metric {
    let buckets = totals.cumulative().map(|(bound, count)| (bound.as_secs_f64(), count));
    histogram(buckets, totals.count(), totals.sum().as_secs_f64(), labels)
}

const DURATIONS: &str = "witgate_http_request_duration_seconds";

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use http::StatusCode;

    use super::super::{Metrics, MetricsFormat};
    use super::*;
    use crate::telemetry::{Ended, Meter, MetricRules, Names, Requests, RouteNames};

    fn ended(method: usize, status: StatusCode) -> Ended {
        Ended { method, status, duration: Duration::from_millis(3), overhead: Duration::from_micros(30), trace: None }
    }

    fn rendered(all: &Requests, rules: &MetricRules) -> String {
        let samples = Samples { requests: all.samples(rules), ..Samples::default() };
        Metrics::new().render(&samples, MetricsFormat::Text)
    }

    #[test]
    fn requests_are_told_by_listener_route_method_and_code() {
        let all = Arc::new(Requests::default());
        let routes = RouteNames::new(["users".into()]);
        let names = Names { listeners: vec!["http".into()], routes, upstreams: vec!["origin".into()] };
        let worker = Meter::new(all.clone());
        let table = worker.table(names, &MetricRules::default());
        let http = "http".into();
        for (route, method, status) in
            [(Some(0), 0, StatusCode::OK), (Some(0), 9, StatusCode::OK), (None, 2, StatusCode::NOT_FOUND)]
        {
            table.begin();
            table.end((0, &http), route, &ended(method, status));
        }
        table.begin();
        table.tried(0, Duration::from_micros(700));
        let text = rendered(&all, &MetricRules::default());
        for line in [
            r#"witgate_http_requests_total{code="200",listener="http",method="GET",route="users"} 1"#,
            r#"witgate_http_requests_total{code="200",listener="http",method="other",route="users"} 1"#,
            r#"witgate_http_requests_total{code="404",listener="http",method="POST",route="-"} 1"#,
            r#"witgate_http_request_duration_seconds_bucket{code_class="2xx",route="users",le="0.0025"} 0"#,
            r#"witgate_http_request_duration_seconds_bucket{code_class="2xx",route="users",le="0.005"} 2"#,
            r#"witgate_overhead_seconds_bucket{route="users",le="0.00005"} 2"#,
            r#"witgate_upstream_request_duration_seconds_count{upstream="origin"} 1"#,
            "witgate_http_requests_in_flight 1",
            "witgate_access_log_dropped_total 0",
        ] {
            assert!(text.lines().any(|told| told == line), "no {line} in\n{text}");
        }
        let together = rendered(&all, &MetricRules { by_route: false, ..MetricRules::default() });
        assert!(together.contains(r#"witgate_overhead_seconds_count{route="*"} 3"#), "{together}");
        assert!(!together.contains(r#"witgate_overhead_seconds_count{route="users"}"#), "{together}");
    }

    #[test]
    fn traced_requests_are_examples_of_their_buckets() {
        let all = Arc::new(Requests::default());
        let routes = RouteNames::new(["users".into()]);
        let names = Names { listeners: vec!["http".into()], routes, upstreams: Vec::new() };
        let workers = [Meter::new(all.clone()), Meter::new(all.clone())];
        for (worker, digit) in workers.iter().zip([b'1', b'2']) {
            let table = worker.table(names.clone(), &MetricRules::default());
            for trace in [Some([digit; 32]), None] {
                table.begin();
                table.end((0, &"http".into()), Some(0), &Ended { trace, ..ended(0, StatusCode::OK) });
            }
        }
        let samples = Samples { requests: all.samples(&MetricRules::default()), ..Samples::default() };
        let text = Metrics::new().render(&samples, MetricsFormat::OpenMetrics);
        let line = |bound: &str| {
            let series = format!(
                r#"witgate_http_request_duration_seconds_bucket{{code_class="2xx",route="users",le="{bound}"}} "#
            );
            text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or_else(|| panic!("no {bound} in\n{text}"))
        };
        let last = format!("4 # {{trace_id=\"{}\"}} 0.003 ", "2".repeat(32));
        assert!(line("0.005").starts_with(&last), "the last one of all workers: {}", line("0.005"));
        assert_eq!((line("0.0025"), line("0.01")), ("0", "4"), "and of no other bucket");
        assert!(text.ends_with("# EOF\n") && text.contains("# TYPE witgate_http_requests counter\n"), "{text}");
        assert!(!Metrics::new().render(&samples, MetricsFormat::Text).contains("trace_id"));
    }

    #[test]
    fn a_thousand_routes_are_rendered() {
        let all = Arc::new(Requests::default());
        let routes = RouteNames::new((0..1000).map(|route| format!("route-{route}").into()));
        let names = Names { listeners: vec!["http".into()], routes, upstreams: Vec::new() };
        let http = "http".into();
        let workers = [Meter::new(all.clone()), Meter::new(all.clone())];
        for worker in &workers {
            let table = worker.table(names.clone(), &MetricRules::default());
            for route in 0..1000 {
                table.begin();
                table.end((0, &http), Some(route), &ended(0, StatusCode::OK));
            }
        }
        let began = Instant::now();
        let text = rendered(&all, &MetricRules::default());
        let took = began.elapsed();
        assert_eq!(text.lines().filter(|line| line.starts_with("witgate_http_requests_total{")).count(), 1000);
        // How long it took is for whoever looks: no test asserts a speed.
        #[allow(clippy::print_stderr, reason = "a figure for whoever runs this test alone")]
        {
            eprintln!("{} lines in {took:?}", text.lines().count());
        }
    }
}
