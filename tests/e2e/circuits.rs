//! Circuit breakers: when they open, what clients get meanwhile, and how they close again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use harness::{Config, Upstream, http};

use crate::GATEWAY;

/// An upstream that answers with the status that the test wants now.
async fn moody() -> (Upstream, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let now = status.clone();
    let upstream = Upstream::with(move |_| {
        http(&[&format!("HTTP/1.1 {} It", now.load(Ordering::Relaxed)), "Content-Length: 2"], "ok")
    });
    (upstream.await, status)
}

fn breaker(options: &str) -> String {
    format!("filters: [{{ use: circuit-breaker, config: {{ {options} }} }}]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_upstream_is_spared_probed_and_used_again() {
    let (origin, status) = moody().await;
    let config = Config::to(&origin)
        .top("workers: 2\nadmin: { address: 127.0.0.1:0 }")
        .route(&breaker("min_requests: 4, open_for: 100ms, half_open_requests: 1"));
    let gateway = GATEWAY.start(config).await;
    let admin = gateway.admin();
    let mut events = admin.events().await;
    status.store(500, Ordering::Relaxed);
    for _ in 0..4 {
        assert_eq!(gateway.client().await.get("/").await.status, 500);
    }
    let event = events.next("circuit").await;
    assert_eq!((&event["route"], &event["from"], &event["to"]), (&"all".into(), &"closed".into(), &"open".into()));
    // Whoever comes now is refused, or is the probe that fails.
    let spared = loop {
        let answer = gateway.client().await.get("/").await;
        if answer.status == 503 {
            break answer;
        }
    };
    spared.problem(503);
    assert_eq!(spared.field("retry-after"), Some("1"));
    status.store(200, Ordering::Relaxed);
    while gateway.client().await.get("/").await.status != 200 {}
    while events.next("circuit").await["to"] != "closed" {}
    assert_eq!(admin.metric(r#"witgate_circuit_state{route="all",state="closed"}"#).await, 1.0);
    assert_eq!(admin.metric(r#"witgate_circuit_state{route="all",state="open"}"#).await, 0.0);
    assert!(admin.metric(r#"witgate_circuit_refused_total{route="all"}"#).await >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_circuit_outlives_a_reload_and_sends_requests_elsewhere() {
    let (origin, status) = moody().await;
    let other = Upstream::echo().await;
    let config = Config::to(&origin)
        .route(&breaker("min_requests: 1, open_for: 1h, fallback: { upstream: spare }"))
        .to_string()
        .replace("upstreams:\n", &format!("upstreams:\n  spare: {{ endpoints: [{{ url: 'http://{other}' }}] }}\n"));
    let mut gateway = GATEWAY.start(&config).await;
    status.store(500, Ordering::Relaxed);
    assert_eq!(gateway.client().await.get("/").await.status, 500);
    assert_eq!(gateway.client().await.get("/a").await.echo().target, "/a");
    gateway.reload(format!("{config}x-new: 1\n")).await;
    assert_eq!(gateway.client().await.get("/b").await.echo().target, "/b");
    assert_eq!(origin.requests().len(), 1);
    assert_eq!(other.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_counts_and_a_client_that_goes_away_does_not() {
    let mut origin = Upstream::manual().await;
    let config =
        Config::to(&origin).route(&breaker("min_requests: 1, open_for: 1h, fallback: { status: 200, body: spare }"));
    let gateway = GATEWAY.start(config).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    let mut gone = gateway.client().await;
    gone.send(request).await;
    let mut exchange = origin.next().await;
    exchange.send(head).await;
    assert_eq!(gone.head().await.status(), 200);
    drop(gone);
    exchange.closed().await;

    let mut client = gateway.client().await;
    client.send(request).await;
    let mut exchange = origin.next().await;
    exchange.send(head).await;
    assert_eq!(client.head().await.status(), 200);
    exchange.reset();
    assert!(client.rest().await.is_err(), "half a response is not presented as a whole one");

    let answer = gateway.client().await.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "spare"));
}

/// The example of the documents, whose upstream takes every request and never answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_shows_an_outage_with_and_without_a_breaker() {
    let origin = Upstream::manual().await;
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/04-circuit-breaker/gateway.yaml"));
    let config = example.expect("an example is text").replace("127.0.0.1:8080", "127.0.0.1:0");
    let gateway = GATEWAY.start(config.replace("127.0.0.1:8081", &origin.to_string())).await;
    let address = gateway.listener("http");
    let ask = |path: &'static str, clients: usize| async move {
        let ask = |_| tokio::spawn(async move { harness::Client::connect(address).await.get(path).await });
        let mut answers = Vec::new();
        for answer in (0..clients).map(ask).collect::<Vec<_>>() {
            answers.push(answer.await.expect("an answer"));
        }
        answers
    };
    for answer in ask("/bare", 7).await.iter().chain(&ask("/guarded", 5).await) {
        answer.problem(504);
    }
    let waited = origin.connections();
    assert_eq!(waited, 12);
    for answer in ask("/guarded", 7).await {
        assert_eq!((answer.status, answer.text().as_str()), (200, "The shop is closed for a moment.\n"));
    }
    assert_eq!(origin.connections(), waited, "the upstream is left in peace");
}
