//! Requests of plugins' own: to granted origins and nowhere else, within limits, and never at the cost of others.

use std::time::Duration;

use harness::{Client, Config, Gateway, Response, Tls, Upstream, guest, http, variant};
use serde_json::Value;

use crate::GATEWAY;

/// A gateway with one worker, whose plugin may send requests to `grants`.
async fn granting(origin: &Upstream, grants: &str, declaration: &str) -> Gateway {
    GATEWAY.start(config(origin, grants, declaration)).await
}

fn config(origin: &Upstream, grants: &str, declaration: &str) -> Config {
    let declaration = format!("grants: {{ {grants} }}\n{declaration}");
    Config::to(origin)
        .top("workers: 1")
        .plugin_with("outbound", &guest("outbound"), &declaration)
        .and_route("name: plain\nmatch: { path: { prefix: /plain } }\nupstream: origin")
        .route("filters: [{ use: outbound }]")
}

/// A gateway whose plugin may reach this origin, which is on the loopback.
async fn reaching(origin: &Upstream, declaration: &str) -> Gateway {
    granting(origin, &format!("http: ['http://{origin}'], private_addresses: true"), declaration).await
}

/// Has the plugin send `what`, with more header lines of the client's request.
async fn send(client: &mut Client, what: &str, lines: &[&str]) -> Response {
    let what = format!("X-Send: {what}");
    client.ask(&[&["GET / HTTP/1.1", "Host: a", &what], lines].concat(), "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_asks_an_origin_that_it_is_granted() {
    let origin = Upstream::echo().await;
    let gateway = reaching(&origin, "").await;
    let mut client = gateway.client().await;
    let headers = ["X-Send-Header: X-Key: 1", "X-Send-Header: x-key: 2"];
    let answer = send(&mut client, &format!("POST http://{origin}/check?a=b"), &headers).await;
    assert_eq!((answer.status, answer.field("x-status")), (200, Some("200")));
    assert_eq!(answer.field("x-got-content-type"), Some("application/json"));
    let seen = origin.last_request();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("POST", "/check?a=b"));
    assert_eq!(seen.fields.all("host"), [origin.to_string()]);
    assert_eq!(seen.fields.all("x-key"), ["1", "2"]);
    assert_eq!(seen.fields.all("content-length"), ["17"]);
    assert_eq!(seen.body, b"asked by a plugin");
    for _ in 0..5 {
        assert_eq!(send(&mut client, &format!("GET http://{origin}/"), &[]).await.status, 200);
    }
    assert_eq!(origin.connections(), 1, "the connection is kept");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_asks_nobody_else() {
    let (origin, other) = (Upstream::echo().await, Upstream::echo().await);
    let gateway = reaching(&origin, "").await;
    let mut client = gateway.client().await;
    let port = origin.address().port();
    for url in [
        format!("http://{other}/"),
        format!("https://{origin}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.0.0.1.evil.example:{port}/"),
        "http://127.0.0.1/".to_owned(),
        format!("ftp://{origin}/"),
    ] {
        let answer = send(&mut client, &format!("GET {url}"), &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (502, "Denied"), "{url}");
    }
    for what in [
        format!("GET http://{other}@{origin}/"),
        format!("GET http://{origin}@{other}/"),
        "GET /".to_owned(),
        format!("CONNECT {other}"),
    ] {
        assert_eq!(send(&mut client, &what, &[]).await.text(), "Invalid", "{what}");
    }
    assert!(other.connections() == 0 && origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_on_the_gateways_own_machine_needs_a_grant_of_its_own() {
    let origin = Upstream::echo().await;
    let port = origin.address().port();
    for host in ["127.0.0.1", "localhost"] {
        let grant = format!("http: ['http://{host}:{port}']");
        let what = format!("GET http://{host}:{port}/");
        let gateway = granting(&origin, &grant, "").await;
        assert_eq!(send(&mut gateway.client().await, &what, &[]).await.text(), "Denied", "{host}");
        assert_eq!(origin.connections(), 0, "{host}");
    }
    let gateway = granting(&origin, &format!("http: ['http://localhost:{port}'], private_addresses: true"), "").await;
    let answer = send(&mut gateway.client().await, &format!("GET http://localhost:{port}/"), &[]).await;
    assert_eq!((answer.status, answer.field("x-status")), (200, Some("200")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_the_plugins_to_judge() {
    let other = Upstream::echo().await;
    let location = format!("HTTP/1.1 302 Found\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n");
    let origin = Upstream::answering(location).await;
    let gateway = reaching(&origin, "").await;
    let answer = send(&mut gateway.client().await, &format!("GET http://{origin}/"), &[]).await;
    assert_eq!((answer.status, answer.field("x-status")), (200, Some("302")));
    assert_eq!(answer.field("x-got-location"), Some(format!("http://{other}/").as_str()));
    assert_eq!(other.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_cannot_forge_the_framing_of_its_request() {
    let origin = Upstream::echo().await;
    let gateway = reaching(&origin, "").await;
    let mut client = gateway.client().await;
    for header in [
        "host: b.example",
        "content-length: 3",
        "transfer-encoding: chunked",
        "connection: x-key",
        "upgrade: h2c",
        "te: trailers",
        "x-a: 1\\nx-b: 2",
        "x a: 1",
    ] {
        let answer = send(&mut client, &format!("GET http://{origin}/"), &[&format!("X-Send-Header: {header}")]).await;
        assert_eq!(answer.text(), "Invalid", "{header}");
    }
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_has_the_size_that_the_plugin_may_take() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let of = |bytes: usize| http(&["HTTP/1.1 200 OK", &format!("Content-Length: {bytes}")], vec![b'x'; bytes]);
    let endless = [chunked.as_bytes(), format!("{:x}\r\n{}\r\n0\r\n\r\n", 5000, "x".repeat(5000)).as_bytes()].concat();
    for (answer, fits) in [(of(4096), true), (of(4097), false), (endless, false)] {
        let origin = Upstream::answering(answer).await;
        let gateway = reaching(&origin, "limits: { body: 4KiB }").await;
        let answer = send(&mut gateway.client().await, &format!("GET http://{origin}/"), &[]).await;
        if fits {
            assert_eq!((answer.status, answer.body.len()), (200, 4096));
        } else {
            assert_eq!((answer.status, answer.text().as_str()), (502, "TooLarge"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_takes_the_time_it_is_given_and_never_more_than_its_call() {
    let origin = Upstream::deaf().await;
    let silent = Upstream::manual().await;
    for (declaration, lines) in [
        ("", ["X-Send-Timeout: 20"].as_slice()),
        ("limits: { timeout: 200ms }", &[]),
        ("limits: { timeout: 200ms }", &["X-Send-Timeout: 600000"]),
    ] {
        for origin in [&origin, &silent] {
            let gateway = reaching(origin, declaration).await;
            let answer = send(&mut gateway.client().await, &format!("GET http://{origin}/"), lines).await;
            assert_eq!((answer.status, answer.text().as_str()), (502, "Timeout"), "{declaration} {lines:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_is_down_or_breaks_off_is_unavailable() {
    let down = Upstream::down().await;
    let cut = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nshort").await;
    let garbage = Upstream::answering("SSH-2.0-OpenSSH\r\n\r\n").await;
    for origin in [&down, &cut, &garbage] {
        let gateway = reaching(origin, "").await;
        let answer = send(&mut gateway.client().await, &format!("GET http://{origin}/"), &[]).await;
        assert_eq!((answer.status, answer.text().as_str()), (502, "Unavailable"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_ends_with_the_clients() {
    let mut origin = Upstream::manual().await;
    let gateway = reaching(&origin, "limits: { timeout: 60s }").await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a", &format!("X-Send: GET http://{origin}/")], "")).await;
    let mut exchange = origin.next().await;
    drop(client);
    exchange.closed().await;
}

/// The deadline is for the guest's own work: here it is a fraction of what the origin takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_is_not_work_and_holds_nobody_up() {
    let mut origin = Upstream::manual().await;
    let plain = Upstream::echo().await;
    let grants = format!("http: ['http://{origin}'], private_addresses: true");
    let gateway = granting(&plain, &grants, "limits: { deadline: 5ms, timeout: 60s }").await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut client = gateway.client().await;
        let lines = ["GET / HTTP/1.1", "Host: a", &format!("X-Send: GET http://{origin}/"), "X-Send-Times: 2"];
        client.send(http(&lines, "")).await;
        waiting.push(client);
    }
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let mut exchanges = Vec::new();
        for _ in 0..waiting.len() {
            exchanges.push(origin.next().await);
        }
        // Each of these passes the one worker, on which eight calls are in the middle of something.
        for _ in 0..20 {
            assert_eq!(client.get("/plain").await.status, 200);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        for mut exchange in exchanges {
            exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
            exchange.keep_alive();
        }
    }
    for mut client in waiting {
        let answer = client.response().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_call_sends_so_many_requests() {
    let origin = Upstream::echo().await;
    let gateway = reaching(&origin, "limits: { outbound_calls: 3 }").await;
    let mut client = gateway.client().await;
    let what = format!("GET http://{origin}/");
    assert_eq!(send(&mut client, &what, &["X-Send-Times: 3"]).await.status, 200);
    send(&mut client, &what, &["X-Send-Times: 4"]).await.problem(500);
    assert_eq!(send(&mut client, &what, &["X-Send-Times: 3"]).await.status, 200, "the next call counts anew");
    assert_eq!(origin.requests().len(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_has_so_many_requests_under_way() {
    let mut origin = Upstream::manual().await;
    let gateway = reaching(&origin, "limits: { instances: 300, timeout: 60s }").await;
    let mut clients = Vec::new();
    let mut exchanges = Vec::new();
    for _ in 0..256 {
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: a", &format!("X-Send: GET http://{origin}/")], "")).await;
        exchanges.push(origin.next().await);
        clients.push(client);
    }
    let mut client = gateway.client().await;
    let what = format!("GET http://{origin}/");
    assert_eq!(send(&mut client, &what, &[]).await.text(), "Busy");
    let mut one = exchanges.pop().expect("256 are under way");
    one.send(http(&["HTTP/1.1 200 OK", "Content-Length: 0", "Connection: close"], "")).await;
    assert_eq!(clients.pop().expect("as many clients").response().await.status, 200);
    client.send(http(&["GET / HTTP/1.1", "Host: a", &format!("X-Send: {what}")], "")).await;
    origin.next().await.send(http(&["HTTP/1.1 200 OK", "Content-Length: 0"], "")).await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_sends_requests_needs_the_grant() {
    let origin = Upstream::echo().await;
    let refusal = GATEWAY.fails(config(&origin, "", "")).await;
    assert_eq!(refusal.code, 4, "{refusal:?}");
    assert!(refusal.stderr.contains("witgate:plugin/http") && refusal.stderr.contains("grants"), "{}", refusal.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_sends_nothing_while_it_is_configured() {
    let origin = Upstream::echo().await;
    let grants = "grants: { http: ['http://127.0.0.1:9'], private_addresses: true }";
    let config = Config::to(&origin)
        .plugin_with("outbound", &guest("outbound"), grants)
        .route("filters: [{ use: outbound, config: { in_configure: true } }]");
    let refusal = GATEWAY.fails(config).await;
    assert_eq!(refusal.code, 4, "{refusal:?}");
    assert!(refusal.stderr.contains("`http` may not be used in `configure`"), "{}", refusal.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_https_origin_must_be_vouched_for() {
    let origin = Upstream::echo().await;
    let (tls, stranger) = (Tls::before(&origin).await, Tls::before(&origin).await);
    for (trusted, reason) in [(&tls, None), (&stranger, Some("Unavailable"))] {
        let grants = format!("http: ['{}'], private_addresses: true", tls.origin());
        let gateway = GATEWAY.trusting(&trusted.authority()).start(config(&origin, &grants, "")).await;
        let answer = send(&mut gateway.client().await, &format!("GET {}/", tls.origin()), &[]).await;
        match reason {
            None => assert_eq!((answer.status, answer.field("x-status")), (200, Some("200"))),
            Some(reason) => assert_eq!(answer.text(), reason),
        }
    }
    let seen = origin.requests();
    assert_eq!((seen.len(), seen[0].fields.get("host")), (1, tls.origin().strip_prefix("https://")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_run_sends_nothing() {
    let origin = Upstream::echo().await;
    let grants = format!("http: ['http://{origin}'], private_addresses: true");
    let config = config(&origin, &grants, "").top("admin: { address: '127.0.0.1:0' }\nstate_dir: state");
    let gateway = GATEWAY.start(config).await;
    let admin = gateway.admin();
    let report = admin.upload("outbound?shadow=true", &variant("outbound", "shadow")).await.json();
    assert_eq!(report["state"], "shadow", "{report}");
    let mut client = gateway.client().await;
    for method in ["GET", "POST"] {
        assert_eq!(send(&mut client, &format!("{method} http://{origin}/"), &[]).await.status, 200);
    }
    let compared = |plugin: &Value| plugin["rollout"]["evidence"]["compared"]["differs"] == 2;
    admin.plugin_until("outbound", "that both shadows have ended", compared).await;
    assert_eq!(origin.requests().len(), 2, "one of each request is the client's");
}
