//! Endpoints that fail their checks or their requests: who gets requests meanwhile, and what operators are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::{Gateway, Upstream, http, yaml};

use crate::GATEWAY;

/// An upstream that is well as long as the switch says so: checks are answered accordingly, and so are requests.
async fn patient() -> (Upstream, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(true));
    let told = is_well.clone();
    let upstream = Upstream::with(move |_| {
        let status = if told.load(Ordering::Relaxed) { "200 OK" } else { "503 Service Unavailable" };
        http(&[&format!("HTTP/1.1 {status}"), "Content-Length: 0"], "")
    });
    (upstream.await, is_well)
}

fn config(one: &Upstream, two: &Upstream, keys: &str) -> String {
    yaml(
        r"
version: 1
workers: 2
admin: { address: 127.0.0.1:0 }
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams:
  pair:
    endpoints: [{ url: 'http://<one>' }, { url: 'http://<two>' }]
    <keys>
routes: [{ name: all, match: { path: { prefix: / } }, upstream: pair }]
",
        &[("one", one), ("two", two), ("keys", &keys)],
    )
}

/// How the next `count` requests, each on a connection of its own, are answered.
async fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(gateway.client().await.get("/").await.status);
    }
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_its_checks_gets_no_requests_until_it_is_well_again() {
    let ((sick, is_well), (other, _)) = (patient().await, patient().await);
    let keys = "health_check: { path: /healthz, interval: 20ms, timeout: 10s, unhealthy_after: 2, healthy_after: 2 }";
    let mut gateway = GATEWAY.start(config(&sick, &other, keys)).await;
    let (admin, mut log) = (gateway.admin(), gateway.log());
    let mut events = admin.events().await;
    let series = format!("witgate_upstream_healthy{{endpoint=\"{sick}\",upstream=\"pair\"}}");
    assert!((admin.metric(&series).await - 1.0).abs() < f64::EPSILON);
    is_well.store(false, Ordering::Relaxed);
    let event = events.next("health").await;
    assert_eq!((&event["upstream"], &event["endpoint"]), (&"pair".into(), &sick.to_string().into()));
    assert_eq!((&event["healthy"], &event["error"]), (&false.into(), &"status 503 Service Unavailable".into()));
    log.wait("that it is unhealthy", |line| line.message() == "endpoint is unhealthy").await;
    assert_eq!(statuses(&gateway, 20).await, [200; 20]);
    assert!(admin.metric(&series).await.abs() < f64::EPSILON);
    let upstreams = admin.get("/api/upstreams").await.json();
    assert_eq!(upstreams[0]["endpoints"][0]["fails_checks"], true);
    assert_eq!((&upstreams[0]["endpoints"][1]["healthy"], &upstreams[0]["panicking"]), (&true.into(), &false.into()));
    let requests = |upstream: &Upstream| upstream.requests().iter().filter(|request| request.target == "/").count();
    assert_eq!(requests(&sick), 0);
    // Another configuration changes nothing about it.
    gateway.reload(config(&sick, &other, keys)).await;
    assert_eq!(statuses(&gateway, 20).await, [200; 20]);
    is_well.store(true, Ordering::Relaxed);
    assert_eq!(events.next("health").await["healthy"], true);
    assert_eq!(statuses(&gateway, 20).await, [200; 20]);
    assert!(requests(&sick) >= 5, "it has its share again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_fails_its_requests_is_ejected_and_stays_so_over_a_reload() {
    let ((sick, is_well), (other, _)) = (patient().await, patient().await);
    is_well.store(false, Ordering::Relaxed);
    let keys = "outlier_ejection: { consecutive_5xx: 3, eject_for: 1h, max_ejected: 50% }";
    let mut gateway = GATEWAY.start(config(&sick, &other, keys)).await;
    let admin = gateway.admin();
    let mut events = admin.events().await;
    let first = statuses(&gateway, 20).await;
    assert_eq!(first.iter().filter(|status| **status == 503).count(), 3, "{first:?}");
    let event = events.next("ejection").await;
    assert_eq!((&event["endpoint"], &event["ejected"]), (&sick.to_string().into(), &true.into()));
    gateway.reload(config(&sick, &other, keys)).await;
    assert_eq!(statuses(&gateway, 20).await, [200; 20]);
    let endpoint = admin.get("/api/upstreams").await.json()[0]["endpoints"][0].clone();
    assert_eq!((&endpoint["ejected"], &endpoint["healthy"]), (&true.into(), &false.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ejection_ends() {
    let ((sick, is_well), (other, _)) = (patient().await, patient().await);
    is_well.store(false, Ordering::Relaxed);
    let keys = "outlier_ejection: { consecutive_5xx: 1, eject_for: 50ms }";
    let gateway = GATEWAY.start(config(&sick, &other, keys)).await;
    let mut events = gateway.admin().events().await;
    statuses(&gateway, 4).await;
    assert_eq!(events.next("ejection").await["ejected"], true);
    is_well.store(true, Ordering::Relaxed);
    let mut returned = events.next("ejection").await;
    while returned["ejected"] == true {
        returned = events.next("ejection").await;
    }
    let before = sick.requests().len();
    assert_eq!(statuses(&gateway, 10).await, [200; 10]);
    assert!(sick.requests().len() > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_cannot_be_reached_is_ejected() {
    let (down, other) = (Upstream::down().await, Upstream::echo().await);
    let keys = "outlier_ejection: { connect_failures: 2, eject_for: 1h }";
    let gateway = GATEWAY.start(config(&down, &other, keys)).await;
    let answers = statuses(&gateway, 20).await;
    assert_eq!(answers.iter().filter(|status| **status == 502).count(), 2, "{answers:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_nobody_is_healthy_all_are_used_unless_the_threshold_says_otherwise() {
    for (threshold, expected) in [("50%", 502), ("0%", 503)] {
        let (one, two) = (Upstream::down().await, Upstream::down().await);
        let check = "health_check: { tcp: true, interval: 20ms, timeout: 10s }";
        let keys = format!("{check}\n    panic_threshold: {threshold}");
        let gateway = GATEWAY.start(config(&one, &two, &keys)).await;
        let mut events = gateway.admin().events().await;
        let unhealthy = async {
            let upstreams = || async { gateway.admin().get("/api/upstreams").await.json() };
            while upstreams().await[0]["endpoints"].as_array().expect("a list").iter().any(|one| one["healthy"] == true)
            {
                events.next("health").await;
            }
        };
        unhealthy.await;
        let answer = gateway.client().await.get("/").await;
        answer.problem(expected);
    }
}
