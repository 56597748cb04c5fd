//! Signals: a reload swaps the whole configuration and loses no request; an end lets what is in flight finish.

use std::path::Path;

use harness::{Client, Config, Gateway, Load, Upstream, guest, http, sha256, variant, yaml};
use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::GATEWAY;

/// Everything is answered with this text.
fn answering(text: &str) -> String {
    yaml(
        "version: 1\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\nroutes: [{ name: all, match: {}, respond: { status: 200, body: '<text>' } }]\n",
        &[("text", &text)],
    )
}

/// Wait until nobody accepts at an address any more.
pub(crate) async fn refused(address: std::net::SocketAddr) {
    harness::within("the listener to close", async {
        // An accepted connection is dropped at once; the attempt itself is the event that is waited for.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_serves_the_new_configuration_on_the_old_connections() {
    let mut gateway = GATEWAY.start(answering("one")).await;
    let address = gateway.listener("http");
    let mut kept = gateway.client().await;
    assert_eq!(kept.get("/").await.text(), "one");
    for (generation, text) in [(2, "two"), (3, "three")] {
        assert_eq!(gateway.reload(answering(text)).await, generation);
        assert_eq!(kept.get("/").await.text(), text, "a connection outlives a reload");
        assert_eq!(Client::connect(address).await.get("/").await.text(), text, "and so does the port");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_ends_under_the_configuration_it_began_with() {
    let mut origin = Upstream::manual().await;
    let with = |value: &str| {
        let filters = format!(
            "filters:\n  - {{ use: stamp, config: {{ name: x-stamp, value: {value} }} }}\n  - {{ use: headers, config: {{ response: {{ set: {{ x-native: {value} }} }} }} }}"
        );
        Config::to(&origin).plugin("stamp", &guest("stamp")).route(&filters)
    };
    let (old, new) = (with("old"), with("new"));
    let mut gateway = GATEWAY.start(old).await;
    let mut early = gateway.client().await;
    early.send(http(&["GET /early HTTP/1.1", "Host: a"], "")).await;
    let mut held = origin.next().await;
    assert_eq!(held.head.fields.get("x-stamp"), Some("old"));

    gateway.reload(new).await;
    let mut late = gateway.client().await;
    late.send(http(&["GET /late HTTP/1.1", "Host: a"], "")).await;
    let mut next = origin.next().await;
    assert_eq!(next.head.fields.get("x-stamp"), Some("new"));

    let response = http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok");
    next.send(&response).await;
    held.send(&response).await;
    for (client, value) in [(&mut early, "old"), (&mut late, "new")] {
        let answer = client.response().await;
        assert_eq!((answer.field("x-stamp"), answer.field("x-native")), (Some(value), Some(value)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go_without_a_restart() {
    let mut origin = Upstream::manual().await;
    let one = Config::to(&origin);
    let two = one.to_string().replace("listeners:\n", "listeners:\n  - { name: second, address: 127.0.0.1:0 }\n");
    let mut gateway = GATEWAY.start(&one).await;
    gateway.reload(two).await;
    let second = gateway.listener("second");
    let mut client = Client::connect(second).await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut held = origin.next().await;

    gateway.reload(&one).await;
    refused(second).await;
    held.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    assert_eq!(client.response().await.text(), "ok", "what was in flight finishes");
    client.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_refused_changes_nothing() {
    let mut gateway = GATEWAY.start(answering("one")).await;
    let why = gateway.reload_fails(answering("two").replace("respond", "resp0nd")).await;
    assert!(gateway.log().text().contains("resp0nd"), "the log says why: {}", why.text);
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.text(), "one");
    assert_eq!(gateway.reload(answering("three")).await, 2);
    assert_eq!(client.get("/").await.text(), "three");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_lose_no_request() {
    let origin = Upstream::echo().await;
    let with = |round: usize| {
        let filters = format!("filters: [{{ use: stamp, config: {{ name: x-stamp, value: '{round}' }} }}]");
        Config::to(&origin).plugin("stamp", &guest("stamp")).route(&filters)
    };
    let mut gateway = GATEWAY.start(with(0)).await;
    let mut load = Load::start(gateway.listener("http"), "/", 4);
    for round in 1..=10 {
        load.answers(20).await;
        gateway.reload(with(round)).await;
        let stamp = gateway.client().await.get("/").await;
        assert_eq!(stamp.field("x-stamp"), Some(round.to_string().as_str()));
    }
    load.answers(20).await;
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_that_come_in_a_heap_end_in_the_last_configuration() {
    let mut gateway = GATEWAY.start(answering("0")).await;
    let mut client = gateway.client().await;
    for round in 1..=20 {
        gateway.write_config(answering(&round.to_string()));
        gateway.signal(Signal::HUP);
    }
    gateway.reload(answering("last")).await;
    harness::within("the last configuration", async { while client.get("/").await.text() != "last" {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_waits_for_what_is_in_flight() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut origin = Upstream::manual().await;
        let mut gateway: Gateway = GATEWAY.start(Config::to(&origin)).await;
        let address = gateway.listener("http");
        let mut idle = gateway.client().await;
        let mut busy = gateway.client().await;
        busy.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
        let mut held = origin.next().await;

        gateway.signal(signal);
        refused(address).await;
        idle.closed().await;
        held.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
        let answer = busy.response().await;
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("ok", Some("close")));
        busy.closed().await;
        assert_eq!(gateway.ended().await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_under_load_cuts_no_answer() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut load = Load::start(gateway.listener("http"), "/", 4);
    load.answers(50).await;
    assert_eq!(gateway.stop().await.code, 0);
    let tally = load.stop().await;
    assert_eq!(tally.of(200), tally.total());
    let cut: Vec<_> = tally.failures.iter().filter(|failure| failure.contains("inside")).collect();
    assert!(cut.is_empty(), "{cut:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_waits_for_a_component_holds_no_swap_up() {
    let origin = Upstream::echo().await;
    let mut server = Upstream::manual().await;
    let top = "admin: { address: '127.0.0.1:0' }\nstate_dir: state";
    let config = Config::to(&origin)
        .top(top)
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    let gateway = GATEWAY.start(config.clone()).await;
    let late = variant("stamp", "late");
    let pinned = config.plugin_with("late", Path::new("SOURCE"), &format!("sha256: {}", sha256(&late)));
    gateway.write_config(pinned.to_string().replace("file:SOURCE", &format!("http://{server}/late.wasm")));
    gateway.signal(Signal::HUP);
    let mut fetch = server.next().await;

    // The reload is under way, and the swap goes by.
    let impostor = std::fs::read(guest("impostor")).expect("a guest can be read");
    let said = gateway.admin().upload("stamp", &impostor).await;
    assert_eq!(said.status, 200, "{}", said.text());
    assert_eq!(gateway.client().await.get("/").await.field("x-impostor"), Some("response"));

    fetch.send(http(&["HTTP/1.1 200 OK", &format!("Content-Length: {}", late.len())], &late)).await;
    gateway.log().wait("that the reload is over", |line| line.message() == "reloaded").await;
    assert_eq!(gateway.client().await.get("/").await.field("x-impostor"), Some("response"), "what was swapped stays");
    assert_eq!(gateway.admin().plugin("late").await["sha256"], sha256(&late).as_str());
}
