//! Clients that show certificates: who is let in, and how filters and upstreams learn who it is.

use std::fs;

use harness::{Authority, Client, Config, Issued, TlsClient, Upstream, Wanted, guest, http};

use crate::GATEWAY;
use crate::tls_certificates::{folder, tls};

fn client_of(authority: &Authority) -> Issued {
    authority.issue(Wanted {
        names: &["ada.example", "spiffe://example/ada"],
        common_name: Some("ada, the first"),
        organisation: Some("Example"),
        serial: Some(0x2a),
        ..Wanted::default()
    })
}

/// An answer, or how the connection ended in its place: a client learns of its certificate's fate after its own handshake (RFC 8446 §2).
async fn asked(client: &TlsClient) -> Result<u16, String> {
    let connection = client.connect("test.example").await.map_err(|error| error.to_string())?;
    let mut client: Client = connection.http1();
    client.try_send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await.map_err(|error| error.to_string())?;
    client.response_to("GET").await.map(|answer| answer.status).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_clients_that_are_vouched_for_are_let_in() {
    let (origin, authority, people, folder) = (Upstream::echo().await, Authority::new(), Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let ca = folder.path().join("people.pem");
    fs::write(&ca, people.pem()).expect("a folder takes files");
    for (mode, nobody) in [("required", Err("CertificateRequired")), ("optional", Ok(200))] {
        let clients = format!(", client_certificates: {{ ca: '{}', mode: {mode} }}", ca.display());
        let config = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], &clients));
        let gateway = GATEWAY.start(config).await;
        let address = gateway.listener("http");
        assert_eq!(asked(&TlsClient::with_identity(address, &authority, &client_of(&people))).await, Ok(200));
        let alone = asked(&TlsClient::new(address, &authority)).await;
        match nobody {
            Ok(status) => assert_eq!(alone, Ok(status), "{mode}"),
            Err(alert) => assert!(alone.as_ref().is_err_and(|error| error.contains(alert)), "{mode}: {alone:?}"),
        }
        let stranger = client_of(&authority);
        let stranger = asked(&TlsClient::with_identity(address, &authority, &stranger)).await;
        assert!(stranger.as_ref().is_err_and(|error| error.contains("alert")), "{mode}: {stranger:?}");
        let late = people.issue(Wanted { names: &["ada.example"], last_year: Some(2001), ..Wanted::default() });
        let late = asked(&TlsClient::with_identity(address, &authority, &late)).await;
        assert!(late.as_ref().is_err_and(|error| error.contains("Expired")), "{mode}: {late:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_refused_from_the_moment_that_the_list_says_so() {
    let (origin, authority, people, folder) = (Upstream::echo().await, Authority::new(), Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let (ca, crl) = (folder.path().join("people.pem"), folder.path().join("revoked.pem"));
    fs::write(&ca, people.pem()).expect("a folder takes files");
    fs::write(&crl, people.revoking(&[7])).expect("a folder takes files");
    let clients = format!(", client_certificates: {{ ca: '{}', crl: '{}' }}", ca.display(), crl.display());
    let config = Config::to(&origin).listener(&tls(folder.path(), &[("site", &site)], &clients));
    let gateway = GATEWAY.start(config).await;
    let client = TlsClient::with_identity(gateway.listener("http"), &authority, &client_of(&people));
    assert_eq!(asked(&client).await, Ok(200));

    fs::write(&crl, people.revoking(&[7, 0x2a])).expect("a folder takes files");
    // Also of a session that began when it was not revoked yet.
    let refused = loop {
        match asked(&client).await {
            Ok(status) => assert_eq!(status, 200),
            Err(error) => break error,
        }
    };
    assert!(refused.contains("Revoked"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upstreams_and_filters_learn_who_a_client_is_and_nobody_can_pretend() {
    let (origin, authority, people, folder) = (Upstream::echo().await, Authority::new(), Authority::new(), folder());
    let site = authority.certificate(&["test.example"]);
    let ca = folder.path().join("people.pem");
    fs::write(&ca, people.pem()).expect("a folder takes files");
    let headers = "x-client: subject, x-client-names: san, x-client-id: uri, x-client-serial: serial, \
                   x-client-print: fingerprint, Client-Cert: certificate";
    let clients =
        format!(", client_certificates: {{ ca: '{}', mode: optional, headers: {{ {headers} }} }}", ca.display());
    let seen = "filters: [{ use: headers, config: { request: { set: { x-seen: '${attribute.tls.client.dns}' } } } }]";
    let listener = tls(folder.path(), &[("site", &site)], &clients);
    let config = Config::to(&origin).listener(&listener).listener("- name: plain\n  address: 127.0.0.1:0").route(seen);
    let config = config.to_string().replace("    - name: plain\n      address", "  - name: plain\n    address");
    let gateway = GATEWAY.start(config).await;

    let forged = [
        "GET / HTTP/1.1",
        "Host: test.example",
        "X-Client: CN=root",
        "x_client: CN=root",
        "Client-Cert: :AAAA:",
        "X-Client-Print: 00",
    ];
    let address = gateway.listener("http");
    let ada = client_of(&people);
    let known = TlsClient::with_identity(address, &authority, &ada);
    for is_resumed in [false, true] {
        let connection = known.connect("test.example").await.expect("a handshake");
        assert_eq!(connection.is_resumed(), is_resumed);
        let echo = connection.http1().ask(&forged, "").await.echo();
        assert_eq!(echo.fields.all("x-client"), ["CN=ada\\, the first,O=Example"]);
        assert_eq!(echo.fields.all("x-client-names"), ["DNS:ada.example,URI:spiffe://example/ada"]);
        assert_eq!(echo.fields.all("x-client-id"), ["spiffe://example/ada"]);
        assert_eq!(echo.fields.all("x-client-serial"), ["2a"]);
        assert_eq!(echo.fields.all("x-client-print"), [harness::sha256(&ada.der)]);
        let der = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &ada.der);
        assert_eq!(echo.fields.all("client-cert"), [format!(":{der}:")]);
        assert_eq!(echo.fields.all("x-seen"), ["ada.example"]);
        assert!(!echo.fields.has("x_client"));
    }
    let mut nobody = TlsClient::new(address, &authority).http1("test.example").await;
    let mut plain = Client::connect(gateway.listener("plain")).await;
    for echo in [nobody.ask(&forged, "").await.echo(), plain.ask(&forged, "").await.echo()] {
        for header in ["x-client", "x_client", "client-cert", "x-client-print"] {
            assert!(!echo.fields.has(header), "{header}: {:?}", echo.fields);
        }
        assert_eq!(echo.fields.all("x-seen"), [""]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plugin_can_say_who_a_client_is() {
    let origin = Upstream::echo().await;
    let liar =
        r#"filters: [{ use: puppet, config: { request: [{ set-attribute: ["tls.client.subject", "CN=root"] }] } }]"#;
    let gateway = GATEWAY.start(Config::to(&origin).plugin("puppet", &guest("puppet")).route(liar)).await;
    gateway.client().await.get("/").await.problem(500);
    let why = |line: &harness::Line| line.text.contains("tls.client.subject");
    gateway.log().wait("why", why).await;
}
