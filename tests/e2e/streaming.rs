//! Streams that nobody may hold back: server-sent events, long polls, and what filters do to them.

use std::time::Duration;

use harness::{Client, Config, Exchange, Upstream, guest, http};

use crate::GATEWAY;

const STREAM: [&str; 3] = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked"];

/// Both ends of a stream of events whose head has reached the client.
async fn begun(gateway: &harness::Gateway, origin: &mut Upstream, encoding: &str) -> (Client, Exchange) {
    let mut client = gateway.client().await;
    client
        .send(http(&["GET /events HTTP/1.1", "Host: test.example", &format!("Accept-Encoding: {encoding}")], ""))
        .await;
    let mut upstream = origin.next().await;
    upstream.send(http(&STREAM, "")).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.fields.get("content-type")), (200, Some("text/event-stream")));
    (client, upstream)
}

/// Each event arrives before the next is made.
async fn events_arrive(client: &mut Client, upstream: &mut Exchange, read: impl Fn(&[u8]) -> String) {
    let mut received = Vec::new();
    for number in 0..5 {
        let event = format!("data: {number}\n\n");
        upstream.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        let expected: String = (0..=number).map(|number| format!("data: {number}\n\n")).collect();
        while read(&received) != expected {
            received.extend(client.chunk().await.expect("a stream").expect("a piece of it"));
        }
    }
}

fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What can be read of a stream of gzip that has not ended.
fn gunzipped(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    let _ = std::io::Read::read_to_end(&mut decoder, &mut text);
    plain(&text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_before_the_next_is_made() {
    let mut origin = Upstream::manual().await;
    for (filters, encoding) in [
        ("", "gzip"),
        (
            "{ use: headers, config: { response: { set: { x-stamp: seen } } } }, { use: stamp, config: { name: x-a, value: b } }",
            "gzip",
        ),
        ("{ use: edit, config: { in: response, do: unchanged } }", "gzip"),
        ("{ use: compress, config: {} }", "identity"),
        ("{ use: compress, config: {} }, { use: edit, config: { in: response, do: unchanged } }", "gzip"),
    ] {
        let config = Config::to(&origin)
            .plugin("stamp", &guest("stamp"))
            .plugin("edit", &guest("body-edit"))
            .route(&format!("filters: [{filters}]"));
        let gateway = GATEWAY.start(config).await;
        let (mut client, mut upstream) = begun(&gateway, &mut origin, encoding).await;
        let is_compressed = filters.contains("compress") && encoding == "gzip";
        events_arrive(&mut client, &mut upstream, if is_compressed { gunzipped } else { plain }).await;
        // The client's end is the upstream's, and at once.
        drop(client);
        upstream.closed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_may_be_far_apart() {
    let mut origin = Upstream::manual().await;
    let times = "timeouts: { connect: 1s, per_try: 1s, idle: 200ms }";
    let config = Config::to(&origin).upstream(times).listener("limits: { idle_timeout: 200ms }").route("timeout: 1s");
    let gateway = GATEWAY.start(config.clone()).await;
    let (mut client, mut upstream) = begun(&gateway, &mut origin, "identity").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    events_arrive(&mut client, &mut upstream, plain).await;
    // But not for ever.
    let gateway = GATEWAY.start(config.route("stream_idle_timeout: 300ms")).await;
    let (mut client, mut upstream) = begun(&gateway, &mut origin, "identity").await;
    client.rest().await.expect_err("it breaks off");
    upstream.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_poll_may_take_as_long_as_its_route_allows() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { idle_timeout: 200ms }")).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET /poll HTTP/1.1", "Host: test.example"], "")).await;
    let mut upstream = origin.next().await;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    upstream.send(http(&["HTTP/1.1 200 OK", "Content-Length: 4"], "news")).await;
    assert_eq!(client.response().await.text(), "news");
}
