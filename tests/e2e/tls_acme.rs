//! Certificates that the gateway orders by itself, from an authority that looks whether the names lead there.

use harness::{Acme, Authority, Config, Tls, TlsClient, TlsOptions, Upstream};

use crate::GATEWAY;
use crate::tls_certificates::folder;

fn tls(acme: &Acme, folder: &std::path::Path) -> String {
    let (directory, folder) = (acme.directory(), folder.display());
    let names = "[Test.example, www.test.example]";
    format!(
        "tls: {{ acme: {{ domains: {names}, contact: [ops@test.example], directory: '{directory}', folder: '{folder}' }} }}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_ordered_proven_and_kept() {
    let (origin, acme, folder) = (Upstream::echo().await, Acme::new(Authority::new()).await, folder());
    let admin = "admin: { address: 127.0.0.1:0 }\nstate_dir: state";
    let config = Config::to(&origin).top(admin).listener(&tls(&acme, folder.path()));
    let gateway = GATEWAY.start(&config).await;
    let client = TlsClient::new(gateway.listener("http"), acme.authority());
    let nobodys = client.connect("test.example").await.err().expect("nobody vouches for it yet");
    assert!(nobodys.to_string().contains("invalid peer certificate"), "{nobodys}");

    acme.names_lead_to(gateway.listener("http"));
    gateway.log().wait("the certificate", |line| line.message() == "a certificate is renewed").await;
    for name in ["test.example", "www.test.example"] {
        assert_eq!(client.http1(name).await.get("/").await.status, 200);
    }
    let challenges = r#"witgate_tls_handshakes_total{listener="http",outcome="challenge"}"#;
    assert_eq!(gateway.admin().metric(challenges).await, 2.0);
    drop(gateway);

    // What is there and good for long is not ordered again.
    let gateway = GATEWAY.start(&config).await;
    let client = TlsClient::new(gateway.listener("http"), acme.authority());
    assert_eq!(client.http1("test.example").await.get("/").await.status, 200);
    assert_eq!(acme.counted(), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_lead_elsewhere_get_no_certificate() {
    let (origin, acme, folder) = (Upstream::echo().await, Acme::new(Authority::new()).await, folder());
    // A server like any other, which knows nothing of the order.
    let protocols = &["http/1.1"];
    let elsewhere = Tls::with(origin.address(), TlsOptions { protocols, ..TlsOptions::default() }).await;
    let address = elsewhere.nameless_origin().trim_start_matches("https://").parse().expect("an address");
    acme.names_lead_to(address);
    let gateway = GATEWAY.start(Config::to(&origin).listener(&tls(&acme, folder.path()))).await;
    let refused = |line: &harness::Line| line.message() == "a certificate cannot be ordered";
    let line = gateway.log().wait("that it is refused", refused).await;
    assert!(line.text.contains("does not believe that `test.example, www.test.example` leads here"), "{}", line.text);
    // The listener is there all the same, and shows that nobody vouches for it.
    TlsClient::new(gateway.listener("http"), acme.authority()).connect("test.example").await.err().expect("no trust");
}
