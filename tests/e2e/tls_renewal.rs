//! Certificates whose files change: new connections are shown the new ones, open ones go on, and bad files change nothing.

use std::fs;
use std::os::unix::fs::symlink;

use harness::{Authority, Config, Issued, TlsClient, Upstream};

use crate::GATEWAY;
use crate::tls_certificates::{folder, tls};

/// Connects until the certificate is shown.
async fn until_shown(client: &TlsClient, issued: &Issued) {
    // Without an end of its own: what waits for it has one.
    harness::within("the new certificate", async {
        loop {
            let connection = client.connect("test.example").await.expect("a handshake");
            if connection.certificate() == issued.der {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_taken_up_under_open_connections() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let old = authority.certificate(&["test.example"]);
    let admin = "admin: { address: 127.0.0.1:0 }\nstate_dir: state";
    let config = Config::to(&origin).top(admin).listener(&tls(folder.path(), &[("site", &old)], ""));
    let gateway = GATEWAY.start(config).await;
    let address = gateway.listener("http");
    let client = || TlsClient::new(address, &authority);
    let mut http1 = client().http1("test.example").await;
    let mut http2 = client().offering(&["h2"]).http2("test.example").await;
    assert_eq!((http1.get("/").await.status, http2.get("/").await.status), (200, 200));

    let new = authority.certificate(&["test.example"]);
    new.write(folder.path(), "site");
    gateway.log().wait("the renewal", |line| line.message() == "a certificate is renewed").await;
    let renewed = |line: &harness::Line| line.message() == "audit" && line.field("action") == Some("renew");
    let line = gateway.log().wait("the renewal on record", renewed).await;
    let told = (line.field("actor"), line.number("generation_before"), line.number("generation_after"));
    assert_eq!(told, (Some("source: watch"), Some(1), Some(2)), "{}", line.text);
    let connection = client().connect("test.example").await.expect("a handshake");
    assert!(connection.certificate() == new.der);
    assert_eq!((http1.get("/").await.status, http2.get("/").await.status), (200, 200), "as if nothing had been");
    let metrics = gateway.admin().get("/metrics").await.text();
    for line in
        [r#"witgate_tls_certificate_renewals_total{listener="http",outcome="ok"} 1"#, "witgate_config_generation 2"]
    {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
}

/// What Kubernetes does with a volume of secrets: files are links into a folder that is itself a link, and that one is replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_swapped_behind_a_link_is_noticed() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let (old, new) = (authority.certificate(&["test.example"]), authority.certificate(&["test.example"]));
    let at = |name: &str| folder.path().join(name);
    for (name, issued) in [("..1", &old), ("..2", &new)] {
        fs::create_dir(at(name)).expect("a folder");
        issued.write(&at(name), "tls");
    }
    symlink("..1", at("..data")).expect("a link");
    symlink("..data/tls.pem", at("tls.pem")).expect("a link");
    symlink("..data/tls.key", at("tls.key")).expect("a link");
    let files = format!("{{ cert: '{}', key: '{}' }}", at("tls.pem").display(), at("tls.key").display());
    let config = Config::to(&origin).listener(&format!("tls: {{ certificates: [{files}] }}"));
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    let first = client.connect("test.example").await.expect("a handshake");
    assert!(first.certificate() == old.der);

    symlink("..2", at("..data_tmp")).expect("a link");
    fs::rename(at("..data_tmp"), at("..data")).expect("a link can be renamed");
    until_shown(&TlsClient::new(gateway.listener("http"), &authority), &new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_is_told_once_and_the_last_good_certificate_serves_on() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let (one, other) = (authority.certificate(&["test.example"]), authority.certificate(&["other.example"]));
    let certificates = [("site", &one), ("other", &other)];
    let admin = "admin: { address: 127.0.0.1:0 }\nstate_dir: state";
    let config = Config::to(&origin).top(admin).listener(&tls(folder.path(), &certificates, ""));
    let mut gateway = GATEWAY.start(&config).await;
    let client = TlsClient::new(gateway.listener("http"), &authority);
    let mut events = gateway.admin().events().await;

    // Another key than the certificate's; and in the same moment the other certificate is renewed as it should be.
    let stranger = authority.certificate(&["test.example"]);
    fs::write(folder.path().join("site.key"), &stranger.key).expect("a folder takes files");
    let renewed = authority.certificate(&["other.example"]);
    renewed.write(folder.path(), "other");
    let refused = |line: &harness::Line| line.message().starts_with("a certificate is not taken");
    let line = gateway.log().wait("why it is not taken", refused).await;
    assert!(line.text.contains("site.key") && line.text.contains("not that of the certificate"), "{}", line.text);
    let event = events.next("certificate").await;
    assert!(event["error"].as_str().is_some_and(|error| error.contains("not that of the certificate")), "{event}");
    gateway.log().wait("the renewal", |line| line.message() == "a certificate is renewed").await;
    let shown = TlsClient::new(gateway.listener("http"), &authority);
    assert!(shown.connect("other.example").await.expect("a handshake").certificate() == renewed.der);
    assert!(client.connect("test.example").await.expect("a handshake").certificate() == one.der);

    // A reload is refused as a whole, and changes nothing either.
    let line = gateway.reload_fails(&config).await;
    assert!(line.text.contains("not that of the certificate"), "{}", line.text);
    assert!(client.connect("test.example").await.expect("a handshake").certificate() == one.der);
    let metrics = gateway.admin().get("/metrics").await.text();
    let failed = r#"witgate_tls_certificate_renewals_total{listener="http",outcome="failed"} 1"#;
    assert!(metrics.contains(failed), "{metrics}");

    // Mended, it is taken up.
    stranger.write(folder.path(), "site");
    until_shown(&TlsClient::new(gateway.listener("http"), &authority), &stranger).await;
    let told = gateway.log().lines().into_iter().filter(|line| refused(line)).count();
    assert_eq!(told, 1, "however often it was looked at");
}
