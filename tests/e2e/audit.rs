//! The record: who changed what, from what and to what, whoever it was; and never a value of the configuration.

use std::fs;

use harness::{Client, Config, Gateway, Line, Upstream, guest, put, variant};
use rustix::process::Signal;

use crate::GATEWAY;

/// One route through the plugin `stamp`, with an admin server and a state folder of its own.
fn administered(origin: &Upstream) -> Config {
    Config::to(origin)
        .top("admin: { address: '127.0.0.1:0' }\nstate_dir: state")
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]")
}

/// What was put on record after `from` lines of the log.
async fn record(gateway: &Gateway, from: usize, action: &str) -> Line {
    let is_it = |line: &Line| line.message() == "audit" && line.field("action") == Some(action);
    gateway.log().wait_from(from, &format!("`{action}` on record"), is_it).await
}

fn generations(line: &Line) -> [Option<u64>; 2] {
    ["generation_before", "generation_after"].map(|name| line.number(name))
}

fn digests(line: &Line) -> [Option<&str>; 2] {
    ["sha256_before", "sha256_after"].map(|name| line.field(name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_signals_bring_is_on_record() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(administered(&origin)).await;
    let from = gateway.log().len();
    let changed = administered(&origin)
        .route("timeout: 7s")
        .and_route("name: new\nmatch: { path: { exact: /hunter2 } }\nrespond: {}");
    assert_eq!(gateway.reload(changed).await, 2);
    let line = record(&gateway, from, "reload").await;
    assert_eq!((line.field("actor"), line.field("outcome"), line.field("client")), (Some("signal"), Some("ok"), None));
    assert_eq!(generations(&line), [Some(1), Some(2)], "{}", line.text);
    let [before, after] = digests(&line);
    assert!(before != after && before.map(str::len) == Some(64) && after.map(str::len) == Some(64), "{}", line.text);
    assert_eq!(line.number("changes"), Some(2), "{}", line.text);
    let named = line.field("changed").expect("it names what changed");
    assert!(named.contains("route all: timeout") && named.contains("+ route new"), "{named}");

    let from = gateway.log().len();
    gateway.reload_fails(administered(&origin).route("timeout: hunter2")).await;
    let line = record(&gateway, from, "reload").await;
    assert_eq!((line.field("actor"), line.field("outcome")), (Some("signal"), Some("faults")));
    assert!(line.field("error").is_some_and(|error| error.starts_with("1 faults, at ")), "{}", line.text);
    for line in gateway.log().lines().iter().filter(|line| line.message() == "audit") {
        assert!(!line.text.contains("hunter2"), "values are in no record: {}", line.text);
    }

    gateway.write_config(administered(&origin));
    let from = gateway.log().len();
    let pid = gateway.upgrade().await;
    let line = record(&gateway, from, "upgrade").await;
    assert_eq!((line.field("actor"), line.field("outcome")), (Some("signal"), Some("ok")));
    assert_eq!(line.number("pid_after"), Some(pid.into()), "{}", line.text);
    assert!(line.number("pid_before").is_some_and(|before| before != u64::from(pid)), "{}", line.text);
    assert_eq!(gateway.first_ended().await, 0);
    let from = gateway.log().len();
    gateway.signal(Signal::TERM);
    assert_eq!(record(&gateway, from, "drain").await.field("actor"), Some("signal"));
    gateway.stop_heir().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_source_brings_is_on_record() {
    let origin = Upstream::echo().await;
    let watched = || administered(&origin).top("config: { reload: watch }");
    let gateway = GATEWAY.start(watched()).await;
    let from = gateway.log().len();
    gateway.write_config(watched().route("timeout: 7s"));
    let line = record(&gateway, from, "reload").await;
    assert_eq!((line.field("actor"), line.field("outcome")), (Some("source: watch"), Some("ok")), "{}", line.text);
    assert_eq!(generations(&line), [Some(1), Some(2)], "{}", line.text);
    assert_eq!(line.field("changed"), Some("route all: timeout"), "{}", line.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_follows_its_file_is_on_record() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("stamp.wasm");
    fs::copy(guest("stamp"), &path).expect("a temporary folder takes files");
    let config = Config::to(&Upstream::echo().await)
        .top("admin: { address: '127.0.0.1:0' }\nstate_dir: state")
        .plugin_with("stamp", &path, "reload: watch")
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    let gateway = GATEWAY.start(config).await;
    let before = harness::sha256(&fs::read(&path).expect("it is there"));
    let next = variant("stamp", "next");
    put(&path, &next);
    let line = record(&gateway, 0, "swap").await;
    assert_eq!((line.field("actor"), line.field("plugin")), (Some("source: watch"), Some("stamp")), "{}", line.text);
    assert_eq!(digests(&line), [Some(before.as_str()), Some(harness::sha256(&next).as_str())], "{}", line.text);
    assert_eq!(generations(&line), [Some(1), Some(2)], "{}", line.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_becomes_of_a_trial_is_on_record_whoever_ended_it() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let admin = gateway.admin();
    let impostor = fs::read(guest("impostor")).expect("a guest can be read");
    assert_eq!(admin.upload("stamp?canary=50", &impostor).await.status, 200);
    let line = record(&gateway, 0, "swap").await;
    assert_eq!((line.field("actor"), generations(&line)), (Some("local"), [Some(1), Some(2)]), "{}", line.text);

    let from = gateway.log().len();
    let mut client = gateway.client().await;
    let trapping = ["GET / HTTP/1.1", "Host: a", "X-Trap: 1"];
    let requests = async {
        loop {
            client.ask(&trapping, "").await;
        }
    };
    let line = tokio::select! { line = record(&gateway, from, "rollback") => line, () = requests => unreachable!() };
    assert_eq!((line.field("actor"), line.field("outcome")), (Some("trial"), Some("ok")), "{}", line.text);
    assert!(line.field("reason").is_some_and(|reason| reason.contains("failed")), "{}", line.text);
    assert_eq!(generations(&line), [Some(2), Some(3)], "{}", line.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_commands_do_is_on_record_under_their_token() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(administered(&origin)).await;
    gateway.write_config(administered(&origin).route("timeout: 7s"));
    let said = gateway.command(&["reload"]).await;
    assert_eq!((said.code, said.stdout.trim_end()), (0, "reloaded: generation 2\n  route all: timeout"), "{said:?}");
    let line = record(&gateway, 0, "reload").await;
    assert_eq!((line.field("actor"), line.field("changed")), (Some("local"), Some("route all: timeout")));
    assert!(line.field("client").is_some_and(|client| client.starts_with("127.0.0.1:")), "{}", line.text);
    assert_eq!(generations(&line), [Some(1), Some(2)], "{}", line.text);

    let before = digests(&line)[0].map(str::to_owned);
    let said = gateway.command(&["rollback-config"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let line = record(&gateway, 0, "roll back config").await;
    assert_eq!(digests(&line)[1], before.as_deref(), "what served before serves again: {}", line.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_a_wrong_token_is_on_record_also_when_reading() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let address = gateway.admin().address;
    let fields = ["GET /api/status HTTP/1.1", &format!("Host: {address}"), "Authorization: Bearer somebody-guesses-1"];
    assert_eq!(Client::connect(address).await.ask(&fields, "").await.status, 401);
    let line = record(&gateway, 0, "denied").await;
    assert_eq!((line.field("path"), line.number("outcome")), (Some("/api/status"), Some(401)), "{}", line.text);
    assert!(!gateway.log().text().contains("somebody-guesses"), "the guess itself is not kept");
}
