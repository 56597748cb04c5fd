//! The PROXY protocol in front of a listener: who the client is for everything that asks, and who is not believed.

use harness::{Client, Config, Upstream, http};

use crate::GATEWAY;

const TRUSTING: &str = "proxy_protocol: { from: [127.0.0.1] }\nlimits: { header_timeout: 1s }";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 443\r\n";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Version 2, for a client of IPv6, with a further field.
fn binary() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x29".to_vec();
    header.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    header.extend([0; 20]);
    header.extend([4, 0, 2, 1, 2]);
    header
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_the_header_tells() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener(TRUSTING)).await;
    for (header, client, forwarded) in [
        (LINE.to_vec(), "203.0.113.7", "for=203.0.113.7;"),
        (binary(), "2001:db8::7", "for=\"[2001:db8::7]\";"),
        (LOCAL.to_vec(), "127.0.0.1", "for=127.0.0.1;"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", "for=127.0.0.1;"),
    ] {
        let mut connection = gateway.client().await;
        // In pieces: the header need not come at once.
        for piece in header.chunks(9) {
            connection.send(piece).await;
        }
        // It is said once for all requests, and a client cannot say it better.
        for _ in 0..2 {
            let echo = connection.ask(&["GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 1.2.3.4"], "").await.echo();
            assert_eq!(echo.fields.all("x-forwarded-for"), [client]);
            assert!(
                echo.fields.get("forwarded").is_some_and(|value| value.starts_with(forwarded)),
                "{:?}",
                echo.fields
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_and_request_may_come_in_one_piece_over_either_version_of_http() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener(TRUSTING)).await;
    let mut client = gateway.client().await;
    client.send([LINE, &http(&["GET / HTTP/1.1", "Host: a"], "")].concat()).await;
    assert_eq!(client.response().await.echo().fields.all("x-forwarded-for"), ["203.0.113.7"]);
    let mut client = harness::Http2::connect_after(gateway.listener("http"), LINE).await;
    assert_eq!(client.get("/").await.echo().fields.all("x-forwarded-for"), ["203.0.113.7"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_go_by_it() {
    let origin = Upstream::echo().await;
    let filters = "
filters:
  - { use: ip-access, config: { deny: [203.0.113.0/24] } }
  - { use: rate-limit, config: { key: client-ip, rate: 1/1h } }";
    let gateway = GATEWAY.start(Config::to(&origin).listener(TRUSTING).route(filters)).await;
    let ask = async |header: &[u8]| {
        let mut client = gateway.client().await;
        client.send(header).await;
        client.get("/").await.status
    };
    assert_eq!(ask(LINE).await, 403);
    assert_eq!((ask(&binary()).await, ask(&binary()).await), (200, 429));
    assert_eq!(ask(LOCAL).await, 200, "another client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_must_send_a_header_and_does_not_is_cut_off() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener(TRUSTING)).await;
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 nobody 10.0.0.1 50000 443\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        // Time is short as well.
        b"PROXY TCP4 203.0.113.7",
        b"",
    ] {
        let mut client = gateway.client().await;
        let _ = client.try_send(bytes).await;
        client.closed().await;
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_may_send_one_nor_connect() {
    let origin = Upstream::echo().await;
    let others = "proxy_protocol: { from: [10.0.0.0/8, '2001:db8::/32'] }";
    let gateway = GATEWAY.start(Config::to(&origin).listener(others)).await;
    for bytes in [LINE, &http(&["GET / HTTP/1.1", "Host: a"], "")] {
        let mut client = gateway.client().await;
        let _ = client.try_send(bytes).await;
        client.closed().await;
    }
    // Without the key, the header is no request.
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client: Client = gateway.client().await;
    client.send([LINE, &http(&["GET / HTTP/1.1", "Host: a"], "")].concat()).await;
    assert_eq!(client.response().await.status, 400);
    assert!(origin.requests().is_empty());
}
