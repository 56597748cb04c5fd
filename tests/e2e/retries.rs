//! Trying again: what is, what is not, how often, and that it never becomes a storm.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Config, Gateway, Upstream, http, yaml};

use crate::GATEWAY;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy";

/// Two endpoints whose turn it is one after the other, the first one's first, and more keys of their upstream.
async fn pair(one: &dyn Display, two: &dyn Display, keys: &str) -> Gateway {
    let text = yaml(
        "
version: 1
workers: 1
admin: { address: 127.0.0.1:0 }
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  pair:
    endpoints: [{ url: 'http://<one>' }, { url: 'http://<two>' }]
    <keys>
routes: [{ name: all, match: { path: { prefix: / } }, upstream: pair }]
",
        &[("one", one), ("two", two), ("keys", &keys)],
    );
    GATEWAY.start(text).await
}

/// An upstream that answers so many requests with 503, and then 200.
async fn busy_for(requests: usize) -> Upstream {
    let left = Arc::new(AtomicUsize::new(requests));
    Upstream::with(move |_| {
        let is_busy = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if is_busy { BUSY.into() } else { OK.into() }
    })
    .await
}

async fn retries(gateway: &Gateway, outcome: &str) -> f64 {
    let text = gateway.admin().get("/metrics").await.text();
    let name = "witgate_retries_total{outcome=\"".to_owned() + outcome;
    let line = text.lines().find(|line| line.starts_with(&name)).unwrap_or_else(|| panic!("no {name} in {text}"));
    line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_costs_a_retry_at_another_whatever_the_request() {
    let (down, up) = (Upstream::down().await, Upstream::echo().await);
    let gateway = pair(&down, &up, "retries: { attempts: 1, body: 0B }").await;
    let mut client = gateway.client().await;
    let body = "x".repeat(200_000);
    let length = format!("Content-Length: {}", body.len());
    for _ in 0..4 {
        let answer = client.ask(&["POST / HTTP/1.1", "Host: a", &length], &body).await;
        assert_eq!(answer.echo().body_sha256, harness::sha256(body.as_bytes()), "none of it was lost");
    }
    assert_eq!(up.requests().len(), 4);
    assert_eq!(retries(&gateway, "success").await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_tried_again_as_often_as_the_rules_say_and_passes_then() {
    for (busy, status, seen) in [(1, 200, 2), (2, 200, 3), (3, 503, 3)] {
        let origin = busy_for(busy).await;
        let rules = "retries: { attempts: 2, when: [503], backoff: 1ms }";
        let gateway = GATEWAY.start(Config::to(&origin).upstream(rules)).await;
        let answer = gateway.client().await.get("/").await;
        assert_eq!((answer.status, origin.requests().len()), (status, seen));
        assert_eq!(answer.text(), if status == 503 { "busy" } else { "ok" }, "as the upstream said it");
        assert_eq!(origin.connections(), 1, "what was answered in full leaves its connection in order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_be_said_twice_is_unless_the_rules_know_better() {
    for (rules, lines, body, expected) in [
        ("", &["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"][..], "abc", 2),
        ("", &["POST / HTTP/1.1", "Host: a", "Content-Length: 3"], "abc", 1),
        (", methods: [POST]", &["POST / HTTP/1.1", "Host: a", "Content-Length: 3"], "abc", 2),
        (", methods: [POST]", &["GET / HTTP/1.1", "Host: a"], "", 1),
        (", body: 3B", &["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"], "abc", 2),
        (", body: 2B", &["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"], "abc", 1),
        (", body: 3B", &["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n", 2),
        (", body: 2B", &["PUT / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n", 1),
    ] {
        let origin = busy_for(1).await;
        let rules = format!("retries: {{ backoff: 1ms{rules} }}");
        let gateway = GATEWAY.start(Config::to(&origin).upstream(&rules)).await;
        let answer = gateway.client().await.ask(lines, body).await;
        let seen = origin.requests();
        assert_eq!(seen.len(), expected, "{rules} {lines:?}");
        assert_eq!(answer.status, if expected == 2 { 200 } else { 503 });
        let sent = if body.is_empty() { "" } else { "abc" };
        assert!(seen.iter().all(|request| request.body == sent.as_bytes()), "{seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_and_a_silence_are_tried_again_at_another_endpoint() {
    for (when, per_try) in [("reset", "10s"), ("timeout", "200ms")] {
        let (mut bad, good) = (Upstream::manual().await, Upstream::echo().await);
        let keys = format!("retries: {{ when: [{when}] }}\n    timeouts: {{ per_try: {per_try} }}");
        let gateway = pair(&bad, &good, &keys).await;
        let mut client = gateway.client().await;
        client.send(http(&["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"], "abc")).await;
        let mut exchange = bad.next().await;
        assert_eq!(exchange.rest().await.expect("the body"), b"abc");
        if when == "reset" {
            exchange.reset();
        }
        assert_eq!(client.response().await.echo().body_bytes, 3, "{when}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_tried_again_that_the_rules_do_not_name() {
    let (mut bad, good) = (Upstream::manual().await, Upstream::echo().await);
    let gateway = pair(&bad, &good, "retries: { when: [connect-failure] }").await;
    let mut client = gateway.client().await;
    client.send(http(&["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"], "abc")).await;
    bad.next().await.reset();
    client.response().await.problem(502);
    assert!(good.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_has_begun_is_never_tried_again() {
    let (mut bad, good) = (Upstream::manual().await, Upstream::echo().await);
    let gateway = pair(&bad, &good, "retries: { attempts: 3 }").await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut exchange = bad.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "half")).await;
    assert_eq!(client.head().await.status(), 200);
    exchange.reset();
    client.rest().await.expect_err("half a body has no clean end");
    assert!(good.requests().is_empty());
}

/// No storm: with every endpoint failing, further tries stay within the budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn further_tries_stay_within_the_budget() {
    const REQUESTS: usize = 400;
    let (one, two) = (Upstream::answering(BUSY).await, Upstream::answering(BUSY).await);
    let gateway = pair(&one, &two, "retries: { attempts: 3, budget: 20%, backoff: 1ms }").await;
    let began = std::time::Instant::now();
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = gateway.client().await;
        clients.push(tokio::spawn(async move {
            for _ in 0..REQUESTS / 4 {
                assert_eq!(client.get("/").await.status, 503);
            }
        }));
    }
    for client in clients {
        client.await.expect("every request is answered");
    }
    let further = one.requests().len() + two.requests().len() - REQUESTS;
    // The budget is a share of what a window of ten seconds saw, but thirty in any case. On a slow machine there are more windows.
    let windows = usize::try_from(began.elapsed().as_secs() / 10 + 1).expect("a short time");
    assert!(further >= 30, "{further}: some were tried again");
    assert!(further <= REQUESTS / 5 + 30 * windows, "{further} further tries for {REQUESTS} requests");
    assert!(retries(&gateway, "over_budget").await >= 1.0);
    assert_eq!(retries(&gateway, "failed").await, further as f64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_try_that_takes_long_gets_another_beside_it_where_hedging_is_on() {
    let (mut slow, fast) = (Upstream::manual().await, Upstream::echo().await);
    let gateway = pair(&slow, &fast, "hedge: { after: 50ms }").await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut exchange = slow.next().await;
    assert_eq!(client.response().await.status, 200);
    exchange.closed().await;
    assert_eq!((fast.requests().len(), retries(&gateway, "success").await), (1, 1.0));

    client.send(http(&["PUT / HTTP/1.1", "Host: a", "Content-Length: 3"], "a")).await;
    let mut exchange = slow.next().await;
    assert_eq!(exchange.chunk().await.expect("a piece").as_deref(), Some(b"a".as_slice()));
    client.send("bc").await;
    assert_eq!(client.response().await.echo().body_bytes, 3, "once all of it is there");
    drop(exchange);

    // What may not be said twice is not, however long it takes.
    client.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], "ab")).await;
    let mut exchange = slow.next().await;
    assert_eq!(exchange.rest().await.expect("the body"), b"ab");
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    exchange.send(OK).await;
    assert_eq!(client.response().await.text(), "ok");
    assert_eq!(fast.requests().len(), 2);
}
