//! Copies of requests to another upstream: whole, bounded, and of no consequence to the request.

use harness::{Gateway, Upstream, http, yaml};

use crate::GATEWAY;

async fn gateway(origin: &Upstream, shadow: &Upstream, options: &str) -> Gateway {
    let text = yaml(
        "
version: 1
workers: 1
admin: { address: 127.0.0.1:0 }
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  origin: { endpoints: [{ url: 'http://<origin>' }] }
  shadow: { endpoints: [{ url: 'http://<shadow>' }] }
routes:
  - name: all
    match: { path: { prefix: / } }
    filters: [{ use: mirror, config: { upstream: shadow<options> } }, { use: headers, config: { request: { set: { x-seen: 'yes' } } } }]
    upstream: origin
",
        &[("origin", origin), ("shadow", shadow), ("options", &options)],
    );
    GATEWAY.start(text).await
}

async fn counted(gateway: &Gateway, outcome: &str, wanted: usize) {
    let line = format!("witgate_mirrored_total{{outcome=\"{outcome}\",upstream=\"shadow\"}} {wanted}\n");
    let counted = async { while !gateway.admin().get("/metrics").await.text().contains(&line) {} };
    harness::within(&line, counted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_copy_is_what_the_upstream_is_sent() {
    let (origin, shadow) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = gateway(&origin, &shadow, "").await;
    let mut client = gateway.client().await;
    let chunked = "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    for (lines, body) in [
        (&["GET /a?b HTTP/1.1", "Host: test.example"][..], ""),
        (&["POST /a HTTP/1.1", "Host: test.example", "Content-Length: 6"], "abcdef"),
        (&["POST /a HTTP/1.1", "Host: test.example", "Transfer-Encoding: chunked"], chunked),
    ] {
        assert_eq!(client.ask(lines, body).await.echo().fields.get("x-seen"), Some("yes"));
    }
    counted(&gateway, "answered", 3).await;
    for sent in origin.requests() {
        let id = sent.fields.get("x-request-id").expect("each request has an id");
        let copies = shadow.requests();
        let copy = copies.iter().find(|copy| copy.fields.get("x-request-id") == Some(id)).expect("a copy");
        assert_eq!((&copy.method, &copy.target, &copy.body), (&sent.method, &sent.target, &sent.body));
        assert_eq!(copy.fields.get("x-seen"), Some("yes"), "it is made after all filters");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_is_slow_or_down_delays_and_fails_nothing() {
    let (origin, mut silent) = (Upstream::echo().await, Upstream::manual().await);
    let gateway_ = gateway(&origin, &silent, ", in_flight: 2").await;
    let mut client = gateway_.client().await;
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let held = (silent.next().await, silent.next().await);
    counted(&gateway_, "dropped", 3).await;
    drop(held);
    counted(&gateway_, "failed", 2).await;

    let gateway = gateway(&origin, &Upstream::down().await, "").await;
    assert_eq!(gateway.client().await.get("/").await.status, 200);
    counted(&gateway, "failed", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_the_limit_passes_without_a_copy() {
    let (origin, shadow) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = gateway(&origin, &shadow, ", body: 1KiB").await;
    let mut client = gateway.client().await;
    for (framing, body) in [
        ("Content-Length: 1025", "x".repeat(1025)),
        ("Transfer-Encoding: chunked", format!("401\r\n{}\r\n0\r\n\r\n", "x".repeat(1025))),
        ("Content-Length: 1024", "x".repeat(1024)),
    ] {
        assert_eq!(client.ask(&["POST / HTTP/1.1", "Host: a", framing], body).await.status, 200);
    }
    counted(&gateway, "too_large", 2).await;
    counted(&gateway, "answered", 1).await;
    assert_eq!(shadow.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_the_requests_is_copied() {
    let (origin, shadow) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = gateway(&origin, &shadow, ", percent: 25%").await;
    let mut client = gateway.client().await;
    for _ in 0..40 {
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
        assert_eq!(client.response().await.status, 200);
    }
    // Multiples of the golden ratio: never far from a quarter, and always the same.
    counted(&gateway, "answered", 12).await;
}
