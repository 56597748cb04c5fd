//! What plugins know of a trace, and say on their spans.

use std::collections::BTreeMap;

use harness::{Collector, Config, Gateway, Span, Upstream, guest};

use crate::GATEWAY;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
/// What the gateway says on the span of a plugin's call itself.
const OWN: [&str; 5] = ["witgate.plugin", "witgate.plugin.version", "witgate.hook", "witgate.outcome", "error.type"];

async fn narrating(origin: &Upstream, collector: &Collector, more: &str, plugin: &str) -> Gateway {
    let tracing = format!("telemetry: {{ tracing: {{ otlp: 'http://{collector}'{more} }} }}");
    let config = Config::to(origin)
        .listener("trusted_proxies: [127.0.0.0/8]")
        .top("admin: { address: 127.0.0.1:0 }")
        .top(&tracing)
        .plugin_with("narrator", &guest("narrator"), plugin)
        .route("filters: [{ use: narrator, config: {} }]");
    GATEWAY.start(config).await
}

async fn ask(gateway: &Gateway, flags: &str, fields: &[&str]) -> u16 {
    let parent = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-{flags}");
    let head = [&["GET / HTTP/1.1", "Host: a.example", &parent][..], fields].concat();
    gateway.client().await.ask(&head, "").await.status
}

fn call<'s>(spans: &'s [Span], hook: &str) -> &'s Span {
    let found = spans.iter().find(|span| span.attribute("witgate.hook") == hook);
    found.unwrap_or_else(|| panic!("no call of {hook} in {spans:?}"))
}

/// What the plugin itself said.
fn said(span: &Span) -> BTreeMap<&str, &str> {
    let said = span.attributes.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    said.map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_says_something_on_the_span_of_its_call_and_knows_its_ids() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = narrating(&origin, &collector, "", "").await;
    let fields = [
        "x-say: app.tenant text acme",
        "x-say: app.tenant text other",
        "x-say: app.count whole -7",
        "x-say: app.share fraction 0.25",
        "x-say: app.cached truth true",
    ];
    assert_eq!(ask(&gateway, "01", &fields).await, 200);
    let spans = collector.wait(4).await;
    let request = call(&spans, "request");
    let expected = [("app.tenant", "other"), ("app.count", "-7"), ("app.share", "0.25"), ("app.cached", "true")].into();
    assert_eq!((said(request), request.dropped), (expected, 0));
    assert_eq!(said(call(&spans, "response")), [("app.status", "200")].into());
    let told = origin.last_request();
    for (name, value) in [("x-trace-id", TRACE), ("x-span-id", &request.id), ("x-sampled", "true")] {
        assert_eq!(told.fields.get(name), Some(value), "{name}");
    }
    assert!(spans.iter().all(|span| !span.attributes.contains_key("too.early")), "not in `configure`: {spans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_are_known_of_requests_that_nobody_hears_of() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = narrating(&origin, &collector, "", "").await;
    assert_eq!(ask(&gateway, "00", &["x-say: app.tenant text acme"]).await, 200);
    let told = origin.last_request();
    let parent = format!("00-{TRACE}-{}-00", told.fields.get("x-span-id").expect("it is known"));
    assert_eq!(told.fields.get("traceparent"), Some(&*parent), "the request's own span");
    assert_eq!((told.fields.get("x-trace-id"), told.fields.get("x-sampled")), (Some(TRACE), Some("false")));
    ask(&gateway, "01", &[]).await;
    let spans = collector.wait(4).await;
    assert!(spans.len() == 4 && said(call(&spans, "request")).is_empty(), "nothing is left over: {spans:?}");

    let untraced = Config::to(&origin).plugin("narrator", &guest("narrator"));
    let gateway = GATEWAY.start(untraced.route("filters: [{ use: narrator, config: {} }]")).await;
    assert_eq!(ask(&gateway, "01", &["x-say: app.tenant text acme"]).await, 200);
    assert_eq!(origin.last_request().fields.get("x-trace-id"), None, "without tracing there is no place to know");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_values_and_numbers_of_attributes_are_bounded() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = narrating(&origin, &collector, "", "limits: { span_attributes: 3 }").await;
    let long = format!("x-say: {} whole 1", "n".repeat(65));
    let fields = [
        "x-say: witgate.plugin text forged",
        "x-say: http.route text forged",
        "x-say: Bad text a",
        &long,
        "x-say: app.long long 5000",
        "x-say: app.broken broken a",
        "x-say: many 4",
    ];
    assert_eq!(ask(&gateway, "01", &fields).await, 200);
    let spans = collector.wait(4).await;
    let request = call(&spans, "request");
    assert_eq!(request.attribute("witgate.plugin"), "narrator");
    let longest = "v".repeat(1024);
    let expected = [("app.long", &*longest), ("app.broken", "a\\na\\u{0}"), ("n0", "0")].into();
    assert_eq!((said(request), request.dropped), (expected, 4 + 3));
    let dropped = gateway.admin().metric(r#"witgate_guest_dropped_total{plugin="narrator"}"#).await;
    assert!((dropped - 7.0).abs() < f64::EPSILON, "{dropped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_said_before_it_failed_is_told() {
    let (origin, collector) = (Upstream::echo().await, Collector::start().await);
    let gateway = narrating(&origin, &collector, "", "").await;
    assert_eq!(ask(&gateway, "01", &["x-say: app.step text parsed", "x-trap: 1"]).await, 500);
    let spans = collector.wait(2).await;
    let request = call(&spans, "request");
    assert!(request.is_error && request.attribute("witgate.outcome") == "trap", "{request:?}");
    assert_eq!(said(request), [("app.step", "parsed")].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_know_the_trace_is_seen_before_a_plugin_is_trusted() {
    let path = guest("narrator");
    let told = GATEWAY.run(&["plugin", "inspect", path.to_str().expect("a plain path")]).await;
    let imports = told.stdout.lines().find(|line| line.contains("imports")).unwrap_or_default();
    assert!(imports.contains("trace"), "{told:?}");
}
