//! Endpoints that the configuration does not name: from the DNS, from etcd, from Consul. The last good answer stays in force.
//!
//! Consul is played by the harness, by its documented API: no package of it is at hand. etcd is the real one where it is installed.

use std::fmt::Display;
use std::net::Ipv4Addr;

use harness::{Authority, Consul, Dns, Etcd, EtcdTls, Fault, Gateway, Record, Relay, Upstream, Wanted, within, yaml};

use crate::GATEWAY;

async fn discovering(discovery: impl Display) -> Gateway {
    let text = yaml(
        r"
version: 1
admin: { address: 127.0.0.1:0 }
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams: { users: { discovery: <discovery> } }
routes: [{ name: all, match: { path: { prefix: / } }, upstream: users }]
",
        &[("discovery", &discovery)],
    );
    GATEWAY.start(text).await
}

/// Waits until the gateway has these endpoints, as `/api/upstreams` tells it.
async fn endpoints_are(gateway: &Gateway, expected: &[(&Upstream, u64)]) {
    let mut expected: Vec<(String, u64)> =
        expected.iter().map(|(upstream, weight)| (upstream.to_string(), *weight)).collect();
    expected.sort_unstable();
    let admin = gateway.admin();
    within("the endpoints to be known", async {
        loop {
            let upstreams = admin.get("/api/upstreams").await.json();
            let endpoints = upstreams[0]["endpoints"].as_array().expect("a list").iter();
            let mut told: Vec<(String, u64)> = endpoints
                .map(|one| {
                    (one["address"].as_str().unwrap_or_default().to_owned(), one["weight"].as_u64().unwrap_or_default())
                })
                .collect();
            told.sort_unstable();
            if told == expected {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(15)).await;
        }
    })
    .await;
}

/// Waits until the source has failed, and sees that this changes nothing.
async fn failure_changes_nothing(gateway: &Gateway, endpoints: &[(&Upstream, u64)]) {
    let from = gateway.log().len();
    gateway.log().wait_from(from, "that discovery failed", |line| line.message().starts_with("discovery failed")).await;
    endpoints_are(gateway, endpoints).await;
    assert_eq!(gateway.client().await.get("/").await.status, 200);
    let told = gateway.admin().get("/api/upstreams").await.json();
    assert!(told[0]["discovery_error"].is_string(), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_addresses_of_a_name_are_endpoints() {
    let origin = Upstream::echo().await;
    let home = Record::A("users.test", Ipv4Addr::LOCALHOST);
    let dns = Dns::start(std::slice::from_ref(&home)).await;
    let port = origin.address().port();
    let gateway = discovering(format!("{{ dns: 'users.test:{port}', resolver: '{dns}', refresh: 1s }}")).await;
    assert_eq!(gateway.client().await.get("/").await.status, 200, "it knew them when it began");
    dns.fail();
    failure_changes_nothing(&gateway, &[(&origin, 1)]).await;
    dns.set(&[]);
    failure_changes_nothing(&gateway, &[(&origin, 1)]).await;
    // Two addresses, one of which nobody listens on.
    dns.set(&[home, Record::A("users.test", Ipv4Addr::new(127, 0, 0, 99))]);
    let mut log = gateway.log();
    let discovered = log.wait("two endpoints", |line| line.message() == "endpoints discovered").await;
    assert_eq!(discovered.number("endpoints"), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_records_tell_ports_and_weights() {
    let (one, two, spare) = (Upstream::echo().await, Upstream::echo().await, Upstream::echo().await);
    let record = |upstream: &Upstream, priority, weight| Record::Srv {
        name: "_http._tcp.users.test",
        priority,
        weight,
        port: upstream.address().port(),
        target: "host.users.test",
    };
    let home = Record::A("host.users.test", Ipv4Addr::LOCALHOST);
    let dns = Dns::start(&[home.clone(), record(&one, 1, 0), record(&spare, 2, 9)]).await;
    let gateway = discovering(format!("{{ srv: _http._tcp.users.test, resolver: '{dns}', refresh: 1s }}")).await;
    endpoints_are(&gateway, &[(&one, 1)]).await;
    dns.set(&[home, record(&one, 1, 3), record(&two, 1, 1), record(&spare, 2, 9)]);
    endpoints_are(&gateway, &[(&one, 3), (&two, 1)]).await;
    let mut client = gateway.client().await;
    for _ in 0..8 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((one.requests().len(), two.requests().len(), spare.requests().len()), (6, 2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_values_of_a_prefix_in_etcd_are_endpoints() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    etcd.put("/users/one", &one.to_string()).await;
    etcd.put("/users.old/three", "10.0.0.1:80").await;
    let gateway = discovering(format!("{{ etcd: '{etcd}', prefix: /users/, refresh: 1h }}")).await;
    endpoints_are(&gateway, &[(&one, 1)]).await;
    etcd.put("/users/two", &format!(r#"{{"address": "{two}", "weight": 2}}"#)).await;
    endpoints_are(&gateway, &[(&one, 1), (&two, 2)]).await;
    etcd.delete("/users/one").await;
    endpoints_are(&gateway, &[(&two, 2)]).await;
    // Nothing is left there: that is taken for a mistake.
    etcd.delete("/users/two").await;
    failure_changes_nothing(&gateway, &[(&two, 2)]).await;
    etcd.put("/users/one", &one.to_string()).await;
    endpoints_are(&gateway, &[(&one, 1)]).await;
    etcd.stop().await;
    failure_changes_nothing(&gateway, &[(&one, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_passing_instances_of_a_service_in_consul_are_endpoints() {
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    let mut consul = Consul::start().await;
    consul.register("users", &[one.address()]);
    let gateway = discovering(format!("{{ consul: 'http://{consul}', service: users, tag: v 1, refresh: 20s }}")).await;
    assert_eq!(consul.questions()[0], "/v1/health/service/users?passing=1&tag=v%201");
    endpoints_are(&gateway, &[(&one, 1)]).await;
    // The task that follows asks for itself, and then waits for a change.
    consul.asked(1, |question| question.ends_with("&index=2&wait=20s")).await;
    consul.register("users", &[one.address(), two.address()]);
    endpoints_are(&gateway, &[(&one, 1), (&two, 1)]).await;
    // From the beginning after a failure.
    consul.kill().await;
    failure_changes_nothing(&gateway, &[(&one, 1), (&two, 1)]).await;
    consul.register("users", &[two.address()]);
    let asked = consul.questions().len();
    consul.restart();
    consul.asked(asked, |question| !question.contains("index")).await;
    endpoints_are(&gateway, &[(&two, 1)]).await;
    // Nothing that passes is left: that is taken for a mistake.
    let from = gateway.log().len();
    consul.register("users", &[]);
    gateway.log().wait_from(from, "that none is left", |line| line.text.contains("there are no endpoints")).await;
    endpoints_are(&gateway, &[(&two, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_first_answer_it_serves_503_until_there_is_one() {
    let origin = Upstream::echo().await;
    let dns = Dns::start(&[]).await;
    let port = origin.address().port();
    let gateway = discovering(format!("{{ dns: 'users.test:{port}', resolver: '{dns}', refresh: 1s }}")).await;
    gateway.client().await.get("/").await.problem(503);
    dns.set(&[Record::A("users.test", Ipv4Addr::LOCALHOST)]);
    endpoints_are(&gateway, &[(&origin, 1)]).await;
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}

/// A gateway that discovers by `discovery`, with a secret in a file that the test may change.
async fn discovering_with(secret: &str, discovery: impl Display) -> Gateway {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    std::fs::write(folder.path().join("secret"), secret).expect("it takes files");
    let text = yaml(
        r"
version: 1
state_dir: state
admin: { address: 127.0.0.1:0 }
listeners: [{ name: http, address: 127.0.0.1:0 }]
secrets: { server: { file: secret } }
upstreams: { users: { discovery: <discovery> } }
routes: [{ name: all, match: { path: { prefix: / } }, upstream: users }]
",
        &[("discovery", &discovery)],
    );
    std::fs::write(folder.path().join("gateway.yaml"), text).expect("it takes files");
    GATEWAY.start_on(folder, &["gateway.yaml"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_consul_is_a_secret_and_follows_it() {
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    let consul = Consul::start().await;
    consul.register("users", &[one.address()]);
    consul.ask_for("first-token");
    let discovery = format!("{{ consul: 'http://{consul}', service: users, token: 'secret://server' }}");
    let gateway = discovering_with("first-token\n", discovery).await;
    endpoints_are(&gateway, &[(&one, 1)]).await;
    consul.ask_for("second-token");
    consul.register("users", &[two.address()]);
    let refused = |line: &harness::Line| line.text.contains("the server answered 403 Forbidden");
    gateway.log().wait_from(0, "that the old one is refused", refused).await;
    endpoints_are(&gateway, &[(&one, 1)]).await;
    std::fs::write(gateway.folder().join("secret"), "second-token\n").expect("it takes files");
    endpoints_are(&gateway, &[(&two, 1)]).await;
    assert!(!gateway.log().text().contains("-token"), "{}", gateway.log().text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_want_a_certificate_and_a_password() {
    let origin = Upstream::echo().await;
    let authority = Authority::new();
    let files = tempfile::tempdir().expect("the system gives a temporary folder");
    let server = Wanted { names: &["localhost"], ..Wanted::default() };
    let (cert, key) = authority.issue(server).write(files.path(), "server");
    let own = authority.issue(Wanted::default());
    let (own_cert, own_key) = own.write(files.path(), "gateway");
    let ca = files.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("it takes files");
    let Some(mut etcd) = Etcd::start_with(EtcdTls { cert, key, client_ca: ca.clone() }).await else { return };
    etcd.put("/users/one", &origin.to_string()).await;
    etcd.ask_for("hunter2").await;
    let (ca, own_cert, own_key) = (ca.display(), own_cert.display(), own_key.display());
    let discovery = format!(
        "{{ etcd: 'https://localhost:{}', prefix: /users/, user: root, password: 'secret://server', tls: {{ ca: {ca}, cert: {own_cert}, key: {own_key} }} }}",
        etcd.secure().port()
    );
    let gateway = discovering_with("hunter2\n", discovery).await;
    endpoints_are(&gateway, &[(&origin, 1)]).await;
    let other = Upstream::echo().await;
    etcd.put("/users/one", &other.to_string()).await;
    endpoints_are(&gateway, &[(&other, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_falls_silent_is_told_of_once() {
    let Some(etcd) = Etcd::start().await else { return };
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    etcd.put("/users/one", &one.to_string()).await;
    let relay = Relay::to(etcd.address()).await;
    let gateway = discovering(format!("{{ etcd: 'http://{}', prefix: /users/, refresh: 1h }}", relay.address())).await;
    endpoints_are(&gateway, &[(&one, 1)]).await;
    let up = async || gateway.admin().metric(r#"witgate_upstream_discovery_up{upstream="users"}"#).await;
    assert_eq!(up().await, 1.0);
    relay.set(Fault::Silent);
    failure_changes_nothing(&gateway, &[(&one, 1)]).await;
    assert_eq!(up().await, 0.0);
    etcd.put("/users/one", &two.to_string()).await;
    relay.set(Fault::None);
    endpoints_are(&gateway, &[(&two, 1)]).await;
    let is_back = |line: &harness::Line| line.message() == "discovery is back";
    gateway.log().wait_from(0, "that it is back", is_back).await;
    assert_eq!(up().await, 1.0);
    let lines = gateway.log().lines();
    let told = lines.iter().filter(|line| line.message().starts_with("discovery failed")).count();
    assert_eq!(told, 1, "{}", gateway.log().text());
}
