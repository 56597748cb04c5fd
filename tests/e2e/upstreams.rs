//! Upstreams that are there, idle, gone, back, or talking nonsense; and the connections the gateway keeps to them.

use harness::{Config, Exchange, Load, Nginx, Response, Upstream, http, yaml};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_many_requests() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1")).await;
    for _ in 0..3 {
        let mut client = gateway.client().await;
        for _ in 0..3 {
            assert_eq!(client.ask(&["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], "ok").await.status, 200);
        }
    }
    assert_eq!((origin.requests().len(), origin.connections()), (9, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_the_upstream_closes_fails_no_request() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1")).await;
    let mut client = gateway.client().await;
    for round in 1..=20 {
        assert_eq!(client.get("/").await.status, 200, "round {round}");
        assert_eq!(origin.connections(), round, "each round has a connection of its own");
        // The next request races with the news that this one is closed.
        origin.hang_up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_may_close_its_connections_when_it_likes() {
    let server = "keepalive_requests 2; location / { return 200 $connection_requests; }";
    let Some(nginx) = Nginx::start("", server).await else { return };
    let gateway = GATEWAY.start(Config::to(&nginx.address()).top("workers: 1")).await;
    let mut load = Load::start(gateway.listener("http"), "/", 4);
    load.answers(400).await;
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.len()), (tally.total(), 0), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_is_down_is_a_problem_502_without_its_address() {
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let answer = gateway.client().await.get("/").await;
    assert_bad_gateway(&answer);
    let told = format!("{} {:?}", answer.text(), answer.fields);
    assert!(!told.contains(&origin.address().port().to_string()), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_none_is_a_problem_502() {
    let close: fn(Exchange) = Exchange::close;
    for (what, bytes, end) in [
        ("closed without a byte", "", close),
        ("reset without a byte", "", Exchange::reset),
        ("closed inside the head", "HTTP/1.1 200 OK\r\nContent-Le", close),
        ("no HTTP", "SSH-2.0-OpenSSH_9.9\r\n\r\n", close),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", close),
    ] {
        let mut origin = Upstream::manual().await;
        let gateway = GATEWAY.start(Config::to(&origin)).await;
        let mut client = gateway.client().await;
        client.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 2"], "ok")).await;
        let mut exchange = origin.next().await;
        exchange.rest().await.expect("the request, whole");
        exchange.send(bytes).await;
        end(exchange);
        let answer = client.response().await;
        assert_eq!(answer.status, 502, "{what}");
        assert_bad_gateway(&answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_closes_after_its_head_is_never_a_clean_answer() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: test.example"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 10"], "")).await;
    exchange.close();
    if let Ok(answer) = client.response_to("GET").await {
        assert_bad_gateway(&answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_of_the_upstream_do_not_pass_for_the_answer() {
    let bytes =
        [http(&["HTTP/1.1 103 Early Hints", "Link: </a>"], ""), http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")]
            .concat();
    let origin = Upstream::answering(bytes).await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_dies_and_comes_back_under_load_is_found_again() {
    let mut origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut load = Load::start(gateway.listener("http"), "/", 4);
    load.answers(50).await;
    origin.kill().await;
    load.until("a 502", |tally| tally.of(502) > 10).await;
    origin.restart();
    let back = load.answers(1).await.of(200);
    load.until("answers of the upstream again", |tally| tally.of(200) > back + 50).await;
    let tally = load.stop().await;
    assert_eq!(tally.of(200) + tally.of(502) + tally.of(503), tally.total(), "{tally:?}");
    assert!(tally.failures.len() <= 4, "at most the answers that were cut when it died: {tally:?}");
    // No failure was kept in the gateway's memory: a new client sees none.
    let mut client = gateway.client().await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_share_the_requests() {
    let (one, two) = (Upstream::echo().await, Upstream::echo().await);
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams: { pair: { endpoints: [{ url: 'http://<one>' }, { url: 'http://<two>' }] } }
routes: [{ name: all, match: { path: { prefix: / } }, upstream: pair }]
",
        &[("one", &one), ("two", &two)],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    for _ in 0..40 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let shares = (one.requests().len(), two.requests().len());
    assert_eq!(shares.0 + shares.1, 40);
    assert!(shares.0 >= 10 && shares.1 >= 10, "{shares:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_weights_of_a_route_choose_the_upstream() {
    let (light, heavy) = (Upstream::echo().await, Upstream::echo().await);
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  light: { endpoints: [{ url: 'http://<light>' }] }
  heavy: { endpoints: [{ url: 'http://<heavy>' }] }
routes:
  - { name: never, match: { path: { prefix: /never } }, upstream: { light: 0, heavy: 1 } }
  - { name: some, match: { path: { prefix: /some } }, upstream: { light: 20, heavy: 80 } }
",
        &[("light", &light), ("heavy", &heavy)],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    for _ in 0..30 {
        assert_eq!(client.get("/never").await.status, 200);
    }
    assert_eq!((light.requests().len(), heavy.requests().len()), (0, 30));
    for _ in 0..300 {
        assert_eq!(client.get("/some").await.status, 200);
    }
    // 60 are expected; a fair choice leaves this range once in 10^13 runs.
    let share = light.requests().len();
    assert!((10..=120).contains(&share), "{share}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_still_carries_a_request_takes_no_other() {
    let mut origin = Upstream::manual().await;
    let gateway = GATEWAY.start(Config::to(&origin).top("workers: 1")).await;
    let mut slow = gateway.client().await;
    slow.send(http(&["POST / HTTP/1.1", "Host: a", "Content-Length: 1000"], "half")).await;
    let mut refused = origin.next().await;
    refused.send(http(&["HTTP/1.1 413 Content Too Large", "Content-Length: 2"], "no")).await;
    assert_eq!(slow.response().await.status, 413);
    // The first client is still at it, and nobody waits for that.
    let mut other = gateway.client().await;
    other.send(http(&["GET /other HTTP/1.1", "Host: a"], "")).await;
    let mut exchange = origin.next().await;
    assert_eq!(exchange.target(), "/other");
    exchange.send(http(&["HTTP/1.1 200 OK", "Content-Length: 0"], "")).await;
    assert_eq!(other.response().await.status, 200);
    assert_eq!(origin.connections(), 2);
    drop((slow, refused));
}

fn assert_bad_gateway(answer: &Response) {
    answer.problem(502);
    assert!(answer.fields.has("proxy-status"), "{:?}", answer.fields);
}
