//! Bodies that a plugin breaks off or fails over, and instances that are parked with one: nobody takes a part for the whole, and
//! long streams exhaust their own limit alone.

use std::collections::VecDeque;

use harness::{Client, Config, Exchange, Frames, Gateway, Http2Response, Upstream, guest, http, sha256};
use http::Request;

use crate::GATEWAY;

const POST: [&str; 3] = ["POST / HTTP/1.1", "Host: test.example", "Transfer-Encoding: chunked"];
const GET: [&str; 2] = ["GET / HTTP/1.1", "Host: test.example"];
const STREAM: [&str; 2] = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"];
const PIECE: &str = "3\r\none\r\n";
const END: &str = "0\r\n\r\n";

/// A gateway with one worker, whose route `/edit` sends bodies through `body-edit` and whose route `/` does not.
async fn editing(origin: &Upstream, limits: &str, filter: &str) -> Gateway {
    let route = format!(
        "name: edit\nmatch: {{ path: {{ prefix: /edit }} }}\nfilters: [{{ use: edit, {filter} }}]\nupstream: origin"
    );
    let config = Config::to(origin).top("workers: 1").plugin_with("edit", &guest("body-edit"), limits);
    GATEWAY.start(config.and_route(&route)).await
}

fn edit(lines: &[&str], body: &str) -> Vec<u8> {
    let first = lines[0].replace(" / ", " /edit ");
    http(&[&[first.as_str()], &lines[1..]].concat(), body)
}

/// A client with a response that has begun, and the upstream's side of it.
async fn begun(gateway: &Gateway, origin: &mut Upstream) -> (Client, Exchange) {
    let mut client = gateway.client().await;
    client.send(edit(&GET, "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&STREAM, PIECE)).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.expect("a piece").expect("not the end"), "one");
    (client, exchange)
}

/// Ask until the gateway has room for another body.
async fn room(gateway: &Gateway) {
    harness::within("room for another body", async {
        loop {
            let mut client = gateway.client().await;
            client.send(edit(&POST, &format!("{PIECE}{END}"))).await;
            if client.response().await.status != 503 {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_before_the_head_is_the_answer() {
    for act in ["do: abort", "do: abort, after: 3", "do: abort, at: finish"] {
        let origin = Upstream::echo().await;
        let gateway = editing(&origin, "", &format!("config: {{ in: request, {act} }}")).await;
        let mut client = gateway.client().await;
        client.send(edit(&POST, &format!("{PIECE}{PIECE}{END}"))).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (422, "refused"), "{act}");
        assert_eq!(answer.field("content-type"), Some("text/plain"), "{act}");

        let request = Request::post("http://test.example/edit").body(Frames::data("onetwo")).expect("a request");
        let answer = gateway.http2().await.ask(request).await;
        assert_eq!(answer.status, if act.contains("after") { 200 } else { 422 }, "HTTP/2, {act}");
        let seen: Vec<_> = origin.requests().iter().map(|request| request.body.clone()).collect();
        assert!(seen.iter().all(|body| body == b"onetwo"), "the upstream saw no end of what was broken off: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_after_the_head_resets_the_stream() {
    let mut origin = Upstream::manual().await;
    let gateway = editing(&origin, "", "config: { in: request, do: abort, after: 3 }").await;
    let mut client = gateway.client().await;
    client.send(edit(&POST, PIECE)).await;
    let mut exchange = origin.next().await;
    assert_eq!(exchange.chunk().await.expect("a piece").expect("not the end"), "one");
    exchange.send(http(&STREAM, PIECE)).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.chunk().await.expect("a piece").expect("not the end"), "one");

    client.send(PIECE).await;
    client.rest().await.expect_err("the answer has no clean end");
    exchange.rest().await.expect_err("nor has the request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_is_broken_off_has_no_clean_end() {
    for act in [
        "do: abort, after: 3",
        "do: trap, after: 3",
        "do: spin, after: 3",
        "do: abort, at: finish",
        "do: trap, at: finish",
        "do: flood, after: 3",
    ] {
        let mut origin = Upstream::manual().await;
        let filter = format!("config: {{ in: response, {act}, may_fail_open: true }}, on_error: open");
        let gateway = editing(&origin, "limits: { deadline: 50ms, memory: 32MiB, host_bytes: 1MiB }", &filter).await;
        let (mut client, mut exchange) = begun(&gateway, &mut origin).await;
        exchange.send(format!("{PIECE}{END}")).await;
        client.rest().await.expect_err(act);
        // The gateway may have read all of it, and then keeps the connection.
        exchange.keep_alive();

        let mut client = gateway.http2().await;
        let request = Request::get("http://test.example/edit").body(Frames::default()).expect("a request");
        let ask = tokio::spawn(async move { client.start(request).await });
        let mut exchange = origin.next().await;
        exchange.send(http(&STREAM, format!("{PIECE}{PIECE}{END}"))).await;
        let answer = ask.await.expect("no panic").expect("a head");
        Http2Response::read(answer).await.expect_err(act);
        gateway.log().wait("the log to tell", |line| line.text.contains("\"body\":\"response\"")).await;
    }
}

/// In whatever phase, a plugin that fails over a body never lets it pass, even when it fails open elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_over_a_body_is_never_open() {
    for direction in ["request", "response"] {
        for (what, place) in [
            ("trap", "open"),
            ("spin", "open"),
            ("trap", "chunk"),
            ("spin", "chunk"),
            ("trap", "finish"),
            ("spin", "finish"),
        ] {
            if direction == "response" && place != "open" {
                continue; // `a_response_that_is_broken_off_has_no_clean_end`
            }
            let origin = Upstream::echo().await;
            let act = format!("in: {direction}, do: {what}, at: {place}, may_fail_open: true");
            let filter = format!("config: {{ {act} }}, on_error: open");
            let gateway = editing(&origin, "limits: { deadline: 50ms }", &filter).await;
            for _ in 0..3 {
                let mut client = gateway.client().await;
                client.send(edit(&POST, &format!("{PIECE}{END}"))).await;
                client.response().await.problem(500);
            }
            assert_eq!(gateway.client().await.get("/").await.status, 200, "others are served");
            if direction == "request" {
                assert_eq!(origin.requests().len(), 1, "the upstream saw no request to its end: {act}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_after_the_head_resets_the_stream() {
    let mut origin = Upstream::manual().await;
    let gateway = editing(&origin, "", "config: { in: request, do: trap, after: 3 }").await;
    let mut client = gateway.client().await;
    client.send(edit(&POST, PIECE)).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&STREAM, PIECE)).await;
    assert_eq!(client.head().await.status(), 200);
    client.send(PIECE).await;
    client.rest().await.expect_err("the answer has no clean end");
    exchange.rest().await.expect_err("nor has the request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_bodies_hold_an_instance_and_the_next_hears_503() {
    for direction in ["request", "response"] {
        let mut origin = Upstream::manual().await;
        let filter = format!("config: {{ in: {direction}, do: unchanged, unless: x-raw }}");
        let gateway = editing(&origin, "limits: { parked: 2 }", &filter).await;
        let (lines, body) = if direction == "request" { (POST.as_slice(), PIECE) } else { (GET.as_slice(), "") };
        let mut held = VecDeque::new();
        for _ in 0..2 {
            let mut client = gateway.client().await;
            client.send(edit(lines, body)).await;
            let mut exchange = origin.next().await;
            if direction == "response" {
                exchange.send(http(&STREAM, "")).await;
                assert_eq!(client.head().await.status(), 200);
            }
            held.push_back((client, exchange));
        }
        let mut third = gateway.client().await;
        third.send(edit(lines, body)).await;
        if direction == "response" {
            origin.next().await.send(http(&STREAM, PIECE)).await;
        }
        third.response().await.problem(503);

        // A body that the plugin declines needs no room, and neither does one that is over.
        let mut raw = gateway.client().await;
        raw.send(edit(&[&GET[..], &["X-Raw: 1"]].concat(), "")).await;
        let mut exchange = origin.next().await;
        exchange.send(http(&["HTTP/1.1 200 OK", "X-Raw: 1", "Content-Length: 2"], "ok")).await;
        assert_eq!(raw.response().await.text(), "ok");
        exchange.keep_alive();

        let (mut client, mut exchange) = held.pop_front().expect("two are held");
        if direction == "request" {
            client.send(END).await;
            exchange.rest().await.expect("a clean end");
        } else {
            exchange.send(END).await;
            client.rest().await.expect("a clean end");
            exchange.keep_alive();
        }
        let mut fourth = gateway.client().await;
        fourth.send(edit(lines, body)).await;
        let mut exchange = origin.next().await;
        exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
        assert_eq!(fourth.response().await.text(), "ok", "{direction}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_take_no_instance_from_requests() {
    let mut origin = Upstream::manual().await;
    let gateway = editing(&origin, "limits: { instances: 1 }", "config: { in: response, do: unchanged }").await;
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(begun(&gateway, &mut origin).await);
    }
    for (client, exchange) in &mut streams {
        exchange.send(PIECE).await;
        assert_eq!(client.chunk().await.expect("a piece").expect("not the end"), "one");
    }
    for (client, exchange) in &mut streams {
        exchange.send(END).await;
        assert_eq!(client.rest().await.expect("a clean end"), b"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_passes_the_rest_gives_its_instance_back() {
    let mut origin = Upstream::manual().await;
    let gateway = editing(&origin, "limits: { parked: 1 }", "config: { in: response, do: pass-rest }").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(begun(&gateway, &mut origin).await);
    }
    for (client, exchange) in &mut streams {
        exchange.send(format!("{PIECE}{END}")).await;
        assert_eq!(client.rest().await.expect("a clean end"), b"one");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_amid_a_body_frees_the_instance() {
    let mut origin = Upstream::manual().await;
    let gateway = editing(&origin, "limits: { parked: 1 }", "config: { in: response, do: unchanged }").await;
    let (client, mut exchange) = begun(&gateway, &mut origin).await;
    drop(client);
    exchange.closed().await;
    let (mut client, mut exchange) = begun(&gateway, &mut origin).await;
    exchange.send(END).await;
    client.rest().await.expect("a clean end");

    let answering = Upstream::answering(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    let gateway = editing(&answering, "limits: { parked: 1 }", "config: { in: request, do: unchanged }").await;
    let mut client = gateway.client().await;
    client.send(edit(&POST, PIECE)).await;
    drop(client);
    room(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_may_not_be_parked_serves_on() {
    let mut origin = Upstream::manual().await;
    let filter = "filters: [{ use: edit, config: { in: response, do: unchanged } }]";
    let config = Config::to(&origin)
        .top("workers: 1\nadmin: { address: '127.0.0.1:0' }\nstate_dir: state")
        .plugin_with("edit", &guest("body-edit"), "limits: { parked: 1 }");
    let route = format!("name: edit\nmatch: {{ path: {{ prefix: /edit }} }}\n{filter}\nupstream: origin");
    let gateway = GATEWAY.start(config.and_route(&route)).await;
    let (mut client, mut held) = begun(&gateway, &mut origin).await;
    for _ in 0..3 {
        let mut refused = gateway.client().await;
        refused.send(edit(&GET, "")).await;
        origin.next().await.send(http(&STREAM, PIECE)).await;
        refused.response().await.problem(503);
    }
    let version = &sha256(&std::fs::read(guest("body-edit")).expect("a guest can be read"))[..12];
    let idle = format!(r#"witgate_plugin_instances{{plugin="edit",state="idle",version="{version}"}}"#);
    assert_eq!(gateway.admin().metric(&idle).await, 1.0);
    held.send(END).await;
    assert_eq!(client.rest().await.expect("a clean end"), b"");
}
