//! HTTP/2 clients (RFC 9113) in front of HTTP/1.1 upstreams: streams side by side, pseudo-fields, trailers, resets.

use harness::{Config, Frames, Http2, Http2Response, Upstream, http};

use crate::GATEWAY;

fn get(path: &str) -> http::Request<Frames> {
    http::Request::get(format!("http://api.example.com{path}")).body(Frames::default()).expect("a request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_becomes_http_1_1_with_its_authority_as_host() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.http2().await;
    let body = vec![7; 300_000];
    let mut request = get("/a?b=c").map(|_| Frames::data(body.clone()));
    *request.method_mut() = http::Method::POST;
    // RFC 9113 §8.2.3: crumbs of a cookie are put together again for HTTP/1.1.
    request.headers_mut().append("cookie", "a=1".parse().expect("a value"));
    request.headers_mut().append("cookie", "b=2".parse().expect("a value"));
    let answer = client.ask(request).await;
    let echo = answer.echo();
    assert_eq!((echo.method.as_str(), echo.target.as_str()), ("POST", "/a?b=c"));
    assert_eq!(echo.fields.all("host"), ["api.example.com"]);
    assert_eq!(echo.fields.all("cookie"), ["a=1; b=2"]);
    assert_eq!(echo.body_sha256, harness::sha256(&body));
    assert_eq!(answer.fields["content-type"], "application/json");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_of_one_connection_do_not_enter_http2() {
    let lines = [
        "HTTP/1.1 200 OK",
        "Transfer-Encoding: chunked",
        "Connection: keep-alive, x-named",
        "Keep-Alive: timeout=1",
        "X-Named: 1",
    ];
    let origin = Upstream::answering(http(&lines, "2\r\nok\r\n0\r\n\r\n")).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    // A single one of them would make this client reset the stream (RFC 9113 §8.2.2).
    let answer = gateway.http2().await.get("/").await;
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    assert!(!answer.fields.contains_key("x-named"), "{:?}", answer.fields);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_connection_do_not_wait_for_each_other() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let client = gateway.http2().await;
    let ask = |path| {
        let mut client = client.clone();
        tokio::spawn(async move { client.ask(get(path)).await })
    };
    let first = ask("/first");
    let held = origin.next().await;
    assert_eq!(held.target(), "/first");

    let second = ask("/second");
    let mut answered = origin.next().await;
    answered.send(http(&["HTTP/1.1 200 OK", "Content-Length: 6"], "second")).await;
    assert_eq!(second.await.expect("an answer").body, b"second");
    assert!(!first.is_finished());

    let mut held = held;
    held.send(http(&["HTTP/1.1 200 OK", "Content-Length: 5"], "first")).await;
    assert_eq!(first.await.expect("an answer").body, b"first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    let origin = Upstream::with(|request| {
        let sum = request.trailers.get("x-sum").unwrap_or("none").to_owned();
        let lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Trailer: x-total"];
        http(&lines, format!("2\r\nok\r\n0\r\nX-Total: {sum}+1\r\n\r\n"))
    })
    .await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let trailers =
        http::HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), http::HeaderValue::from_static("6"))]);
    let mut request = get("/").map(|_| Frames::data("abc").and_trailers(trailers));
    *request.method_mut() = http::Method::POST;
    request.headers_mut().insert("te", "trailers".parse().expect("a value"));
    request.headers_mut().insert("trailer", "x-sum".parse().expect("a value"));
    let answer = gateway.http2().await.ask(request).await;
    assert_eq!(answer.body, b"ok");
    assert_eq!(answer.trailers["x-total"], "6+1");
}

/// What is stripped from headers would come back through trailers, at an upstream that takes them for headers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_carry_no_field_that_a_client_may_not_send() {
    let origin = Upstream::echo().await;
    let keyed = "name: keyed\nmatch: { path: { exact: /keyed } }\nupstream: origin\nfilters:
  - { use: api-key, config: { inject: { x-user-id: id }, keys: [{ key: key-0123456789, id: me }] } }";
    let gateway = GATEWAY.start(Config::to(&origin).builtin("api-key").and_route(keyed)).await;
    let trailers = ["x-sum", "x-user-id", "x_user_id", "authorization", "content-length"];
    let fields = trailers.map(|name| (http::HeaderName::from_static(name), http::HeaderValue::from_static("6")));
    let mut request = get("/").map(|_| Frames::data("abc").and_trailers(http::HeaderMap::from_iter(fields)));
    *request.method_mut() = http::Method::POST;
    request.headers_mut().insert("trailer", trailers.join(", ").parse().expect("a value"));
    let echo = gateway.http2().await.ask(request).await.echo();
    let names: Vec<_> = echo.trailers.0.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-sum"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_streams_and_a_cut_one_resets_its_stream_alone() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.http2().await;
    let mut other = client.clone();
    let answer = tokio::spawn(async move { client.start(get("/cut")).await });
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 100"], "half")).await;
    let answer = answer.await.expect("a task").expect("the head comes before the body");
    exchange.close();
    Http2Response::read(answer).await.expect_err("half a body has no clean end");

    let next = tokio::spawn(async move { other.get("/next").await.status });
    origin.next().await.send(http(&["HTTP/1.1 204 No Content"], "")).await;
    assert_eq!(next.await.expect("the connection lives on"), 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_the_client_resets_releases_the_upstream() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let client = gateway.http2().await;
    let mut asking = client.clone();
    let asked = tokio::spawn(async move { asking.start(get("/")).await });
    let mut exchange = origin.next().await;
    asked.abort();
    exchange.closed().await;
    drop::<Http2>(client);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_are_the_same_as_over_http_1_1() {
    let gateway = GATEWAY.start(Config::to(&Upstream::down().await)).await;
    let answer = gateway.http2().await.get("/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.fields["content-type"], "application/problem+json");
    assert!(answer.fields.contains_key("proxy-status"));
}
