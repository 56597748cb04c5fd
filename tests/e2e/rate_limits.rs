//! Limits: of one gateway, exact over its workers; and of several, over a Redis server that may be slow, silent or gone.

use std::time::Duration;

use harness::{Client, Config, Fault, Gateway, Redis, Relay, Upstream, guest};

use crate::GATEWAY;

/// So many requests of one client over several connections at a time; how many were let pass.
async fn allowed(gateway: &Gateway, connections: usize, requests: usize) -> usize {
    let address = gateway.listener("http");
    let clients = (0..connections).map(|_| {
        tokio::spawn(async move {
            let mut client = Client::connect(address).await;
            let mut allowed = 0;
            for _ in 0..requests {
                let answer = client.get("/").await;
                match answer.status {
                    200 => allowed += 1,
                    _ => drop(answer.problem(429)),
                }
            }
            allowed
        })
    });
    let mut sum = 0;
    for client in clients.collect::<Vec<_>>() {
        sum += client.await.expect("a client sees its answers");
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_exact_over_all_workers_and_responses_tell_it() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("workers: 4\nadmin: { address: 127.0.0.1:0 }")
        .route("filters: [{ use: rate-limit, config: { key: client-ip, rate: 1/1h, burst: 100 } }]");
    let gateway = GATEWAY.start(config).await;
    let first = gateway.client().await.get("/").await;
    assert_eq!(first.field("ratelimit"), Some("\"client-ip\";r=99;t=3600"));
    assert_eq!(first.field("ratelimit-policy"), Some("\"client-ip\";q=100;w=360000"));
    assert_eq!(allowed(&gateway, 16, 10).await, 99);
    let refused = gateway.client().await.get("/").await;
    refused.problem(429);
    assert_eq!(refused.field("ratelimit").map(|field| field.contains(";r=0;t=")), Some(true));
    let wait: u64 = refused.field("retry-after").expect("it says when").parse().expect("seconds");
    assert!((3000..=3600).contains(&wait), "{wait}");
    let admin = gateway.admin();
    assert_eq!(admin.metric(r#"witgate_rate_limit_total{decision="allowed",route="all"}"#).await, 100.0);
    assert_eq!(admin.metric(r#"witgate_rate_limit_total{decision="limited",route="all"}"#).await, 62.0);
}

/// One limiter for two routes and a plugin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_limiter_is_shared_and_outlives_a_reload() {
    let origin = Upstream::echo().await;
    let limited = "filters: [{ use: rate-limit, config: { key: 'header:x-user', limiter: per-user } }]";
    let config = Config::to(&origin)
        .top("limiters: { per-user: { rate: 1/1h, burst: 3 } }")
        .and_route(&format!("name: other\nmatch: {{ path: {{ prefix: /other }} }}\nupstream: origin\n{limited}"))
        .route(limited);
    let mut gateway = GATEWAY.start(&config).await;
    let mut client = gateway.client().await;
    let mut ask = async |path: &str, user: &str| {
        client.ask(&[&format!("GET {path} HTTP/1.1"), "Host: a", &format!("X-User: {user}")], "").await.status
    };
    assert_eq!([ask("/", "ada").await, ask("/other", "ada").await], [200, 200]);
    gateway.reload(config.clone().top("workers: 1")).await;
    assert_eq!([ask("/", "ada").await, ask("/other", "ada").await], [200, 429]);
    assert_eq!(ask("/other", "bob").await, 200);
}

/// Gateways that share a limiter of these options over this address.
fn shared(origin: &Upstream, address: impl std::fmt::Display, limiter: &str) -> Config {
    Config::to(origin)
        .top(&format!(
            "workers: 2\nstores: {{ shared: {{ redis: 'redis://{address}', timeout: 500ms }} }}\n\
             limiters: {{ all: {{ {limiter}, store: shared }} }}"
        ))
        .route("filters: [{ use: rate-limit, config: { key: client-ip, limiter: all } }]")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_keep_one_limit_with_few_questions() {
    let Some(redis) = Redis::start().await else { return };
    let relay = Relay::to(redis.address()).await;
    let origin = Upstream::echo().await;
    let config = shared(&origin, relay.address(), "rate: 400/365d");
    let gateways = [GATEWAY.start(&config).await, GATEWAY.start(&config).await, GATEWAY.start(&config).await];
    let (one, two, three) =
        tokio::join!(allowed(&gateways[0], 4, 150), allowed(&gateways[1], 4, 150), allowed(&gateways[2], 4, 150));
    let sum = one + two + three;
    assert!((380..=400).contains(&sum), "{one} + {two} + {three}");
    let questions = relay.scripts();
    assert!(questions * 20 <= 1800, "{questions} questions for 1800 requests");
}

/// Every fault has its documented outcome, and the gateway comes back by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_fails_is_done_without_and_found_again() {
    let Some(redis) = Redis::start().await else { return };
    let relay = Relay::to(redis.address()).await;
    let origin = Upstream::echo().await;
    for (on_store_error, at_limit, beyond) in [("local", 200, 429), ("open", 200, 200), ("closed", 503, 503)] {
        relay.set(Fault::None);
        // Each key has one request.
        let limiter = format!("rate: 1/1h, burst: 1, on_store_error: {on_store_error}");
        let gateway = GATEWAY
            .start(shared(&origin, relay.address(), &limiter).to_string().replace("client-ip", "header:x-key"))
            .await;
        let mut client = gateway.client().await;
        let log = gateway.log();
        let mut ask = async |key: &str| {
            client.ask(&["GET / HTTP/1.1", "Host: a", &format!("X-Key: {on_store_error}-{key}")], "").await
        };
        for (number, fault) in
            [Fault::Silent, Fault::Reset, Fault::Garbage, Fault::Slow(Duration::from_secs(30))].into_iter().enumerate()
        {
            let before = log.len();
            assert_eq!(ask(&format!("{number}-good")).await.status, 200, "{fault:?}");
            relay.set(fault);
            // What was under way may still get its answer.
            let mut round = 0;
            let is_away = |line: &harness::Line| line.message() == "a store cannot be reached";
            while !log.lines()[before..].iter().any(is_away) {
                round += 1;
                ask(&format!("{number}-away-{round}")).await;
            }
            let key = format!("{number}-bad");
            let first = ask(&key).await;
            assert_eq!((first.status, ask(&key).await.status), (at_limit, beyond), "{on_store_error} {fault:?}");
            if first.status == 503 {
                first.problem(503);
                assert_eq!(first.field("retry-after"), Some("1"));
            }
            relay.set(Fault::None);
            // Requests are what looks for the store.
            let mut round = 0;
            let is_back = |line: &harness::Line| line.message() == "a store can be reached again";
            while !log.lines()[before..].iter().any(is_back) {
                round += 1;
                ask(&format!("{number}-back-{round}")).await;
            }
            // The bucket on the server knows nothing of what was decided without it.
            assert_eq!(ask(&format!("{number}-good")).await.status, 429, "{on_store_error} {fault:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_of_several_gateways_share_a_limiter() {
    let Some(redis) = Redis::start().await else { return };
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top(&format!(
            "stores: {{ shared: {{ redis: '{redis}', timeout: 30s }} }}\ntables: {{ t: {{ file: t.yaml }} }}\n\
             secrets: {{ s: {{ env: PATH }} }}\nlimiters: {{ l: {{ rate: 1/1h, burst: 5, store: shared }} }}"
        ))
        .plugin_with("caps", &guest("caps"), "grants: { tables: [t], secrets: [s], reveal: [s], limiters: [l] }")
        .route("filters: [{ use: caps, config: { table: t, secret: s, limiter: l } }]")
        .to_string()
        .replace("t.yaml", concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/empty.yaml"));
    let gateways = [GATEWAY.start(&config).await, GATEWAY.start(&config).await];
    let mut left = Vec::new();
    for gateway in [&gateways[0], &gateways[1], &gateways[0], &gateways[1]] {
        let answer = gateway.client().await.ask(&["GET / HTTP/1.1", "Host: a", "X-Do: take k 2"], "").await;
        left.push(answer.text());
    }
    assert_eq!(left, ["true 3/5", "true 1/5", "false 1/5", "false 1/5"]);
}
