//! gRPC through the gateway, HTTP/2 on both sides: messages either way, trailers, deadlines, cancels, and errors that its clients read.

use h2::Reason;
use harness::{Config, Gateway, Http2Call, Http2Calls, Http2Upstream, Upstream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use crate::GATEWAY;

fn config(origin: &Http2Upstream) -> Config {
    Config::to(origin).upstream("protocol: http2")
}

async fn client(gateway: &Gateway) -> Http2Calls {
    Http2Calls::connect(gateway.listener("http")).await
}

fn request(fields: &[(&'static str, &'static str)]) -> Request<()> {
    let mut request = Request::post("http://test.example/chat.Chat/Talk").header("content-type", "application/grpc");
    for (name, value) in [("te", "trailers")].iter().chain(fields) {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

fn response() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).expect("a head")
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static(code))])
}

/// The code and the message of a response that is nothing but trailers.
async fn failure(mut call: Http2Call) -> (String, String) {
    let head = call.head().await.expect("an answer");
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-type"]),
        (200, &HeaderValue::from_static("application/grpc"))
    );
    assert!(call.next().await.is_none(), "there are no messages");
    let text = |name| head.headers()[name].to_str().expect("it is ASCII").to_owned();
    (text("grpc-status"), text("grpc-message"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_flow_both_ways_before_either_side_ends() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let mut call = client(&gateway).await.begin(request(&[("grpc-timeout", "90S")])).await;
    let mut upstream = origin.next().await;
    let fields = upstream.request.headers();
    assert_eq!(
        (&fields["te"], &fields["grpc-timeout"]),
        (&HeaderValue::from_static("trailers"), &HeaderValue::from_static("90S"))
    );
    upstream.head(response());
    call.head().await.expect("a head");
    for _ in 0..3 {
        call.send("question");
        assert_eq!(upstream.next().await.expect("a message").expect("a good one"), "question");
        upstream.data(b"answer");
        assert_eq!(call.next().await.expect("a message").expect("a good one"), "answer");
    }
    call.finish();
    assert!(upstream.next().await.is_none());
    upstream.data(b"last");
    assert_eq!(call.next().await.expect("a message").expect("a good one"), "last");
    upstream.trailers(status("0"));
    assert_eq!(call.trailers().await.expect("trailers"), status("0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_reaches_the_upstream_at_once() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let client = client(&gateway).await;
    for has_head in [false, true] {
        for has_ended in [false, true] {
            let mut call = client.begin(request(&[])).await;
            call.send("question");
            let mut upstream = origin.next().await;
            upstream.next().await.expect("a message").expect("a good one");
            if has_ended {
                call.finish();
                assert!(upstream.next().await.is_none());
            }
            if has_head {
                upstream.head(response());
                call.head().await.expect("a head");
            }
            call.reset(Reason::CANCEL);
            upstream.was_reset().await;
        }
    }
    assert_eq!(origin.connections(), 1, "it is the stream's end, not the connection's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_by_the_upstream_reaches_the_client() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let client = client(&gateway).await;
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let mut call = client.begin(request(&[])).await;
        let mut upstream = origin.next().await;
        upstream.head(response());
        upstream.data(b"answer");
        call.head().await.expect("a head");
        assert_eq!(call.next().await.expect("a message").expect("a good one"), "answer");
        upstream.reset(reason);
        let error = call.next().await.expect("an end").expect_err("a bad one");
        assert_eq!(error.reason(), Some(reason));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateways_errors_are_those_of_grpc() {
    let mut origin = Http2Upstream::manual().await;
    let down = Upstream::down().await;
    let filters = "
filters:
  - { use: headers, config: { response: { set: { x-stamp: seen } } } }
  - { use: api-key, config: { keys: [{ key: k1, id: ada }] } }
  - { use: policy, config: { rules: [{ when: 'request.path == \"/denied\"', deny: { status: 403, detail: 'nö, 100% not' } }] } }
timeout: 1s";
    let config = config(&origin)
        .builtin("api-key")
        .builtin("policy")
        .route(filters)
        .and_route("name: down\nmatch: { hosts: [down.example] }\nupstream: down")
        .and_route("name: other\nmatch: { hosts: [other.example] }\nupstream: origin")
        .to_string()
        .replace("upstreams:\n", &format!("upstreams:\n  down: {{ endpoints: [{{ url: 'http://{down}' }}] }}\n"))
        .replace("{ path: { prefix: / } }", "{ hosts: [test.example] }");
    let gateway = GATEWAY.start(config).await;
    let client = client(&gateway).await;
    let ask = async |uri: &'static str, key: &'static str| {
        let mut request = request(&[("x-api-key", key)]);
        *request.uri_mut() = uri.parse().expect("a URI");
        failure(client.begin(request).await).await
    };
    for (uri, key, code, message) in [
        ("http://nobody.example/a.A/B", "k1", "12", "no route matches"),
        ("http://test.example/a.A/B", "k2", "16", ""),
        ("http://test.example/denied", "k1", "7", "n%C3%B6, 100%25 not"),
        ("http://down.example/a.A/B", "k1", "14", "the upstream gave no usable response"),
        // Nobody answers: the route's time is over.
        ("http://test.example/a.A/B", "k1", "4", "the upstream did not answer in time"),
    ] {
        let (found, said) = ask(uri, key).await;
        assert_eq!(found, code, "{uri}: {said}");
        assert!(message.is_empty() || said == message, "{said}");
    }
    origin.next().await.reset(Reason::REFUSED_STREAM);

    let mut call = client.begin(request(&[("x-api-key", "k2")])).await;
    let head = call.head().await.expect("an answer");
    assert_eq!(head.headers()["x-stamp"], "seen", "filters run on it as on any answer");
    assert!(head.headers().contains_key("www-authenticate"), "{head:?}");
    // Others are told as ever.
    let mut plain = request(&[("x-api-key", "k2")]);
    plain.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    assert_eq!(client.begin(plain).await.head().await.expect("an answer").status().as_u16(), 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_deadline_bounds_the_whole_call() {
    let mut origin = Http2Upstream::manual().await;
    let gateway = GATEWAY.start(config(&origin)).await;
    let client = client(&gateway).await;
    // No head in time.
    let call = client.begin(request(&[("grpc-timeout", "100m")])).await;
    let mut upstream = origin.next().await;
    assert_eq!(failure(call).await.0, "4");
    upstream.was_reset().await;
    // No end in time, though messages came.
    let mut call = client.begin(request(&[("grpc-timeout", "500m")])).await;
    call.send("question");
    let mut upstream = origin.next().await;
    upstream.head(response());
    upstream.data(b"answer");
    call.head().await.expect("a head");
    assert_eq!(call.next().await.expect("a message").expect("a good one"), "answer");
    assert!(call.next().await.is_none());
    assert_eq!(call.trailers().await.expect("trailers")["grpc-status"], "4");
    upstream.was_reset().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_may_stand_still_for_longer_than_a_body() {
    let mut origin = Http2Upstream::manual().await;
    let config = config(&origin)
        .listener("limits: { idle_timeout: 200ms }")
        .upstream("timeouts: { connect: 1s, per_try: 10s, idle: 200ms }");
    let gateway = GATEWAY.start(config.clone()).await;
    let mut call = client(&gateway).await.begin(request(&[])).await;
    let mut upstream = origin.next().await;
    upstream.head(response());
    call.head().await.expect("a head");
    tokio::time::sleep(std::time::Duration::from_millis(900)).await;
    call.send("question");
    assert_eq!(upstream.next().await.expect("a message").expect("a good one"), "question");
    upstream.data(b"answer");
    assert_eq!(call.next().await.expect("a message").expect("a good one"), "answer");
    drop(call);
    // Not for ever, though.
    let gateway = GATEWAY.start(config.route("stream_idle_timeout: 300ms")).await;
    let mut call = client(&gateway).await.begin(request(&[])).await;
    let mut upstream = origin.next().await;
    upstream.head(response());
    call.head().await.expect("a head");
    call.next().await.expect("an end").expect_err("a bad one");
    upstream.was_reset().await;
}
