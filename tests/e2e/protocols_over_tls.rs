//! The same protocols over TLS: WebSocket and gRPC on both sides, and the header of a load balancer before the handshake.

use harness::{Authority, Config, Http2Upstream, Tls, TlsClient, TlsOptions, Upstream, WebSocket, WebSocketUpstream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use rustix::process::Signal;

use crate::GATEWAY;
use crate::tls_certificates::{folder, tls};

fn trusting(tls: &Tls, more: &str) -> String {
    format!("{more}\ntls: {{ ca: '{}' }}", tls.authority().display())
}

/// What an upstream speaks that would rather have HTTP/2.
const BOTH: TlsOptions = TlsOptions { protocols: &["h2", "http/1.1"], wants_identity: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_pass_from_tls_to_tls() {
    let (origin, authority, folder) = (WebSocketUpstream::echo().await, Authority::new(), folder());
    let upstream = Tls::with(origin.address(), BOTH).await;
    let site = authority.certificate(&["test.example"]);
    let config = Config::to_url(&upstream.origin())
        .listener(&tls(folder.path(), &[("site", &site)], ""))
        .upstream(&trusting(&upstream, "protocol: auto"))
        .and_route("name: hello\nmatch: { path: { exact: /hello } }\nrespond: { status: 200 }");
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority).offering(&["h2", "http/1.1"]);
    let mut streams = client.http2("test.example").await;
    assert_eq!(streams.get("/hello").await.status, 200);
    let old = client.clone().offering(&["http/1.1"]).connect("test.example").await.expect("a handshake");
    let mut sockets = [
        WebSocket::over_http2(&mut streams, "/").await.expect("a WebSocket").0,
        old.websocket("/").await.expect("a WebSocket"),
    ];
    for socket in &mut sockets {
        socket.echoes("hello").await;
        socket.echoes(&"long ".repeat(200_000)).await;
    }
    gateway.signal(Signal::TERM);
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, 1001);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_pass_from_tls_to_tls() {
    let (mut origin, authority, folder) = (Http2Upstream::manual().await, Authority::new(), folder());
    let upstream = Tls::with(origin.address(), BOTH).await;
    let site = authority.certificate(&["test.example"]);
    let config = Config::to_url(&upstream.origin())
        .listener(&tls(folder.path(), &[("site", &site)], ""))
        .upstream(&trusting(&upstream, "protocol: http2"));
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority).offering(&["h2"]);
    let calls = client.connect("test.example").await.expect("a handshake").calls().await;
    let request = Request::post("https://test.example/chat.Chat/Talk").header("content-type", "application/grpc");
    let mut call = calls.begin(request.header("te", "trailers").body(()).expect("a request")).await;
    let mut upstream = origin.next().await;
    upstream.head(Response::new(()));
    call.head().await.expect("a head");
    for _ in 0..3 {
        call.send("question");
        assert_eq!(upstream.next().await.expect("a message").expect("a good one"), "question");
        upstream.data(b"answer");
        assert_eq!(call.next().await.expect("a message").expect("a good one"), "answer");
    }
    let status = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    upstream.trailers(status.clone());
    assert_eq!(call.trailers().await.expect("trailers"), status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_balancers_header_stands_before_the_handshake() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let lines = format!("{}\nproxy_protocol: {{ from: [127.0.0.1] }}", tls(folder.path(), &[("site", &site)], ""));
    let gateway = GATEWAY.start(Config::to(&origin).listener(&lines)).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    for header in [
        &b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 443\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x0a\0\0\x01\xc3\x50\x01\xbb",
    ] {
        let mut client = client.connect_after("test.example", header).await.expect("a handshake").http1();
        let echo = client.get("/").await.echo();
        assert_eq!(echo.fields.all("x-forwarded-for"), ["203.0.113.7"]);
        assert_eq!(echo.fields.all("x-forwarded-proto"), ["https"]);
    }
    assert!(client.connect("test.example").await.is_err(), "without the header there is no handshake");
}
