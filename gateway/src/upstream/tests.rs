//! Health, ejection, slow start and panic, as choices show them.

use std::time::Instant;

use http::StatusCode;
use tokio::sync::{mpsc, watch};

use super::endpoint::Out;
use super::*;

fn upstream(count: usize) -> Upstream {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, per_try: second, idle: second };
    let limits = Limits { connections: 1, pending: 1, requests: 1, streams: 1 };
    let none = Upstream {
        name: "users".into(),
        endpoints: Vec::new(),
        weights: Vec::new(),
        states: Vec::new(),
        state: Arc::default(),
        balance: Balance::RoundRobin,
        balancer: Arc::new(Balancer::new(Balance::RoundRobin, &[], &[])),
        hash_on: None,
        affinity: None,
        slow_start: None,
        panic_threshold: 0.5,
        health_check: None,
        ejection: None,
        discovery: None,
        transport: Transport::new(Protocol::Http1, None, timeouts, limits, None),
        retries: None,
        budget: Arc::default(),
        mirrored: Arc::default(),
    };
    none.with_endpoints(endpoints(count))
}

fn endpoints(count: usize) -> Vec<(Endpoint, u32)> {
    (0..count).map(|number| (Endpoint::Tcp { host: format!("10.0.0.{number}"), port: 80 }, 1)).collect()
}

fn ejecting(count: usize, share_max: f64) -> Upstream {
    let rules = Ejection {
        consecutive_5xx: 3,
        connect_failures: 2,
        latency: Some(Duration::from_millis(500)),
        eject_for: Duration::from_secs(30),
        share_max,
    };
    Upstream { ejection: Some(rules), ..upstream(count) }
}

fn answered(status: u16) -> Outcome {
    let status = StatusCode::from_u16(status).expect("a status");
    Outcome::Answered { status, latency: Duration::from_millis(1) }
}

impl Upstream {
    fn take_out(&self, place: usize) {
        self.states[place].take_out(Out::FailsChecks);
        self.judge();
    }

    fn picks(&self, count: usize) -> Vec<usize> {
        let mut picks = vec![0; self.endpoints.len()];
        for _ in 0..count {
            picks[self.pick(&Pick::default()).expect("an endpoint")] += 1;
        }
        picks
    }

    fn report_all(&self, place: usize, outcomes: &[Outcome]) -> bool {
        outcomes.iter().for_each(|outcome| self.report(place, *outcome));
        self.states[place].is_ejected()
    }
}

#[test]
fn who_is_unhealthy_gets_nothing_until_too_few_are_healthy() {
    let upstream = upstream(4);
    upstream.take_out(0);
    upstream.take_out(1);
    let picks = upstream.picks(100);
    assert_eq!((picks[0], picks[1], upstream.is_panicking()), (0, 0, false), "half of them is not less than half");
    upstream.take_out(2);
    assert!(upstream.is_panicking());
    assert!(upstream.picks(100).iter().all(|picks| *picks > 0), "all are used");
}

#[test]
fn without_a_panic_threshold_nobody_serves_when_nobody_is_healthy() {
    let upstream = Upstream { panic_threshold: 0.0, ..upstream(2) };
    upstream.take_out(0);
    assert_eq!(upstream.picks(10), [0, 10]);
    upstream.take_out(1);
    assert_eq!(upstream.pick(&Pick::default()), None);
}

#[test]
fn one_healthy_endpoint_of_a_thousand_is_found() {
    let upstream = Upstream { panic_threshold: 0.0, ..upstream(1000) };
    (0..999).for_each(|place| upstream.take_out(place));
    assert_eq!(upstream.picks(10)[999], 10);
}

#[test]
fn endpoints_that_were_tried_go_last() {
    let upstream = upstream(3);
    for _ in 0..50 {
        assert_eq!(upstream.pick(&Pick { hash: None, avoid: &[0, 2] }), Some(1));
        assert!(upstream.pick(&Pick { hash: None, avoid: &[0, 1, 2] }).is_some(), "better than none");
    }
}

#[test]
fn failures_in_a_row_eject() {
    let slow = Outcome::Answered { status: StatusCode::OK, latency: Duration::from_secs(1) };
    let (ok, bad) = (answered(200), answered(503));
    for (outcomes, is_ejected) in [
        (vec![bad, bad, bad], true),
        (vec![bad, bad, ok, bad, bad], false),
        (vec![bad, answered(404), bad, bad], false),
        (vec![slow, Outcome::TimedOut, Outcome::Broken], true),
        (vec![Outcome::ConnectFailed, Outcome::ConnectFailed], true),
        (vec![Outcome::ConnectFailed, ok, Outcome::ConnectFailed], false),
        (vec![Outcome::ConnectFailed, bad, bad, Outcome::ConnectFailed], false),
    ] {
        assert_eq!(ejecting(4, 0.5).report_all(0, &outcomes), is_ejected, "{outcomes:?}");
    }
    assert!(!upstream(4).report_all(0, &[bad; 100]), "there are no rules");
}

#[test]
fn no_more_are_ejected_than_may_be() {
    let upstream = ejecting(5, 0.5);
    let ejected: Vec<bool> = (0..5).map(|place| upstream.report_all(place, &[answered(500); 3])).collect();
    assert_eq!(ejected, [true, true, false, false, false]);
    assert!(!ejecting(1, 0.5).report_all(0, &[answered(500); 9]), "the only one stays");
    assert!(ejecting(1, 1.0).report_all(0, &[answered(500); 3]));
}

#[test]
fn an_ejection_ends_and_the_next_one_is_longer() {
    let upstream = ejecting(4, 1.0);
    let seconds = |due: Option<Instant>, now: Instant| due.map(|due| due.duration_since(now).as_secs_f64().round());
    let mut now = Instant::now();
    for expected in [30.0, 60.0, 90.0] {
        assert!(upstream.report_all(0, &[answered(500); 3]));
        assert_eq!(seconds(upstream.let_back(Instant::now()), Instant::now()), Some(expected));
        now += Duration::from_secs(3600);
        assert_eq!(upstream.let_back(now), None);
        assert!(upstream.states[0].is_healthy());
    }
}

#[test]
fn an_endpoint_that_comes_back_starts_slowly() {
    let upstream = Upstream { slow_start: Some(Duration::from_secs(3600)), ..upstream(2) };
    assert!(upstream.picks(2000)[0] > 900, "the first ones share everything at once");
    upstream.take_out(0);
    upstream.states[0].bring_back(Out::FailsChecks);
    let picks = upstream.picks(2000)[0];
    assert!((50..400).contains(&picks), "{picks}");
}

#[test]
fn what_is_known_of_an_endpoint_outlives_its_snapshot() {
    let before = ejecting(3, 1.0);
    assert!(before.report_all(1, &[answered(500); 3]));
    let _try = before.begin(2);
    let mut found = endpoints(4);
    found.remove(0);
    let after = before.with_endpoints(found);
    assert_eq!(after.states.iter().map(|state| state.is_ejected()).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(after.states[1].in_flight(), 1);
    assert!(Arc::ptr_eq(&before.states[2], &after.states[1]) && Arc::ptr_eq(&before.endpoints[2], &after.endpoints[1]));
}

#[test]
fn without_rules_nobody_stays_out() {
    let upstream = ejecting(4, 1.0);
    upstream.report_all(0, &[answered(500); 3]);
    upstream.take_out(1);
    let upstream = Upstream { ejection: None, ..upstream };
    upstream.forgive();
    assert!(upstream.states.iter().all(|state| state.is_healthy()));
}

#[tokio::test]
async fn the_keeper_tells_of_ejections_and_ends_them() {
    let mut upstream = ejecting(2, 1.0);
    if let Some(rules) = &mut upstream.ejection {
        rules.eject_for = Duration::from_millis(1);
    }
    let upstream = Arc::new(upstream);
    let (_newer, newest) = watch::channel(upstream.clone());
    let (tell, mut told) = mpsc::unbounded_channel();
    let keeper = tokio::spawn(keep(newest, Arc::new(move |flip| drop(tell.send(flip)))));
    upstream.report_all(0, &[Outcome::ConnectFailed; 2]);
    for expected in [Health::Ejected, Health::Returned] {
        let flip = told.recv().await.expect("the keeper tells");
        assert_eq!((&flip.endpoint, flip.now), (&upstream.endpoints[0], expected));
    }
    assert!(upstream.states[0].is_healthy());
    drop(_newer);
    keeper.await.expect("it ends when there is nobody to tell it more");
}

#[tokio::test]
async fn checks_take_endpoints_out_and_bring_them_back() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = server.local_addr().expect("it is bound");
    let interval = Duration::from_millis(1);
    let rules = HealthCheck {
        probe: Probe::Tcp,
        interval,
        timeout: Duration::from_secs(10),
        unhealthy_after: 2,
        healthy_after: 2,
    };
    let blank = Upstream { health_check: Some(rules), ..upstream(0) };
    let upstream = Arc::new(
        blank.with_endpoints(vec![(Endpoint::Tcp { host: address.ip().to_string(), port: address.port() }, 1)]),
    );
    let (newer, newest) = watch::channel(upstream.clone());
    let (tell, mut told) = mpsc::unbounded_channel();
    tokio::spawn(keep(newest, Arc::new(move |flip: Flip| drop(tell.send(flip.now)))));
    drop(server);
    assert!(matches!(told.recv().await, Some(Health::Unhealthy(_))));
    assert!(upstream.states[0].fails_checks());
    // A newer snapshot with the same endpoint: its check goes on.
    newer.send_replace(Arc::new(upstream.with_endpoints(upstream.endpoints_with_weights())));
    let _server = std::net::TcpListener::bind(address).expect("the port is free again");
    assert_eq!(told.recv().await, Some(Health::Healthy));
    assert!(upstream.states[0].is_healthy());
}
