//! Endpoints that the configuration does not name: from the DNS, from etcd, from Consul. The last good answer stays in force.
//!
//! Consul is played by the test, by its documented API: no package of it is at hand. etcd is the real one where it is installed.

use std::fmt::Display;
use std::net::Ipv4Addr;

use harness::{Dns, Etcd, Exchange, Gateway, Record, Upstream, http, within, yaml};

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
            tokio::task::yield_now().await;
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

/// Answers a query as Consul's `/v1/health/service/NAME` does.
async fn answer(mut query: Exchange, index: u64, members: &[&Upstream]) {
    let members: Vec<serde_json::Value> = members
        .iter()
        .map(|upstream| {
            let (address, port) = (upstream.address().ip().to_string(), upstream.address().port());
            serde_json::json!({
                "Node": { "Node": "n1", "Address": address },
                "Service": { "Service": "users", "Address": "", "Port": port, "Weights": { "Passing": 1, "Warning": 1 } },
                "Checks": [],
            })
        })
        .collect();
    let body = serde_json::Value::from(members).to_string();
    let (length, index) = (format!("Content-Length: {}", body.len()), format!("X-Consul-Index: {index}"));
    query.send(http(&["HTTP/1.1 200 OK", "Content-Type: application/json", &length, &index], body)).await;
    query.keep_alive();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_passing_instances_of_a_service_in_consul_are_endpoints() {
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    let mut consul = Upstream::manual().await;
    let discovery = format!("{{ consul: 'http://{consul}', service: users, tag: v 1, refresh: 20s }}");
    let (gateway, mut consul) = tokio::join!(discovering(discovery), async {
        let first = consul.next().await;
        assert_eq!(first.target(), "/v1/health/service/users?passing=1&tag=v%201&wait=20s&index=0");
        answer(first, 7, &[&one]).await;
        consul
    });
    endpoints_are(&gateway, &[(&one, 1)]).await;
    // The task that follows asks for itself, and then waits for a change.
    answer(consul.next().await, 7, &[&one]).await;
    let waiting = consul.next().await;
    assert!(waiting.target().ends_with("&index=7"), "{}", waiting.target());
    answer(waiting, 8, &[&one, &two]).await;
    endpoints_are(&gateway, &[(&one, 1), (&two, 1)]).await;
    let failing = consul.next().await;
    assert!(failing.target().ends_with("&index=8"), "{}", failing.target());
    failing.reset();
    // From the beginning after a failure.
    let again = consul.next().await;
    assert!(again.target().ends_with("&index=0"), "{}", again.target());
    endpoints_are(&gateway, &[(&one, 1), (&two, 1)]).await;
    answer(again, 3, &[&two]).await;
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
