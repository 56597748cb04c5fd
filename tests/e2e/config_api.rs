//! The configuration over the admin API: read with its secrets masked, checked, replaced, gone back to.

use std::fs;

use harness::{Admin, Gateway, Line, yaml};
use serde_json::{Value, json};

use crate::GATEWAY;

fn answering(text: &str) -> String {
    yaml(
        "version: 1\nadmin: { address: '127.0.0.1:0' }\nstate_dir: state\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\nstores: { s: { redis: 'redis://me:hunter2@127.0.0.1:1' } }\nroutes: [{ name: all, respond: { body: '<text>' } }]\n",
        &[("text", &text)],
    )
}

async fn put(admin: &Admin, tag: &str, text: &str) -> (u16, Value) {
    let said = admin.ask("PUT /api/config", &[&format!("If-Match: {tag}")], text).await;
    (said.status, serde_json::from_slice(&said.body).expect("an answer is JSON"))
}

async fn said(gateway: &Gateway) -> String {
    gateway.client().await.get("/").await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_replaced_by_whoever_has_seen_it() {
    let gateway = GATEWAY.start(answering("one")).await;
    let admin = gateway.admin();
    let shown = admin.get("/api/config").await;
    let tag = shown.field("etag").expect("it has a tag").to_owned();
    let document = shown.json()["documents"][0]["text"].as_str().expect("a text").to_owned();
    assert!(document.contains("me:<masked>@") && !document.contains("hunter2"), "{document}");

    // What was masked is not written back, and what was not seen is not written over.
    assert_eq!(put(&admin, &tag, &document).await.0, 400);
    assert_eq!(put(&admin, "\"other\"", &answering("two")).await.0, 412);
    let (status, faults) = put(&admin, &tag, &answering("two").replace("respond", "respnd")).await;
    assert_eq!((status, &faults["faults"][0]["line"]), (400, &json!(6)), "{faults}");
    assert_eq!(said(&gateway).await, "one");

    let (status, report) = put(&admin, &tag, &answering("two")).await;
    assert_eq!((status, &report["generation"]), (200, &json!(2)), "{report}");
    assert_eq!(said(&gateway).await, "two");
    let file = fs::read_to_string(gateway.folder().join("gateway.yaml")).expect("the file is there");
    assert_eq!(file, answering("two"));
    assert_eq!(put(&admin, &tag, &answering("three")).await.0, 412, "the tag is that of the one before");

    // Nor is what somebody wrote to the file meanwhile.
    gateway.write_config(answering("by hand"));
    assert_eq!(put(&admin, "*", &answering("three")).await.0, 412);
    assert_eq!(said(&gateway).await, "two");
    let metric = r#"witgate_config_reloads_total{outcome="ok",source="api"}"#;
    assert_eq!(admin.metric(metric).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_one_file_is_replaced_where_it_comes_from() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    fs::write(folder.path().join("gateway.yaml"), answering("one")).expect("it takes files");
    fs::write(folder.path().join("over.yaml"), "routes: [{ name: all, timeout: 5s }]\n").expect("it takes files");
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml", "over.yaml"]).await;
    let (status, problem) = put(&gateway.admin(), "*", &answering("two")).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("over.yaml")), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_may_be_checked_without_serving() {
    let gateway = GATEWAY.start(answering("one")).await;
    let admin = gateway.admin();
    let good = admin.ask("POST /api/config/validate", &[], answering("two")).await.json();
    assert_eq!((&good["routes"], &good["upstreams"]), (&json!(1), &json!(0)), "{good}");
    assert!(good["warnings"][0]["message"].as_str().is_some_and(|text| text.contains("store `s`")), "{good}");
    let bad = admin.ask("POST /api/config/validate", &[], "version: 1\n").await;
    assert_eq!(bad.status, 400, "{}", bad.text());
    assert!(bad.text().contains("missing key `listeners`"), "{}", bad.text());
    assert_eq!(said(&gateway).await, "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_served_before_may_serve_again() {
    let mut gateway = GATEWAY.start(answering("one")).await;
    gateway.reload(answering("two")).await;
    gateway.reload(answering("three")).await;
    let history = gateway.admin().get("/api/config/history").await.json();
    let kept: Vec<_> = history.as_array().expect("a list").iter().map(|one| (&one["number"], &one["serves"])).collect();
    assert_eq!(kept, [(&json!(3), &json!(true)), (&json!(2), &json!(false)), (&json!(1), &json!(false))]);

    let back = gateway.command(&["rollback-config"]).await;
    assert!(back.code == 0 && back.stdout.contains("the configuration 2 of"), "{back:?}");
    assert_eq!(said(&gateway).await, "two");
    let status = gateway.admin().get("/api/status").await.json();
    assert_eq!(status["config"]["rolled_back"], true, "{status}");
    let shown = gateway.command(&["status"]).await;
    assert!(shown.stdout.contains("somebody went back"), "{}", shown.stdout);

    let back = gateway.command(&["rollback-config"]).await;
    assert!(back.code == 0 && back.stdout.contains("the configuration 1 of"), "{back:?}");
    assert_eq!(said(&gateway).await, "one");
    let none = gateway.command(&["rollback-config", "77"]).await;
    assert!(none.code == 1 && none.stderr.contains("77"), "{none:?}");

    // What the file says takes effect again with the next reload.
    let from = gateway.log().len();
    gateway.signal(rustix::process::Signal::HUP);
    gateway.log().wait_from(from, "the reload", |line: &Line| line.message() == "reloaded").await;
    assert_eq!(said(&gateway).await, "three");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_are_kept_and_no_secret_of_the_environment_is_among_them() {
    let text = |text: &str| answering(text).replace("version: 1", "version: 1\nconfig: { history: 2 }");
    let mut gateway = GATEWAY.start(text("${env:NO_COLOR}")).await;
    for round in 0..3 {
        gateway.reload(text(&format!("{round} ${{env:XDG_STATE_HOME}}"))).await;
    }
    let history = gateway.admin().get("/api/config/history").await.json();
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    let folder = gateway.folder().join("state/config");
    let folder = fs::read_dir(folder).expect("it is kept").next().expect("one source").expect("a folder").path();
    for entry in fs::read_dir(folder).expect("it is kept") {
        let kept = fs::read_to_string(entry.expect("a file").path()).expect("it is text");
        assert!(kept.contains("${env:XDG_STATE_HOME}"), "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_gateway_explains_requests() {
    let gateway = GATEWAY.start(answering("one")).await;
    let body = json!({ "method": "GET", "url": "http://a/b", "headers": { "x-a": "1" } }).to_string();
    let told = gateway.admin().ask("POST /api/explain", &[], body).await.json();
    assert_eq!((&told["route"]["name"], &told["target"]["respond"]["status"]), (&json!("all"), &json!(200)), "{told}");
    let wrong = gateway.admin().ask("POST /api/explain", &[], r#"{"method":"GET","url":"x"}"#).await;
    assert_eq!(wrong.status, 400, "{}", wrong.text());
}
