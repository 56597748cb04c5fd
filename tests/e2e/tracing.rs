//! Traces: requests belong to those of their clients, upstreams to those of the gateway, and a collector hears of the sampled ones.

use std::time::Duration;

use harness::{Admin, Client, Collector, Config, Response, Span, Upstream, guest, http, within};

use crate::GATEWAY;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Clients of this one are believed.
fn traced(origin: &Upstream, collector: &Collector, more: &str) -> Config {
    traced_for_strangers(origin, collector, more).listener("trusted_proxies: [127.0.0.0/8]")
}

fn traced_for_strangers(origin: &Upstream, collector: &Collector, more: &str) -> Config {
    let tracing = format!("telemetry: {{ tracing: {{ otlp: 'http://{collector}'{more} }} }}");
    Config::to(origin).top("admin: { address: 127.0.0.1:0 }").top(&tracing)
}

async fn ask(client: &mut Client, path: &str, fields: &[&str]) -> Response {
    client.ask(&[&[&*format!("GET {path} HTTP/1.1"), "Host: api.example.com:8080"][..], fields].concat(), "").await
}

fn parent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{PARENT}-{flags}")
}

/// The ids of trace and span, and whether it is sampled, of the `traceparent` that the upstream was sent.
fn sent_on(origin: &Upstream) -> (String, String, bool) {
    let sent = origin.last_request();
    let value = sent.fields.get("traceparent").expect("it is told").to_owned();
    let parts: Vec<&str> = value.split('-').collect();
    assert_eq!((parts.len(), parts[0]), (4, "00"), "{value}");
    (parts[1].to_owned(), parts[2].to_owned(), parts[3] == "01")
}

/// Waits until a metric is as large.
async fn at_least(admin: &Admin, series: &str, least: f64) {
    within(series, async {
        while admin.metric(series).await < least {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn of_kind<'s>(spans: &'s [Span], kind: &str) -> &'s Span {
    spans.iter().find(|span| span.kind == kind).unwrap_or_else(|| panic!("no {kind} in {spans:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_its_plugin_and_its_try_are_spans_of_one_trace() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let users = "name: users\nmatch: { path: { template: '/users/{id}' } }\nupstream: origin\nfilters: [{ use: stamp, config: { name: x-stamp, value: s } }]";
    let config = traced(&origin, &collector, ", sample: 0%, headers: { x-key: k1 }, name: edge")
        .plugin("stamp", &guest("stamp"))
        .and_route(users);
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    let fields = [&*parent("01"), "tracestate: rojo=1", "User-Agent: test/1"];
    assert_eq!(ask(&mut client, "/users/7?id=1&token=s3cret", &fields).await.status, 200);
    let (trace, span, is_sampled) = sent_on(&origin);
    assert_eq!((trace.as_str(), is_sampled), (TRACE, true), "who began the trace has decided");
    assert_eq!(origin.last_request().fields.get("tracestate"), Some("rojo=1"));

    let spans = collector.wait(4).await;
    let (server, attempt, call) = (of_kind(&spans, "SERVER"), of_kind(&spans, "CLIENT"), of_kind(&spans, "INTERNAL"));
    assert!(spans.iter().all(|span| span.trace == TRACE && span.state == "rojo=1" && !span.is_error), "{spans:?}");
    assert_eq!((&*server.name, &*server.parent), ("GET /users/{id}", PARENT));
    assert_eq!((&*attempt.name, &attempt.parent, &attempt.id), ("GET", &server.id, &span));
    assert_eq!((&*call.name, &call.parent), ("plugin stamp", &server.id));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/users/{id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/users/7"),
        ("url.query", "id=1&token=[redacted]"),
        ("url.scheme", "http"),
        ("server.address", "api.example.com"),
        ("server.port", "8080"),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "test/1"),
        ("witgate.route", "users"),
    ] {
        assert_eq!(server.attribute(name), value, "{name}: {server:?}");
    }
    let url = format!("http://{origin}/users/7?id=1&token=[redacted]");
    for (name, value) in [("url.full", &*url), ("witgate.upstream", "origin"), ("http.response.status_code", "200")] {
        assert_eq!(attempt.attribute(name), value, "{name}: {attempt:?}");
    }
    assert_eq!((call.attribute("witgate.plugin"), call.attribute("witgate.outcome")), ("stamp", "ok"));
    assert!(spans.iter().all(|span| span.began_ns <= span.ended_ns && span.began_ns >= server.began_ns), "{spans:?}");
    assert!(attempt.ended_ns <= server.ended_ns, "{spans:?}");
    assert_eq!(server.resource.get("service.name").map(String::as_str), Some("edge"), "{server:?}");
    let export = &collector.exports()[0];
    assert_eq!((export.target.as_str(), export.fields.get("x-key")), ("/v1/traces", Some("k1")));
    let exported = r#"witgate_otlp_spans_total{outcome="exported"}"#;
    at_least(&gateway.admin(), exported, 4.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_is_passed_on_and_not_told() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let loud = "name: loud\nmatch: { path: { prefix: /loud } }\nupstream: origin\ntracing: { sample: 100% }";
    let gateway = GATEWAY.start(traced(&origin, &collector, ", sample: 0%").and_route(loud)).await;
    let mut client = gateway.client().await;
    ask(&mut client, "/", &[&parent("00")]).await;
    let (trace, span, is_sampled) = sent_on(&origin);
    assert!(trace == TRACE && span != PARENT && !is_sampled, "{trace} {span}");
    ask(&mut client, "/", &[]).await;
    assert!(!sent_on(&origin).2);
    ask(&mut client, "/loud", &[]).await;
    let (trace, ..) = sent_on(&origin);
    let spans = collector.wait(2).await;
    assert!(spans.len() == 2 && spans.iter().all(|span| span.trace == trace), "{spans:?}");
    assert_eq!(of_kind(&spans, "SERVER").parent, "", "it begins here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_trace_is_continued_and_his_flag_not_believed() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let loud = "name: loud\nmatch: { path: { prefix: /loud } }\nupstream: origin\ntracing: { sample: 100% }";
    let config = traced_for_strangers(&origin, &collector, ", sample: 0%").and_route(loud);
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    ask(&mut client, "/", &[&parent("01")]).await;
    let (trace, _, is_sampled) = sent_on(&origin);
    assert_eq!((trace.as_str(), is_sampled), (TRACE, false), "`sample` decides");
    ask(&mut client, "/loud", &[&parent("00")]).await;
    let (trace, _, is_sampled) = sent_on(&origin);
    assert_eq!((trace.as_str(), is_sampled), (TRACE, true), "that of the route as well");
    let spans = collector.wait(2).await;
    let server = of_kind(&spans, "SERVER");
    assert_eq!((spans.len(), &*server.trace, &*server.parent), (2, TRACE, PARENT), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_be_believed_and_nobody() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = GATEWAY.start(traced_for_strangers(&origin, &collector, ", sample: 0%, trust: all")).await;
    ask(&mut gateway.client().await, "/", &[&parent("01")]).await;
    assert!(sent_on(&origin).2);
    assert_eq!(of_kind(&collector.wait(2).await, "SERVER").links, []);

    let collector = Collector::start().await;
    let gateway = GATEWAY.start(traced(&origin, &collector, ", trust: none")).await;
    ask(&mut gateway.client().await, "/", &[&parent("01"), "tracestate: rojo=1"]).await;
    let (trace, ..) = sent_on(&origin);
    assert!(trace != TRACE && origin.last_request().fields.get("tracestate").is_none());
    let spans = collector.wait(2).await;
    let server = of_kind(&spans, "SERVER");
    assert_eq!((&server.trace, &*server.parent), (&trace, ""), "it begins here");
    assert_eq!(server.links, [(TRACE.to_owned(), PARENT.to_owned())], "and points back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_failed_is_told_where_that_is_asked_for() {
    let (origin, collector) = (Upstream::down().await, Collector::start().await);
    let gateway = GATEWAY.start(traced(&origin, &collector, ", sample: 0%, errors: true")).await;
    let answer = ask(&mut gateway.client().await, "/", &[]).await;
    let trace_id = answer.problem(502)["trace_id"].as_str().expect("a problem tells its trace").to_owned();
    let spans = collector.wait(1).await;
    let server = of_kind(&spans, "SERVER");
    assert_eq!((&server.trace, server.is_error), (&trace_id, true), "{server:?}");
    assert_eq!((server.attribute("error.type"), server.attribute("witgate.flags")), ("502", "UF"));
    let logged = gateway.log().lines();
    assert!(logged.iter().any(|line| line.field("trace_id") == Some(&trace_id)), "the log tells it too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_try_is_a_span_of_its_own() {
    let collector = Collector::start().await;
    let origin = Upstream::answering("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await;
    let config = traced(&origin, &collector, "").upstream("retries: { attempts: 2, when: [503], backoff: 1ms }");
    let gateway = GATEWAY.start(config).await;
    assert_eq!(ask(&mut gateway.client().await, "/", &[]).await.status, 503);
    let spans = collector.wait(4).await;
    let tries: Vec<&Span> = spans.iter().filter(|span| span.kind == "CLIENT").collect();
    let resent: Vec<&str> = tries.iter().map(|span| span.attribute("http.request.resend_count")).collect();
    assert_eq!(resent, ["", "1", "2"], "{spans:?}");
    assert!(tries.iter().all(|span| span.is_error && span.attribute("error.type") == "503"), "{spans:?}");
    let sent: Vec<_> = origin.requests().iter().map(|sent| sent.fields.get("traceparent").map(str::to_owned)).collect();
    assert!(tries.iter().zip(&sent).all(|(span, sent)| sent.as_deref().is_some_and(|sent| sent.contains(&span.id))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_goes_no_further() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = GATEWAY.start(traced(&origin, &collector, ", sample: 0%")).await;
    let mut client = gateway.client().await;
    let fields = ["traceparent: 00-zz", "tracestate: rojo=1", "baggage: user=ada"];
    ask(&mut client, "/", &fields).await;
    let sent = origin.last_request();
    assert!(sent_on(&origin).0 != TRACE && sent.fields.get("tracestate").is_none(), "{sent:?}");
    assert_eq!(sent.fields.get("baggage"), Some("user=ada"));
    let large = format!("baggage: {}", "b".repeat(9000));
    ask(&mut client, "/", &[&large]).await;
    assert!(origin.last_request().fields.get("baggage").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tracing_everything_passes_unchanged() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let fields = ["traceparent: 00-zz", "tracestate: rojo=1", "baggage: user=ada"];
    ask(&mut client, "/", &fields).await;
    let sent = origin.last_request();
    for field in fields {
        let (name, value) = field.split_once(": ").expect("a field");
        assert_eq!(sent.fields.get(name), Some(value));
    }
    ask(&mut client, "/", &[]).await;
    assert!(origin.last_request().fields.get("traceparent").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_not_there_costs_spans_and_no_requests() {
    let (origin, mut collector) = (Upstream::echo().await, Collector::down().await);
    let gateway = GATEWAY.start(traced(&origin, &collector, ", timeout: 1s")).await;
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "/", &[]).await.status, 200);
    let mut log = gateway.log();
    log.wait("that it cannot export", |line| line.message().starts_with("spans cannot be exported")).await;
    assert_eq!(ask(&mut client, "/", &[]).await.status, 200);
    let admin = gateway.admin();
    let failed = r#"witgate_otlp_spans_total{outcome="failed"}"#;
    at_least(&admin, failed, 4.0).await;
    collector.restart();
    ask(&mut client, "/", &[]).await;
    collector.wait(2).await;
    log.wait("that it exports again", |line| line.message() == "spans are exported again").await;
    let said = log.lines().iter().filter(|line| line.message().starts_with("spans cannot be exported")).count();
    assert_eq!(said, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_hangs_costs_no_more_spans_than_may_wait() {
    let (origin, mut hanging) = (Upstream::echo().await, Upstream::manual().await);
    let tracing = format!("telemetry: {{ tracing: {{ otlp: 'http://{hanging}', timeout: 60s, queue: 512 }} }}");
    let config = Config::to(&origin).top("admin: { address: 127.0.0.1:0 }").top(&tracing);
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    ask(&mut client, "/", &[]).await;
    let _export = hanging.next().await;
    for _ in 0..600 {
        assert_eq!(ask(&mut client, "/", &[]).await.status, 200);
    }
    let admin = gateway.admin();
    let dropped = r#"witgate_otlp_spans_total{outcome="dropped"}"#;
    at_least(&admin, dropped, 256.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_spans_are_exported_at_the_end() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = GATEWAY.start(traced(&origin, &collector, "")).await;
    ask(&mut gateway.client().await, "/", &[]).await;
    assert_eq!(gateway.stop().await.code, 0);
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_plugins_belong_to_the_trace() {
    let (origin, other, collector) = (Upstream::echo().await, Upstream::echo().await, Collector::start().await);
    let grant = format!("grants: {{ http: ['http://{other}'], private_addresses: true }}");
    let config = traced(&origin, &collector, "")
        .plugin_with("outbound", &guest("outbound"), &grant)
        .route("filters: [{ use: outbound, config: {} }]");
    let gateway = GATEWAY.start(config).await;
    let send = format!("X-Send: GET http://{other}/");
    assert_eq!(ask(&mut gateway.client().await, "/", &[&send, &parent("01")]).await.status, 200);
    let sent = other.last_request();
    let spans = collector.wait(3).await;
    let call = of_kind(&spans, "INTERNAL");
    let parent = format!("00-{TRACE}-{}-01", call.id);
    assert_eq!(sent.fields.get("traceparent"), Some(&*parent), "the plugin's call is what sends it: {sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scraper_that_asks_for_openmetrics_is_led_to_traces() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = GATEWAY.start(traced(&origin, &collector, "")).await;
    ask(&mut gateway.client().await, "/", &[&parent("01")]).await;
    let admin = gateway.admin();
    at_least(&admin, r#"witgate_http_requests_total{code="200",listener="http",method="GET",route="all"}"#, 1.0).await;
    let open = admin.ask("GET /metrics", &["Accept: application/openmetrics-text; version=1.0.0"], "").await;
    assert_eq!(open.field("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    let text = open.text();
    assert!(text.ends_with("# EOF\n") && text.contains(&format!("# {{trace_id=\"{TRACE}\"}} ")), "{text}");
    let plain = admin.get("/metrics").await;
    assert_eq!(plain.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!plain.text().contains(TRACE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_environment_of_opentelemetry_goes_before_the_file() {
    let (origin, collector, nowhere) = (Upstream::echo().await, Collector::start().await, Collector::down().await);
    let endpoint = format!("http://{collector}/");
    let binary = GATEWAY.with_environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=from%20there"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
        ("OTEL_SERVICE_NAME", "edge-7"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "1"),
    ]);
    let config = traced(&origin, &nowhere, ", sample: 0%, headers: { x-key: k1, x-own: k2 }, name: edge");
    let gateway = binary.start(config).await;
    ask(&mut gateway.client().await, "/", &[]).await;
    let spans = collector.wait(2).await;
    let resource = &of_kind(&spans, "SERVER").resource;
    for (name, value) in [("service.name", "edge-7"), ("deployment.environment.name", "staging")] {
        assert_eq!(resource.get(name).map(String::as_str), Some(value), "{resource:?}");
    }
    let export = &collector.exports()[0];
    let field = |name| export.fields.get(name);
    assert_eq!((&*export.target, field("x-key"), field("x-own")), ("/v1/traces", Some("from there"), Some("k2")));
    ask(&mut gateway.client().await, "/", &[&parent("00")]).await;
    assert!(!sent_on(&origin).2, "it is parent-based");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sampler_that_is_not_known_is_told_and_the_file_counts() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let binary = GATEWAY.with_environment(&[("OTEL_TRACES_SAMPLER", "xray")]);
    let gateway = binary.start(traced(&origin, &collector, "")).await;
    ask(&mut gateway.client().await, "/", &[]).await;
    collector.wait(2).await;
    gateway.log().wait("that it is not known", |line| line.message().contains("OTEL_TRACES_SAMPLER")).await;

    let off = GATEWAY.with_environment(&[("OTEL_TRACES_SAMPLER", "always_off")]);
    let gateway = off.start(traced(&origin, &collector, ", trust: all")).await;
    ask(&mut gateway.client().await, "/", &[&parent("01")]).await;
    assert!(!sent_on(&origin).2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_access_log_tells_the_trace() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("access.log");
    let telemetry = format!(
        "telemetry: {{ tracing: {{ otlp: 'http://{collector}', sample: 0% }}, access_log: {{ output: 'file:{}' }} }}",
        file.display()
    );
    let gateway = GATEWAY.start(Config::to(&origin).top(&telemetry)).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: h", &parent("00")], "")).await;
    client.response().await;
    let told = async {
        while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&format!("\"trace_id\":\"{TRACE}\""))) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the line", told).await;
}
