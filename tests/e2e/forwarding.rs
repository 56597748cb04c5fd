//! Fields on their way through: what the gateway removes, what it writes, and what it believes of its peers (contract §5).

use std::collections::HashSet;

use harness::{Config, Fields, Response, Upstream, http};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hop_by_hop_fields_end_at_the_gateway_on_the_way_up() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let lines = [
        "GET / HTTP/1.1",
        "Host: test.example",
        "Connection: keep-alive, X-Named, x-also-named",
        "Connection: X-Forwarded-For",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "X-Named: 1",
        "X-Also-Named: 1",
        "X-Kept: 1",
        "X-Kept: 2",
        "Authorization: Basic eDp5",
    ];
    let seen = gateway.client().await.ask(&lines, "").await.echo().fields;
    for name in ["keep-alive", "proxy-connection", "x-named", "x-also-named", "transfer-encoding"] {
        assert!(!seen.has(name), "`{name}` is for this hop alone: {seen:?}");
    }
    assert!(seen.all("connection").iter().all(|value| !value.to_lowercase().contains("named")), "{seen:?}");
    assert_eq!(seen.all("x-kept"), ["1", "2"]);
    assert_eq!(seen.get("authorization"), Some("Basic eDp5"));
    assert_eq!(seen.get("x-forwarded-for"), Some("127.0.0.1"), "a client cannot have it removed by naming it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hop_by_hop_fields_end_at_the_gateway_on_the_way_down() {
    let response = http(
        &[
            "HTTP/1.1 200 OK",
            "Content-Length: 2",
            "Connection: keep-alive, x-named",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: keep-alive",
            "X-Named: 1",
            "X-Kept: 1",
        ],
        "ok",
    );
    let origin = Upstream::answering(response).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let answer = gateway.client().await.get("/").await;
    for name in ["keep-alive", "proxy-connection", "x-named"] {
        assert!(!answer.fields.has(name), "`{name}` is for that hop alone: {:?}", answer.fields);
    }
    assert_eq!((answer.field("x-kept"), answer.text().as_str()), (Some("1"), "ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_peer_is_described_and_not_believed() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let seen = ask_forwarded(&mut gateway.client().await).await.echo().fields;
    assert_eq!(seen.all("host"), ["api.example.com"]);
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.all("x-forwarded-host"), ["api.example.com"]);
    assert_eq!(forwarded(&seen), ["for=127.0.0.1", "host=api.example.com", "proto=http"]);
    let id = seen.get("x-request-id").expect("each request has an id");
    assert_uuid_v7(id);
    assert_eq!(seen.all("x-request-id").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_peer_is_believed() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("trusted_proxies: [127.0.0.0/8]")).await;
    let seen = ask_forwarded(&mut gateway.client().await).await.echo().fields;
    let chain = seen.all("x-forwarded-for").join(", ");
    assert!(chain.ends_with("203.0.113.7, 127.0.0.1"), "{chain}");
    assert_eq!(seen.all("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.all("x-forwarded-host"), ["front.example"]);
    assert_eq!(seen.all("x-request-id"), ["made-by-the-peer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_an_id_of_its_own_and_problems_tell_it() {
    let origin = Upstream::echo().await;
    let strict = GATEWAY.start(Config::to(&origin)).await;
    let mut client = strict.client().await;
    let mut ids = HashSet::new();
    for _ in 0..10 {
        let seen = client.get("/").await.echo().fields;
        ids.insert(seen.get("x-request-id").expect("each request has an id").to_owned());
    }
    assert_eq!(ids.len(), 10, "no id twice: {ids:?}");
    let problem = client.get("/a%2fb").await.problem(400);
    assert_uuid_v7(problem["request_id"].as_str().expect("an id is text"));

    let trusting = GATEWAY.start(Config::to(&Upstream::down().await).listener("trusted_proxies: [127.0.0.0/8]")).await;
    let lines = ["GET / HTTP/1.1", "Host: test.example", "X-Request-ID: abc-123"];
    let problem = trusting.client().await.ask(&lines, "").await.problem(502);
    assert_eq!(problem["request_id"], "abc-123");
}

async fn ask_forwarded(client: &mut harness::Client) -> Response {
    let lines = [
        "GET / HTTP/1.1",
        "Host: api.example.com",
        "X-Forwarded-For: 203.0.113.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: front.example",
        "X-Request-ID: made-by-the-peer",
    ];
    client.ask(&lines, "").await
}

/// The parameters of the last element of `Forwarded` (RFC 7239), sorted, without quotes.
fn forwarded(fields: &Fields) -> Vec<String> {
    let whole = fields.all("forwarded").join(",");
    let last = whole.rsplit(',').next().unwrap_or_default();
    let mut parameters: Vec<_> = last.split(';').map(|part| part.trim().replace('"', "").to_lowercase()).collect();
    parameters.sort();
    parameters
}

fn assert_uuid_v7(id: &str) {
    let shape: String = id.chars().map(|c| if c.is_ascii_hexdigit() { 'x' } else { c }).collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", "{id}");
    assert_eq!(&id[14..15], "7", "version 7 (RFC 9562): {id}");
    assert!("89ab".contains(&id[19..20]), "the variant of RFC 9562: {id}");
}
