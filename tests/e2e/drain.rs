//! The end of a gateway: who is let in before it, what finishes, what is cut off, and what it tells meanwhile.

use harness::{Client, Config, Gateway, Load, Upstream, http};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::GATEWAY;

const OK: [&str; 2] = ["HTTP/1.1 200 OK", "Content-Length: 2"];

/// Everything to `origin`, with these keys of `drain`.
fn with(origin: &Upstream, drain: &str) -> Config {
    Config::to(origin).top(&format!("drain: {{ {drain} }}"))
}

async fn draining(gateway: &Gateway) {
    gateway.log().wait("that it drains", |line| line.message() == "draining").await;
}

/// Wait until the listener is closed.
async fn closed(gateway: &Gateway) {
    let address = gateway.listener("http");
    harness::within("the listener to close", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_goes_first_and_clients_are_served_as_before_during_the_delay() {
    let origin = Upstream::echo().await;
    let config = with(&origin, "delay: 1h").top("probes: { address: '127.0.0.1:0' }");
    let mut gateway = GATEWAY.start(config).await;
    assert_eq!(Client::connect(gateway.probes()).await.get("/readyz").await.status, 200);
    gateway.signal(Signal::TERM);
    draining(&gateway).await;
    assert_eq!(Client::connect(gateway.probes()).await.get("/readyz").await.status, 503);
    assert_eq!(Client::connect(gateway.probes()).await.get("/livez").await.status, 200);
    let mut client = gateway.client().await;
    for _ in 0..2 {
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.field("connection")), (200, None), "balancers have not noticed yet");
    }
    drop(client);
    gateway.signal(Signal::TERM);
    assert!([0, 6].contains(&gateway.ended().await.code), "a second signal means now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_in_the_queues_is_served() {
    for address in ["127.0.0.1:0", "unix:http.sock"] {
        let origin = Upstream::echo().await;
        let config = Config::to(&origin).to_string().replace("address: 127.0.0.1:0", &format!("address: '{address}'"));
        let mut gateway = GATEWAY.start(config.replace("version: 1", "version: 1\nworkers: 2")).await;
        let file = gateway.folder().join("http.sock");
        let bridge = harness::Bridge::to_file(&file).await;
        let door = if address.starts_with("unix") { bridge.address() } else { gateway.listener("http") };
        gateway.signal(Signal::STOP);
        // The kernel makes these connections; nobody has accepted them.
        let mut clients = Vec::new();
        for _ in 0..20 {
            let mut client = Client::connect(door).await;
            client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
            clients.push(client);
        }
        if address.starts_with("unix") {
            harness::within("the bridge to reach the file", async {
                while waiting(&file) < clients.len() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        gateway.signal(Signal::TERM);
        gateway.signal(Signal::CONT);
        for client in &mut clients {
            let answer = client.response().await;
            assert_eq!(answer.status, 200, "{address}");
            client.closed().await;
        }
        assert_eq!(gateway.ended().await.code, 0);
        assert!(!file.exists());
    }
}

/// Connections that are made to a socket file, as Linux lists them: the listener's line, and one for each.
fn waiting(file: &std::path::Path) -> usize {
    let list = std::fs::read_to_string("/proc/net/unix").expect("Linux lists sockets");
    let name = file.to_str().expect("temporary folders have plain names");
    list.lines().filter(|line| line.ends_with(name)).count().saturating_sub(1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_client_may_bring_one_more_request_and_is_told_to_go() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(with(&origin, "idle: 1h")).await;
    let (mut used, mut fresh) = (gateway.client().await, gateway.client().await);
    assert_eq!(used.get("/").await.field("connection"), None);
    let _ = fresh.try_send("GET / HT").await;
    gateway.signal(Signal::TERM);
    closed(&gateway).await;
    let answer = used.get("/").await;
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    used.closed().await;
    fresh.send("TP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = fresh.response().await;
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    fresh.closed().await;
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_client_that_brings_nothing_is_let_go_after_a_while() {
    let origin = Upstream::echo().await;
    for idle in ["0s", "100ms"] {
        let mut gateway = GATEWAY.start(with(&origin, &format!("idle: {idle}"))).await;
        let (mut used, mut fresh, mut http2) = (gateway.client().await, gateway.client().await, gateway.http2().await);
        assert_eq!(used.get("/").await.status, 200);
        assert_eq!(http2.get("/").await.status, 200);
        gateway.signal(Signal::TERM);
        used.closed().await;
        fresh.closed().await;
        assert_eq!(gateway.ended().await.code, 0, "the HTTP/2 client was told, and is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_has_begun_does_not_cost_the_next_request() {
    let mut origin = Upstream::manual().await;
    let mut gateway = GATEWAY.start(with(&origin, "idle: 1h")).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET /long HTTP/1.1", "Host: a"], "")).await;
    let mut held = origin.next().await;
    held.send(http(&["HTTP/1.1 200 OK", "Content-Length: 4"], "bo")).await;
    assert_eq!(client.head().await.fields.get("connection"), None);
    gateway.signal(Signal::TERM);
    closed(&gateway).await;
    held.send("dy").await;
    held.keep_alive();
    assert_eq!(client.rest().await.expect("the rest of the body"), b"body");
    client.send(http(&["GET /next HTTP/1.1", "Host: a"], "")).await;
    origin.next().await.send(http(&OK, "ok")).await;
    let answer = client.response().await;
    assert_eq!((answer.text().as_str(), answer.field("connection")), ("ok", Some("close")));
    client.closed().await;
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_in_flight_finish_and_their_connection_ends() {
    let mut origin = Upstream::manual().await;
    let mut gateway = GATEWAY.start(with(&origin, "deadline: 1h")).await;
    let mut client = gateway.http2().await;
    let mut first = client.clone();
    let request = http::Request::get("http://test.example/held").body(harness::Frames::default()).expect("a request");
    let asking = tokio::spawn(async move { first.ask(request).await });
    let mut held = origin.next().await;
    gateway.signal(Signal::TERM);
    closed(&gateway).await;
    held.send(http(&OK, "ok")).await;
    let answer = asking.await.expect("the client does not panic");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"ok".as_slice()));
    // The client would keep its connection for ever: GOAWAY told it not to.
    assert_eq!(gateway.ended().await.code, 0);
    let late = http::Request::get("http://test.example/late").body(harness::Frames::default()).expect("a request");
    assert!(client.start(late).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_at_the_deadline_is_counted_and_cut_off() {
    let mut origin = Upstream::manual().await;
    let config = with(&origin, "deadline: 1s").top("admin: { address: '127.0.0.1:0' }\nstate_dir: state");
    let mut gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let _held = origin.next().await;
    let mut events = gateway.admin().events().await;
    assert_eq!(gateway.admin().post("/api/drain").await.status, 202);
    let event = events.next("drain").await;
    assert_eq!((&event["connections"], &event["requests"]), (&1.into(), &1.into()), "{event}");
    let over = |line: &harness::Line| line.message() == "`drain.deadline` is over";
    let line = gateway.log().wait("that the deadline is over", over).await;
    assert_eq!((line.number("connections"), line.number("requests")), (Some(1), Some(1)), "{}", line.text);
    assert_eq!(gateway.ended().await.code, 6);
    assert!(client.response_to("GET").await.is_err(), "it was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_means_now() {
    let mut origin = Upstream::manual().await;
    let mut gateway = GATEWAY.start(with(&origin, "deadline: 1h")).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let _held = origin.next().await;
    gateway.signal(Signal::INT);
    closed(&gateway).await;
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended().await.code, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_that_asks_again_and_again_sees_a_broken_answer() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut load = Load::start(gateway.listener("http"), "/", 4);
    load.answers(50).await;
    assert_eq!(gateway.stop_and_keep().await, 0);
    let tally = load.stop().await;
    assert_eq!(tally.of(200), tally.total());
    // Nobody listens any more, but whoever was let in was told to go in an answer.
    let lost: Vec<_> = tally.failures.iter().filter(|failure| failure.contains("a kept connection")).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
