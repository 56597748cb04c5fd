//! Bodies that pass through a plugin's transform, piece by piece and in both directions.
//!
//! A body is never held back by more than a piece, never cut in silence, and never passed on by a plugin that failed.

use harness::{Config, Exchange, Frames, Gateway, Http2Response, Upstream, guest, http, sha256};
use http::Request;

use crate::GATEWAY;
use crate::bodies::{a_client_is_stalled, an_upstream_is_stalled};

const MIB: usize = 1024 * 1024;
const PIECE: &str = "3\r\none\r\n";

/// A gateway whose only route sends bodies through `body-edit`, once for each of these configurations.
async fn editing(origin: &Upstream, limits: &str, configs: &[&str]) -> Gateway {
    GATEWAY.start(edits(origin, limits, configs)).await
}

fn edits(origin: &Upstream, limits: &str, configs: &[&str]) -> Config {
    let filters: Vec<_> = configs.iter().map(|config| format!("{{ use: edit, config: {config} }}")).collect();
    Config::to(origin)
        .top("workers: 1")
        .plugin_with("edit", &guest("body-edit"), limits)
        .route(&format!("filters: [{}]", filters.join(", ")))
}

const POST: [&str; 3] = ["POST / HTTP/1.1", "Host: test.example", "Transfer-Encoding: chunked"];
const GET: [&str; 2] = ["GET / HTTP/1.1", "Host: test.example"];
const STREAM: [&str; 2] = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"];

/// The upstream's side of a request whose response head has reached the client.
async fn begun(origin: &mut Upstream, client: &mut harness::Client) -> Exchange {
    client.send(http(&GET, "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&STREAM, "")).await;
    assert_eq!(client.head().await.status(), 200);
    exchange
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sums_are_right_in_pieces_and_over_the_whole() {
    let body: Vec<u8> = (0..100 * 1024).map(|n| (n % 251) as u8).collect();
    let sum = format!("{}:{}", body.len(), body.iter().map(|byte| u64::from(*byte)).sum::<u64>());
    for (name, isolation) in [
        ("body-sum-stream", "shared"),
        ("body-sum-whole", "shared"),
        ("body-sum-stream", "fresh"),
        ("body-sum-whole", "fresh"),
    ] {
        let origin = Upstream::echo().await;
        let config = Config::to(&origin).plugin_with(name, &guest(name), &format!("isolation: {isolation}"));
        let gateway = GATEWAY.start(config.route(&format!("filters: [{{ use: {name}, config: {{}} }}]"))).await;
        let mut client = gateway.client().await;

        let length = format!("Content-Length: {}", body.len());
        let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        for (framing, sent) in [(length.as_str(), &body), (POST[2], &chunked)] {
            let answer = client.ask(&[POST[0], POST[1], framing], sent).await;
            assert_eq!(answer.field("x-bench-body"), Some(sum.as_str()), "{name}, {framing}");
            assert_eq!(answer.echo().body_sha256, sha256(&body), "{name}, {framing}");
        }
        let request = Request::post("http://test.example/").body(Frames::data(body.clone())).expect("a request");
        let answer = gateway.http2().await.ask(request).await;
        assert_eq!(answer.fields["x-bench-body"], sum.as_str(), "{name}, HTTP/2");
        assert_eq!(answer.echo().body_sha256, sha256(&body), "{name}, HTTP/2");

        assert_eq!(client.get("/").await.field("x-bench-body"), Some("0:0"), "{name}, no body");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_becomes_what_its_transform_says() {
    for (act, expected) in [
        ("do: unchanged", "onetwosix"),
        ("do: upper", "ONETWOSIX"),
        ("do: double", "oneonetwotwosixsix"),
        ("do: drop", ""),
        ("do: upper, after: 3", "oneTWOSIX"),
        ("do: pass-rest", "onetwosix"),
        ("do: unchanged, tail: '!'", "onetwosix!"),
        ("do: drop, tail: '!'", "!"),
        ("do: pass-rest, after: 3, tail: '!'", "onetwosix"),
    ] {
        let mirror = Upstream::with(|request| http(&STREAM, format!("{}0\r\n\r\n", chunks(&request.body)))).await;
        for direction in ["request", "response"] {
            let gateway = editing(&mirror, "", &[&format!("{{ in: {direction}, {act} }}")]).await;
            let mut client = gateway.client().await;
            // Each piece alone, so that each arrives alone.
            client.send(http(&POST, "")).await;
            for piece in ["one", "two", "six"] {
                client.send(format!("3\r\n{piece}\r\n")).await;
            }
            client.send("0\r\n\r\n").await;
            let answer = client.response().await;
            let whole = if direction == "response" { in_one_piece(act, expected) } else { expected.to_owned() };
            assert_eq!(answer.text(), whole, "{direction}, {act}");
        }
    }
}

/// As chunks; the last one is missing.
fn chunks(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("{:x}\r\n{}\r\n", body.len(), String::from_utf8_lossy(body))
}

/// The mirror answers in one piece what came in three.
fn in_one_piece(act: &str, in_three: &str) -> String {
    match act {
        "do: double" => "onetwosixonetwosix".to_owned(),
        "do: upper, after: 3" => "onetwosix".to_owned(),
        "do: pass-rest, after: 3, tail: '!'" => "onetwosix!".to_owned(),
        _ => in_three.to_owned(),
    }
}

/// Longer than anything that one call may hand over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_body_is_changed_to_its_end() {
    let body: Vec<u8> = (0..5 * MIB).map(|n| b'a' + (n % 26) as u8).collect();
    let origin = Upstream::with(|request| {
        http(&["HTTP/1.1 200 OK", &format!("Content-Length: {}", request.body.len())], &request.body)
    })
    .await;
    for direction in ["request", "response"] {
        let gateway =
            editing(&origin, "limits: { deadline: 1s }", &[&format!("{{ in: {direction}, do: upper }}")]).await;
        let length = format!("Content-Length: {}", body.len());
        let answer = gateway.client().await.ask(&[POST[0], POST[1], &length], &body).await;
        assert!(answer.body == body.to_ascii_uppercase(), "{direction}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_behind_a_transform_goes_in_chunks_and_one_that_it_declined_does_not() {
    let origin = Upstream::echo().await;
    let gateway = editing(
        &origin,
        "",
        &["{ in: request, do: upper, unless: x-raw }", "{ in: response, do: unchanged, unless: content-type }"],
    )
    .await;
    let mut client = gateway.client().await;
    let lines = ["POST / HTTP/1.1", "Host: test.example", "Content-Length: 3"];
    let answer = client.ask(&lines, "abc").await;
    let echo = answer.echo();
    assert_eq!((echo.fields.get("content-length"), echo.fields.get("transfer-encoding")), (None, Some("chunked")));
    assert_eq!(echo.body_sha256, sha256(b"ABC"));
    assert!(answer.fields.has("content-length"), "the response has a content-type: {:?}", answer.fields);

    let echo = client.ask(&[lines[0], lines[1], lines[2], "X-Raw: 1"], "abc").await.echo();
    assert_eq!((echo.fields.get("content-length"), echo.fields.get("transfer-encoding")), (Some("3"), None));
    assert_eq!(echo.body_sha256, sha256(b"abc"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transforms_of_requests_run_in_order_and_those_of_responses_in_reverse() {
    let origin = Upstream::with(|request| {
        let body = &request.body;
        http(&["HTTP/1.1 200 OK", &format!("Content-Length: {}", body.len())], body)
    })
    .await;
    let tail = |direction: &str, tail: &str| format!("{{ in: {direction}, do: upper, tail: {tail} }}");
    let configs = [tail("request", "a"), tail("response", "b"), tail("request", "c"), tail("response", "d")];
    let gateway = editing(&origin, "", &configs.each_ref().map(String::as_str)).await;
    let answer = gateway.client().await.ask(&[POST[0], POST[1], "Content-Length: 1"], "x").await;
    // Up: `a`, then `c`, which sees the `a`. Down: `d`, then `b`.
    assert_eq!(answer.text(), "XACDb");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_behind_what_a_transform_adds() {
    let lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x-sum"];
    let origin = Upstream::with(move |request| {
        let sum = request.trailers.get("x-sum").unwrap_or("none").to_owned();
        http(&lines, format!("{}0\r\nX-Sum: {sum}\r\n\r\n", chunks(&request.body)))
    })
    .await;
    let configs = ["{ in: request, do: upper, tail: '?' }", "{ in: response, do: unchanged, tail: '!' }"];
    let gateway = editing(&origin, "", &configs).await;
    let lines = [POST[0], POST[1], POST[2], "Trailer: x-sum", "TE: trailers", "Connection: te"];
    let answer = gateway.client().await.ask(&lines, "3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n").await;
    assert_eq!((answer.text().as_str(), answer.trailers.get("x-sum")), ("ABC?!", Some("6")));
}

/// The upstream withholds each event until the client has the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_not_held_back() {
    let five_stamps = |origin: &Upstream| {
        let stamps: Vec<_> =
            (0..5).map(|n| format!("{{ use: stamp, config: {{ name: x-stamp, value: '{n}' }} }}")).collect();
        let config = Config::to(origin).plugin("stamp", &guest("stamp"));
        config.route(&format!("filters: [{}]", stamps.join(", ")))
    };
    let mut origin = Upstream::manual().await;
    for (what, config) in [
        ("five plugins without a right to bodies", five_stamps(&origin)),
        ("a transform", edits(&origin, "", &["{ in: response, do: unchanged }"])),
        ("three transforms", edits(&origin, "", &["{ in: response, do: unchanged }"; 3])),
    ] {
        let gateway = GATEWAY.start(config).await;
        let mut client = gateway.client().await;
        client.send(http(&GET, "")).await;
        let mut exchange = origin.next().await;
        exchange.send(http(&[STREAM[0], STREAM[1], "Content-Type: text/event-stream"], "")).await;
        assert_eq!(client.head().await.status(), 200, "{what}: the head comes before the first event");
        for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
            exchange.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
            assert_eq!(client.chunk().await.expect("a piece").expect("not the end"), event, "{what}");
        }
        exchange.send("0\r\n\r\n").await;
        assert_eq!(client.rest().await.expect("a clean end"), b"", "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_stalls_the_upstream_behind_a_transform() {
    let mut origin = Upstream::manual().await;
    let gateway = editing(&origin, "limits: { deadline: 1s }", &["{ in: response, do: unchanged }"]).await;
    an_upstream_is_stalled(&gateway, &mut origin, 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_read_stalls_the_client_before_a_transform() {
    let mut origin = Upstream::manual().await;
    let config = edits(&origin, "limits: { deadline: 1s }", &["{ in: request, do: unchanged }"]);
    let gateway = GATEWAY.start(config.listener("limits: { body: 1GiB }")).await;
    a_client_is_stalled(&gateway, &mut origin, 64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_without_bytes_meets_no_transform_unless_it_may_have_some() {
    let origin = Upstream::with(|request| match request.target.as_str() {
        "/204" => http(&["HTTP/1.1 204 No Content"], ""),
        "/304" => http(&["HTTP/1.1 304 Not Modified", "Content-Length: 5"], ""),
        "/empty" => http(&["HTTP/1.1 200 OK", "Content-Length: 0"], ""),
        _ if request.method == "HEAD" => http(&["HTTP/1.1 200 OK", "Content-Length: 5"], ""),
        _ => http(&STREAM, "0\r\n\r\n"),
    })
    .await;
    let gateway = editing(&origin, "", &["{ in: response, do: trap, at: open }"]).await;
    let mut client = gateway.client().await;
    for (line, status, length) in [
        ("GET /204 HTTP/1.1", 204, None),
        ("GET /304 HTTP/1.1", 304, None),
        ("GET /empty HTTP/1.1", 200, Some("0")),
        ("HEAD / HTTP/1.1", 200, Some("5")),
    ] {
        let answer = client.ask(&[line, GET[1]], "").await;
        assert_eq!((answer.status, answer.field("content-length")), (status, length), "{line}");
    }
    // Nobody knows before its end that it is empty.
    client.get("/stream").await.problem(500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_expects_100_is_told_to_continue_by_a_transform() {
    for name in ["body-sum-stream", "body-sum-whole"] {
        let origin = Upstream::echo().await;
        let config = Config::to(&origin).plugin(name, &guest(name)).route(&format!("filters: [{{ use: {name} }}]"));
        let gateway = GATEWAY.start(config).await;
        let mut client = gateway.client().await;
        client.send(http(&[POST[0], POST[1], "Content-Length: 5", "Expect: 100-continue"], "")).await;
        assert_eq!(client.head().await.status(), 100, "{name}");
        client.send("hello").await;
        let answer = client.response().await;
        assert_eq!(answer.field("x-bench-body"), Some("5:532"), "{name}");
        assert_eq!(answer.echo().body_bytes, 5, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_need_not_wait_for_a_body_in_a_transform() {
    let mut origin = Upstream::manual().await;
    let name = "body-sum-stream";
    let config = Config::to(&origin).plugin(name, &guest(name)).route(&format!("filters: [{{ use: {name} }}]"));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    client.send(http(&POST, PIECE)).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 403 Forbidden", "Content-Length: 2"], "no")).await;
    let answer = client.response().await;
    assert_eq!((answer.status, answer.field("x-bench-body")), (403, Some("0:0")), "nothing was kept yet");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_leaves_a_body_with_the_version_that_it_began_with() {
    let mut origin = Upstream::manual().await;
    let (old, new) = (
        edits(&origin, "", &["{ in: response, do: upper }"]),
        edits(&origin, "limits: { parked: 9 }", &["{ in: response, do: drop }"]),
    );
    let mut gateway = GATEWAY.start(old).await;
    let mut early = gateway.client().await;
    let mut held = begun(&mut origin, &mut early).await;
    held.send(PIECE).await;
    assert_eq!(early.chunk().await.expect("a piece").expect("not the end"), "ONE");

    gateway.reload(new).await;
    let mut late = gateway.client().await;
    let mut next = begun(&mut origin, &mut late).await;
    for exchange in [&mut held, &mut next] {
        exchange.send(format!("{PIECE}0\r\n\r\n")).await;
    }
    assert_eq!(early.rest().await.expect("a clean end"), b"ONE");
    assert_eq!(late.rest().await.expect("a clean end"), b"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_streams_pass_a_transform_side_by_side() {
    let mut origin = Upstream::manual().await;
    // Fewer than streams: those that hold a body count apart.
    let gateway = editing(&origin, "limits: { instances: 3 }", &["{ in: response, do: upper, tail: '!' }"]).await;
    let client = gateway.http2().await;
    let asks: Vec<_> = (0..4)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.get("/").await })
        })
        .collect();
    let mut held = Vec::new();
    for _ in &asks {
        let mut exchange = origin.next().await;
        exchange.send(http(&STREAM, PIECE)).await;
        held.push(exchange);
    }
    for exchange in &mut held {
        exchange.send(format!("{PIECE}0\r\n\r\n")).await;
    }
    for ask in asks {
        let answer: Http2Response = ask.await.expect("an answer");
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"ONEONE!".as_slice()));
    }
}
