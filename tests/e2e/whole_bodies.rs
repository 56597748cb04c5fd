//! Whole bodies: collected up to a limit, replaced under a head that tells the truth, and never passed on by a plugin that failed.

use harness::{Config, Gateway, Upstream, guest, http, sha256};

use crate::GATEWAY;

const GET: [&str; 2] = ["GET / HTTP/1.1", "Host: test.example"];
const POST: [&str; 2] = ["POST / HTTP/1.1", "Host: test.example"];

/// A gateway whose only route shows whole bodies to `whole-edit`.
async fn editing(origin: &Upstream, limits: &str, config: &str) -> Gateway {
    let config = Config::to(origin)
        .plugin_with("edit", &guest("whole-edit"), limits)
        .route(&format!("filters: [{{ use: edit, config: {config}, on_error: open }}]"));
    GATEWAY.start(config).await
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_goes_on_with_its_body_and_its_length() {
    for (what, body, length) in
        [("unchanged", "hello", "5"), ("upper", "HELLO", "5"), ("double", "hellohello", "10"), ("empty", "", "0")]
    {
        let origin = Upstream::echo().await;
        let gateway = editing(&origin, "", &format!("{{ in: request, do: {what} }}")).await;
        let mut client = gateway.client().await;
        for (framing, sent) in [("Content-Length: 5", "hello"), ("Transfer-Encoding: chunked", &*chunked("hello"))] {
            let lines = [POST[0], POST[1], framing, "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==", "ETag: \"a\""];
            let echo = client.ask(&lines, sent).await.echo();
            assert_eq!(echo.body_sha256, sha256(body.as_bytes()), "{what}, {framing}");
            assert_eq!(echo.fields.get("content-length"), Some(length), "{what}, {framing}");
            assert!(!echo.fields.has("transfer-encoding"), "{what}, {framing}");
            assert_eq!(echo.fields.get("x-whole"), Some("5"), "{what}, {framing}");
            assert_eq!(echo.fields.has("content-md5"), what == "unchanged", "{what}: a digest of another body");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_a_body_is_seen_with_an_empty_one() {
    let origin = Upstream::echo().await;
    let gateway = editing(&origin, "", "{ in: request, do: upper }").await;
    let echo = gateway.client().await.get("/").await.echo();
    assert_eq!((echo.fields.get("x-whole"), echo.body_bytes), (Some("0"), 0));
    let gateway = editing(&origin, "", "{ in: request, do: unchanged }").await;
    let echo = gateway.client().await.get("/").await.echo();
    assert_eq!((echo.fields.get("x-whole"), echo.fields.get("content-length")), (Some("0"), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_goes_on_with_its_body_and_its_length() {
    let about = ["ETag: \"a\"", "Accept-Ranges: bytes", "Digest: sha-256=x"];
    for (what, body, length) in
        [("unchanged", "hello", "5"), ("upper", "HELLO", "5"), ("double", "hellohello", "10"), ("empty", "", "0")]
    {
        for (framing, sent) in [
            ("Content-Length: 5", "hello"),
            ("Transfer-Encoding: chunked", &*chunked("hello")),
            ("Connection: close", "hello"),
        ] {
            let lines = [&["HTTP/1.1 200 OK", framing], about.as_slice()].concat();
            let origin = Upstream::answering(http(&lines, sent)).await;
            let gateway = editing(&origin, "", &format!("{{ in: response, do: {what} }}")).await;
            let answer = gateway.client().await.get("/").await;
            assert_eq!((answer.text().as_str(), answer.field("content-length")), (body, Some(length)), "{what}");
            assert_eq!(answer.field("x-whole"), Some("5"), "{what}, {framing}");
            let told = about.map(|line| line.split_once(": ").expect("a field")).map(|(name, _)| answer.field(name));
            let expected = if what == "unchanged" {
                [Some("\"a\""), Some("bytes"), Some("sha-256=x")]
            } else {
                [Some("W/\"a\""), None, None]
            };
            assert_eq!(told, expected, "{what}, {framing}");
            let answer = gateway.http2().await.get("/").await;
            assert_eq!(answer.body, body.as_bytes(), "HTTP/2, {what}");
            assert_eq!(answer.fields["content-length"], length, "HTTP/2, {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_can_have_no_body_is_not_seen() {
    let origin = Upstream::with(|request| match request.target.as_str() {
        "/204" => http(&["HTTP/1.1 204 No Content"], ""),
        "/304" => http(&["HTTP/1.1 304 Not Modified", "Content-Length: 5"], ""),
        _ => http(&["HTTP/1.1 200 OK", "Content-Length: 5"], ""),
    })
    .await;
    let gateway = editing(&origin, "", "{ in: response, do: double }").await;
    let mut client = gateway.client().await;
    for (line, status, length) in
        [("GET /204 HTTP/1.1", 204, None), ("GET /304 HTTP/1.1", 304, None), ("HEAD / HTTP/1.1", 200, Some("5"))]
    {
        let answer = client.ask(&[line, GET[1]], "").await;
        assert_eq!((answer.status, answer.field("content-length")), (status, length), "{line}");
        assert!(!answer.fields.has("x-whole"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_behind_a_whole_body() {
    let lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x-sum"];
    let origin = Upstream::with(move |request| {
        let sum = request.trailers.get("x-sum").unwrap_or("none").to_owned();
        let body = String::from_utf8_lossy(&request.body).into_owned();
        http(&lines, format!("{:x}\r\n{body}\r\n0\r\nX-Sum: {sum}\r\n\r\n", body.len()))
    })
    .await;
    for direction in ["request", "response"] {
        let gateway = editing(&origin, "", &format!("{{ in: {direction}, do: double }}")).await;
        let lines =
            [POST[0], POST[1], "Transfer-Encoding: chunked", "Trailer: x-sum", "TE: trailers", "Connection: te"];
        let answer = gateway.client().await.ask(&lines, "3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n").await;
        assert_eq!((answer.text().as_str(), answer.trailers.get("x-sum")), ("abcabc", Some("6")), "{direction}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_may_have_its_limit_and_no_more() {
    for (limits, config, max) in [
        ("", "{ in: request, do: unchanged }", 64 * 1024),
        ("", "{ in: request, do: unchanged, max: 1000 }", 1000),
        ("limits: { body: 500B }", "{ in: request, do: unchanged, max: 1000 }", 500),
    ] {
        let origin = Upstream::echo().await;
        let gateway = editing(&origin, limits, config).await;
        for bytes in [max, max + 1] {
            let body = "x".repeat(bytes);
            for (framing, sent) in [
                (format!("Content-Length: {bytes}"), &body),
                ("Transfer-Encoding: chunked".to_owned(), &chunked(&body)),
            ] {
                let answer = gateway.client().await.ask(&[POST[0], POST[1], &framing], sent).await;
                if bytes == max {
                    assert_eq!(answer.echo().body_bytes, bytes, "{limits} {config}");
                } else {
                    answer.problem(413);
                }
            }
        }
        assert_eq!(origin.requests().len(), 2, "{limits} {config}");

        let lines = [POST[0], POST[1], &format!("Content-Length: {}", max + 1), "Expect: 100-continue"];
        let mut client = gateway.client().await;
        client.send(http(&lines, "")).await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.interim.as_slice()), (413, [].as_slice()), "it hears so before it sends");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_listener_counts_what_the_client_sends() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .plugin("edit", &guest("whole-edit"))
        .listener("limits: { body: 100B }")
        .route("filters: [{ use: edit, config: { in: request, do: double } }]");
    let gateway = GATEWAY.start(config).await;
    let ask = async |bytes: usize| {
        let lines = [POST[0], POST[1], "Transfer-Encoding: chunked"];
        gateway.client().await.ask(&lines, chunked(&"x".repeat(bytes))).await
    };
    assert_eq!(ask(100).await.echo().body_bytes, 200);
    ask(101).await.problem(413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_may_have_its_limit_and_no_more() {
    let max = 1000;
    for bytes in [max, max + 1] {
        let body = "x".repeat(bytes);
        for (framing, sent) in [
            (format!("Content-Length: {bytes}"), body.clone()),
            ("Transfer-Encoding: chunked".to_owned(), chunked(&body)),
            ("Connection: close".to_owned(), body.clone()),
        ] {
            let origin = Upstream::answering(http(&["HTTP/1.1 200 OK", &framing], sent)).await;
            let gateway = editing(&origin, "", &format!("{{ in: response, do: unchanged, max: {max} }}")).await;
            let answer = gateway.client().await.get("/").await;
            if bytes == max {
                assert_eq!((answer.status, answer.body.len()), (200, bytes), "{framing}");
            } else {
                answer.problem(502);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_can_answer_over_a_whole_body_and_its_failure_is_never_open() {
    for direction in ["request", "response"] {
        let origin = Upstream::echo().await;
        let gateway = editing(&origin, "", &format!("{{ in: {direction}, do: respond }}")).await;
        let lines = [POST[0], POST[1], "Content-Length: 5"];
        let answer = gateway.client().await.ask(&lines, "hello").await;
        assert_eq!((answer.status, answer.text().as_str()), (422, "refused"), "{direction}");
        let gateway = editing(&origin, "", &format!("{{ in: {direction}, do: trap }}")).await;
        gateway.client().await.ask(&lines, "hello").await.problem(500);
        assert_eq!(origin.requests().len(), if direction == "request" { 0 } else { 2 }, "{direction}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_ends_is_given_up_when_the_requests_time_is_over() {
    let mut origin = Upstream::manual().await;
    let config = |direction: &str| {
        Config::to(&origin)
            .plugin("edit", &guest("whole-edit"))
            .route(&format!("timeout: 300ms\nfilters: [{{ use: edit, config: {{ in: {direction}, do: upper }} }}]"))
    };
    let (up, down) = (config("request"), config("response"));
    let gateway = GATEWAY.start(up).await;
    let mut client = gateway.client().await;
    client.send(http(&[POST[0], POST[1], "Content-Length: 5"], "half")).await;
    client.response().await.problem(408);

    let gateway = GATEWAY.start(down).await;
    let mut client = gateway.client().await;
    client.send(http(&GET, "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 5"], "half")).await;
    client.response().await.problem(504);
    exchange.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_can_be_taken_whole_behind_a_transform() {
    let origin = Upstream::echo().await;
    let gateway = |act: &str| {
        let filters = format!(
            "filters:\n  - {{ use: pieces, config: {{ in: request, {act} }} }}\n  - {{ use: whole, config: {{ in: request, do: double }} }}"
        );
        let config = Config::to(&origin)
            .plugin("pieces", &guest("body-edit"))
            .plugin("whole", &guest("whole-edit"))
            .route(&filters);
        GATEWAY.start(config)
    };
    let lines = [POST[0], POST[1], "Content-Length: 5"];
    let echo = gateway("do: upper, tail: '!'").await.client().await.ask(&lines, "hello").await.echo();
    assert_eq!((echo.body_sha256, echo.fields.get("content-length")), (sha256(b"HELLO!HELLO!"), Some("12")));
    assert_eq!(gateway("do: abort").await.client().await.ask(&lines, "hello").await.status, 422);
    gateway("do: trap").await.client().await.ask(&lines, "hello").await.problem(500);
    assert_eq!(origin.requests().len(), 1);
}
