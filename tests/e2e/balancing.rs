//! Which endpoint a request goes to: shares, keys, sessions. What a balancer promises by itself is tested beside it.

use std::collections::BTreeSet;

use harness::{Gateway, Upstream, http, yaml};

use crate::GATEWAY;

/// A gateway in front of three upstreams that echo, as the endpoints of one upstream with more keys.
async fn in_front_of(origins: &[Upstream; 3], keys: &str) -> Gateway {
    let [one, two, three] = origins;
    let text = yaml(
        r"
version: 1
workers: 2
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  users:
    endpoints: [{ url: 'http://<one>' }, { url: 'http://<two>', weight: 2 }, { url: 'http://<three>' }]
    <keys>
routes: [{ name: all, match: { path: { prefix: / } }, upstream: users }]
",
        &[("one", one), ("two", two), ("three", three), ("keys", &keys)],
    );
    GATEWAY.start(text).await
}

async fn three() -> [Upstream; 3] {
    [Upstream::echo().await, Upstream::echo().await, Upstream::echo().await]
}

fn requests(origins: &[Upstream; 3]) -> [usize; 3] {
    origins.each_ref().map(|origin| origin.requests().len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_balancer_serves_from_every_endpoint() {
    for balance in ["round-robin", "random", "least-request", "p2c-ewma"] {
        let origins = three().await;
        let gateway = in_front_of(&origins, &format!("balance: {balance}")).await;
        let mut client = gateway.client().await;
        for _ in 0..80 {
            assert_eq!(client.get("/").await.status, 200);
        }
        let shares = requests(&origins);
        // 20, 40 and 20 are expected, exactly so in turn; by latency, one that was slow the first time may get no second.
        assert_eq!(shares.iter().sum::<usize>(), 80);
        assert!(shares.iter().all(|share| *share >= 1), "{balance}: {shares:?}");
        assert!(balance != "round-robin" || shares == [20, 40, 20], "{shares:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_key_go_to_one_endpoint() {
    for balance in ["maglev", "ring-hash"] {
        let origins = three().await;
        let gateway = in_front_of(&origins, &format!("balance: {balance}\n    hash_on: header:x-user-id")).await;
        for user in 0..30 {
            for _ in 0..3 {
                // A connection each time, so that both workers are asked.
                let user = format!("X-User-Id: {user}");
                let answer = gateway.client().await.ask(&["GET / HTTP/1.1", "Host: a", &user], "").await;
                assert_eq!(answer.status, 200);
            }
        }
        let users = origins.each_ref().map(|origin| {
            let requests = origin.requests();
            requests
                .iter()
                .filter_map(|request| request.fields.get("x-user-id").map(str::to_owned))
                .collect::<BTreeSet<_>>()
        });
        assert_eq!(users.iter().map(BTreeSet::len).sum::<usize>(), 30, "nobody is at two: {users:?}");
        assert!(users.iter().all(|users| !users.is_empty()), "{users:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_stays_at_its_endpoint_by_a_cookie_that_says_nothing() {
    let origins = three().await;
    let gateway = in_front_of(&origins, "affinity: { cookie: sid, ttl: 1h }").await;
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let before = requests(&origins);
        let first = gateway.client().await.get("/").await;
        let cookie = first.fields.get("set-cookie").expect("a session begins").to_owned();
        let (pair, attributes) = cookie.split_once("; ").expect("it has attributes");
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
        let value = pair.strip_prefix("sid=").expect("it is called so");
        assert!(value.len() == 32 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
        assert!(seen.insert(value.to_owned()), "every session has its own");
        for _ in 0..3 {
            let cookie = format!("Cookie: other=1; {pair}");
            let next = gateway.client().await.ask(&["GET / HTTP/1.1", "Host: a", &cookie], "").await;
            assert!(!next.fields.has("set-cookie"), "the session goes on");
        }
        let after = requests(&origins);
        let more: Vec<usize> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert!(more.contains(&4), "all at one endpoint: {more:?}");
    }
    assert!(requests(&origins).iter().filter(|share| **share > 0).count() > 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_endpoint_gets_no_more_while_another_is_idle() {
    let (mut busy, idle) = (Upstream::manual().await, Upstream::echo().await);
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  pair: { balance: least-request, endpoints: [{ url: 'http://<busy>' }, { url: 'http://<idle>' }] }
routes: [{ name: all, match: { path: { prefix: / } }, upstream: pair }]
",
        &[("busy", &busy), ("idle", &idle)],
    );
    let gateway = GATEWAY.start(text).await;
    // Clients that are patient, until one of them is at the busy one.
    let mut clients = Vec::new();
    let held = loop {
        let mut client = gateway.client().await;
        client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
        clients.push(client);
        let answered = clients.last_mut().expect("one was pushed").response_to("GET");
        tokio::select! {
            exchange = busy.next() => break exchange,
            answer = answered => assert_eq!(answer.expect("an answer").status, 200),
        }
    };
    for _ in 0..50 {
        assert_eq!(gateway.client().await.get("/").await.status, 200);
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_stays_on_its_side_of_a_split() {
    let (old, new) = (Upstream::echo().await, Upstream::echo().await);
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  old: { endpoints: [{ url: 'http://<old>' }] }
  new: { endpoints: [{ url: 'http://<new>' }] }
routes:
  - { name: all, match: { path: { prefix: / } }, upstream: { old: 50, new: 50 }, sticky: 'cookie:user' }
",
        &[("old", &old), ("new", &new)],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    for user in 0..40 {
        let cookie = format!("Cookie: user={user}");
        let before = old.requests().len();
        for _ in 0..3 {
            assert_eq!(client.ask(&["GET / HTTP/1.1", "Host: a", &cookie], "").await.status, 200);
        }
        assert!([0, 3].contains(&(old.requests().len() - before)), "{user} is on both sides");
    }
    let (old, new) = (old.requests().len(), new.requests().len());
    assert!(old >= 15 && new >= 15, "{old} and {new}");
}
