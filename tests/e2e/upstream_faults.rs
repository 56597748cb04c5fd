//! Upstreams that fail amid a request: what the client is told, that it is never taken in, and that the gateway recovers by itself.

use harness::{Client, Config, Exchange, Gateway, Upstream, http};

use crate::GATEWAY;

/// What an upstream does, and what the client is told of it.
struct Fault {
    what: &'static str,
    /// Sent in answer to the request.
    bytes: &'static str,
    end: fn(Exchange) -> Option<Exchange>,
    status: u16,
    proxy_status: &'static str,
    flag: &'static str,
}

fn closes(exchange: Exchange) -> Option<Exchange> {
    exchange.close();
    None
}

fn resets(exchange: Exchange) -> Option<Exchange> {
    exchange.reset();
    None
}

fn stays(exchange: Exchange) -> Option<Exchange> {
    Some(exchange)
}

const TERMINATED: &str = "connection_terminated";
const TIMEOUT: &str = "http_response_timeout";
const PROTOCOL: &str = "http_protocol_error";

/// Before the head of a response is whole.
const BEFORE: &[Fault] = &[
    Fault { what: "silence", bytes: "", end: stays, status: 504, proxy_status: TIMEOUT, flag: "UT" },
    Fault { what: "half a head", bytes: "HTTP/1.1 200 O", end: stays, status: 504, proxy_status: TIMEOUT, flag: "UT" },
    Fault { what: "an end", bytes: "", end: closes, status: 502, proxy_status: TERMINATED, flag: "UR" },
    Fault { what: "a reset", bytes: "", end: resets, status: 502, proxy_status: TERMINATED, flag: "UR" },
    Fault {
        what: "half a head and an end",
        bytes: "HTTP/1.1 200 OK\r\nX",
        end: closes,
        status: 502,
        proxy_status: TERMINATED,
        flag: "UR",
    },
    Fault {
        what: "no HTTP",
        bytes: "\u{1}\u{2}\u{3} ??\r\n\r\n",
        end: stays,
        status: 502,
        proxy_status: PROTOCOL,
        flag: "UR",
    },
    Fault {
        what: "both framings",
        bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        end: stays,
        status: 502,
        proxy_status: PROTOCOL,
        flag: "UR",
    },
    Fault {
        what: "another coding",
        bytes: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        end: stays,
        status: 502,
        proxy_status: PROTOCOL,
        flag: "UR",
    },
    Fault {
        what: "two lengths",
        bytes: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        end: stays,
        status: 502,
        proxy_status: PROTOCOL,
        flag: "UR",
    },
];

async fn gateway(origin: &Upstream) -> Gateway {
    let timeouts = "timeouts: { per_try: 500ms, idle: 500ms }";
    GATEWAY.start(Config::to(origin).top("workers: 1").upstream(timeouts)).await
}

async fn post(client: &mut Client) {
    client.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], "ok")).await;
}

/// The gateway as it was: the next request is answered.
async fn recovers(gateway: &Gateway, origin: &mut Upstream, what: &str) {
    let mut client = gateway.client().await;
    client.send(http(&["GET /next HTTP/1.1", "Host: a"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    assert_eq!(client.response().await.text(), "ok", "after {what}");
    exchange.keep_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_before_the_head_is_a_problem_with_its_reason() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin).await;
    for fault in BEFORE {
        let from = gateway.log().len();
        let mut client = gateway.client().await;
        post(&mut client).await;
        let mut exchange = origin.next().await;
        exchange.rest().await.expect("the request, whole");
        exchange.send(fault.bytes).await;
        let held = (fault.end)(exchange);
        let answer = client.response().await;
        answer.problem(fault.status);
        let expected = format!("witgate; error={}", fault.proxy_status);
        assert_eq!(answer.field("proxy-status"), Some(expected.as_str()), "{}", fault.what);
        gateway.log().wait_from(from, "why", |line| line.field("flag") == Some(fault.flag)).await;
        recovers(&gateway, &mut origin, fault.what).await;
        drop(held);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_body_is_never_a_whole_one() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let length = http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "half");
    let chunk = http(&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "4\r\nhalf\r\n");
    let garbage = http(&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "4\r\nhalf\r\nno size\r\n");
    let until_close = http(&["HTTP/1.1 200 OK"], "half");
    for (what, bytes, end) in [
        ("a length and an end", &length, closes as fn(Exchange) -> Option<Exchange>),
        ("a length and a reset", &length, resets),
        ("a length and silence", &length, stays),
        ("a chunk and an end", &chunk, closes),
        ("a chunk and a reset", &chunk, resets),
        ("a chunk and silence", &chunk, stays),
        ("a chunk and garbage", &garbage, stays),
        ("no length and a reset", &until_close, resets),
        ("no length and silence", &until_close, stays),
    ] {
        let mut client = gateway.client().await;
        let mut http2 = gateway.http2().await;
        post(&mut client).await;
        let mut exchange = origin.next().await;
        exchange.send(bytes).await;
        assert_eq!(client.head().await.status(), 200, "{what}");
        client.chunk().await.expect("a piece").expect("half");
        let held = end(exchange);
        client.rest().await.expect_err(what);

        let request = http::Request::get("http://a/").body(harness::Frames::default()).expect("a request");
        let asked =
            tokio::spawn(
                async move { harness::Http2Response::read(http2.start(request).await.expect("a head")).await },
            );
        let mut exchange = origin.next().await;
        exchange.send(bytes).await;
        let held = (held, end_after_head(exchange, end).await);
        asked.await.expect("a task").expect_err(what);
        recovers(&gateway, &mut origin, what).await;
        drop(held);
    }
}

/// A reset may overtake what was sent before it; the head is let through first.
async fn end_after_head(exchange: Exchange, end: fn(Exchange) -> Option<Exchange>) -> Option<Exchange> {
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    end(exchange)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_before_the_request_is_over_passes_and_its_connection_is_let_go() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let mut client = gateway.client().await;
    client.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 1000000"], "begun")).await;
    let mut exchange = origin.next().await;
    assert_eq!(exchange.chunk().await.expect("a piece").as_deref(), Some(b"begun".as_slice()));
    exchange.send(http(&["HTTP/1.1 413 Content Too Large", "Content-Length: 2"], "no")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "no"));
    // The client goes on sending and nobody waits for that: the upstream is left after a while, whatever the client does.
    recovers(&gateway, &mut origin, "an early answer").await;
    assert_eq!(origin.connections(), 2);
    exchange.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_finishes_its_upload_after_an_early_answer_keeps_its_connection() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin).await;
    let mut client = gateway.client().await;
    client.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 10"], "begun")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 413 Content Too Large", "Content-Length: 2"], "no")).await;
    assert_eq!(client.response().await.status, 413);
    client.send("ended").await;
    assert_eq!(exchange.rest().await.expect("the body, whole"), b"begunended");
    exchange.closed().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    origin.next().await.send(http(&["HTTP/1.1 204 No Content"], "")).await;
    assert_eq!(client.response().await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_lets_the_upstream_go() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin).await;
    for what in ["before the head", "amid the body"] {
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
        let mut exchange = origin.next().await;
        if what == "amid the body" {
            exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "half")).await;
            assert_eq!(client.head().await.status(), 200);
        }
        drop(client);
        exchange.closed().await;
    }
}
