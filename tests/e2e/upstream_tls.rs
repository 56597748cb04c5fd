//! TLS to upstreams: whose certificates are believed, which name is asked for, who the gateway is, and what is spoken.

use harness::{Config, Gateway, Http2Upstream, Tls, TlsOptions, Upstream, http};

use crate::GATEWAY;

fn trusting(tls: &Tls, more: &str) -> String {
    format!("tls: {{ ca: '{}'{more} }}", tls.authority().display())
}

async fn flagged(gateway: &Gateway, flag: &str) {
    gateway.log().wait("why the request failed", |line| line.field("flag") == Some(flag)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_is_vouched_for_by_an_authority_and_asked_for_by_its_name() {
    let origin = Upstream::echo().await;
    let tls = Tls::before(&origin).await;
    let config = Config::to_url(&tls.origin()).top("workers: 1").upstream(&trusting(&tls, ""));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.echo().fields.get("host"), Some("test.example"));
    }
    assert_eq!(tls.asked_for(), ["localhost"], "one connection, kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_nobody_vouches_for_is_a_problem_502() {
    let origin = Upstream::echo().await;
    let (tls, stranger) = (Tls::before(&origin).await, Tls::before(&origin).await);
    for (url, lines) in [
        (tls.origin(), String::new()),
        (tls.origin(), trusting(&stranger, "")),
        (tls.nameless_origin(), trusting(&tls, "")),
        (tls.origin(), trusting(&tls, ", server_name: other.example")),
    ] {
        let gateway = GATEWAY.start(Config::to_url(&url).upstream(&lines)).await;
        let answer = gateway.client().await.get("/").await;
        answer.problem(502);
        assert_eq!(answer.field("proxy-status"), Some("witgate; error=tls_certificate_error"), "{lines}");
        flagged(&gateway, "UF").await;
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_may_be_another_than_the_endpoints_and_the_check_may_be_left_out() {
    let origin = Upstream::echo().await;
    let tls = Tls::before(&origin).await;
    for lines in [trusting(&tls, ", server_name: localhost"), "tls: { verify: false }".to_owned()] {
        let gateway = GATEWAY.start(Config::to_url(&tls.nameless_origin()).upstream(&lines)).await;
        assert_eq!(gateway.client().await.get("/").await.status, 200, "{lines}");
    }
    assert_eq!(tls.asked_for(), ["localhost", ""], "an address is no name to ask for (RFC 6066 §3)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_wants_a_certificate_gets_the_gateways() {
    let origin = Upstream::echo().await;
    let tls = Tls::with(origin.address(), TlsOptions { wants_identity: true, ..TlsOptions::default() }).await;
    let (cert, key) = tls.identity();
    let identity = format!(", cert: '{}', key: '{}'", cert.display(), key.display());
    let with = GATEWAY.start(Config::to_url(&tls.origin()).upstream(&trusting(&tls, &identity))).await;
    assert_eq!(with.client().await.get("/").await.status, 200);
    let without = GATEWAY.start(Config::to_url(&tls.origin()).upstream(&trusting(&tls, ""))).await;
    without.client().await.get("/").await.problem(502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_chooses_the_protocol_where_it_may() {
    let mut modern = Http2Upstream::manual().await;
    let plain = Upstream::echo().await;
    let both =
        Tls::with(modern.address(), TlsOptions { protocols: &["h2", "http/1.1"], ..TlsOptions::default() }).await;
    let old = Tls::with(plain.address(), TlsOptions { protocols: &["http/1.1"], ..TlsOptions::default() }).await;
    let none = Tls::before(&plain).await;

    for protocol in ["auto", "http2"] {
        let lines = format!("protocol: {protocol}\n{}", trusting(&both, ""));
        let gateway = GATEWAY.start(Config::to_url(&both.origin()).upstream(&lines)).await;
        let mut client = gateway.client().await;
        let asked = tokio::spawn(async move { client.get("/").await.text() });
        let exchange = modern.next().await;
        assert_eq!(exchange.request.uri(), "https://test.example/");
        exchange.answer("modern");
        assert_eq!(asked.await.expect("a task"), "modern");
    }
    for tls in [&old, &none] {
        let lines = format!("protocol: auto\n{}", trusting(tls, ""));
        let gateway = GATEWAY.start(Config::to_url(&tls.origin()).upstream(&lines)).await;
        let mut client = gateway.client().await;
        for _ in 0..2 {
            assert_eq!(client.get("/").await.echo().fields.all("host"), ["test.example"]);
        }
    }
    let lines = format!("protocol: http2\n{}", trusting(&none, ""));
    let gateway = GATEWAY.start(Config::to_url(&none.origin()).upstream(&lines)).await;
    gateway.client().await.get("/").await.problem(502);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_no_good_are_told_at_the_start() {
    let origin = Upstream::echo().await;
    let tls = Tls::before(&origin).await;
    let authority = tls.authority();
    let authority = authority.display();
    for (lines, words) in [
        ("tls: { ca: no-such.pem }".to_owned(), ["gateway.yaml:8:", "cannot be read"]),
        ("tls: { ca: gateway.yaml }".to_owned(), ["gateway.yaml:8:", "no certificate"]),
        (format!("tls: {{ cert: '{authority}', key: '{authority}' }}"), ["gateway.yaml:8:", "PEM"]),
    ] {
        let output = GATEWAY.fails(Config::to_url(&tls.origin()).upstream(&lines)).await;
        assert_eq!(output.code, 3, "{}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "no `{word}` in {}", output.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_a_connection_that_is_not_there_in_time() {
    let origin = Upstream::manual().await;
    let timeouts = "timeouts: { connect: 200ms }";
    let gateway = GATEWAY.start(Config::to_url(&format!("https://{origin}")).upstream(timeouts)).await;
    let answer = gateway.client().await.get("/").await;
    answer.problem(504);
    assert_eq!(answer.field("proxy-status"), Some("witgate; error=connection_timeout"));
    flagged(&gateway, "UF").await;
}

/// Without the alert that ends a stream of TLS, a body that goes to the end of the connection may have been cut (RFC 8446 §6.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_whose_end_nobody_vouches_for_is_not_whole() {
    let mut origin = Upstream::manual().await;
    let tls = Tls::before(&origin).await;
    let gateway = GATEWAY.start(Config::to_url(&tls.origin()).upstream(&trusting(&tls, ""))).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Connection: close"], "half")).await;
    assert_eq!(client.head().await.status(), 200);
    client.chunk().await.expect("a piece").expect("half");
    drop(tls);
    client.rest().await.expect_err("half a body has no clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_are_made_over_tls_too() {
    let sick = Upstream::with(|_| http(&["HTTP/1.1 503 Service Unavailable", "Content-Length: 0"], "")).await;
    let (tls, stranger) = (Tls::before(&sick).await, Tls::before(&sick).await);
    for (authority, why) in [(&tls, "status 503 Service Unavailable"), (&stranger, "cannot connect: ")] {
        let checked = "health_check: { path: /healthz, interval: 20ms, timeout: 10s }";
        let config = Config::to_url(&tls.origin()).upstream(&trusting(authority, "")).upstream(checked);
        let gateway = GATEWAY.start(config).await;
        let is_told = |line: &harness::Line| line.message() == "endpoint is unhealthy" && line.text.contains(why);
        gateway.log().wait(why, is_told).await;
    }
}
