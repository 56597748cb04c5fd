//! The limits of an upstream: each is passed at its figure, and what comes beyond it is answered at once.

use harness::{Client, Config, Exchange, Gateway, Response, Upstream, http};

use crate::GATEWAY;

async fn gateway(origin: &Upstream, limits: &str) -> Gateway {
    let config = Config::to(origin).top("workers: 1\nadmin: { address: 127.0.0.1:0 }");
    GATEWAY.start(config.upstream(&format!("limits: {{ {limits} }}"))).await
}

async fn send(gateway: &Gateway, path: &str) -> Client {
    let mut client = gateway.client().await;
    // With a body, so that it is never said twice.
    client.send(http(&[&format!("POST {path} HTTP/1.1"), "Host: a", "Content-Length: 2"], "ab")).await;
    client
}

async fn answer(mut exchange: Exchange) {
    exchange.rest().await.expect("the request, whole");
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    exchange.keep_alive();
}

fn assert_full(answer: &Response) {
    answer.problem(503);
    assert_eq!(answer.field("proxy-status"), Some("witgate; error=connection_limit_reached"));
    assert!(answer.fields.has("retry-after"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_requests_are_under_way_and_the_next_is_told_503() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin, "requests: 2").await;
    let (mut one, mut two) = (send(&gateway, "/1").await, send(&gateway, "/2").await);
    let (first, second) = (origin.next().await, origin.next().await);
    assert_full(&gateway.client().await.get("/3").await);
    gateway.log().wait("why", |line| line.field("flag") == Some("OV")).await;

    answer(first).await;
    answer(second).await;
    assert_eq!((one.response().await.status, two.response().await.status), (200, 200));
    // A request is over once the client has its answer, give or take the gateway's last word on it.
    harness::within("room for another", async {
        loop {
            let asked = send(&gateway, "/4").await;
            let exchange = tokio::select! {
                exchange = origin.next() => exchange,
                _ = refused(asked) => continue,
            };
            return drop(exchange);
        }
    })
    .await;
}

async fn refused(mut client: Client) {
    if client.response_to("GET").await.is_ok_and(|answer| answer.status != 503) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_connections_are_open_and_the_next_request_waits_for_one() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin, "connections: 1").await;
    let mut one = send(&gateway, "/1").await;
    let first = origin.next().await;
    let mut two = send(&gateway, "/2").await;
    pending(&gateway, 1).await;
    answer(first).await;
    assert_eq!(one.response().await.text(), "ok");
    let second = origin.next().await;
    assert_eq!(second.target(), "/2");
    // Also a connection that does not come back makes room.
    let mut three = send(&gateway, "/3").await;
    pending(&gateway, 1).await;
    second.close();
    assert_eq!(two.response().await.status, 502);
    answer(origin.next().await).await;
    assert_eq!(three.response().await.text(), "ok");
    assert_eq!(origin.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_requests_wait_for_a_connection_and_the_next_is_told_503() {
    let mut origin = Upstream::manual().await;
    let gateway = gateway(&origin, "connections: 1, pending: 1").await;
    let mut one = send(&gateway, "/1").await;
    let first = origin.next().await;
    let mut two = send(&gateway, "/2").await;
    pending(&gateway, 1).await;
    assert_full(&gateway.client().await.get("/3").await);
    answer(first).await;
    assert_eq!(one.response().await.status, 200);
    answer(origin.next().await).await;
    assert_eq!(two.response().await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_lets_go_of_idle_connections_that_another_waits_for() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin).top("workers: 2").upstream("limits: { connections: 1 }");
    let gateway = GATEWAY.start(config).await;
    // Each client meets one of the two workers, as the system likes; all of them are answered in the end.
    for _ in 0..12 {
        assert_eq!(gateway.client().await.get("/").await.status, 200);
    }
}

/// Waits until so many requests wait for a connection.
async fn pending(gateway: &Gateway, wanted: usize) {
    let line = format!("witgate_upstream_load{{limit=\"pending\",upstream=\"origin\"}} {wanted}\n");
    let waiting = async { while !gateway.admin().get("/metrics").await.text().contains(&line) {} };
    harness::within("a request that waits", waiting).await;
}
