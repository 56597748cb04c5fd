//! The command line beyond `run -c`: validate, schema, and the first request without a file.

use harness::{Client, Config, Upstream, guest};
use serde_json::Value;

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_counts_what_it_found_good() {
    let origin = Upstream::down().await;
    let config = Config::to(&origin)
        .plugin("stamp", &guest("stamp"))
        .and_route("name: hello\nmatch: { path: { exact: /hello } }\nrespond: { status: 200 }")
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    let output = GATEWAY.on("validate", &config, &[]).await;
    assert_eq!((output.code, output.stdout.trim()), (0, "ok: 2 routes, 1 upstreams, 1 plugins"), "{output:?}");
    let output = GATEWAY.on("validate", &config, &["--format", "json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let _: Value = serde_json::from_str(&output.stdout).expect("one JSON value");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_tells_faults_as_text_and_as_json() {
    let config = Config::to(&Upstream::down().await).route("timeout: never");
    let text = GATEWAY.on("validate", &config, &[]).await;
    assert_eq!((text.code, text.stdout.as_str()), (3, ""));
    assert!(text.stderr.contains("gateway.yaml:") && text.stderr.contains("never"), "{}", text.stderr);

    let json = GATEWAY.on("validate", &config, &["--format", "json"]).await;
    assert_eq!(json.code, 3);
    let told = if json.stdout.trim().is_empty() { json.stderr } else { json.stdout };
    let value: Value = serde_json::from_str(&told).unwrap_or_else(|_| panic!("one JSON value, not {told}"));
    assert!(value.to_string().contains("routes[0].timeout"), "{value}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_also_asks_the_plugins() {
    let config = Config::to(&Upstream::down().await)
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp } }]");
    let output = GATEWAY.on("validate", &config, &[]).await;
    assert_eq!(output.code, 4, "{output:?}");
    assert!(output.stderr.contains("stamp") && output.stderr.contains("value"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_is_a_json_schema_of_the_configuration() {
    let output = GATEWAY.run(&["schema"]).await;
    assert_eq!(output.code, 0);
    let schema: Value = serde_json::from_str(&output.stdout).expect("the schema is JSON");
    assert!(schema["$schema"].as_str().expect("it names its dialect").contains("json-schema.org"));
    for key in ["version", "listeners", "upstreams", "plugins", "routes", "chains", "defaults"] {
        assert!(schema["properties"][key].is_object(), "no `{key}`");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_needs_no_file() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start_with(&["--listen", "127.0.0.1:0", "--to", &format!("http://{origin}")]).await;
    let mut client = Client::connect(gateway.listener(&gateway.first_listener())).await;
    assert_eq!(client.get("/a?b").await.echo().target, "/a?b");
    assert_eq!(gateway.stop().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn help_and_version_are_no_faults() {
    for (arguments, word) in [(&["--help"][..], "run"), (&["run", "--help"], "--listen"), (&["--version"], "witgate")] {
        let output = GATEWAY.run(arguments).await;
        assert_eq!(output.code, 0, "{arguments:?}");
        assert!(output.stdout.contains(word), "{arguments:?}: {}", output.stdout);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validate_warns_and_fails_only_when_it_shall() {
    let authority = harness::Authority::new();
    let expired = authority.issue(harness::Wanted { last_year: Some(2001), ..harness::Wanted::default() });
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let (cert, key) = expired.write(folder.path(), "site");
    let tls = format!("tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}", cert.display(), key.display());
    let config = Config::to(&Upstream::down().await).listener(&tls).top("tables: {}");
    let told = GATEWAY.on("validate", &config, &[]).await;
    assert_eq!((told.code, told.stdout.trim()), (0, "ok: 1 routes, 1 upstreams, 0 plugins, 1 warning"), "{told:?}");
    assert!(told.stderr.contains("warning: the certificate") && told.stderr.contains("has expired"), "{}", told.stderr);
    assert_eq!(GATEWAY.on("validate", &config, &["--deny-warnings"]).await.code, 3);
    let json = GATEWAY.on("validate", &config, &["--format", "json"]).await;
    let told: Value = serde_json::from_str(&json.stdout).expect("one JSON value");
    assert_eq!(told["warnings"][0]["path"], "listeners[0].tls.certificates[0].cert", "{told}");
    assert_eq!(told["warnings"][0]["severity"], "warning");
}
