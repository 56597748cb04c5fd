//! Time limits: what the gateway does when a client or an upstream takes longer than it may.
//!
//! The limits are short and the tests wait for what follows from them, so none of them measures time.

use harness::{Config, Response, Upstream, http};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_does_not_end_is_hung_up_on() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { header_timeout: 200ms }")).await;
    for started in ["GET / HTTP/1.1\r\nHost: a\r\n", "G"] {
        let mut client = gateway.client().await;
        client.send(started).await;
        client.response().await.problem(408);
        client.closed().await;
    }
    // Who said nothing, or what may still become HTTP/2, is told nothing.
    for started in ["", "PRI"] {
        let mut client = gateway.client().await;
        client.send(started).await;
        client.closed().await;
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_hung_up_on() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).listener("limits: { idle_timeout: 200ms }")).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 200);
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_answer_in_time_is_a_problem_504() {
    for (what, upstream, route) in
        [("per_try", "timeouts: { per_try: 200ms }", ""), ("the route's timeout", "", "timeout: 200ms")]
    {
        let mut origin = Upstream::manual().await;
        let gateway = GATEWAY.start(Config::to(&origin).upstream(upstream).route(route)).await;
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
        let mut exchange = origin.next().await;
        assert_timed_out(&client.response().await);
        // An exchange that was given up leaves no connection that a later answer could poison.
        exchange.closed().await;
        assert_eq!(origin.connections(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_accept_in_time_is_a_problem_504() {
    let deaf = Upstream::deaf().await;
    let gateway = GATEWAY.start(Config::to(&deaf).upstream("timeouts: { connect: 200ms }")).await;
    assert_timed_out(&gateway.client().await.get("/").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stands_still_is_cut() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).upstream("timeouts: { idle: 200ms }")).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 100"], "half")).await;
    assert_eq!(client.head().await.status(), 200);
    client.rest().await.expect_err("half a body has no clean end");
    exchange.closed().await;
}

fn assert_timed_out(answer: &Response) {
    answer.problem(504);
    assert!(answer.fields.has("proxy-status"), "{:?}", answer.fields);
}
