//! Certificates of listeners: which one a client is shown, what is spoken with it, and which are refused.

use std::path::Path;

use harness::{Authority, Config, Frames, Issued, TlsClient, Upstream, Wanted, yaml};
use http::Request;
use tempfile::TempDir;

use crate::GATEWAY;

/// `tls` of a listener with these certificates, whose files are in this folder.
pub(crate) fn tls(folder: &Path, certificates: &[(&str, &Issued)], more: &str) -> String {
    let items = certificates.iter().map(|(name, issued)| {
        let (cert, key) = issued.write(folder, name);
        format!("{{ cert: '{}', key: '{}' }}", cert.display(), key.display())
    });
    format!("tls: {{ certificates: [{}]{more} }}", items.collect::<Vec<_>>().join(", "))
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().expect("the system gives a temporary folder")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_over_tls_are_https_to_upstreams_and_filters() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let seen = "filters: [{ use: headers, config: { request: { set: { x-seen: '${attribute.tls.version} ${attribute.tls.server_name}' } } } }]";
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], "")).route(seen);
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    for (protocols, scheme) in [(&["h2", "http/1.1"][..], "https"), (&["http/1.1"], "https"), (&[], "https")] {
        let connection = client.clone().offering(protocols).connect("test.example").await.expect("a handshake");
        assert_eq!(connection.protocol(), protocols.first().copied());
        assert!(connection.is_tls13());
        let echo = match protocols.first() {
            Some(&"h2") => connection.http2().await.get("/").await.echo(),
            _ => connection.http1().get("/").await.echo(),
        };
        assert_eq!(echo.fields.get("x-forwarded-proto"), Some(scheme));
        assert_eq!(echo.fields.get("forwarded"), Some("for=127.0.0.1;proto=https;host=\"test.example\""));
        assert_eq!(echo.fields.get("x-seen"), Some("1.3 test.example"));
    }
    // Without a choice by ALPN, the first bytes tell.
    let mut modern = client.http2("test.example").await;
    assert_eq!(modern.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protocol_that_nobody_speaks_is_refused_and_one_that_was_agreed_on_is_kept() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], ""));
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    let refused = client.clone().offering(&["spdy/1"]).connect("test.example").await.err().expect("no handshake");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");

    let mut liar = client.offering(&["h2"]).http1("test.example").await;
    liar.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n").await;
    liar.response_to("GET").await.expect_err("an end in the place of an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_says_which_protocols_and_versions_there_are() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let both = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], ""));
    let strict = ", min_version: 1.3, alpn: [http/1.1]";
    let strict = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], strict));
    let (both, strict) = (GATEWAY.start(both).await, GATEWAY.start(strict).await);

    let old = TlsClient::of_tls12(both.listener("http"), &authority).connect("test.example").await;
    let mut old = old.expect("a handshake").http1();
    assert_eq!(old.get("/").await.status, 200);
    let old = TlsClient::of_tls12(strict.listener("http"), &authority).connect("test.example").await;
    old.err().expect("no TLS 1.2 here");
    let new = TlsClient::new(strict.listener("http"), &authority).offering(&["h2", "http/1.1"]);
    assert_eq!(new.connect("test.example").await.expect("a handshake").protocol(), Some("http/1.1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_shown_the_certificate_for_the_name_that_they_ask_for() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let first = authority.certificate(&["first.example", "shared.example"]);
    let second = authority.certificate(&["second.example", "shared.example"]);
    let wild = authority.certificate(&["*.wild.example"]);
    let inner = authority.certificate(&["inner.wild.example"]);
    let certificates = [("first", &first), ("second", &second), ("wild", &wild), ("inner", &inner)];
    let config = Config::to(&origin).listener(&tls(folder.path(), &certificates, ""));
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    for (name, shown) in [
        ("first.example", &first),
        ("second.example", &second),
        ("shared.example", &first),
        ("a.wild.example", &wild),
        ("A.Wild.Example", &wild),
        ("inner.wild.example", &inner),
    ] {
        let connection = client.connect(name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(connection.certificate() == shown.der, "{name}");
    }
    for name in ["other.example", "a.b.wild.example", "wild.example", "127.0.0.1"] {
        let refused = client.connect(name).await.err().unwrap_or_else(|| panic!("{name} has no certificate"));
        assert!(refused.to_string().contains("not valid for name"), "{name}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_certificates_for_a_name_clients_are_shown_one_that_they_can_verify() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let rsa = authority.issue(Wanted { names: &["test.example"], is_rsa: true, ..Wanted::default() });
    let ecdsa = authority.certificate(&["test.example"]);
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("rsa", &rsa), ("ecdsa", &ecdsa)], ""));
    let gateway = GATEWAY.start(config).await;
    let address = gateway.listener("http");
    let modern = TlsClient::new(address, &authority).connect("test.example").await.expect("a handshake");
    assert!(modern.certificate() == ecdsa.der, "the cheaper one");
    let old = TlsClient::of_rsa(address, &authority).connect("test.example").await.expect("a handshake");
    assert!(old.certificate() == rsa.der, "the one that it can verify");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_a_name_with_another_certificate_has_come_to_the_wrong_connection() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let one = authority.certificate(&["one.example", "*.one.example"]);
    let other = authority.certificate(&["other.example"]);
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("one", &one), ("other", &other)], ""));
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    let mut connection = client.clone().offering(&["h2"]).http2("one.example").await;
    for (host, status) in [
        ("one.example", 200),
        ("One.example:8443", 200),
        ("www.one.example", 200),
        // Nobody else's, so that nobody is better placed to answer.
        ("unknown.example", 200),
        ("other.example", 421),
        ("OTHER.example:8443", 421),
    ] {
        let request = Request::get(format!("https://{host}/")).body(Frames::default()).expect("a request");
        assert_eq!(connection.ask(request).await.status, status, "{host}");
    }
    // Over HTTP/1.1 no client takes a connection for another name unless it means to.
    let mut connection = client.http1("one.example").await;
    assert_eq!(connection.ask(&["GET / HTTP/1.1", "Host: other.example"], "").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_be_a_secret() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let (cert, key) = authority.certificate(&["test.example"]).write(folder.path(), "site");
    let config = Config::to(&origin)
        .top(&format!("secrets: {{ site: {{ file: '{}' }} }}", key.display()))
        .listener(&format!("tls: {{ certificates: [{{ cert: '{}', key: secret://site }}] }}", cert.display()));
    let gateway = GATEWAY.start(config).await;
    let mut client = TlsClient::new(gateway.listener("http"), &authority).http1("test.example").await;
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_cannot_serve_are_faults_at_their_place() {
    let (authority, folder) = (Authority::new(), folder());
    let (one, other) = (authority.certificate(&["one.example"]), authority.certificate(&["one.example"]));
    one.write(folder.path(), "one");
    other.write(folder.path(), "other");
    authority.issue(Wanted { common_name: Some("a client"), ..Wanted::default() }).write(folder.path(), "nameless");
    std::fs::write(folder.path().join("empty.pem"), "").expect("a folder takes files");
    std::fs::write(folder.path().join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a folder takes files");
    let text = "version: 1
listeners:
  - name: https
    address: 127.0.0.1:0
    tls:
      certificates:
        - { cert: <at>/none.pem, key: <at>/one.key }
        - { cert: <at>/one.pem, key: <at>/other.key }
        - { cert: <at>/empty.pem, key: <at>/one.key }
        - { cert: <at>/broken.pem, key: <at>/one.key }
        - { cert: <at>/other.pem, key: <at>/one.pem }
      client_certificates: { ca: <at>/empty.pem, crl: <at>/none.pem }
  - name: twice
    address: 127.0.0.1:0
    tls:
      certificates:
        - { cert: <at>/one.pem, key: <at>/one.key }
        - { cert: <at>/other.pem, key: <at>/other.key }
routes: [{ name: all, respond: {} }]
";
    let at = folder.path().display();
    let config = text.replace("<at>", &at.to_string());
    for command in ["run", "validate"] {
        let output = GATEWAY.on(command, &config, &[]).await;
        assert_eq!(output.code, 3, "{}", output.stderr);
        for (place, words) in [
            ("gateway.yaml:7:19", "cannot be read: No such file"),
            ("gateway.yaml:8:", "the private key is not that of the certificate"),
            ("gateway.yaml:9:19", "it has no certificate"),
            ("gateway.yaml:10:19", "its certificate cannot be read"),
            ("gateway.yaml:11:", "it has no private key"),
            ("gateway.yaml:12:34", "it has no certificate"),
            ("gateway.yaml:12:", "cannot be read: No such file"),
            ("gateway.yaml:18:19", "no client would be shown this certificate"),
        ] {
            assert!(output.stderr.contains(place), "no `{place}` in {}", output.stderr);
            assert!(output.stderr.contains(words), "no `{words}` in {}", output.stderr);
        }
    }
}

#[cfg(not(feature = "acme"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_acme_says_so() {
    let lines = "tls: { acme: { domains: [test.example] } }";
    let output = GATEWAY.on("validate", Config::to(&"127.0.0.1:9").listener(lines), &[]).await;
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert!(
        output.stderr.contains("built without ACME") && output.stderr.contains("--features acme"),
        "{}",
        output.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_serves_and_is_told() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.issue(Wanted { names: &["test.example"], last_year: Some(2001), ..Wanted::default() });
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], ""));
    let gateway = GATEWAY.start(config).await;
    gateway.log().wait("a warning", |line| line.message() == "a certificate has expired").await;
    let refused = TlsClient::new(gateway.listener("http"), &authority).connect("test.example").await;
    assert!(refused.err().expect("an expired certificate").to_string().contains("expired"));
}

/// The whole way of a browser that was given a name: from the clear to TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_in_the_clear_are_sent_to_tls_and_those_with_tls_are_not() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let text = "version: 1
listeners:
  - { name: http, address: 127.0.0.1:0 }
  - name: https
    address: 127.0.0.1:0
    <tls>
upstreams: { origin: { endpoints: [{ url: 'http://<origin>' }] } }
routes:
  - name: to-tls
    match: { listeners: [http] }
    filters: [{ use: redirect, config: { scheme: https, status: 308 } }]
    respond: {}
  - { name: all, match: { listeners: [https] }, upstream: origin }
";
    let tls = tls(folder.path(), &[("site", &site)], "");
    let gateway = GATEWAY.start(yaml(text, &[("tls", &tls), ("origin", &origin)])).await;
    let answer = gateway.client().await.get("/a?b=c").await;
    assert_eq!((answer.status, answer.field("location")), (308, Some("https://test.example/a?b=c")));
    let client = TlsClient::new(gateway.listener("https"), &authority);
    let mut client = client.http1("test.example").await;
    assert_eq!(client.get("/a?b=c").await.echo().target, "/a?b=c");
}
