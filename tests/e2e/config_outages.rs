//! A source in etcd that fails in every way a server and the way to it can: what serves goes on, it is told once, and it heals by itself.
//!
//! The server is the real one, behind a relay that the test breaks. What no real server says comes from one that the test plays.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use harness::{Authority, Etcd, EtcdTls, Fault, Gateway, Line, Output, Relay, Upstream, Wanted, http};
use serde_json::json;
use tempfile::TempDir;

use crate::GATEWAY;
use crate::config_servers::{MAIN, answering, folder, said, until};

const GONE: &str = "the source of the configuration cannot be read";
const BACK: &str = "the source of the configuration can be read again";
const STILL: &str = "the source of the configuration cannot be read still";

/// How many lines from there on begin so, of this level.
fn told(gateway: &Gateway, from: usize, level: &str, message: &str) -> usize {
    let lines = gateway.log().lines();
    lines[from..].iter().filter(|line| line.level() == level && line.message().starts_with(message)).count()
}

async fn changed(gateway: &Gateway, etcd: &Etcd, text: &str) {
    let from = gateway.log().len();
    etcd.put("/prod/routes.yaml", &answering(text)).await;
    until(gateway, from, "the change", "reloaded").await;
    assert_eq!(said(gateway).await, text);
}

/// etcd with a configuration, a relay to it, and a gateway that follows it through that and tells everything.
async fn following(options: &str) -> Option<(Etcd, Relay, Gateway)> {
    let etcd = Etcd::start().await?;
    etcd.put("/prod/main.yaml", MAIN).await;
    etcd.put("/prod/routes.yaml", &answering("one")).await;
    let relay = Relay::to(etcd.address()).await;
    let source = format!("etcd://{}/prod/{options}", relay.address());
    let gateway = GATEWAY.with_level("info,witgate=debug").start_on(folder(), &[&source]).await;
    assert_eq!(said(&gateway).await, "one");
    Some((etcd, relay, gateway))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_is_told_of_once_and_followed_again() {
    let Some((mut etcd, _relay, gateway)) = following("").await else { return };
    for round in ["two", "three"] {
        let from = gateway.log().len();
        etcd.kill().await;
        until(&gateway, from, "that the server is gone", GONE).await;
        // It tries again and again, which is no news.
        let mut tried = gateway.log().len();
        for _ in 0..3 {
            until(&gateway, tried, "another try", STILL).await;
            tried = gateway.log().len();
        }
        assert_ne!(said(&gateway).await, round, "what serves stays");
        assert_eq!(told(&gateway, from, "ERROR", GONE), 1, "{}", gateway.log().text());
        etcd.restart().await;
        until(&gateway, from, "that it is back", BACK).await;
        changed(&gateway, &etcd, round).await;
        assert_eq!((told(&gateway, from, "ERROR", GONE), told(&gateway, from, "INFO", BACK)), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_swallows_everything_is_noticed_though_no_connection_ends() {
    let Some((etcd, relay, gateway)) = following("?timeout=1s").await else { return };
    let from = gateway.log().len();
    relay.set(Fault::Silent);
    etcd.put("/prod/routes.yaml", &answering("meanwhile")).await;
    let line = until(&gateway, from, "that nothing comes", GONE).await;
    assert!(line.text.contains("no answer within 1s"), "{}", line.text);
    assert_eq!(said(&gateway).await, "one");
    until(&gateway, from, "another try", STILL).await;
    relay.set(Fault::None);
    until(&gateway, from, "that it is back", BACK).await;
    until(&gateway, from, "what changed meanwhile", "reloaded").await;
    assert_eq!(said(&gateway).await, "meanwhile");
    assert_eq!(told(&gateway, from, "ERROR", GONE), 1, "{}", gateway.log().text());
    changed(&gateway, &etcd, "after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_watched_from_may_be_compacted_before_the_watch_is_made_anew() {
    let Some((etcd, relay, gateway)) = following("").await else { return };
    // Others write, and nothing of that is left to be watched from.
    for number in 0..3 {
        etcd.put("/others", &number.to_string()).await;
    }
    etcd.compact().await;
    let from = gateway.log().len();
    relay.cut();
    until(&gateway, from, "that the watch was refused", "what was watched from is compacted").await;
    changed(&gateway, &etcd, "two").await;
    let generation = gateway.admin().get("/api/status").await.json()["generation"].as_u64();
    assert_eq!(generation, Some(2), "only what changed was made a snapshot of");
    assert_eq!(told(&gateway, from, "ERROR", ""), 0, "{}", gateway.log().text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_answer_for_each_other() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.put("/prod/main.yaml", MAIN).await;
    etcd.put("/prod/routes.yaml", &answering("one")).await;
    let (first, second) = (Relay::to(etcd.address()).await, Relay::to(etcd.address()).await);
    let source = format!("etcd://{},{}/prod/?timeout=1s", first.address(), second.address());
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    let up = async || gateway.admin().metric("witgate_config_source_up").await;
    assert_eq!(
        (gateway.admin().get("/api/status").await.json()["config_source"].as_str(), up().await),
        (source.split('?').next(), 1.0)
    );
    // One is gone, and then the other: each time the rest does.
    for (gone, left, text) in [(&first, &second, "two"), (&second, &first, "three")] {
        left.set(Fault::None);
        gone.set(Fault::Silent);
        changed(&gateway, &etcd, text).await;
        gone.set(Fault::Reset);
        changed(&gateway, &etcd, &format!("{text}-again")).await;
    }
    assert_eq!(told(&gateway, 0, "ERROR", ""), 0, "{}", gateway.log().text());
    let from = gateway.log().len();
    first.set(Fault::Silent);
    until(&gateway, from, "that none answers", GONE).await;
    assert_eq!(up().await, 0.0);
    second.set(Fault::None);
    until(&gateway, from, "that one does", BACK).await;
    changed(&gateway, &etcd, "four").await;
    assert_eq!((told(&gateway, from, "ERROR", GONE), up().await), (1, 1.0));
}

/// Answers of the JSON gateway, one good and many that are not: each with what must be told of it.
fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let ok = |body: &str| http(&["HTTP/1.1 200 OK", &format!("Content-Length: {}", body.len())], body);
    // Each value is of a revision of its own: what has not changed since is not read again.
    let range = |revision: &str, value: &str| {
        let key = BASE64.encode("/prod/main.yaml");
        let pair = json!({ "key": key, "mod_revision": revision, "value": value });
        ok(&json!({ "header": { "revision": revision }, "kvs": [pair], "count": "1" }).to_string())
    };
    let status = |line: &str| http(&[line, "Content-Length: 0"], "");
    let endless = [http(&["HTTP/1.1 200 OK", "Connection: close"], ""), vec![b' '; 100 << 20]].concat();
    let announced = http(&["HTTP/1.1 200 OK", "Content-Length: 104857600", "Connection: close"], "{");
    let halting = http(&["HTTP/1.1 200 OK", "Content-Length: 1000"], "{\"header\"");
    vec![
        ("", range("7", &BASE64.encode(format!("{MAIN}{}", answering("one"))))),
        ("the server answered 500", status("HTTP/1.1 500 Internal Server Error")),
        ("cannot be understood", ok("<html>")),
        ("cannot be understood", ok(r#"{"ok":true}"#)),
        ("it is not base64", range("8", "%%%")),
        ("is not text in UTF-8", range("9", &BASE64.encode([0xff, 0xfe]))),
        ("the answer is larger than 86 MiB", endless),
        ("the answer is larger than 86 MiB", announced),
        ("no answer within 1s", halting),
        ("the server answered 301", status("HTTP/1.1 301 Moved Permanently")),
        ("there is nothing below this prefix", ok(r#"{"header":{"revision":"9"}}"#)),
        ("", b"\x16\x03\x01 no HTTP at all\r\n\r\n".to_vec()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_make_no_sense_change_nothing() {
    let answers = Arc::new(answers());
    let chosen = Arc::new(AtomicUsize::new(0));
    let etcd = Upstream::with({
        let (answers, chosen) = (answers.clone(), chosen.clone());
        move |request| match (request.target.as_str(), chosen.load(SeqCst)) {
            // A watch that ends at once: then the small questions alone find what has changed.
            ("/v3/watch", 0) => http(&["HTTP/1.1 200 OK", "Connection: close"], "{\"result\":{\"created\":true}}\n"),
            (_, chosen) => answers[chosen].1.clone(),
        }
    })
    .await;
    let source = format!("etcd://{etcd}/prod/?timeout=1s");
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    assert_eq!(said(&gateway).await, "one");
    let before = gateway.memory_bytes();
    for (number, (why, _)) in answers.iter().enumerate().skip(1) {
        let from = gateway.log().len();
        chosen.store(number, SeqCst);
        let line = until(&gateway, from, why, GONE).await;
        assert!(line.text.contains(why), "{why}: {}", line.text);
        assert_eq!(said(&gateway).await, "one");
        chosen.store(0, SeqCst);
        until(&gateway, from, "that it is back", BACK).await;
        assert_eq!(told(&gateway, from, "ERROR", GONE), 1, "{why}: {}", gateway.log().text());
    }
    let grown = gateway.memory_bytes().saturating_sub(before);
    #[allow(clippy::print_stderr, reason = "a figure for whoever looks")]
    {
        eprintln!("answers of 100 MiB: resident memory grew by {} KiB", grown >> 10);
    }
    // The largest answer is read into memory at most, and given back.
    assert!(grown < 256 << 20, "{grown} bytes more");
    let generation = gateway.admin().get("/api/status").await.json()["generation"].as_u64();
    assert_eq!(generation, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_configuration_is_refused_once_and_starts_nothing_anew() {
    let Some(etcd) = Etcd::start().await else { return };
    let source = format!("etcd://{}/prod/", etcd.address());
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    for garbage in ["routes: [", "version: 1\nroutes: 7\n", "\u{0}\u{1}"] {
        let from = gateway.log().len();
        etcd.put("/prod/main.yaml", garbage).await;
        let line = until(&gateway, from, "that it is refused", "reload failed").await;
        assert!(line.text.contains("/prod/main.yaml"), "{}", line.text);
        assert_eq!(said(&gateway).await, "one");
    }
    // A start finds the same garbage, and what served last.
    let folder = gateway.killed().await;
    let gateway = GATEWAY.start_on(folder, &[&source]).await;
    let from = 0;
    let line =
        until(&gateway, from, "why it is started on", "what the source of the configuration has is refused").await;
    assert_eq!(line.level(), "ERROR");
    assert!(line.text.contains("what it served last is started on"), "{}", line.text);
    assert_eq!(said(&gateway).await, "one");
    let from = gateway.log().len();
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("two"))).await;
    until(&gateway, from, "what is good again", "reloaded").await;
    assert_eq!(said(&gateway).await, "two");
}

/// The files of what a source served, in the folder that all gateways of these tests have in common.
fn kept(source: &str) -> Vec<std::path::PathBuf> {
    let digest = harness::sha256(source.as_bytes());
    let folder = std::path::Path::new(GATEWAY.scratch()).join("witgate/config").join(&digest[..16]);
    let entries = std::fs::read_dir(folder).expect("something was kept").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_configuration_that_is_damaged_is_named_and_the_one_before_is_started_on() {
    let Some(mut etcd) = Etcd::start().await else { return };
    let source = format!("etcd://{}/prod/", etcd.address());
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    let from = gateway.log().len();
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("two"))).await;
    until(&gateway, from, "the change", "reloaded").await;
    let place = gateway.killed().await;
    etcd.kill().await;

    let files = kept(&source);
    let [first, second] = files.as_slice() else { panic!("two are kept: {files:?}") };
    let text = std::fs::read_to_string(second).expect("a kept one is text");
    std::fs::write(second, text.replace("two", "2wo")).expect("it can be written");
    let gateway = GATEWAY.start_on(place, &[&source]).await;
    let line = until(&gateway, 0, "which is damaged", "a kept configuration is passed over").await;
    assert!(line.text.contains(second.to_str().expect("a plain name")) && line.text.contains("delete the file"));
    assert_eq!(said(&gateway).await, "one");
    let place = gateway.killed().await;

    for file in kept(&source) {
        std::fs::write(file, "?").expect("it can be written");
    }
    let Output { code, stderr, .. } = GATEWAY.try_start_on(place, &[&source]).await.err().expect("nothing is left");
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("cannot read etcd://"), "{stderr}");
    assert!(first.exists() && stderr.contains(".json is damaged") && stderr.contains("delete the file"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_over_tls_wants_certificates_of_both_sides_and_a_password() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = tempfile::tempdir().expect("the system gives a temporary folder");
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, text).expect("it takes files");
        path
    };
    let (cert, key) =
        authority.issue(Wanted { names: &["localhost"], ..Wanted::default() }).write(files.path(), "server");
    // With a password besides, etcd wants no common name in a certificate that comes to its JSON gateway.
    authority.issue(Wanted::default()).write(files.path(), "gateway");
    authority.issue(Wanted { common_name: Some("gateway"), ..Wanted::default() }).write(files.path(), "named");
    other.issue(Wanted { common_name: Some("gateway"), ..Wanted::default() }).write(files.path(), "stranger");
    let client_ca = write("ca.pem", &authority.pem());
    write("other-ca.pem", &other.pem());
    let Some(mut etcd) = Etcd::start_with(EtcdTls { cert, key, client_ca }).await else { return };
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    etcd.ask_for("hunter2").await;

    let port = etcd.secure().port();
    let place = |more: &str| format!("etcds://localhost:{port}/prod/?user=root&password=file:password&{more}");
    let folder = || -> TempDir {
        let folder = folder();
        for file in std::fs::read_dir(files.path()).expect("a folder").map(|file| file.expect("a file")) {
            std::fs::copy(file.path(), folder.path().join(file.file_name())).expect("it takes files");
        }
        std::fs::write(folder.path().join("password"), "hunter2\n").expect("it takes files");
        folder
    };
    for (options, why) in [
        ("ca=other-ca.pem&cert=gateway.pem&key=gateway.key", "name it by `ca=PATH`"),
        ("cert=gateway.pem&key=gateway.key", "name it by `ca=PATH`"),
        ("ca=ca.pem", "`cert=PATH` and `key=PATH`"),
        ("ca=ca.pem&cert=stranger.pem&key=stranger.key", "`cert=PATH` and `key=PATH`"),
        ("ca=ca.pem&cert=named.pem&key=named.key", "the server answered 400 Bad Request: CommonName of client"),
        ("ca=none.pem", "none.pem: No such file"),
    ] {
        let refused = GATEWAY.try_start_on(folder(), &[&place(options)]).await.err().expect(why);
        assert!(refused.stderr.contains(why), "{options}: {}", refused.stderr);
        assert!(!refused.stderr.contains("hunter2"));
    }

    let good = "ca=ca.pem&cert=gateway.pem&key=gateway.key";
    let gateway = GATEWAY.start_on(folder(), &[&place(good)]).await;
    assert_eq!(said(&gateway).await, "one");
    let from = gateway.log().len();
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("two"))).await;
    until(&gateway, from, "the change", "reloaded").await;
    assert_eq!(said(&gateway).await, "two");

    // While the server is away, certificates are renewed: the new ones are read when it cannot be reached.
    let from = gateway.log().len();
    etcd.kill().await;
    until(&gateway, from, "that the server is gone", GONE).await;
    let renewed = authority.issue(Wanted { serial: Some(77), ..Wanted::default() });
    renewed.write(gateway.folder(), "gateway");
    etcd.restart().await;
    until(&gateway, from, "that it is back", BACK).await;
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("three"))).await;
    until(&gateway, from, "the change", "reloaded").await;
    assert_eq!(said(&gateway).await, "three");
    assert!(!gateway.log().text().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_too_old_is_had_anew() {
    let Some(mut etcd) = Etcd::start().await else { return };
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    etcd.ask_for("hunter2").await;
    let folder = folder();
    std::fs::write(folder.path().join("password"), "hunter2\n").expect("it takes files");
    let source = format!("etcd://{}/prod/?user=root&password=file:password&timeout=1s", etcd.address());
    let gateway = GATEWAY.start_on(folder, &[&source]).await;
    // Users and roles have changed, and the server has forgotten whom it let in.
    etcd.kill().await;
    etcd.restart().await;
    let from = gateway.log().len();
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("two"))).await;
    gateway.log().wait_from(0, "the change", |line: &Line| line.message() == "reloaded").await;
    assert_eq!(said(&gateway).await, "two");
    etcd.add_user("somebody").await;
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("three"))).await;
    gateway.log().wait_from(from, "the change", |line: &Line| line.message() == "reloaded").await;
    harness::within("what came last", async {
        while said(&gateway).await != "three" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
