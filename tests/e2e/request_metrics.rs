//! What is counted and measured of requests: by names of the configuration, whatever clients write, across reloads.

use std::time::Duration;

use harness::{Admin, Client, Config, Gateway, Response, Upstream, http, within};

use crate::GATEWAY;

fn measured(config: Config) -> Config {
    config.top("admin: { address: 127.0.0.1:0 }")
}

/// Waits until a series has this value: a request is counted when its response has left, and its client may be faster.
async fn counts(admin: &Admin, series: &str, expected: f64) {
    let counted = async {
        while admin.metric(series).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(harness::PATIENCE, counted).await;
    assert!(waited.is_ok(), "{series} is not {expected}:\n{}", admin.get("/metrics").await.text());
}

fn requests(route: &str, method: &str, code: &str) -> String {
    format!(r#"witgate_http_requests_total{{code="{code}",listener="http",method="{method}",route="{route}"}}"#)
}

async fn post(client: &mut Client, path: &str, body: &str) -> Response {
    let length = format!("Content-Length: {}", body.len());
    client.ask(&[&format!("POST {path} HTTP/1.1"), "Host: test.example", &length], body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_listener_route_method_and_code() {
    let origin = Upstream::echo().await;
    let missing = "name: nowhere\nmatch: { hosts: [other.example] }\nrespond: { status: 418 }";
    let gateway = GATEWAY.start(measured(Config::to(&origin).and_route(missing))).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    for _ in 0..3 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!(post(&mut client, "/", "hello").await.status, 200);
    let teapot = client.ask(&["PURGE / HTTP/1.1", "Host: other.example"], "").await;
    assert_eq!(teapot.status, 418);

    counts(&admin, &requests("all", "GET", "200"), 3.0).await;
    counts(&admin, &requests("all", "POST", "200"), 1.0).await;
    counts(&admin, &requests("nowhere", "other", "4xx"), 1.0).await;
    let times = r#"witgate_http_request_duration_seconds_count{code_class="2xx",route="all"}"#;
    assert_eq!(admin.metric(times).await, 4.0);
    assert_eq!(admin.metric(r#"witgate_overhead_seconds_count{route="all"}"#).await, 4.0);
    assert_eq!(admin.metric(r#"witgate_upstream_request_duration_seconds_count{upstream="origin"}"#).await, 4.0);
    assert_eq!(admin.metric("witgate_http_requests_in_flight").await, 0.0);
    assert_eq!(admin.metric(r#"witgate_connections{listener="http"}"#).await, 1.0);
    assert_eq!(admin.metric("witgate_access_log_dropped_total").await, 0.0);
    assert!(!admin.get("/metrics").await.text().contains("witgate_filter_duration_seconds"), "nobody asked for it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_clients_write_the_series_are_few() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(measured(Config::to(&origin))).await;
    let admin = gateway.admin();
    let series = |text: String| text.lines().filter(|line| line.starts_with("witgate_http")).count();
    let mut client = gateway.client().await;
    client.ask(&["M0 / HTTP/1.1", "Host: h"], "").await;
    client.ask(&["GET /%00 HTTP/1.1", "Host: h"], "").await;
    counts(&admin, &requests("all", "other", "200"), 1.0).await;
    let before = series(admin.get("/metrics").await.text());
    let mut client = gateway.client().await;
    for number in 0..50 {
        client.ask(&[&format!("GET /{number}?x={number} HTTP/1.1"), &format!("Host: h{number}.example")], "").await;
        client.ask(&[&format!("M{number} / HTTP/1.1"), "Host: h"], "").await;
    }
    counts(&admin, &requests("all", "other", "200"), 51.0).await;
    let after = series(admin.get("/metrics").await.text());
    assert!(after <= before + 1, "{before} series, and {after} after a hundred kinds of request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_in_flight_until_its_response_has_left() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(measured(Config::to(&origin))).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    client.send(http(&["GET / HTTP/1.1", "Host: h"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n").await;
    client.head().await;
    assert_eq!(admin.metric("witgate_http_requests_in_flight").await, 1.0);
    assert_eq!(admin.metric(&requests("all", "GET", "200")).await, 0.0, "it is not over yet");
    exchange.send("0\r\n\r\n").await;
    client.rest().await.expect("the body is whole");
    counts(&admin, &requests("all", "GET", "200"), 1.0).await;
    assert_eq!(admin.metric("witgate_http_requests_in_flight").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_wait_for_its_answer_is_counted_as_499() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(measured(Config::to(&origin))).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    client.send(http(&["GET / HTTP/1.1", "Host: h"], "")).await;
    let _exchange = origin.next().await;
    drop(client);
    counts(&admin, &requests("all", "GET", "499"), 1.0).await;
    assert_eq!(admin.metric("witgate_http_requests_in_flight").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_survive_a_reload_and_outlive_their_route() {
    let origin = Upstream::echo().await;
    let extra = "name: extra\nmatch: { path: { prefix: /extra } }\nupstream: origin";
    let both = measured(Config::to(&origin).and_route(extra));
    let mut gateway = GATEWAY.start(&both).await;
    let admin = gateway.admin();
    gateway.client().await.get("/extra").await;
    gateway.client().await.get("/").await;
    counts(&admin, &requests("extra", "GET", "200"), 1.0).await;
    gateway.reload(measured(Config::to(&origin))).await;
    gateway.client().await.get("/extra").await;
    counts(&admin, &requests("all", "GET", "200"), 2.0).await;
    assert_eq!(admin.metric(&requests("extra", "GET", "200")).await, 1.0, "no counter goes back");
    gateway.reload(&both).await;
    gateway.client().await.get("/extra").await;
    counts(&admin, &requests("extra", "GET", "200"), 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_are_measured_where_that_is_asked_for_and_buckets_are_those_of_the_configuration() {
    let origin = Upstream::echo().await;
    let telemetry = "telemetry: { metrics: { filter_histograms: true, buckets: { request: [0.5, 100] } } }";
    let filters = "filters: [{ use: headers, config: { response: { set: { x-a: b } } } }]";
    let config = measured(Config::to(&origin).top(telemetry).route(filters));
    let mut gateway = GATEWAY.start(&config).await;
    let admin = gateway.admin();
    gateway.client().await.get("/").await;
    counts(&admin, r#"witgate_filter_duration_seconds_count{filter="headers",route="all"}"#, 2.0).await;
    let times =
        |bound| format!(r#"witgate_http_request_duration_seconds_bucket{{code_class="2xx",route="all",le="{bound}"}}"#);
    counts(&admin, &times("100"), 1.0).await;
    assert!(!admin.get("/metrics").await.text().contains(&times("1")), "these are the only buckets");

    gateway.reload(config.to_string().replace("[0.5, 100]", "[1, 200]")).await;
    gateway.client().await.get("/").await;
    counts(&admin, &times("200"), 1.0).await;
    counts(&admin, &requests("all", "GET", "200"), 2.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_can_be_told_for_all_routes_together() {
    let origin = Upstream::echo().await;
    let telemetry = "telemetry: { metrics: { route_histograms: false } }";
    let gateway = GATEWAY.start(measured(Config::to(&origin).top(telemetry))).await;
    let admin = gateway.admin();
    gateway.client().await.get("/").await;
    counts(&admin, r#"witgate_overhead_seconds_count{route="*"}"#, 1.0).await;
    counts(&admin, &requests("all", "GET", "200"), 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_to_say_against_a_scrape() {
    let gateway = busy().await;
    let text = gateway.admin().get("/metrics").await.text();
    let Some(said) = harness::promtool(&["check", "metrics"], &text).await else { return };
    assert!(said.code == 0 && said.stdout.is_empty() && said.stderr.is_empty(), "{said:?}");
}

/// A gateway that has a metric of every kind.
async fn busy() -> Gateway {
    let origin = Upstream::echo().await;
    let telemetry = "telemetry: { metrics: { filter_histograms: true } }";
    let filters = "filters: [{ use: rate-limit, config: { key: client-ip, rate: 100/1s } }, { use: circuit-breaker }]";
    let config = measured(Config::to(&origin).top(telemetry).route(filters));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    client.get("/").await;
    client.ask(&["GET / HTTP/1.1"], "").await;
    let admin = gateway.admin();
    within("a request to be counted", async {
        while admin.metric(&requests("all", "GET", "200")).await == 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    gateway
}
