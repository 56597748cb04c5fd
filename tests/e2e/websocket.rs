//! WebSockets (RFC 6455) through the gateway, over HTTP/1.1 and HTTP/2 (RFC 8441): messages, filters on the handshake, ends.

use std::time::Duration;

use harness::{Config, Gateway, Http2, Message, Refusal, WebSocket, WebSocketUpstream, within};
use http::HeaderMap;
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::GATEWAY;
use crate::access_log::{File, json};

/// Everything is a WebSocket but `/hello`.
fn config(origin: &WebSocketUpstream) -> Config {
    let hello = "name: hello\nmatch: { path: { exact: /hello } }\nrespond: { status: 200 }";
    Config::to(origin).and_route(hello)
}

/// A connection whose client has learned by an answer that it may ask for tunnels.
async fn http2(gateway: &Gateway) -> Http2 {
    let mut client = gateway.http2().await;
    assert_eq!(client.get("/hello").await.status, 200);
    client
}

async fn connect(gateway: &Gateway, fields: &[(&'static str, &str)]) -> Result<(WebSocket, HeaderMap), Refusal> {
    let (socket, response) = WebSocket::connect(gateway.listener("http"), "/chat?room=1", fields).await?;
    Ok((socket, response.headers().clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_pass_both_ways() {
    let origin = WebSocketUpstream::echo().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let mut sockets = vec![connect(&gateway, &[]).await.expect("a WebSocket").0];
    let mut client = http2(&gateway).await;
    sockets.push(WebSocket::over_http2(&mut client, "/chat").await.expect("a WebSocket").0);
    for socket in &mut sockets {
        socket.echoes("hello").await;
        let large = Message::binary(vec![7; 3_000_000]);
        socket.send(large.clone()).await;
        assert_eq!(socket.next().await, large);
        socket.send(Message::Ping("are you there?".into())).await;
        assert_eq!(socket.next().await, Message::Pong("are you there?".into()));
        socket.send(Message::Close(None)).await;
        assert!(matches!(socket.next().await, Message::Close(_)));
        assert!(socket.try_next().await.is_none(), "in good order");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handshake_is_relayed_with_what_the_gateway_knows() {
    let mut origin = WebSocketUpstream::manual().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let asked = [("sec-websocket-protocol", "v2.chat, v1.chat"), ("x-own", "1")];
    let (mut socket, answer) = connect(&gateway, &asked).await.expect("a WebSocket");
    assert_eq!(answer["sec-websocket-protocol"], "v2.chat");
    assert_eq!(
        (&answer["connection"], &answer["upgrade"]),
        (&"upgrade".parse().expect("a value"), &"websocket".parse().expect("a value"))
    );
    let mut accepted = origin.next().await;
    let fields = accepted.request.headers();
    assert_eq!(accepted.request.uri(), "/chat?room=1");
    assert_eq!(
        (&fields["x-own"], &fields["x-forwarded-for"]),
        (&"1".parse().expect("a value"), &"127.0.0.1".parse().expect("a value"))
    );
    assert!(fields.contains_key("x-request-id"));
    // The upstream may speak first, too.
    accepted.socket.send(Message::text("welcome")).await;
    assert_eq!(socket.next().await, Message::text("welcome"));

    let mut client = http2(&gateway).await;
    let (mut socket, answer) = WebSocket::over_http2(&mut client, "/two").await.expect("a WebSocket");
    assert!(!answer.headers().contains_key("sec-websocket-accept"), "{answer:?}");
    let mut accepted = origin.next().await;
    assert_eq!((accepted.request.method().as_str(), accepted.request.uri().path()), ("GET", "/two"));
    accepted.socket.send(Message::text("welcome")).await;
    assert_eq!(socket.next().await, Message::text("welcome"));
    // Other requests have the connection as well.
    assert_eq!(client.get("/hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_run_on_the_handshake() {
    let origin = WebSocketUpstream::echo().await;
    let filters = "
filters:
  - { use: headers, config: { response: { set: { x-stamp: seen } } } }
  - { use: compress, config: { min_size: 1B } }
  - { use: api-key, config: { keys: [{ key: k1, id: ada }] } }";
    let gateway = GATEWAY.start(config(&origin).builtin("api-key").route(filters)).await;
    let refusal = connect(&gateway, &[]).await.err().expect("a refusal");
    assert_eq!((refusal.status().as_u16(), &refusal.headers()["x-stamp"]), (401, &"seen".parse().expect("a value")));
    let (mut socket, answer) = connect(&gateway, &[("x-api-key", "k1")]).await.expect("a WebSocket");
    assert_eq!(answer["x-stamp"], "seen");
    socket.echoes("hello").await;

    let mut client = http2(&gateway).await;
    assert_eq!(WebSocket::over_http2(&mut client, "/chat").await.err(), Some(401));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_says_going_away() {
    let mut origin = WebSocketUpstream::manual().await;
    let mut gateway = GATEWAY.start(config(&origin)).await;
    let (mut idle, _) = connect(&gateway, &[]).await.expect("a WebSocket");
    let mut idle_upstream = origin.next().await.socket;
    let mut client = http2(&gateway).await;
    let (mut over_http2, _) = WebSocket::over_http2(&mut client, "/").await.expect("a WebSocket");
    let _http2_upstream = origin.next().await.socket;

    gateway.signal(Signal::TERM);
    assert_eq!(idle.closed().await, 1001);
    assert_eq!(over_http2.closed().await, 1001);
    // Its client's answer told the upstream why.
    assert_eq!(idle_upstream.closed().await, 1001);
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_goes_says_going_away() {
    let origin = WebSocketUpstream::echo().await;
    let config = config(&origin);
    let mut gateway = GATEWAY.start(&config).await;
    let (mut socket, _) = connect(&gateway, &[]).await.expect("a WebSocket");
    // An ordinary reload is nothing to it.
    gateway.reload(config.clone().route("timeout: 9s")).await;
    socket.echoes("still here").await;
    gateway.reload(config.to_string().replace("name: http\n", "name: other\n")).await;
    assert_eq!(socket.closed().await, 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_stands_still_is_closed() {
    let origin = WebSocketUpstream::echo().await;
    let gateway = GATEWAY.start(config(&origin).route("stream_idle_timeout: 1s")).await;
    let (mut socket, _) = connect(&gateway, &[]).await.expect("a WebSocket");
    socket.echoes("hello").await;
    assert_eq!(socket.closed().await, 1001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_outlives_the_limits_of_requests() {
    let origin = WebSocketUpstream::echo().await;
    let config = config(&origin)
        .listener("limits: { idle_timeout: 500ms, header_timeout: 500ms, requests_per_connection: 1 }")
        .upstream("timeouts: { connect: 1s, per_try: 1s, idle: 500ms }")
        .route("timeout: 1s");
    let gateway = GATEWAY.start(config).await;
    let (mut socket, _) = connect(&gateway, &[]).await.expect("a WebSocket");
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(800)).await;
        socket.echoes("still here").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_counts_as_a_request_until_its_end() {
    let origin = WebSocketUpstream::echo().await;
    let limits = "limits: { connections: 1, pending: 1, requests: 1 }";
    let gateway = GATEWAY.start(config(&origin).upstream(limits)).await;
    let (mut socket, _) = connect(&gateway, &[]).await.expect("a WebSocket");
    let refusal = connect(&gateway, &[]).await.err().expect("a refusal");
    assert_eq!(refusal.status().as_u16(), 503);
    socket.send(Message::Close(None)).await;
    while socket.try_next().await.is_some() {}
    // The connection was not kept, and its place is free: the gateway may still be busy with the end of it.
    let again = within("room for another", async {
        loop {
            match connect(&gateway, &[]).await {
                Ok((socket, _)) => return socket,
                Err(refusal) => assert_eq!(refusal.status().as_u16(), 503),
            }
        }
    });
    again.await.echoes("hello").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_is_not_read_ahead_of() {
    let mut origin = WebSocketUpstream::manual().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let (mut socket, _) = connect(&gateway, &[]).await.expect("a WebSocket");
    let mut upstream = origin.next().await.socket;
    let before = gateway.memory_bytes();
    let piece = vec![0; 64 << 10];
    let mut sent = 0;
    // A frame that is longer than all buffers on the way.
    upstream.raw().write_all(&[0x82, 127, 0, 0, 0, 0, 0x10, 0, 0, 0]).await.expect("the gateway is there");
    while sent < 256 << 20 {
        let writing = upstream.raw().write(&piece);
        match tokio::time::timeout(Duration::from_secs(1), writing).await {
            Ok(taken) => sent += taken.expect("the gateway is there"),
            Err(_) => break,
        }
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken that nobody reads");
    assert!(gateway.memory_bytes() < before + (16 << 20), "they lie in the kernel's buffers");
    let mut read = vec![0; sent];
    within("what was sent", socket.raw().read_exact(&mut read)).await.expect("it comes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_line_is_written_at_its_end_with_what_went_through() {
    let (origin, file) = (WebSocketUpstream::echo().await, File::new());
    let gateway = GATEWAY.start(config(&origin).top(&file.keys(", only: { status: [101] }"))).await;
    let mut client = http2(&gateway).await;
    let over_http1 = connect(&gateway, &[]).await.expect("a WebSocket").0;
    let over_http2 = WebSocket::over_http2(&mut client, "/chat").await.expect("a WebSocket").0;
    for (count, mut socket) in [(1, over_http1), (2, over_http2)] {
        socket.echoes("hello").await;
        let written = std::fs::read_to_string(file.path()).unwrap_or_default();
        assert_eq!(written.lines().count(), count - 1, "not before its end: {written}");
        tokio::time::sleep(LIFE).await;
        socket.send(Message::Close(None)).await;
        assert!(matches!(socket.next().await, Message::Close(_)));
        let line = &json(&file.path(), count).await[count - 1];
        // A client's frames have a mask of four bytes; each frame has a head of two.
        assert_eq!((&line["bytes_in"], &line["bytes_out"]), (&(11 + 6).into(), &(7 + 2).into()), "{line}");
        let duration = line["duration_ms"].as_f64().expect("a number");
        assert!(duration >= LIFE.as_secs_f64() * 1000.0, "its whole life: {line}");
        assert_eq!((&line["status"], &line["flags"]), (&101.into(), &"".into()), "{line}");
    }
}

/// A moment in which a WebSocket stands open.
const LIFE: Duration = Duration::from_millis(50);
