//! Overload: what a gateway gives up when memory runs out, step by step, and how it comes back.
//!
//! What is allowed is set to what the process has anyway, so that each step comes by itself.

use harness::{Config, Gateway, Upstream, http};

use crate::GATEWAY;

/// So much memory is allowed that the process has this share of it.
fn allowed(gateway: &Gateway, share: f64) -> String {
    format!("workers: 1\noverload: {{ memory: {}B, lag: 60s }}", (gateway.memory_bytes() as f64 / share) as u64)
}

async fn gives_up(gateway: &Gateway, seen: usize, what: &str) {
    let is_it = |line: &harness::Line| line.message() == "overload" && line.field("gives_up") == Some(what);
    gateway.log().wait_from(seen, "the step", is_it).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_goes_first_then_requests_then_connections_and_all_come_back() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin);
    let plain = "workers: 1\noverload: { lag: 60s }";
    let mut gateway = GATEWAY.start(config.clone().top(plain)).await;
    assert_eq!(gateway.client().await.get("/").await.field("connection"), None);

    let seen = gateway.log().len();
    let less = allowed(&gateway, 0.975);
    gateway.reload(config.clone().top(&less)).await;
    gives_up(&gateway, seen, "keep-alive").await;
    let mut client = gateway.client().await;
    let answer = client.get("/").await;
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    client.closed().await;

    let seen = gateway.log().len();
    let less = allowed(&gateway, 1.025);
    gateway.reload(config.clone().top(&less)).await;
    gives_up(&gateway, seen, "requests").await;
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

    let seen = gateway.log().len();
    let less = allowed(&gateway, 2.0);
    gateway.reload(config.clone().top(&less)).await;
    gives_up(&gateway, seen, "connections").await;
    // The first may have been waited for already.
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    for client in [&mut first, &mut second] {
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    }
    assert!(tokio::time::timeout(std::time::Duration::from_millis(500), second.response()).await.is_err(), "it waits");

    let seen = gateway.log().len();
    gateway.reload(config.top(plain)).await;
    gateway.log().wait_from(seen, "the end", |line| line.message() == "overload is over").await;
    harness::within("service", async { while gateway.client().await.get("/").await.status != 200 {} }).await;
    // It was accepted on the way back, maybe while requests were still refused.
    assert!([200, 503].contains(&second.response().await.status));
}
