//! `witgate plugin inspect`: what a component is and may do, told before anybody trusts it.

use std::path::Path;

use harness::{Config, Output, Upstream, guest, sha256};
use serde_json::{Value, json};

use crate::GATEWAY;
use crate::contract::fixture;

async fn inspect(component: &Path) -> (i32, Value) {
    let path = component.to_str().expect("a plain path");
    let output = GATEWAY.run(&["plugin", "inspect", path, "--format", "json"]).await;
    let told = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("one JSON value, not {output:?}"));
    (output.code, told)
}

async fn refusal(component: &Path) -> Output {
    GATEWAY.run(&["plugin", "inspect", component.to_str().expect("a plain path")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_is_told_with_its_rights_and_its_configuration() {
    let component = fixture("0.1.0");
    let (code, told) = inspect(&component).await;
    assert_eq!((code, &told["fits"], &told["faults"]), (0, &json!(true), &json!([])));
    let bytes = std::fs::read(&component).expect("the fixture");
    assert_eq!(told["sha256"], json!(sha256(&bytes)));
    assert_eq!(told["size_bytes"], json!(bytes.len()));
    assert_eq!(told["package_versions"], json!(["0.1.0"]));
    assert_eq!(told["hooks"], json!(["request", "response"]));
    assert_eq!(told["imports"], json!(["exchange", "log", "setup", "types"]));
    assert_eq!(told["capabilities"], json!([]));
    assert_eq!(told["config_schema"], json!({ "type": "object", "maxProperties": 0 }));
    let memory_bytes = told["memory_bytes"].as_u64().expect("a number");
    assert!((64 << 10..8 << 20).contains(&memory_bytes) && memory_bytes.is_multiple_of(64 << 10), "{memory_bytes}");
    assert!(
        told["wasi"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|name| name.as_str().is_some_and(|n| n.starts_with("wasi:")))
    );

    let text = GATEWAY.run(&["plugin", "inspect", component.to_str().expect("a plain path")]).await;
    assert_eq!(text.code, 0, "{text:?}");
    for words in ["hooks     request, response", "contract  witgate:plugin@0.1.0", "fits      yes", &sha256(&bytes)] {
        assert!(text.stdout.contains(words), "no `{words}` in\n{}", text.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_and_a_declared_plugin_are_looked_at_as_well() {
    for name in ["api-key", "jwt", "policy", "rewrite"] {
        let source = format!("builtin:{name}");
        let builtin = GATEWAY.run(&["plugin", "inspect", &source]).await;
        assert!(builtin.code == 0 && builtin.stdout.contains(&source), "{builtin:?}");
        // Its schema is for those who write configurations, not for those who write plugins.
        assert!(!builtin.stdout.contains("```"), "{}", builtin.stdout);
    }

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gateway.yaml");
    let config = Config::to(&Upstream::down().await).plugin("stamp", &guest("stamp"));
    std::fs::write(&path, config.to_string()).expect("a file");
    let config = path.to_str().expect("a plain path");
    let declared = GATEWAY.run(&["plugin", "inspect", "stamp", "-c", config]).await;
    assert!(declared.code == 0 && declared.stdout.contains("stamp.wasm"), "{declared:?}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "it leaves nothing behind");

    // A component from the web needs no pin to be looked at: this is how its digest is found.
    let bytes = std::fs::read(guest("stamp")).expect("a guest");
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len());
    let server = Upstream::answering([head.as_bytes(), &bytes].concat()).await;
    let web = GATEWAY.run(&["plugin", "inspect", &format!("http://{server}/stamp.wasm")]).await;
    assert!(web.code == 0 && web.stdout.contains(&sha256(&bytes)), "{web:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, wat::parse_str(text).expect("valid text")).expect("a file");
        path
    };
    let (code, told) = inspect(&guest("no-world")).await;
    assert_eq!((code, &told["fits"]), (4, &json!(false)));
    assert_eq!(told["faults"].as_array().map(Vec::len), Some(2), "no lifecycle, and no hook: {told}");

    let import = |name: &str| format!("(component (import \"{name}\" (instance (export \"go\" (func)))))");
    for name in ["acme:db/query@1.0.0", "witgate:plugin/teleport@0.1.0", "wasi:http/types@0.2.0"] {
        let (code, told) = inspect(&file("import.wasm", &import(name))).await;
        let faults = told["faults"].to_string();
        assert!(code == 4 && faults.contains(&format!("imports `{name}`")), "{faults}");
    }
    for version in ["0.2.0", "2.0.0"] {
        let (code, told) = inspect(&file("newer.wasm", &import(&format!("witgate:plugin/log@{version}")))).await;
        let faults = told["faults"].as_array().expect("a list");
        let said = format!("is built against witgate:plugin@{version}, and this gateway speaks witgate:plugin@0.1.0");
        let only = faults[0].as_str().filter(|_| faults.len() == 1).unwrap_or_default();
        assert!(code == 4 && only.starts_with(&said) && only.contains("witgate plugin new"), "{told}");
    }
    let (_, told) = inspect(&file("function.wasm", "(component (import \"go\" (func)))")).await;
    assert!(told["faults"].to_string().contains("imports `go`"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_and_what_cannot_be_read_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("text.wasm");
    std::fs::write(&text, "(component)").expect("a file");
    for (path, code, words) in [
        (text.as_path(), 4, "not WebAssembly"),
        (&folder.path().join("nothing.wasm"), 1, "nothing.wasm"),
        (folder.path(), 4, "no `Cargo.toml`"),
    ] {
        let output = refusal(path).await;
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(words) && output.stdout.is_empty(), "{output:?}");
    }
}
