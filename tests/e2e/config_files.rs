//! A configuration of files: several of them, folders, files of teams within bounds, and what happens when they change.

use std::fs;
use std::path::Path;

use harness::{Client, Gateway, Line, within};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::GATEWAY;

const MAIN: &str = "version: 1\nstate_dir: state\nadmin: { address: '127.0.0.1:0' }\n\
    listeners: [{ name: http, address: 127.0.0.1:0 }]\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    files.iter().for_each(|(name, text)| put(folder.path(), name, text));
    folder
}

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a temporary folder takes folders");
    harness::put(&path, text);
}

fn answering(path: &str, text: &str) -> String {
    format!("routes: [{{ name: {text}, match: {{ path: {{ prefix: '{path}' }} }}, respond: {{ body: {text} }} }}]\n")
}

async fn said(gateway: &Gateway, path: &str) -> String {
    Client::connect(gateway.listener("http")).await.get(path).await.text()
}

async fn reloaded(gateway: &Gateway, from: usize) -> Line {
    let done = |line: &Line| matches!(line.message(), "reloaded" | "reload failed");
    gateway.log().wait_from(from, "that the reload is over", done).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_sources_are_one_configuration() {
    let folder = folder(&[
        ("gateway.yaml", MAIN),
        ("routes/10.yaml", &answering("/", "base")),
        ("routes/20.yaml", &answering("/a", "team")),
        ("over.yaml", "routes: [{ name: base, respond: { body: laid-over } }]\n"),
    ]);
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml", "routes", "over.yaml"]).await;
    assert_eq!(said(&gateway, "/").await, "laid-over");
    assert_eq!(said(&gateway, "/a").await, "team");
    let status = gateway.admin().get("/api/status").await.json();
    assert_eq!(status["config_source"], "gateway.yaml, routes, over.yaml");
    put(gateway.folder(), "routes/30.yaml", &answering("/b", "late"));
    let from = gateway.log().len();
    gateway.signal(Signal::HUP);
    assert_eq!(reloaded(&gateway, from).await.message(), "reloaded");
    assert_eq!(said(&gateway, "/b").await, "late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_one_team_does_not_block_the_others() {
    let include = "include: [{ path: teams/a.yaml, allow: {}, on_fault: keep-last }, { path: teams/b.yaml, allow: {}, on_fault: keep-last }]\n";
    let folder = folder(&[
        ("gateway.yaml", &format!("{MAIN}{include}")),
        ("teams/a.yaml", &answering("/a", "a-one")),
        ("teams/b.yaml", &answering("/b", "b-one")),
    ]);
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml"]).await;
    let held = async || gateway.admin().get("/api/status").await.json()["config"]["held"].clone();
    // A fault of the language, one of a pattern, and one of a filter: each is found at another stage.
    for (number, fault) in [
        (2, "routes: [{ name: a, respnd: {} }]\n"),
        (3, "routes: [{ name: a, match: { path: { regex: '(' } }, respond: {} }]\n"),
        (4, "routes: [{ name: a, filters: [{ use: compress, config: { levl: 1 } }], respond: {} }]\n"),
        (5, "routes: [{ name: a\n"),
    ] {
        put(gateway.folder(), "teams/a.yaml", fault);
        put(gateway.folder(), "teams/b.yaml", &answering("/b", &format!("b-{number}")));
        let from = gateway.log().len();
        gateway.signal(Signal::HUP);
        assert_eq!(reloaded(&gateway, from).await.message(), "reloaded", "{fault}");
        assert_eq!(said(&gateway, "/a").await, "a-one", "the last good version stays: {fault}");
        assert_eq!(said(&gateway, "/b").await, format!("b-{number}"));
        let held = held().await;
        assert!(held.to_string().contains("teams/a.yaml") && !held.to_string().contains("teams/b.yaml"), "{held}");
    }
    // A start knows what served last, too.
    let folder = gateway.killed().await;
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml"]).await;
    assert_eq!(said(&gateway, "/a").await, "a-one");
    assert!(gateway.log().text().contains("its last good version stays"));
    put(gateway.folder(), "teams/a.yaml", &answering("/a", "a-two"));
    let from = gateway.log().len();
    gateway.signal(Signal::HUP);
    reloaded(&gateway, from).await;
    assert_eq!(said(&gateway, "/a").await, "a-two");
    let status = gateway.admin().get("/api/status").await.json();
    assert_eq!(status["config"]["held"], serde_json::json!({}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_outside_of_what_may_be_kept_blocks_the_reload() {
    let include = "include: [{ path: teams/*.yaml }]\n";
    let folder = folder(&[("gateway.yaml", &format!("{MAIN}{include}")), ("teams/a.yaml", &answering("/a", "one"))]);
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml"]).await;
    put(gateway.folder(), "teams/a.yaml", "routes: [{ name: a }]\n");
    let from = gateway.log().len();
    gateway.signal(Signal::HUP);
    let line = reloaded(&gateway, from).await;
    assert_eq!(line.message(), "reload failed");
    assert!(line.text.contains("teams/a.yaml:1:"), "{}", line.text);
    assert_eq!(said(&gateway, "/a").await, "one");
}

const WATCHED: &str = "config: { reload: watch }\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_watched_takes_effect_by_itself() {
    let text = |word: &str| format!("{MAIN}{WATCHED}{}", answering("/", word));
    let folder = folder(&[("gateway.yaml", &text("one"))]);
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml"]).await;
    let from = gateway.log().len();
    put(gateway.folder(), "gateway.yaml", &text("two"));
    assert_eq!(reloaded(&gateway, from).await.field("source"), Some("watch"));
    assert_eq!(said(&gateway, "/").await, "two");
    // What is refused is told of once, and changes nothing; the same bytes again are no change at all.
    let from = gateway.log().len();
    put(gateway.folder(), "gateway.yaml", "version: 2\n");
    assert_eq!(reloaded(&gateway, from).await.message(), "reload failed");
    put(gateway.folder(), "gateway.yaml", "version: 2\n");
    put(gateway.folder(), "gateway.yaml", &text("three"));
    gateway.log().wait_from(from, "the next good one", |line| line.message() == "reloaded").await;
    assert_eq!(said(&gateway, "/").await, "three");
    let failed = gateway.log().lines()[from..].iter().filter(|line| line.message() == "reload failed").count();
    assert_eq!(failed, 1);
    let metric = |outcome: &str| format!(r#"witgate_config_reloads_total{{outcome="{outcome}",source="watch"}}"#);
    let admin = gateway.admin();
    assert_eq!((admin.metric(&metric("ok")).await, admin.metric(&metric("failed")).await), (2.0, 1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_whose_link_is_swapped_is_a_folder_that_changed() {
    // As Kubernetes has it: files lead through `..data` to a folder of their own, and the link changes all of them at once.
    let folder = folder(&[
        ("gateway.yaml", "state_dir: state\n"),
        ("conf/..one/main.yaml", &format!("{MAIN}{WATCHED}")),
        ("conf/..one/routes.yaml", &answering("/", "one")),
        ("conf/..two/main.yaml", &format!("{MAIN}{WATCHED}")),
        ("conf/..two/routes.yaml", &answering("/", "two")),
    ]);
    let conf = folder.path().join("conf");
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, conf.join(name)).expect("links can be made");
    link("..one", "..data");
    link("..data/main.yaml", "main.yaml");
    link("..data/routes.yaml", "routes.yaml");
    let state = folder.path().join("state");
    put(&conf, "..one/state.yaml", "");
    put(folder.path(), "gateway.yaml", &format!("state_dir: {}\n", state.display()));
    let gateway = GATEWAY.start_on(folder, &["conf", "gateway.yaml"]).await;
    assert_eq!(said(&gateway, "/").await, "one");
    let from = gateway.log().len();
    let conf = gateway.folder().join("conf");
    std::os::unix::fs::symlink("..two", conf.join("..new")).expect("links can be made");
    fs::rename(conf.join("..new"), conf.join("..data")).expect("a link can be swapped");
    assert_eq!(reloaded(&gateway, from).await.message(), "reloaded");
    assert_eq!(said(&gateway, "/").await, "two");

    // A folder that is gone changes nothing, is told of once, and may come back.
    let from = gateway.log().len();
    fs::rename(&conf, gateway.folder().join("away")).expect("a folder can be renamed");
    let gone = |line: &Line| {
        line.message().starts_with("the source of the configuration cannot be read")
            || line.message() == "reload failed"
    };
    gateway.log().wait_from(from, "that the folder is gone", gone).await;
    assert_eq!(said(&gateway, "/").await, "two");
    let away = gateway.folder().join("away");
    put(&away, "more.yaml", &answering("/more", "three"));
    fs::rename(away, &conf).expect("a folder can be renamed");
    gateway.log().wait_from(from, "what came back", |line| line.message() == "reloaded").await;
    assert_eq!(said(&gateway, "/more").await, "three");
    let told = gateway.log().lines()[from..].iter().filter(|line| gone(line)).count();
    assert_eq!(told, 1, "{}", gateway.log().text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_follows_its_file() {
    let people = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/people.htpasswd")).expect("text");
    let (_, hash) = people.lines().find_map(|line| line.split_once(':')).expect("somebody is in it");
    let main = format!(
        "{MAIN}secrets: {{ people: {{ file: people }} }}\nroutes:\n- name: all\n  filters: [{{ use: basic-auth, config: {{ htpasswd: 'secret://people' }} }}]\n  respond: {{ body: inside }}\n"
    );
    let folder = folder(&[("gateway.yaml", &main), ("people", &format!("ada:{hash}\n"))]);
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml"]).await;
    let from = gateway.log().len();
    put(gateway.folder(), "people", &format!("bob:{hash}\n"));
    let line = reloaded(&gateway, from).await;
    assert_eq!((line.message(), line.field("source")), ("reloaded", Some("secret")));
    // One that is gone for a moment changes nothing.
    let admin = gateway.admin();
    fs::remove_file(gateway.folder().join("people")).expect("it is there");
    within("a while", async {
        for _ in 0..50 {
            assert_eq!(admin.get("/api/status").await.json()["generation"], 2);
        }
    })
    .await;
}
