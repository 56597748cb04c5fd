//! The limits of a listener: each is passed at its figure, and refused above it.

use harness::{Config, Upstream, guest, http};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_have_its_limit_and_no_more() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { body: 1KiB }")).await;
    let chunked = |bytes: usize| format!("{bytes:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(bytes));
    for (framing, body, bytes) in [
        ("Content-Length: 1024", "x".repeat(1024), Some(1024)),
        ("Content-Length: 1025", "x".repeat(1025), None),
        ("Transfer-Encoding: chunked", chunked(1024), Some(1024)),
        ("Transfer-Encoding: chunked", chunked(1025), None),
    ] {
        let mut client = gateway.client().await;
        let answer = client.ask(&["POST / HTTP/1.1", "Host: test.example", framing], &body).await;
        match bytes {
            Some(bytes) => assert_eq!(answer.echo().body_bytes, bytes, "{framing}"),
            None => drop(answer.problem(413)),
        }
    }
    assert_eq!(origin.requests().len(), 2, "the upstream saw no body above the limit to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_a_limit() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { headers: 16KiB }")).await;
    let value = |bytes: usize| format!("X-Long: {}", "x".repeat(bytes));
    let target = format!("GET /{} HTTP/1.1", "x".repeat(40_000));
    for (what, lines, passes) in [
        ("half of it in one field", vec!["GET / HTTP/1.1", "Host: a", &value(8_000)], true),
        ("more in one field", vec!["GET / HTTP/1.1", "Host: a", &value(40_000)], false),
        ("more in many fields", [vec!["GET / HTTP/1.1", "Host: a"], vec![value(1_000).as_str(); 40]].concat(), false),
        ("more in the target", vec![&target, "Host: a"], false),
    ] {
        let mut client = gateway.client().await;
        // The refusal may come before all of it was taken.
        let _ = client.try_send(http(&lines, "")).await;
        let answer = client.response_to("GET").await;
        match answer {
            Ok(answer) if passes => assert_eq!(answer.status, 200, "{what}"),
            Ok(answer) => assert!([400, 414, 431].contains(&answer.status), "{what}: {}", answer.status),
            // A reset can overtake the refusal, because the client was still sending.
            Err(error) => assert!(!passes, "{what}: {error}"),
        }
    }
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_so_many_requests_and_is_closed_in_good_order() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { requests_per_connection: 3 }")).await;
    let mut client = gateway.client().await;
    for number in 1..=3 {
        let answer = client.get("/").await;
        let says_so = answer.field("connection") == Some("close");
        assert_eq!((answer.status, says_so), (200, number == 3), "request {number}");
    }
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_serves_so_many_connections_and_closes_the_others() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { connections: 2 }")).await;
    let (mut first, mut second) = (gateway.client().await, gateway.client().await);
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));
    gateway.client().await.closed().await;
    assert_eq!((first.get("/").await.status, second.get("/").await.status), (200, 200));

    drop(first);
    harness::within("room for another connection", async {
        loop {
            let mut client = gateway.client().await;
            let asked = client.try_send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
            if asked.is_ok() && client.response_to("GET").await.is_ok_and(|answer| answer.status == 200) {
                break;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_has_so_many_instances_on_a_worker() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("workers: 1")
        .plugin_with("spin", &guest("spin"), "limits: { instances: 2, deadline: 300ms }")
        .route("filters: [{ use: spin, config: { in: request } }]");
    let gateway = GATEWAY.start(config).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
        clients.push(client);
    }
    let mut statuses = Vec::new();
    for client in &mut clients {
        statuses.push(client.response().await.status);
    }
    // The first two spin until their deadline; whoever comes meanwhile is told at once that there is no room.
    assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 4, "{statuses:?}");
}
