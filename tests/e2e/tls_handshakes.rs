//! Handshakes: those that do not end, those that are none, those that take up a session, and how all of them are counted.

use std::fs;

use harness::{Authority, Client, Config, Gateway, TlsClient, Upstream, Wanted};

use crate::GATEWAY;
use crate::tls_certificates::{folder, tls};

const ADMIN: &str = "admin: { address: 127.0.0.1:0 }\nstate_dir: state";

async fn counted(gateway: &Gateway, outcome: &str) -> u64 {
    let metrics = gateway.admin().get("/metrics").await.text();
    let series = format!(r#"witgate_tls_handshakes_total{{listener="http",outcome="{outcome}"}} "#);
    let count = metrics.lines().find_map(|line| line.strip_prefix(&series));
    count.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_end_is_cut_off_and_one_that_is_none_at_once() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let lines = format!("{}\nlimits: {{ handshake_timeout: 300ms }}", tls(folder.path(), &[("site", &site)], ""));
    let gateway = GATEWAY.start(Config::to(&origin).top(ADMIN).listener(&lines)).await;
    let address = gateway.listener("http");

    let mut silent = Client::connect(address).await;
    let mut half = Client::connect(address).await;
    half.send(b"\x16\x03\x01\x02\x00\x01").await;
    silent.closed().await;
    half.closed().await;
    assert_eq!(counted(&gateway, "timeout").await, 2);

    let mut plain = Client::connect(address).await;
    plain.send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n").await;
    plain.response_to("GET").await.expect_err("no answer in the clear");
    assert_eq!(counted(&gateway, "not_tls").await, 1);
    drop(Client::connect(address).await);
    while counted(&gateway, "gone").await == 0 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_are_within_the_connections_of_the_listener() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let lines = format!("{}\nlimits: {{ connections: 2 }}", tls(folder.path(), &[("site", &site)], ""));
    let gateway = GATEWAY.start(Config::to(&origin).listener(&lines)).await;
    let address = gateway.listener("http");
    let silent = [Client::connect(address).await, Client::connect(address).await];
    let mut third = Client::connect(address).await;
    third.closed().await;
    drop(silent);
    let client = TlsClient::new(address, &authority);
    // Until both are gone.
    let mut connection = loop {
        if let Ok(connection) = client.connect("test.example").await {
            break connection.http1();
        }
    };
    assert_eq!(connection.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_takes_up_its_session_on_every_worker_and_across_reloads_and_renewals() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let lines = tls(folder.path(), &[("site", &site)], "");
    let config = Config::to(&origin).top(&format!("workers: 3\n{ADMIN}")).listener(&lines);
    let mut gateway = GATEWAY.start(&config).await;
    let address = gateway.listener("http");
    for client in [TlsClient::new(address, &authority), TlsClient::of_tls12(address, &authority)] {
        let ask = async |is_resumed: bool| {
            let connection = client.connect("test.example").await.expect("a handshake");
            assert_eq!(connection.is_resumed(), is_resumed);
            // Tickets come with the first bytes of an answer at the latest.
            assert_eq!(connection.http1().get("/").await.status, 200);
        };
        ask(false).await;
        for _ in 0..8 {
            ask(true).await;
        }
        gateway.reload(config.clone().route("timeout: 7s")).await;
        ask(true).await;
        let before = gateway.log().len();
        authority.certificate(&["test.example"]).write(folder.path(), "site");
        let renewed = |line: &harness::Line| line.message() == "a certificate is renewed";
        gateway.log().wait_from(before, "the renewal", renewed).await;
        ask(true).await;
    }
    assert_eq!(counted(&gateway, "full").await, 2);
    assert_eq!(counted(&gateway, "resumed").await, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_the_authority_that_let_its_client_in() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let (people, others) = (Authority::new(), Authority::new());
    let site = authority.certificate(&["test.example"]);
    let ca = folder.path().join("people.pem");
    fs::write(&ca, people.pem() + &others.pem()).expect("a folder takes files");
    let clients = format!(", client_certificates: {{ ca: '{}' }}", ca.display());
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], &clients));
    let mut gateway = GATEWAY.start(&config).await;
    let ada = people.issue(Wanted { common_name: Some("ada"), ..Wanted::default() });
    let client = TlsClient::with_identity(gateway.listener("http"), &authority, &ada);
    for is_resumed in [false, true] {
        let connection = client.connect("test.example").await.expect("a handshake");
        assert_eq!(connection.is_resumed(), is_resumed);
        assert_eq!(connection.http1().get("/").await.status, 200);
    }
    fs::write(&ca, others.pem()).expect("a folder takes files");
    gateway.reload(&config).await;
    let connection = client.connect("test.example").await.expect("the client's side of a handshake");
    let mut connection = connection.http1();
    let _ = connection.try_send("GET / HTTP/1.1\r\nHost: test.example\r\n\r\n").await;
    connection.response_to("GET").await.expect_err("its authority is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_tell_when_they_expire() {
    let (origin, authority, folder) = (Upstream::echo().await, Authority::new(), folder());
    let site = authority.issue(Wanted { names: &["test.example"], last_year: Some(2040), ..Wanted::default() });
    let (cert, key) = site.write(folder.path(), "site");
    let tls = format!("tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}", cert.display(), key.display());
    let gateway = GATEWAY.start(Config::to(&origin).top(ADMIN).listener(&tls)).await;
    let metrics = gateway.admin().get("/metrics").await.text();
    let expiry = format!(
        r#"witgate_tls_certificate_expiry_timestamp_seconds{{certificate="{}",listener="http"}} 2240524800"#,
        cert.display()
    );
    assert!(metrics.contains(&expiry), "no {expiry} in {metrics}");
}
