//! A request to its upstream and the answer back: methods, targets, framing, connections, and the gateway's own refusals.

use harness::{Config, Upstream, http};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_and_bodies_reach_the_upstream_as_they_were_sent() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let chunked = "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
    for (method, framing, body, expected) in [
        ("GET", "X: 1", "", ""),
        ("DELETE", "X: 1", "", ""),
        ("OPTIONS", "X: 1", "", ""),
        ("BREW", "X: 1", "", ""),
        ("POST", "Content-Length: 5", "hello", "hello"),
        ("POST", "Content-Length: 0", "", ""),
        ("PUT", "Transfer-Encoding: chunked", chunked, "hello!"),
        ("PATCH", "Transfer-Encoding: chunked", "0\r\n\r\n", ""),
        ("GET", "Content-Length: 2", "ok", "ok"),
    ] {
        let line = format!("{method} /a/b?x=1&y=%20 HTTP/1.1");
        let answer = client.ask(&[&line, "Host: test.example", framing], body).await;
        let echo = answer.echo();
        assert_eq!(echo.method, method);
        assert_eq!(echo.target, "/a/b?x=1&y=%20", "{method}");
        assert_eq!(echo.body_sha256, harness::sha256(expected.as_bytes()), "{method} {framing}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_comes_back_as_the_upstream_sent_it() {
    let response = http(
        &[
            "HTTP/1.1 203 Whatever",
            "Content-Length: 3",
            "X-Two: 1",
            "X-Two: 2",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
            "X-Odd: caf\u{e9}",
        ],
        "abc",
    );
    let origin = Upstream::answering(response).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let answer = gateway.client().await.get("/").await;
    assert_eq!((answer.status, answer.text().as_str()), (203, "abc"));
    assert_eq!(answer.field("content-length"), Some("3"));
    assert_eq!(answer.fields.all("x-two"), ["1", "2"]);
    assert_eq!(answer.fields.all("set-cookie"), ["a=1", "b=2"]);
    // The bytes of a value that is no ASCII pass as they are: two bytes of UTF-8, seen as two characters here.
    assert_eq!(answer.field("x-odd"), Some("caf\u{c3}\u{a9}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_end_with_their_head() {
    for (method, head, length) in [
        ("HEAD", ["HTTP/1.1 200 OK", "Content-Length: 42"], Some("42")),
        ("GET", ["HTTP/1.1 204 No Content", "X: 1"], None),
        ("GET", ["HTTP/1.1 304 Not Modified", "ETag: \"v1\""], None),
    ] {
        let origin = Upstream::answering(http(&head, "")).await;
        let gateway = GATEWAY.start(Config::to(&origin)).await;
        let mut client = gateway.client().await;
        // The second answer proves that the first left nothing behind.
        for round in 1..=2 {
            let answer = client.ask(&[&format!("{method} /{round} HTTP/1.1"), "Host: test.example"], "").await;
            assert_eq!(format!("HTTP/1.1 {}", answer.status), head[0][..12], "{method}");
            assert_eq!(answer.field("content-length"), length, "{method} {}", head[0]);
            assert!(!answer.fields.has("transfer-encoding"), "{method} {}", head[0]);
            assert_eq!(answer.body, b"");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_are_normalised_once_for_all() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    for (sent, received) in [
        ("/", Some("/")),
        ("/a//b", Some("/a/b")),
        ("/a/./b/../c?q=../x//y", Some("/a/c?q=../x//y")),
        ("/a/%2e%2e/c", Some("/c")),
        ("/%7Euser", Some("/~user")),
        ("/a%20b%c3%a9", Some("/a%20b%C3%A9")),
        ("/a%2fb", None),
        ("/a%2Fb", None),
        ("/a%5cb", None),
        ("/a%00b", None),
        ("/a%zzb", None),
    ] {
        let mut client = gateway.client().await;
        let answer = client.get(sent).await;
        match received {
            Some(target) => assert_eq!(answer.echo().target, target, "{sent}"),
            None => drop(answer.problem(400)),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_is_taken_apart() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let echo = client.ask(&["GET http://api.example.com/x?y HTTP/1.1", "Host: api.example.com"], "").await.echo();
    assert_eq!(echo.target, "/x?y");
    assert_eq!(echo.fields.all("host"), ["api.example.com"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_host_or_framing_is_in_doubt_is_refused() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    for (what, lines, body) in [
        ("two hosts", vec!["GET / HTTP/1.1", "Host: a.example", "Host: b.example"], ""),
        ("the same host twice", vec!["GET / HTTP/1.1", "Host: a.example", "Host: a.example"], ""),
        ("no host", vec!["GET / HTTP/1.1"], ""),
        ("a host that is none", vec!["GET / HTTP/1.1", "Host: a b"], ""),
        ("two lengths", vec!["POST / HTTP/1.1", "Host: a", "Content-Length: 1", "Content-Length: 2"], "ab"),
        ("a length that is none", vec!["POST / HTTP/1.1", "Host: a", "Content-Length: +2"], "ab"),
        ("a name with a space", vec!["GET / HTTP/1.1", "Host: a", "X : 1"], ""),
        ("an empty name", vec!["GET / HTTP/1.1", "Host: a", ": 1"], ""),
    ] {
        let mut client = gateway.client().await;
        client.send(http(&lines, body)).await;
        assert_eq!(client.response().await.status, 400, "{what}");
    }
    assert!(origin.requests().is_empty(), "none of them reached the upstream");
}

/// Whether it is refused or cleaned is the gateway's choice (RFC 9112 §6.3); what may not happen is that both framings travel on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_framings_never_reach_the_upstream() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let lines = ["POST /first HTTP/1.1", "Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"];
    client.send(http(&lines, "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    // To hang up without a word is a refusal as well.
    if let Ok(answer) = client.response_to("POST").await {
        assert!([200, 400].contains(&answer.status), "{}", answer.status);
    }
    for request in origin.requests().iter().filter(|request| request.target == "/first") {
        assert!(!(request.fields.has("content-length") && request.fields.has("transfer-encoding")), "{request:?}");
        assert_eq!(request.body, b"");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_clients_get_an_answer_they_can_read() {
    let chunked = http(&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], "3\r\nabc\r\n0\r\n\r\n");
    let origin = Upstream::answering(chunked).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let answer = client.ask(&["GET / HTTP/1.0"], "").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "abc"));
    assert!(!answer.fields.has("transfer-encoding"), "HTTP/1.0 knows no chunks");
    client.closed().await;
    assert!(String::from_utf8_lossy(&origin.last_request().raw).starts_with("GET / HTTP/1.1\r\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let requests = (1..=20).flat_map(|n| {
        let length = format!("Content-Length: {}", n % 3);
        http(&[&format!("POST /{n} HTTP/1.1"), "Host: test.example", &length], &"xyz"[..n % 3])
    });
    client.send(requests.collect::<Vec<u8>>()).await;
    for n in 1..=20 {
        assert_eq!(client.response().await.echo().target, format!("/{n}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_to_close_is_answered_and_closed() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    let answer = client.ask(&["GET / HTTP/1.1", "Host: test.example", "Connection: close"], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("connection"), Some("close"));
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_no_route_wants_is_a_problem_404() {
    let text = harness::yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams: { origin: { endpoints: [{ url: 'http://<origin>' }] } }
routes: [{ name: api, match: { hosts: [api.example.com], path: { prefix: /v1 } }, upstream: origin }]
",
        &[("origin", &"127.0.0.1:9")],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    for (host, path) in [("api.example.com", "/v2"), ("other.example.com", "/v1"), ("api.example.com", "/v10")] {
        let lines = [format!("GET {path} HTTP/1.1"), format!("Host: {host}")];
        client.ask(&[&lines[0], &lines[1]], "").await.problem(404);
    }
    let head = client.ask(&["HEAD /v2 HTTP/1.1", "Host: api.example.com"], "").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
}
