//! `witgate plugin run` and `plugin bench`: one plugin through the real runtime, without a server.

use harness::{Output, guest};
use serde_json::{Value, json};

use crate::GATEWAY;

/// Exit codes of contract §2.
const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const PLUGIN: i32 = 4;

async fn run(component: &str, config: &Value, more: &[&str]) -> Output {
    let config = config.to_string();
    GATEWAY.run(&[&["plugin", "run", component, "--config", &config], more].concat()).await
}

async fn played(component: &str, config: &Value, more: &[&str]) -> Value {
    let output = run(component, config, &[more, &["--format", "json"]].concat()).await;
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("one JSON value, not {output:?}"))
}

fn path(name: &str) -> String {
    guest(name).display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_shown_with_what_became_of_it() {
    let config = json!({
        "request": { "path": { "strip_prefix": "/api" }, "headers": { "set": { "x-a": "1" }, "remove": ["x-gone"] } },
        "response": { "headers": { "add": { "x-b": "2" } } },
    });
    let request = ["GET /api/users?id=1", "-H", "x-gone: y", "--answer", "hello"];
    let output = run("builtin:rewrite", &config, &request).await;
    assert_eq!(output.code, 0, "{output:?}");
    let expected = "request   next
          target: /users?id=1
          - x-gone
          + x-a: 1
response  200
          x-b: 2
          body: 5 bytes, hello
";
    assert_eq!(output.stdout, expected);
    let told = played("builtin:rewrite", &config, &request).await;
    assert_eq!(told["request"]["edits"], json!(["target: /users?id=1", "- x-gone", "+ x-a: 1"]));
    assert_eq!(told["response"], json!({ "status": 200, "headers": [["x-b", "2"]], "body": "hello" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_failures_and_bodies_are_shown_too() {
    let told = played(&path("reply"), &json!({ "status": 403, "body": "no" }), &[]).await;
    assert_eq!((&told["request"]["verdict"], &told["response"]["status"]), (&json!("respond"), &json!(403)), "{told}");
    assert_eq!(told["response"]["body"], "no");

    let output = run(&path("trap"), &json!({ "on": "request" }), &[]).await;
    assert!(output.code == FAILURE && output.stdout.contains("failure   filter `it` trapped"), "{output:?}");

    let upper = json!({ "in": "request", "do": "upper" });
    let told = played(&path("body-edit"), &upper, &["POST /", "--body", "hello"]).await;
    assert_eq!(told["request"]["body"], "HELLO", "{told}");
    let told = played(&path("body-edit"), &json!({ "in": "response", "do": "upper" }), &["--answer", "hello"]).await;
    assert_eq!(told["response"]["body"], "HELLO", "{told}");
    let told = played(&path("body-edit"), &json!({ "in": "request", "do": "abort" }), &["POST /", "--body", "x"]).await;
    assert_eq!((&told["request"]["verdict"], &told["response"]["status"]), (&json!("respond"), &json!(422)), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_played_is_refused() {
    let rewrite = "builtin:rewrite";
    let output = run(rewrite, &json!({ "requset": {} }), &[]).await;
    assert!(output.code == PLUGIN && output.stderr.contains("did you mean `request`?"), "{output:?}");
    let output = run(&path("kv"), &json!({ "store": "a" }), &[]).await;
    assert!(output.code == PLUGIN && output.stderr.contains("grants"), "{output:?}");
    let output = run("no-such-file.wasm", &json!({}), &[]).await;
    assert!(output.code == PLUGIN && output.stderr.contains("`no-such-file.wasm` is no file"), "{output:?}");
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let output = run(&folder.path().display().to_string(), &json!({}), &[]).await;
    assert!(output.code == PLUGIN && output.stderr.contains("witgate plugin new NAME"), "{output:?}");
    for (more, words) in [
        (&["GET"][..], "`GET` is no target"),
        (&["G(T /"], "`G(T` is no method"),
        (&["GET http://a/"], "is no target"),
        (&["GET /", "-H", "x"], "`x` is no field"),
        (&["GET /", "--body", "@no-such-file"], "no-such-file"),
        (&["GET /", "--config", "{"], "--config"),
    ] {
        let output = run(rewrite, &json!({}), more).await;
        assert!(output.code == USAGE && output.stderr.contains(words), "{output:?}");
    }
    let output = GATEWAY.run(&["plugin", "run", rewrite, "--config", "{"]).await;
    assert!(output.code == USAGE && output.stderr.contains("the config is not JSON"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_grants_a_declared_plugin_what_it_needs() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let file = folder.path().join("gateway.yaml");
    let text = format!(
        "version: 1\nlisteners: [{{ name: http, address: 127.0.0.1:0 }}]\nstores: {{ local: {{ memory: 1MiB }} }}\nplugins: {{ box: {{ source: 'file:{}', grants: {{ stores: [local] }} }} }}\n",
        path("kv")
    );
    std::fs::write(&file, text).expect("a temporary folder takes files");
    let file = file.display().to_string();
    let told = played("box", &json!({ "store": "local" }), &["GET /", "-H", "x-do: increment a 5", "-c", &file]).await;
    assert_eq!(told["response"]["body"], "5", "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_earlier_filters_told_can_be_given() {
    let config = json!({ "rules": [{ "when": "user == 'ada' && claims.plan == 'free'", "deny": { "status": 402 } }] });
    let told = |plan: &'static str| {
        let claims = format!("claims={}", json!({ "plan": plan }));
        let config = &config;
        async move { played("builtin:policy", config, &["--attribute", "user=ada", "--attribute", &claims]).await }
    };
    assert_eq!(told("free").await["response"]["status"], 402);
    assert_eq!(told("gold").await["response"]["status"], 200);
    let output = run("builtin:policy", &config, &["--attribute", "user"]).await;
    assert!(output.code == USAGE && output.stderr.contains("NAME=VALUE"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_tells_calls_instances_and_memory() {
    let config = json!({ "name": "x-a", "value": "1" }).to_string();
    let output = GATEWAY.run(&["plugin", "bench", &path("stamp"), "--config", &config, "--format", "json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let told: Value = serde_json::from_str(&output.stdout).expect("one JSON value");
    for what in ["instance", "request", "response"] {
        let figure = |name: &str| told[what][name].as_u64().unwrap_or_else(|| panic!("no {what}.{name} in {told}"));
        assert!(figure("count") > 0 && figure("median_ns") > 0 && figure("p99_ns") >= figure("median_ns"), "{told}");
    }
    assert!(told["memory_bytes"].as_u64().is_some_and(|bytes| bytes >= 65_536), "{told}");
    let output = GATEWAY.run(&["plugin", "bench", &path("stamp"), "--config", &config]).await;
    assert!(output.stdout.contains("request ") && output.stdout.contains(" ns"), "{output:?}");
    let output = GATEWAY.run(&["plugin", "bench", &path("trap"), "--config", "{\"on\": \"request\"}"]).await;
    assert!(output.code == FAILURE && output.stderr.contains("trapped"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bench_pulls_streamed_bodies_to_their_ends() {
    let bench = async |config: Value, more: &[&str]| {
        let (component, config) = (path("body-edit"), config.to_string());
        GATEWAY.run(&[&["plugin", "bench", &component, "--config", &config], more].concat()).await
    };
    for (place, body) in [("request", &["POST /", "--body", "hello"][..]), ("response", &["--answer", "hello"])] {
        let whole = bench(json!({ "in": place, "do": "upper" }), body).await;
        assert_eq!(whole.code, 0, "{whole:?}");
        // Who never reads to the end never meets what happens there.
        let broken = bench(json!({ "in": place, "do": "trap", "at": "finish" }), body).await;
        assert!(broken.code == FAILURE && !broken.stderr.is_empty(), "{place}: {broken:?}");
    }
    let refused = bench(json!({ "in": "request", "do": "abort" }), &["POST /", "--body", "hello"]).await;
    assert_eq!(refused.code, 0, "an answer is a decision like any other: {refused:?}");
}
