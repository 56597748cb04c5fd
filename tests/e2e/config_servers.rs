//! A configuration in etcd, the real one where it is installed. What may go wrong there: `config_outages`. Consul: `config_consul`.

use harness::{Etcd, Gateway, Line, Output};
use tempfile::TempDir;

use crate::GATEWAY;

/// A folder with the file that tells tests where the state is.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    std::fs::write(folder.path().join("gateway.yaml"), "state_dir: state\n").expect("it takes files");
    folder
}

pub(crate) const MAIN: &str = "version: 1\nstate_dir: state\nadmin: { address: '127.0.0.1:0' }\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\n";

pub(crate) fn answering(text: &str) -> String {
    format!("routes: [{{ name: all, respond: {{ body: {text} }} }}]\n")
}

pub(crate) async fn said(gateway: &Gateway) -> String {
    gateway.client().await.get("/").await.text()
}

pub(crate) async fn until(gateway: &Gateway, from: usize, what: &str, message: &str) -> Line {
    gateway.log().wait_from(from, what, |line: &Line| line.message().starts_with(message)).await
}

const GONE: &str = "the source of the configuration cannot be read";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_in_etcd_is_a_configuration_that_follows_it() {
    let Some(mut etcd) = Etcd::start().await else { return };
    etcd.put("/prod/10-main.yaml", MAIN).await;
    etcd.put("/prod/20-routes.yaml", &answering("one")).await;
    etcd.put("/production/30.yaml", "no: configuration\n").await;
    let source = format!("etcd://{}/prod", etcd.address());
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    assert_eq!(said(&gateway).await, "one");

    let from = gateway.log().len();
    etcd.put("/prod/20-routes.yaml", &answering("two")).await;
    let line = until(&gateway, from, "the change", "reloaded").await;
    assert_eq!(line.field("source"), Some("etcd"));
    assert_eq!(said(&gateway).await, "two");

    // Faults point into the key, and change nothing.
    let from = gateway.log().len();
    etcd.put("/prod/20-routes.yaml", "routes: [{ nme: all }]\n").await;
    let line = until(&gateway, from, "the fault", "reload failed").await;
    assert!(line.text.contains(&format!("etcd://{}/prod/20-routes.yaml:1:", etcd.address())), "{}", line.text);
    assert_eq!(said(&gateway).await, "two");

    // A compaction that the watch does not survive.
    etcd.compact().await;
    let from = gateway.log().len();
    etcd.put("/prod/20-routes.yaml", &answering("three")).await;
    etcd.compact().await;
    until(&gateway, from, "what came after the compaction", "reloaded").await;
    assert_eq!(said(&gateway).await, "three");

    // The server is gone, serves again, and was changed meanwhile.
    let from = gateway.log().len();
    etcd.kill().await;
    until(&gateway, from, "that the server is gone", GONE).await;
    assert_eq!(said(&gateway).await, "three");
    let status = gateway.admin().get("/api/status").await.json();
    assert!(status["config"]["source_error"].is_string(), "{status}");
    etcd.restart().await;
    etcd.put("/prod/20-routes.yaml", &answering("four")).await;
    until(&gateway, from, "what came after the restart", "reloaded").await;
    assert_eq!(said(&gateway).await, "four");

    // Nothing at all is taken for a mistake.
    let from = gateway.log().len();
    etcd.delete("/prod/10-main.yaml").await;
    etcd.delete("/prod/20-routes.yaml").await;
    until(&gateway, from, "that nothing is left", GONE).await;
    assert_eq!(said(&gateway).await, "four");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_on_what_served_last_while_its_server_is_gone() {
    let Some(mut etcd) = Etcd::start().await else { return };
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    let source = format!("etcd://{}/prod/", etcd.address());
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    assert_eq!(said(&gateway).await, "one");
    etcd.kill().await;
    let folder = gateway.killed().await;
    let gateway = GATEWAY.start_on(folder, &[&source]).await;
    assert_eq!(said(&gateway).await, "one");
    let log = gateway.log().text();
    assert!(log.contains("what it served last is started on"), "{log}");
    let from = gateway.log().len();
    etcd.restart().await;
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("two"))).await;
    until(&gateway, from, "what the server has", "reloaded").await;
    assert_eq!(said(&gateway).await, "two");
    // A source that never gave anything has nothing to fall back on.
    etcd.kill().await;
    let other = format!("etcd://{}/other/", etcd.address());
    let Output { code, stderr, .. } =
        GATEWAY.try_start_on(self::folder(), &[&other]).await.err().expect("it cannot start");
    assert!(code == 1 && stderr.contains("cannot read etcd://"), "{code}: {stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_may_ask_who_reads() {
    let Some(mut etcd) = Etcd::start().await else { return };
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    etcd.ask_for("hunter2").await;
    let folder = folder();
    std::fs::write(folder.path().join("password"), "hunter2\n").expect("it takes files");
    let anybody = format!("etcd://{}/prod/", etcd.address());
    let refused = GATEWAY.try_start_on(self::folder(), &[&anybody]).await.err().expect("nobody is let in unasked");
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    let gateway = GATEWAY.start_on(folder, &[&format!("{anybody}?user=root&password=file:password")]).await;
    let status = gateway.admin().get("/api/status").await.json();
    assert_eq!(status["config_source"], anybody, "what it is let in by is not shown");
    let from = gateway.log().len();
    etcd.put("/prod/main.yaml", &format!("{MAIN}{}", answering("two"))).await;
    until(&gateway, from, "the change", "reloaded").await;
    assert_eq!(said(&gateway).await, "two");
    assert!(!gateway.log().text().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_has_so_many_keys_and_no_more() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.put("/prod/a-main.yaml", &format!("{MAIN}{}", answering("one"))).await;
    let source = format!("etcd://{}/prod/", etcd.address());
    let gateway = GATEWAY.start_on(folder(), &[&source]).await;
    let from = gateway.log().len();
    for number in 0..1024 {
        etcd.put(&format!("/prod/x{number}"), "{}").await;
    }
    let line = until(&gateway, from, "that it is too much", GONE).await;
    assert!(line.text.contains("more than 1024 keys"), "{}", line.text);
    assert_eq!(said(&gateway).await, "one");
}
