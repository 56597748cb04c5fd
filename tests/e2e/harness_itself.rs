//! The harness without a gateway: its client against its upstream, so that a fault of the harness never looks like one of the gateway.

use std::time::Duration;

use harness::{Client, Http2, Load, Upstream, http};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_records_the_bytes_it_was_sent_and_echoes_them() {
    let origin = Upstream::echo().await;
    let mut client = Client::connect(origin.address()).await;
    let chunked = http(
        &["POST /a?b HTTP/1.1", "HoSt: x", "Transfer-Encoding: chunked"],
        "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n",
    );
    client.send(&chunked).await;
    let echo = client.response().await.echo();
    assert_eq!((echo.method.as_str(), echo.target.as_str(), echo.body_bytes), ("POST", "/a?b", 5));
    assert_eq!(echo.body_sha256, harness::sha256(b"abcde"));
    assert_eq!(echo.fields.0[0], ("HoSt".to_owned(), "x".to_owned()));
    assert_eq!(echo.trailers.get("x-sum"), Some("5"));
    assert_eq!(origin.last_request().raw, chunked);

    assert_eq!(client.get("/again").await.echo().target, "/again");
    assert_eq!((origin.connections(), origin.requests().len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_upstream_answers_in_steps_and_resets() {
    let mut origin = Upstream::manual().await;
    let mut client = Client::connect(origin.address()).await;
    client.send(http(&["GET / HTTP/1.1", "Host: x"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "12345")).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.expect("a piece").as_deref(), Some(b"12345".as_slice()));
    exchange.send("67890").await;
    assert_eq!(client.rest().await.expect("the rest"), b"67890");

    exchange.keep_alive();
    client.send(http(&["GET /2 HTTP/1.1", "Host: x"], "")).await;
    let mut exchange = origin.next().await;
    assert_eq!((exchange.target(), origin.connections()), ("/2", 1));
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "1")).await;
    assert_eq!(client.head().await.status(), 200);
    exchange.reset();
    client.rest().await.expect_err("a body that is cut has no clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_upstream_refuses_and_comes_back_on_its_port() {
    let mut origin = Upstream::answering(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    let mut load = Load::start(origin.address(), "/", 2);
    load.answers(10).await;
    origin.kill().await;
    load.until("a refusal", |tally| tally.failures.iter().any(|failure| failure.contains("refused"))).await;
    origin.restart();
    load.answers(10).await;
    let tally = load.stop().await;
    assert_eq!(tally.of(200), tally.total());
    assert!(!tally.failures.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_hangs_up_closes_idle_connections_only_then() {
    let origin = Upstream::echo().await;
    let mut client = Client::connect(origin.address()).await;
    client.get("/").await;
    origin.hang_up().await;
    client.closed().await;
    assert_eq!(Client::connect(origin.address()).await.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_who_does_not_read_stalls_the_writer() {
    let mut origin = Upstream::manual().await;
    let mut client = Client::connect(origin.address()).await;
    client.send(http(&["POST / HTTP/1.1", "Host: x", "Content-Length: 999999999"], "")).await;
    let _unread = origin.next().await;
    assert!(client.send_until_stalled(999_999_999).await < 100_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic(expected = "prior knowledge")]
async fn a_listener_without_http2_is_noticed() {
    let origin = Upstream::answering(http(&["HTTP/1.1 400 no"], "")).await;
    let mut http2 = Http2::connect(origin.address()).await;
    let request = http::Request::get("http://x/").body(harness::Frames::default()).expect("a request");
    http2.start(request).await.expect("prior knowledge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deaf_upstream_neither_accepts_nor_refuses() {
    let origin = Upstream::deaf().await;
    let attempt = tokio::net::TcpStream::connect(origin.address());
    tokio::time::timeout(Duration::from_millis(300), attempt).await.expect_err("no answer of any kind");
}

#[test]
#[should_panic(expected = "no <origin>")]
fn a_value_without_a_place_is_noticed() {
    harness::yaml("version: 1", &[("origin", &1)]);
}
