//! Bodies on their way through: whole, streamed, held back, cut, and with trailers.
//!
//! The gateway holds no body: what one side has sent the other can read, and what one side does not read the other cannot send.

use harness::{Config, Exchange, Gateway, Upstream, http};

use crate::GATEWAY;

const MIB: usize = 1024 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_unchanged_both_ways() {
    let body: Vec<u8> = (0..3 * MIB).map(|n| (n % 251) as u8).collect();
    let mirror = Upstream::with(|request| {
        let length = format!("Content-Length: {}", request.body.len());
        http(&["HTTP/1.1 200 OK", &length], &request.body)
    })
    .await;
    let gateway = GATEWAY.start(Config::to(&mirror)).await;
    let mut client = gateway.client().await;

    let length = format!("Content-Length: {}", body.len());
    let answer = client.ask(&["POST / HTTP/1.1", "Host: test.example", &length], &body).await;
    assert!(answer.body == body, "with a length");

    let mut chunked = Vec::new();
    for piece in body.chunks(70_001) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Transfer-Encoding: chunked"];
    let answer = client.ask(&lines, &chunked).await;
    assert!(answer.body == body, "in chunks");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_streams_while_the_upstream_still_writes_it() {
    for (framing, pieces, end) in [
        ("Content-Length: 6", ["one", "two"], ""),
        ("Transfer-Encoding: chunked", ["3\r\none\r\n", "3\r\ntwo\r\n"], "0\r\n\r\n"),
        ("Connection: close", ["one", "two"], ""),
    ] {
        let mut origin = Upstream::manual().await;
        let gateway = GATEWAY.start(Config::to(&origin)).await;
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
        let mut exchange = origin.next().await;
        exchange.send(http(&["HTTP/1.1 200 OK", framing], "")).await;
        assert_eq!(client.head().await.status(), 200, "the head comes before the body: {framing}");
        for (piece, expected) in pieces.iter().zip(["one", "two"]) {
            exchange.send(piece).await;
            let got = client.chunk().await.expect("a piece").expect("not the end");
            assert_eq!(got, expected, "each piece comes before the next is written: {framing}");
        }
        exchange.send(end).await;
        exchange.close();
        assert_eq!(client.rest().await.expect("a clean end"), b"", "{framing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_streams_while_the_client_still_writes_it() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Transfer-Encoding: chunked"];
    client.send(http(&lines, "3\r\none\r\n")).await;
    let mut exchange = origin.next().await;
    assert_eq!(exchange.chunk().await.expect("a piece").expect("not the end"), "one");
    client.send("3\r\ntwo\r\n").await;
    assert_eq!(exchange.chunk().await.expect("a piece").expect("not the end"), "two");
    client.send("0\r\n\r\n").await;
    assert_eq!(exchange.chunk().await.expect("a clean end"), None);
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 0"], "")).await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_need_not_wait_for_the_request_to_end() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    client.send(http(&["POST / HTTP/1.1", "Host: test.example", "Content-Length: 1000"], "half")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 403 Forbidden", "Content-Length: 2"], "no")).await;
    assert_eq!(client.response().await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_stalls_the_upstream_in_bounded_memory() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    an_upstream_is_stalled(&gateway, &mut origin, 256 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_read_stalls_the_client_in_bounded_memory() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { body: 1GiB }")).await;
    a_client_is_stalled(&gateway, &mut origin, 256 * MIB).await;
}

/// Sends a response that nobody reads until no more of it is taken, and then reads it to its end.
pub(crate) async fn an_upstream_is_stalled(gateway: &Gateway, origin: &mut Upstream, total: usize) {
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
    let mut exchange = origin.next().await;
    let before = gateway.memory_bytes();
    exchange.send(http(&["HTTP/1.1 200 OK", &format!("Content-Length: {total}")], "")).await;
    let taken = exchange.send_until_stalled(total).await;
    assert_stalled(gateway, before, taken, total);

    // The stall is back-pressure and no fault: once the client reads, everything arrives.
    let rest = tokio::spawn(async move { exchange.send(vec![0; total - taken]).await });
    assert_eq!(client.head().await.status(), 200);
    let mut read = 0;
    while let Some(piece) = client.chunk().await.expect("a piece") {
        read += piece.len();
    }
    assert_eq!(read, total);
    rest.await.expect("the upstream wrote all of it");
}

/// As [`an_upstream_is_stalled`], with a request.
pub(crate) async fn a_client_is_stalled(gateway: &Gateway, origin: &mut Upstream, total: usize) {
    let mut client = gateway.client().await;
    let before = gateway.memory_bytes();
    let length = format!("Content-Length: {total}");
    client.send(http(&["POST / HTTP/1.1", "Host: test.example", &length], "")).await;
    let mut exchange = origin.next().await;
    let taken = client.send_until_stalled(total).await;
    assert_stalled(gateway, before, taken, total);

    let rest = tokio::spawn(async move {
        client.send(vec![0; total - taken]).await;
        client.response().await.status
    });
    let mut read = 0;
    while let Some(piece) = exchange.chunk().await.expect("a piece") {
        read += piece.len();
    }
    assert_eq!(read, total);
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 0"], "")).await;
    assert_eq!(rest.await.expect("the client is answered"), 200);
}

fn assert_stalled(gateway: &Gateway, before: usize, taken: usize, total: usize) {
    assert!(taken < total / 2, "nobody reads, and yet {taken} bytes were taken");
    let grown = gateway.memory_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "the gateway grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_on_the_way_up() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Transfer-Encoding: chunked", "Trailer: x-sum"];
    let echo = client.ask(&lines, "3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n").await.echo();
    assert_eq!((echo.body_bytes, echo.trailers.get("x-sum")), (3, Some("6")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_on_the_way_down_to_clients_that_take_them() {
    let lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x-sum"];
    let origin = Upstream::answering(http(&lines, "3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let lines = ["GET / HTTP/1.1", "Host: test.example", "TE: trailers", "Connection: te"];
    let answer = client.ask(&lines, "").await;
    assert_eq!((answer.text().as_str(), answer.trailers.get("x-sum")), ("abc", Some("6")));
    let answer = client.get("/").await;
    assert_eq!((answer.text().as_str(), answer.trailers.get("x-sum")), ("abc", None));
    // It is of the client's connection, and an HTTP/1.1 upstream may send them all the same.
    assert!(origin.requests().iter().all(|request| !request.fields.has("te")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_100_is_told_to_continue() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Content-Length: 5", "Expect: 100-continue"];
    client.send(http(&lines, "")).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(client.response().await.echo().body_bytes, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_100_hears_what_the_upstream_says_to_it() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Content-Length: 5", "Expect: 100-continue"];
    let mut client = gateway.client().await;
    client.send(http(&lines, "")).await;
    let mut refusing = origin.next().await;
    assert_eq!(refusing.head.fields.all("expect"), ["100-continue"]);
    refusing.send(http(&["HTTP/1.1 401 Unauthorized", "Content-Length: 0"], "")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.interim.as_slice()), (401, [].as_slice()), "the body was never asked for");
    // Neither connection can be used again: a body was announced on it.
    client.closed().await;
    refusing.closed().await;

    let mut client = gateway.client().await;
    client.send(http(&lines, "")).await;
    let mut willing = origin.next().await;
    willing.send(http(&["HTTP/1.1 100 Continue"], "")).await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(willing.rest().await.expect("a body"), b"hello");
    willing.send(http(&["HTTP/1.1 103 Early Hints", "Link: </a.css>"], "")).await;
    willing.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.interim.as_slice()), (200, [].as_slice()), "hints are dropped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_100_hears_a_refusal_before_it_sends_a_body() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { body: 1KiB }")).await;
    let mut client = gateway.client().await;
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Content-Length: 5000", "Expect: 100-continue"];
    client.send(http(&lines, "")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.interim.as_slice()), (413, [].as_slice()));
}

/// What an upstream does amid a body, and why no client may take the rest for the whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_cut_has_no_clean_end() {
    let with_length = http(&["HTTP/1.1 200 OK", "Content-Length: 100"], "only this");
    let chunked = http(&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "9\r\nonly this\r\n");
    let inside_a_chunk = http(&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "40\r\nonly this");
    let close: fn(Exchange) = Exchange::close;
    for (what, response, end) in [
        ("closed before its length", &with_length, close),
        ("reset before its length", &with_length, Exchange::reset),
        ("closed before its last chunk", &chunked, close),
        ("closed inside a chunk", &inside_a_chunk, close),
        ("reset before its last chunk", &chunked, Exchange::reset),
    ] {
        let mut origin = Upstream::manual().await;
        let gateway = GATEWAY.start(Config::to(&origin)).await;
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
        let mut exchange = origin.next().await;
        exchange.send(response).await;
        assert_eq!(client.head().await.status(), 200, "{what}");
        assert_eq!(client.chunk().await.expect("a piece").expect("not the end"), "only this", "{what}");
        end(exchange);
        client.rest().await.expect_err(what);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_releases_the_upstream() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    // It leaves while it waits for the head, and amid the body.
    for head_first in [false, true] {
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
        let mut exchange = origin.next().await;
        if head_first {
            exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 100"], "half")).await;
            assert_eq!(client.head().await.status(), 200);
        }
        drop(client);
        exchange.closed().await;
    }
}
