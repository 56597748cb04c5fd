//! Native filters that have no file of their own: each once, through the whole gateway.

use std::io::Read as _;

use harness::{Config, Upstream, http};

use crate::GATEWAY;

const PREFLIGHT: [&str; 4] =
    ["OPTIONS / HTTP/1.1", "Host: a", "Origin: https://app.example", "Access-Control-Request-Method: PUT"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_a_config_are_told_with_their_place() {
    let origin = Upstream::echo().await;
    let filters = "filters:\n  - use: rate-limit\n    config:\n      key: client\n      rate: 1/1s\n  \
                   - use: rate-limit\n    config: { key: client-ip, rtae: 1/1s }\n";
    let config = Config::to(&origin).route(filters).to_string();
    let place = |text: &str| {
        let (number, line) = (1..).zip(config.lines()).find(|(_, line)| line.contains(text)).expect("it is there");
        format!("gateway.yaml:{number}:{}", line.find(text).expect("it is there") + 1)
    };
    let output = GATEWAY.on("validate", &config, &[]).await;
    assert_eq!(output.code, 3, "{output:?}");
    // The value of `key`, and the key that is misspelt.
    for told in [&place("client"), "`client` is no part of a request", &place("rtae"), "did you mean `rate`?"] {
        assert!(output.stderr.contains(told), "{told} in {}", output.stderr);
    }
}

/// `open sesame` by SHA-256.
const SESAME: &str = "sha256:41ef4bb0b23661e66301aac36066912dac037827b4ae63a7b1165a5aa93ed4eb";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cors_answers_preflights_before_all_others_and_lets_errors_be_read() {
    let origin = Upstream::echo().await;
    let filters = format!(
        "filters:\n  - {{ use: basic-auth, config: {{ users: {{ ada: '{SESAME}' }} }} }}\n  \
         - {{ use: cors, config: {{ allow_origins: ['https://app.example'], allow_methods: [PUT] }} }}\n"
    );
    let config = Config::to(&origin)
        .and_route("name: options\nmatch: { path: { prefix: / }, methods: [OPTIONS] }\nrespond: { status: 204 }")
        .route(&filters)
        .to_string()
        .replace(
            "name: all\n    match: { path: { prefix: / } }",
            "name: all\n    match: { path: { prefix: / }, methods: [PUT] }",
        );
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    let preflight = client.ask(&PREFLIGHT, "").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.field("access-control-allow-methods"), Some("PUT"), "{preflight:?}");
    assert_eq!(preflight.field("access-control-allow-origin"), Some("https://app.example"));
    let refused = client.ask(&["PUT / HTTP/1.1", "Host: a", PREFLIGHT[2], "Content-Length: 0"], "").await;
    refused.problem(401);
    assert_eq!(refused.field("access-control-allow-origin"), Some("https://app.example"));
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn basic_auth_wants_the_password_and_keeps_it() {
    let origin = Upstream::echo().await;
    let filters = format!("filters: [{{ use: basic-auth, config: {{ users: {{ ada: '{SESAME}' }} }} }}]");
    let gateway = GATEWAY.start(Config::to(&origin).route(&filters)).await;
    let mut client = gateway.client().await;
    let refused = client.get("/").await;
    refused.problem(401);
    assert_eq!(refused.field("www-authenticate"), Some("Basic realm=\"restricted\", charset=\"UTF-8\""));
    let right = "Authorization: Basic YWRhOm9wZW4gc2VzYW1l";
    let answer = client.ask(&["GET / HTTP/1.1", "Host: a", right], "").await;
    assert!(!answer.echo().fields.has("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ip_access_judges_the_client_behind_trusted_proxies() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .listener("trusted_proxies: [127.0.0.0/8]")
        .route("filters: [{ use: ip-access, config: { allow: [10.0.0.0/8] } }]");
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    for (forwarded, status) in [("10.1.2.3", 200), ("11.1.2.3", 403), ("10.1.2.3, 11.1.2.3", 403)] {
        let line = format!("X-Forwarded-For: {forwarded}");
        assert_eq!(client.ask(&["GET / HTTP/1.1", "Host: a", &line], "").await.status, status, "{forwarded}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_limits_stop_what_is_too_large() {
    let origin = Upstream::echo().await;
    let limits = "filters: [{ use: request-limits, config: { body: 10B, uri: 20B, header_bytes: 100B } }]";
    let gateway = GATEWAY.start(Config::to(&origin).route(limits)).await;
    let ask = async |lines: &[&str], body: &str| gateway.client().await.ask(lines, body).await.status;
    let chunked = "Transfer-Encoding: chunked";
    assert_eq!(ask(&["POST / HTTP/1.1", "Host: a", chunked], "a\r\n0123456789\r\n0\r\n\r\n").await, 200);
    assert_eq!(ask(&["POST / HTTP/1.1", "Host: a", chunked], "b\r\n0123456789a\r\n0\r\n\r\n").await, 413);
    assert_eq!(ask(&["POST / HTTP/1.1", "Host: a", "Content-Length: 11"], "0123456789a").await, 413);
    assert_eq!(ask(&["GET /0123456789012345678901 HTTP/1.1", "Host: a"], "").await, 414);
    assert_eq!(ask(&["GET / HTTP/1.1", "Host: a", &format!("X-Long: {}", "x".repeat(100))], "").await, 431);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeout_shortens_the_time_of_what_passes_it() {
    let mut origin = Upstream::manual().await;
    let config = Config::to(&origin).route("timeout: 1h\nfilters: [{ use: timeout, config: { timeout: 50ms } }]");
    let gateway = GATEWAY.start(config.upstream("timeouts: { per_try: 1h }")).await;
    let mut client = gateway.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let _held = origin.next().await;
    client.response().await.problem(504);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirect_sends_clients_elsewhere() {
    let origin = Upstream::echo().await;
    let redirect = "filters: [{ use: redirect, config: { scheme: https, path: '/v2${request.path}', status: 308 } }]";
    let gateway = GATEWAY.start(Config::to(&origin).route(redirect)).await;
    let answer = gateway.client().await.get("/a?b=c").await;
    assert_eq!((answer.status, answer.field("location")), (308, Some("https://test.example/v2/a?b=c")));
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forward_auth_asks_and_copies_fields_both_ways() {
    let origin = Upstream::echo().await;
    let mut judge = Upstream::with(|request| {
        if request.fields.get("authorization") == Some("good") {
            http(&["HTTP/1.1 204 OK", "X-User: ada", "Set-Cookie: a=1", "X-Inner: 1"], "")
        } else {
            http(&["HTTP/1.1 302 Found", "Location: /login", "Content-Length: 0"], "")
        }
    })
    .await;
    let config = Config::to(&origin).route(&format!(
        "filters:\n  - use: forward-auth\n    config: {{ url: 'http://{judge}/check', upstream_headers: [x-user], client_headers: [set-cookie] }}"
    ));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    let lines = ["GET /a?b=c HTTP/1.1", "Host: a", "Authorization: good", "X-User: mallory", "X-Own: 1"];
    let answer = client.ask(&lines, "").await;
    assert_eq!((answer.field("set-cookie"), answer.field("x-inner")), (Some("a=1"), None));
    assert_eq!(answer.echo().fields.all("x-user"), ["ada"]);
    let asked = judge.last_request();
    assert_eq!((asked.target.as_str(), asked.fields.get("x-forwarded-uri")), ("/check", Some("/a?b=c")));
    assert_eq!((asked.fields.get("x-own"), asked.fields.get("x-forwarded-method")), (None, Some("GET")));
    let refused = client.get("/").await;
    assert_eq!((refused.status, refused.field("location")), (302, Some("/login")));
    judge.kill().await;
    client.get("/").await.problem(503);
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compress_shrinks_bodies_and_holds_no_event_back() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).route("filters: [{ use: compress }]")).await;
    let lines = ["GET / HTTP/1.1", "Host: a", "Accept-Encoding: gzip"];

    let text = "All that is gold does not glitter. ".repeat(1000);
    let mut client = gateway.client().await;
    client.send(http(&lines, "")).await;
    let mut exchange = origin.next().await;
    let length = format!("Content-Length: {}", text.len());
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Type: text/plain", &length, "ETag: \"1\""], &text)).await;
    let answer = client.response().await;
    exchange.keep_alive();
    assert_eq!((answer.field("content-encoding"), answer.field("etag")), (Some("gzip"), Some("W/\"1\"")));
    assert_eq!(answer.field("vary"), Some("accept-encoding"));
    let mut back = String::new();
    flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut back).expect("it is gzip");
    assert_eq!(back, text);

    let mut client = gateway.client().await;
    client.send(http(&lines, "")).await;
    let mut exchange = origin.next().await;
    exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n").await;
    assert_eq!(client.head().await.fields.get("content-encoding"), Some("gzip"));
    let mut packed = Vec::new();
    for event in ["data: one\n\n", "data: two\n\n"] {
        exchange.send(event).await;
        // Each comes before the next is sent.
        while !read_so_far(&packed).ends_with(event) {
            packed.extend(client.chunk().await.expect("the stream goes on").expect("the stream goes on"));
        }
    }
    exchange.close();
    packed.extend(client.rest().await.expect("the end"));
    let mut back = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut back).expect("it ends well");
    assert_eq!(back, "data: one\n\ndata: two\n\n");
}

fn read_so_far(packed: &[u8]) -> String {
    let mut text = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(packed);
    let mut byte = [0];
    while decoder.read_exact(&mut byte).is_ok() {
        text.push(byte[0]);
    }
    String::from_utf8(text).expect("the upstream sent text")
}
