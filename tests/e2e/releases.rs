//! Releasing a new version of what stands behind a route: to those who ask for it, to a share, or to whom a plugin chooses.

use harness::{Client, Upstream, guest, yaml};

use crate::GATEWAY;

async fn asked(client: &mut Client, field: &str) -> String {
    client.ask(&["GET / HTTP/1.1", "Host: a", field], "").await.text()
}

async fn saying(word: &'static str) -> Upstream {
    Upstream::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{word}", word.len())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_or_a_cookie_asks_for_the_canary() {
    let (stable, canary) = (saying("stable").await, saying("canary").await);
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  stable: { endpoints: [{ url: 'http://<stable>' }] }
  canary: { endpoints: [{ url: 'http://<canary>' }] }
routes:
  - { name: header, match: { headers: { x-canary: always } }, upstream: canary }
  - { name: cookie, match: { headers: { cookie: { regex: '(.*; )?canary=1(;.*)?' } } }, upstream: canary }
  - { name: all, match: {}, upstream: stable }
",
        &[("stable", &stable), ("canary", &canary)],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    for (field, expected) in [
        ("X-Canary: always", "canary"),
        ("X-Canary: never", "stable"),
        ("Cookie: canary=1", "canary"),
        ("Cookie: a=b; canary=1; c=d", "canary"),
        ("Cookie: canary=10", "stable"),
        ("Cookie: nocanary=1", "stable"),
        ("X-Other: 1", "stable"),
    ] {
        assert_eq!(asked(&mut client, field).await, expected, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_chooses_among_the_upstreams_of_the_route() {
    let (stable, canary) = (saying("stable").await, saying("canary").await);
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
plugins: { puppet: { source: 'file:<puppet>' } }
upstreams:
  stable: { endpoints: [{ url: 'http://<stable>' }] }
  canary: { endpoints: [{ url: 'http://<canary>' }] }
  other: { endpoints: [{ url: 'http://127.0.0.1:9' }] }
routes:
  - name: chosen
    match: { headers: { x-choose: canary } }
    filters: [{ use: puppet, config: { request: [{ select-upstream: canary }] } }]
    upstream: { stable: 100, canary: 0 }
  - name: stranger
    match: { headers: { x-choose: other } }
    filters: [{ use: puppet, config: { request: [{ select-upstream: other }] } }]
    upstream: stable
  - name: none
    match: {}
    filters: [{ use: puppet, config: {} }]
    upstream: { stable: 100, canary: 0 }
",
        &[("stable", &stable), ("canary", &canary), ("puppet", &guest("puppet").display())],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        assert_eq!(asked(&mut client, "X-Choose: canary").await, "canary");
        assert_eq!(asked(&mut client, "X-Choose: nothing").await, "stable");
    }
    // An upstream that the route does not name is none of the plugin's business.
    client.ask(&["GET / HTTP/1.1", "Host: a", "X-Choose: other"], "").await.problem(500);
}
