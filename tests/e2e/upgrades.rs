//! Upgrades: which are allowed, what is believed of an upstream's answer, and that no tunnel comes about by anything but a 101.

use harness::{Client, Config, Exchange, Frames, Gateway, Head, Upstream, http};

use rustix::process::Signal;

use crate::GATEWAY;
use crate::reload::refused;

const HANDSHAKE: [&str; 6] = [
    "GET /chat HTTP/1.1",
    "Host: test.example",
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
/// The answer to the key above, as RFC 6455 §1.3 has it.
const ACCEPTED: [&str; 4] = [
    "HTTP/1.1 101 Switching Protocols",
    "Connection: upgrade",
    "Upgrade: WebSocket",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

/// The handshake with one line in another's place.
fn handshake(line: usize, other: &'static str) -> Vec<u8> {
    let mut lines = HANDSHAKE;
    lines[line] = other;
    http(&lines, "")
}

/// A connection that was turned into `chat`, from both ends.
async fn chat(gateway: &Gateway, origin: &mut Upstream) -> (Client, Exchange, Head) {
    let mut client = gateway.client().await;
    client.send(http(&["POST /talk HTTP/1.1", "Host: a", "Connection: upgrade", "Upgrade: other, Chat/2"], "")).await;
    let mut upstream = origin.next().await;
    assert_eq!(upstream.head.fields.all("upgrade"), ["chat/2"]);
    upstream.send(http(&["HTTP/1.1 101 Switching Protocols", "Connection: upgrade", "Upgrade: chat/2"], "hi")).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.fields.get("upgrade")), (101, Some("chat/2")));
    assert_eq!(&*client.bytes(2).await, b"hi");
    (client, upstream, head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_protocols_pass_where_the_route_names_them() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).route("upgrades: [Chat/2]")).await;
    let (mut client, mut upstream, _) = chat(&gateway, &mut origin).await;
    client.send("ping").await;
    assert_eq!(&*upstream.bytes(4).await, b"ping");
    // Half a tunnel is one.
    client.finish_sending().await;
    upstream.closed().await;
    upstream.send("last words").await;
    assert_eq!(&*client.bytes(10).await, b"last words");
    upstream.close();
    client.closed().await;

    let (mut client, mut upstream, _) = chat(&gateway, &mut origin).await;
    upstream.finish_sending().await;
    client.closed().await;
    client.send("more").await;
    assert_eq!(&*upstream.bytes(4).await, b"more");
    upstream.reset();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_that_stands_still_is_closed() {
    let mut origin = Upstream::manual().await;
    let keys = "upgrades: [chat/2]\nstream_idle_timeout: 300ms";
    let gateway = GATEWAY.start(Config::to(&origin).route(keys)).await;
    let (mut client, mut upstream, _) = chat(&gateway, &mut origin).await;
    client.closed().await;
    upstream.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_a_frame_end_before_it_says_going_away() {
    let mut origin = Upstream::manual().await;
    let mut gateway = GATEWAY.start(Config::to(&origin).top("workers: 1")).await;
    let mut client = gateway.client().await;
    client.send(http(&HANDSHAKE, "")).await;
    let mut upstream = origin.next().await;
    // The head of a text of ten bytes, and half of it.
    upstream.send(http(&ACCEPTED, "\u{1}\u{a}hello")).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(&*client.bytes(7).await, b"\x01\x0ahello");
    gateway.signal(Signal::TERM);
    refused(gateway.listener("http")).await;
    upstream.send("world\u{1}\u{3}no!").await;
    assert_eq!(&*client.bytes(9).await, b"world\x88\x02\x03\xe9");
    // The answer, masked with zeros, goes on to the upstream, which so hears it as well.
    client.send(b"\x88\x82\0\0\0\0\x03\xe9").await;
    assert_eq!(&*upstream.bytes(8).await, b"\x88\x82\0\0\0\0\x03\xe9");
    client.closed().await;
    upstream.closed().await;
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_come_early_go_through_the_tunnel() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    client.send(http(&HANDSHAKE, "\u{1}early")).await;
    let mut upstream = origin.next().await;
    upstream.send(http(&ACCEPTED, "soon")).await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(&*upstream.bytes(6).await, b"\x01early");
    assert_eq!(&*client.bytes(4).await, b"soon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_is_none_is_refused() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    for (request, status) in [
        (handshake(0, "POST /chat HTTP/1.1"), 400),
        (handshake(4, "Sec-WebSocket-Version: 8"), 426),
        (handshake(4, "X-No: version"), 426),
        (handshake(5, "Sec-WebSocket-Key: short"), 400),
        (handshake(5, "X-No: key"), 400),
        (handshake(1, "Host: a\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
        ([handshake(1, "Host: a\r\nContent-Length: 4"), b"body".to_vec()].concat(), 400),
    ] {
        let mut client = gateway.client().await;
        client.send(request).await;
        let answer = client.response().await;
        answer.problem(status);
        if status == 426 {
            assert_eq!(
                (answer.field("sec-websocket-version"), answer.field("upgrade")),
                (Some("13"), Some("websocket"))
            );
        }
    }
    assert!(origin.requests().is_empty(), "none of them reached the upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_route_does_not_allow_is_refused_or_passed_over() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).route("upgrades: []")).await;
    let mut client = gateway.client().await;
    client.send(http(&HANDSHAKE, "")).await;
    client.response().await.problem(403);
    // The connection goes on: nothing has become of it.
    assert_eq!(client.get("/").await.status, 200);

    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    for (upgrade, more) in
        [("h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"), ("chat/2", "X: 1"), ("h2c, TLS/1.0", "X: 1")]
    {
        let lines =
            ["GET / HTTP/1.1", "Host: a", "Connection: Upgrade, HTTP2-Settings", &format!("Upgrade: {upgrade}"), more];
        let echo = client.ask(&lines, "").await.echo();
        for name in ["upgrade", "http2-settings"] {
            assert!(!echo.fields.has(name), "{upgrade}: {:?}", echo.fields);
        }
    }
    // Without `Connection` it is a field that is of no meaning (RFC 9110 §7.8), and HTTP/1.0 knows no upgrades.
    client.send(handshake(2, "X-No: connection")).await;
    assert!(!client.response().await.echo().fields.has("upgrade"));
    client.send(handshake(0, "GET / HTTP/1.0")).await;
    assert!(!client.response().await.echo().fields.has("upgrade"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_refuses_is_heard() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    for (start, body) in [("HTTP/1.1 403 Forbidden", "no"), ("HTTP/1.1 200 OK", "hello")] {
        client.send(http(&HANDSHAKE, "")).await;
        let mut upstream = origin.next().await;
        // What an attacker wants to have taken for a tunnel stays a response and the next request.
        upstream.send(http(&[start, "Upgrade: websocket", &format!("Content-Length: {}", body.len())], body)).await;
        let answer = client.response().await;
        assert_eq!((answer.text().as_str(), answer.field("upgrade")), (body, None));
        // Nobody else gets a connection of which the upstream may think that it is something else.
        upstream.closed().await;
    }
    client.send(http(&["GET /next HTTP/1.1", "Host: a"], "")).await;
    assert_eq!(origin.next().await.target(), "/next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_101_to_this_request_is_believed() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    for (asked, answered) in [
        (vec!["GET / HTTP/1.1", "Host: a"], ACCEPTED.to_vec()),
        (HANDSHAKE.to_vec(), vec![ACCEPTED[0], ACCEPTED[1], ACCEPTED[2]]),
        (
            HANDSHAKE.to_vec(),
            vec![ACCEPTED[0], ACCEPTED[1], ACCEPTED[2], "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        ),
        (HANDSHAKE.to_vec(), vec![ACCEPTED[0], ACCEPTED[1], "Upgrade: h2c", ACCEPTED[3]]),
        (HANDSHAKE.to_vec(), vec![ACCEPTED[0], ACCEPTED[3]]),
    ] {
        let mut client = gateway.client().await;
        client.send(http(&asked, "")).await;
        let mut upstream = origin.next().await;
        upstream.send(http(&answered, "")).await;
        client.response().await.problem(502);
        upstream.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http2_only_a_tunnel_is_a_success() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let client = gateway.http2().await;
    let ask = |protocol: &'static str, version: &'static str| {
        let mut client = client.clone();
        let request = http::Request::get("http://test.example/chat").header("sec-websocket-version", version);
        let request = request.body(Frames::default()).expect("a request");
        tokio::spawn(async move { client.tunnel(protocol, request).await.0.status().as_u16() })
    };
    for (line, status) in [("HTTP/1.1 200 OK", 502), ("HTTP/1.1 404 Not Found", 404), (ACCEPTED[0], 502)] {
        let asked = ask("websocket", "13");
        let mut upstream = origin.next().await;
        assert!(upstream.head.fields.has("sec-websocket-key"), "the gateway makes one");
        upstream.send(http(&[line, ACCEPTED[1], ACCEPTED[2], ACCEPTED[3], "Content-Length: 0"], "")).await;
        assert_eq!(asked.await.expect("an answer"), status, "{line}");
    }
    assert_eq!(ask("connect-udp", "13").await.expect("an answer"), 403);
    assert_eq!(ask("websocket", "8").await.expect("an answer"), 426);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_of_http2_takes_no_upgrades() {
    let origin = harness::Http2Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).upstream("protocol: http2")).await;
    let mut client = gateway.client().await;
    client.send(http(&HANDSHAKE, "")).await;
    client.response().await.problem(501);
}
