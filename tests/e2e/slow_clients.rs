//! Clients that take their time, to keep what others need: each is let go of when its limit is over, whatever it is slow at.
//!
//! The limits are short and the tests wait for what follows from them, so none of them measures time.

use std::time::Duration;

use harness::frames::{DATA, END_STREAM, Outcome, RawHttp2, frame, get, post};
use harness::{Config, Upstream, http};

use crate::GATEWAY;

/// Often enough that nothing stands still, and too little by any rate.
const DRIP: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_is_a_problem_408() {
    let origin = Upstream::echo().await;
    let limits = "limits: { body_min_rate: 1MiB, idle_timeout: 1s }";
    let gateway = GATEWAY.start(Config::to(&origin).listener(limits)).await;
    for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut client = gateway.client().await;
        client.send(http(&["POST / HTTP/1.1", "Host: a", framing], "")).await;
        let piece = if framing.starts_with('C') { "x" } else { "1\r\nx\r\n" };
        while client.try_send(piece).await.is_ok() {
            if let Ok(answer) = tokio::time::timeout(DRIP, client.response_to("POST")).await {
                assert_eq!(answer.expect("an answer").status, 408, "{framing}");
                break;
            }
        }
        let end = client.response_to("POST").await.expect_err("it was closed");
        assert!(end.kind() != std::io::ErrorKind::TimedOut, "{framing}: {end}");
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_over_http2_ends_its_stream_alone() {
    let origin = Upstream::echo().await;
    let limits = "limits: { body_min_rate: 1MiB, idle_timeout: 1s }";
    let gateway = GATEWAY.start(Config::to(&origin).listener(limits)).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[]).await;
    client.send(post(1, &[])).await;
    loop {
        client.send(frame(DATA, 0, 1, b"x")).await;
        if let Ok(answer) = tokio::time::timeout(DRIP, client.answer(1)).await {
            assert_eq!(answer, Outcome::Status(408));
            break;
        }
    }
    client.send(get(3)).await;
    assert_eq!(client.answer(3).await, Outcome::Status(200));
}

/// Calls of gRPC may be silent for as long as `idle_timeout` lets them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_grpc_may_drip() {
    let origin = Upstream::echo().await;
    let limits = "limits: { body_min_rate: 1GiB, idle_timeout: 1s }";
    let gateway = GATEWAY.start(Config::to(&origin).listener(limits)).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[]).await;
    client.send(post(1, &[("content-type", "application/grpc"), ("te", "trailers")])).await;
    for _ in 0..40 {
        client.send(frame(DATA, 0, 1, b"x")).await;
        tokio::time::sleep(DRIP).await;
    }
    client.send(frame(DATA, END_STREAM, 1, [])).await;
    assert_eq!(client.answer(1).await, Outcome::Status(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_hung_up_on() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { send_timeout: 3s }")).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 1000000000"], "")).await;
    // The gateway takes what fits into sockets and buffers, then hangs up on both sides.
    exchange.send_until_stalled(1_000_000_000).await;
    exchange.closed().await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_stays_shut_ends_the_connection() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { send_timeout: 300ms }")).await;
    let mut client = RawHttp2::connect(gateway.listener("http"), &[(4, 0)]).await;
    client.send([get(1), get(3)].concat()).await;
    assert_eq!(client.answer(1).await, Outcome::Status(200));
    client.goodbye().await;
}

/// Only what waits counts: a connection that waits for its upstream is not a slow one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_waits_for_a_slow_upstream_is_kept() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { send_timeout: 300ms }")).await;
    let mut client = gateway.client().await;
    let mut frames = RawHttp2::connect(gateway.listener("http"), &[]).await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut first = origin.next().await;
    frames.send(get(1)).await;
    let mut second = origin.next().await;
    for exchange in [&mut first, &mut second] {
        exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "o")).await;
    }
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(frames.answer(1).await, Outcome::Status(200));
    tokio::time::sleep(Duration::from_secs(1)).await;
    for exchange in [&mut first, &mut second] {
        exchange.send("k").await;
    }
    assert_eq!(client.rest().await.expect("the rest"), b"ok");
    assert_eq!(frames.outcome(1).await, Outcome::Alive);
}
