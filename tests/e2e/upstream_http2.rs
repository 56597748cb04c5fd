//! Upstreams that speak HTTP/2: streams side by side on few connections, trailers, and streams and connections that end early.

use h2::Reason;
use harness::{Config, Frames, Gateway, Http2Upstream, Nginx, Response, http};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::GATEWAY;

async fn gateway(origin: &Http2Upstream) -> Gateway {
    GATEWAY.start(Config::to(origin).top("workers: 1").upstream("protocol: http2")).await
}

/// A request over a connection of its own, answered in a while.
fn ask(gateway: &Gateway, path: &str) -> tokio::task::JoinHandle<std::io::Result<Response>> {
    let (address, start) = (gateway.listener("http"), format!("GET {path} HTTP/1.1"));
    tokio::spawn(async move {
        let mut client = harness::Client::connect(address).await;
        client.send(http(&[&start, "Host: test.example"], "")).await;
        client.response_to("GET").await
    })
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_share_a_connection_and_do_not_wait_for_each_other() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let first = ask(&gateway, "/first");
    let held = origin.next().await;
    assert_eq!(held.request.uri(), "http://test.example/first");
    assert!(!held.request.headers().contains_key("host"), "the authority says it");

    for path in ["/second", "/third"] {
        let asked = ask(&gateway, path);
        let exchange = origin.next().await;
        assert_eq!((exchange.path(), exchange.connection), (path, 1));
        exchange.answer("ok");
        assert_eq!(asked.await.expect("a task").expect("an answer").text(), "ok");
    }
    held.answer("at last");
    assert_eq!(first.await.expect("a task").expect("an answer").text(), "at last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_and_trailers_pass_both_ways() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let mut client = gateway.http2().await;
    let body = vec![7; 300_000];
    let mut request = http::Request::post("http://api.example.com/sum").header("te", "trailers");
    request = request.header("trailer", "x-sum");
    let request = request.body(Frames::data(body.clone()).and_trailers(trailers("x-sum", "6"))).expect("a request");
    let asked = tokio::spawn(async move { client.ask(request).await });

    let mut exchange = origin.next().await;
    assert_eq!(exchange.request.uri(), "http://api.example.com/sum");
    assert_eq!(exchange.request.headers()["te"], "trailers", "gRPC asks for it");
    let (sent, sums) = exchange.rest().await;
    assert_eq!((sent.len(), &sums["x-sum"]), (body.len(), &HeaderValue::from_static("6")));
    exchange.head(http::Response::new(()));
    exchange.data(b"ok");
    exchange.trailers(trailers("grpc-status", "0"));
    let answer = asked.await.expect("a task");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    assert_eq!(answer.trailers["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_full_gets_another_beside_it() {
    let mut origin = Http2Upstream::with_streams(2).await;
    let gateway = gateway(&origin).await;
    // What the upstream allows is known once it has said something.
    let asked = ask(&gateway, "/");
    origin.next().await.answer("ok");
    assert_eq!(asked.await.expect("a task").expect("an answer").status, 200);

    let mut held = Vec::new();
    let mut asked = Vec::new();
    for number in 0..5 {
        asked.push(ask(&gateway, &format!("/{number}")));
        held.push(origin.next().await);
    }
    assert_eq!(held.iter().map(|exchange| exchange.connection).collect::<Vec<_>>(), [1, 1, 2, 2, 3]);
    held.into_iter().for_each(|exchange| exchange.answer("ok"));
    for asked in asked {
        assert_eq!(asked.await.expect("a task").expect("an answer").text(), "ok");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_goes_away_ends_its_streams_and_takes_no_more() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let first = ask(&gateway, "/held");
    let held = origin.next().await;
    origin.go_away();
    // A request that crosses the news is answered as well; sooner or later one comes on a new connection.
    loop {
        let asked = ask(&gateway, "/next");
        let exchange = origin.next().await;
        let connection = exchange.connection;
        exchange.answer("ok");
        assert_eq!(asked.await.expect("a task").expect("an answer").status, 200);
        if connection == 2 {
            break;
        }
    }
    held.answer("in peace");
    assert_eq!(first.await.expect("a task").expect("an answer").text(), "in peace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_refused_before_processing_is_sent_again() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let asked = ask(&gateway, "/");
    origin.next().await.reset(Reason::REFUSED_STREAM);
    origin.next().await.answer("ok");
    assert_eq!(asked.await.expect("a task").expect("an answer").text(), "ok");

    // Twice is a fault of the upstream.
    let asked = ask(&gateway, "/");
    origin.next().await.reset(Reason::REFUSED_STREAM);
    origin.next().await.reset(Reason::REFUSED_STREAM);
    asked.await.expect("a task").expect("an answer").problem(502);
}

// Frames by hand (RFC 9113 §6), because no server of a library leaves a stream unread, or a ping.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const GO_AWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, /* last stream */ 0, 0, 0, 0, /* NO_ERROR */ 0, 0, 0, 0];
const NO_CONTENT: &[u8] = &[0, 0, 1, 1, /* the whole of it */ 5, 0, 0, 0, 1, /* :status: 204 */ 0x89];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_gone_silent_is_given_up() {
    let mut origin = harness::Upstream::manual().await;
    let timeouts = "protocol: http2\ntimeouts: { idle: 200ms, connect: 200ms }";
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1").upstream(timeouts)).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut silent = origin.next().await;
    silent.send(SETTINGS).await;
    client.response().await.problem(502);
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut fresh = origin.next().await;
    fresh.send([SETTINGS, NO_CONTENT].concat()).await;
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_upstream_never_looked_at_is_sent_again() {
    let mut origin = harness::Upstream::manual().await;
    let rules = "protocol: http2\nretries: { when: [reset] }";
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1").upstream(rules)).await;
    let mut client = gateway.client().await;
    client.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], "ab")).await;
    let mut first = origin.next().await;
    assert_eq!(first.head.start, "PRI * HTTP/2.0");
    first.send([SETTINGS, GO_AWAY].concat()).await;
    let mut second = origin.next().await;
    second.send([SETTINGS, NO_CONTENT].concat()).await;
    assert_eq!(client.response().await.status, 204, "though a POST may not be said twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_reset_is_a_problem_502_and_its_connection_lives_on() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let asked = ask(&gateway, "/");
    origin.next().await.reset(Reason::INTERNAL_ERROR);
    asked.await.expect("a task").expect("an answer").problem(502);
    let asked = ask(&gateway, "/");
    let exchange = origin.next().await;
    assert_eq!(exchange.connection, 1);
    exchange.answer("ok");
    assert_eq!(asked.await.expect("a task").expect("an answer").status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_response_is_never_a_clean_one() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = gateway(&origin).await;
    for length in [Some("10"), None] {
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
        let mut exchange = origin.next().await;
        let mut response = http::Response::builder();
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        exchange.head(response.body(()).expect("a head"));
        exchange.data(b"half");
        assert_eq!(client.head().await.status(), 200);
        client.chunk().await.expect("a piece").expect("half");
        exchange.reset(Reason::CANCEL);
        client.rest().await.expect_err("half a body has no clean end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_of_the_other_protocol_is_a_problem_502() {
    let origin = harness::Upstream::answering(http(&["HTTP/1.1 400 Bad Request", "Connection: close"], "")).await;
    let gateway = GATEWAY.start(Config::to(&origin).upstream("protocol: http2")).await;
    gateway.client().await.get("/").await.problem(502);

    let origin = Http2Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    gateway.client().await.get("/").await.problem(502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_is_spoken_to_by_http2() {
    let server = "location / { return 200 $server_protocol; }";
    let Some(nginx) = Nginx::start("http2", server).await else { return };
    let gateway = GATEWAY.start(Config::to(&nginx.address()).upstream("protocol: http2")).await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "HTTP/2.0");
    }
}
