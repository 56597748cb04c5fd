//! Overload: what a gateway gives up when memory runs out, step by step, and how it comes back.
//!
//! What is allowed is set to what the process has anyway, so that each step comes by itself.

use std::time::Duration;

use harness::{Config, Gateway, Line, Upstream, http};
use tokio::time::timeout;

use crate::GATEWAY;

/// Allows so much memory that the process has this share of it, until it gives something up for that. What it has changes a little with each
/// reload, and when free memory goes back.
async fn gives_up(gateway: &mut Gateway, config: &Config, share: f64, what: &str) {
    let is_it = |line: &Line| line.message() == "overload" && line.field("gives_up") == Some(what);
    harness::within("the step", async {
        loop {
            let seen = gateway.log().len();
            let memory = (gateway.memory_bytes() as f64 / share) as u64;
            let less = format!("workers: 1\noverload: {{ memory: {memory}B, lag: 60s }}");
            gateway.reload(config.clone().top(&less)).await;
            let mut log = gateway.log();
            if timeout(Duration::from_secs(3), log.wait_from(seen, "the step", is_it)).await.is_ok() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_goes_first_then_requests_then_connections_and_all_come_back() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin);
    let plain = "workers: 1\noverload: { lag: 60s }";
    let mut gateway = GATEWAY.start(config.clone().top(plain)).await;
    assert_eq!(gateway.client().await.get("/").await.field("connection"), None);

    gives_up(&mut gateway, &config, 0.975, "keep-alive").await;
    let mut client = gateway.client().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    client.closed().await;

    gives_up(&mut gateway, &config, 1.025, "requests").await;
    // Workers look a few times a second.
    harness::within("a refusal", async {
        loop {
            let answer = gateway.client().await.get("/").await;
            if answer.status == 503 {
                answer.problem(503);
                assert_eq!((answer.field("retry-after"), answer.field("connection")), (Some("1"), Some("close")));
                break;
            }
        }
    })
    .await;

    gives_up(&mut gateway, &config, 2.0, "connections").await;
    // The first may have been waited for already.
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    for client in [&mut first, &mut second] {
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    }
    assert!(timeout(Duration::from_millis(500), second.response()).await.is_err(), "it waits");

    let seen = gateway.log().len();
    gateway.reload(config.top(plain)).await;
    gateway.log().wait_from(seen, "the end", |line| line.message() == "overload is over").await;
    harness::within("service", async { while gateway.client().await.get("/").await.status != 200 {} }).await;
    // It was accepted on the way back, maybe while requests were still refused.
    assert!([200, 503].contains(&second.response().await.status));
}

/// A worker that gave it back would stand still meanwhile, and one that kept it would be taken for full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reload_needed_goes_back_to_the_system() {
    let origin = Upstream::echo().await;
    let few = Config::to(&origin);
    let many = (0..ROUTES).fold(few.clone(), |config, number| {
        config.and_route(&format!("name: r{number}\nmatch: {{ path: {{ prefix: /r{number} }} }}\nupstream: origin"))
    });
    let mut gateway = GATEWAY.start(few.clone()).await;
    let before = gateway.memory_bytes();
    gateway.reload(many).await;
    let between = gateway.memory_bytes();
    assert!(between > before + ROUTES * ROUTE_BYTES_MIN, "{between} after {before}");
    gateway.reload(few).await;
    harness::within("most of it", async {
        while gateway.memory_bytes() > before + (between - before) / 2 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
}

const ROUTES: usize = 4_000;
/// A route takes more than this while it is read.
const ROUTE_BYTES_MIN: usize = 2_000;
