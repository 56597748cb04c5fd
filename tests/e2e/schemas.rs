//! Plugins that tell what configuration they take: every fault of a config is found before they see it, and a schema that is
//! no good keeps its component out.

use harness::{Config, Handmade, Upstream, example, yaml};

use crate::GATEWAY;

/// Exit code of contract §2.
const PLUGIN: i32 = 4;

/// An address of a text that begins and ends where there is no memory.
const BEYOND: &str =
    "(i32.store (i32.const 65536) (i32.const -8)) (i32.store (i32.const 65540) (i32.const -1)) (i32.const 65536)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_config_is_told_with_its_line_and_column() {
    let text = "\
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
plugins:
  rewrite: { source: builtin:rewrite }
routes:
  - name: one
    match: {}
    filters:
      - use: rewrite
        config:
          requset: {}
          request:
            headers: { set: { 'x a': '1', x-b: ' 2', x-c: [] }, remove: x-d }
            path: { regex: { match: a }, strip_prefix: 5 }
    respond: { status: 200 }
";
    let output = GATEWAY.on("validate", text, &[]).await;
    assert_eq!(output.code, PLUGIN, "{}", output.stderr);
    for words in [
        "gateway.yaml:11:11",
        "unknown key `requset`: expected `request` or `response`",
        "did you mean `request`?",
        "gateway.yaml:13:31",
        "request.path.strip_prefix: expected a string",
        "found the number 5",
        "gateway.yaml:13:59",
        "gateway.yaml:13:73",
        "request.headers.remove: expected a list, found a string",
        "gateway.yaml:14:21",
        "the key `replace` is missing",
    ] {
        assert!(output.stderr.contains(words), "no `{words}` in\n{}", output.stderr);
    }
    assert_eq!(output.stderr.matches("plugin `rewrite` refuses its config").count(), 6, "each once: {}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_refuses_itself_is_told_at_its_key() {
    let component = example("02-first-plugin").expect("it is a plugin");
    let text = yaml(
        "version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
plugins: { greeter: { source: 'file:<component>' } }
routes:
  - { name: one, match: {}, respond: { status: 200 }, filters: [{ use: greeter, config: { greeting: '' } }] }
",
        &[("component", &component.display())],
    );
    let output = GATEWAY.on("validate", text, &[]).await;
    assert_eq!(output.code, PLUGIN, "{}", output.stderr);
    assert!(output.stderr.contains("gateway.yaml:5:101"), "the empty greeting: {}", output.stderr);
    assert!(output.stderr.contains("greeting: must not be empty"), "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_and_a_swap_hold_to_the_schema_too() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let strict = Handmade::new().describes(r#"{"required":["key"]}"#, "").write(folder.path(), "strict");
    let easy = Handmade::new().describes("true", "").write(folder.path(), "easy");
    let origin = Upstream::echo().await;
    let of = |component: &std::path::Path, config: &str| {
        Config::to(&origin)
            .top("admin: { address: 127.0.0.1:0 }")
            .plugin("odd", component)
            .route(&format!("filters: [{{ use: odd, config: {config} }}]"))
    };
    let mut gateway = GATEWAY.start(of(&easy, "{ kye: 1 }")).await;
    let line = gateway.reload_fails(of(&strict, "{ kye: 1 }")).await;
    assert!(line.text.contains("the key `key` is missing"), "{}", line.text);
    let swap = format!("file:{}", strict.display());
    let output = gateway.command(&["swap", "odd", &swap]).await;
    assert!(output.code == PLUGIN && output.stderr.contains("the key `key` is missing"), "{output:?}");
    assert_eq!(gateway.client().await.get("/").await.status, 200);
    gateway.reload(of(&strict, "{ key: 1 }")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_schema_keeps_its_component_out() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let origin = Upstream::down().await;
    let huge = format!("{{\"description\":\"{}\"}}", "x".repeat(300_000));
    let deep = format!("{}true{}", "{\"not\":".repeat(100), "}".repeat(100));
    let cases: [(&str, &str, &str, &str); 10] = [
        ("huge", &huge, "", "more than 262144"),
        ("deep", &deep, "", "nests deeper"),
        ("no JSON", "{", "", "is not JSON"),
        ("no schema", r#"{"type":"strnig"}"#, "", "is no valid JSON Schema"),
        ("remote", r#"{"$ref":"http://127.0.0.1:9/schema.json"}"#, "", "refers to `http://127.0.0.1:9/schema.json`"),
        ("endless", r##"{"$ref":"#"}"##, "", "without end"),
        ("a pattern that needs backtracking", r#"{"pattern":"(a+)+\\1"}"#, "", "a pattern is no regular expression"),
        ("a loop", "true", "(loop (br 0)) (unreachable)", "CPU"),
        ("a trap", "true", "(unreachable)", "trapped"),
        ("a text beyond its memory", "true", BEYOND, "when it is asked for its config schema"),
    ];
    for (what, schema, instructions, words) in cases {
        let component = Handmade::new().describes(schema, instructions).write(folder.path(), "hostile");
        let config = Config::to(&origin).plugin("suspect", &component).route("filters: [{ use: suspect }]");
        let output = GATEWAY.fails(config).await;
        assert_eq!(output.code, PLUGIN, "{what}: {}", output.stderr);
        for word in ["suspect", words] {
            assert!(output.stderr.contains(word), "{what}: no `{word}` in\n{}", output.stderr);
        }
    }
    let component = Handmade::new().describes("{", "").write(folder.path(), "inspected");
    let output = GATEWAY.run(&["plugin", "inspect", component.to_str().expect("a plain path")]).await;
    assert!(output.code == PLUGIN && output.stdout.contains("tells a config schema that is not JSON"), "{output:?}");
    let output = GATEWAY.run(&["plugin", "inspect", "builtin:rewrite"]).await;
    assert!(output.stdout.contains("Whole segments that the path loses"), "its comments are told: {}", output.stdout);
}
