//! What the gateway refuses at the start and on a reload: the exit code, and a message that names the place and the remedy.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use harness::{Config, Output, Upstream, guest, yaml};

use crate::GATEWAY;

/// Exit codes of contract §2.
const USAGE: i32 = 2;
const CONFIG: i32 = 3;
const PLUGIN: i32 = 4;
const BIND: i32 = 5;

fn assert_refused(what: &str, output: &Output, code: i32, words: &[&str]) {
    assert_eq!(output.code, code, "{what}: {}", output.stderr);
    for word in words {
        assert!(output.stderr.contains(word), "{what}: no `{word}` in\n{}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_configuration_are_told_at_once() {
    let text = "\
version: 1
listeners:
  - name: http
    address: 127.0.0.1:0
    limits: { header_timeout: soon }
upstreams:
  users: { endpoints: [{ url: http://127.0.0.1:9 }] }
routes:
  - name: one
    match: { path: { prefix: / } }
    upstream: user
  - name: two
    match: { path: { prefix: /two } }
    upstraem: users
";
    let words = ["gateway.yaml:5:", "soon", "gateway.yaml:11:", "`users`", "gateway.yaml:14:", "upstraem"];
    let output = GATEWAY.fails(text).await;
    assert_refused("run", &output, CONFIG, &words);
    let output = GATEWAY.on("validate", text, &[]).await;
    assert_refused("validate", &output, CONFIG, &words);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_read_is_a_fault_of_its_own() {
    let base = |listeners: &str, rest: &str| format!("version: 1\nlisteners: {listeners}\n{rest}");
    let listener = "[{ name: http, address: 127.0.0.1:0 }]";
    let route = "routes: [{ name: r, match: { path: { regex: '(' } }, respond: { status: 200 } }]";
    for (what, text, words) in [
        ("no YAML", "version: [1\n".to_owned(), vec!["gateway.yaml:"]),
        ("a key twice", base(listener, "routes: []\nroutes: []"), vec!["routes"]),
        ("a version from the future", "version: 2\n".to_owned(), vec!["version"]),
        ("a broken regex", base(listener, route), vec!["gateway.yaml:3:", "regex"]),
        ("an address that is none", base("[{ name: http, address: here }]", ""), vec!["gateway.yaml:2:", "here"]),
    ] {
        assert_refused(what, &GATEWAY.fails(text).await, CONFIG, &words);
    }
    let missing = GATEWAY.run(&["run", "-c", "no-such-file.yaml"]).await;
    assert_refused("no file", &missing, CONFIG, &["no-such-file.yaml"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_cannot_serve_is_refused_by_name_route_and_reason() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("a temporary folder takes files");
        path
    };
    let text = file("text.wasm", b"hello");
    let core = file("core.wasm", b"\0asm\x01\0\0\0");
    let cut = file("cut.wasm", &std::fs::read(guest("stamp")).expect("a guest")[..1000]);
    let stamp = guest("stamp");
    let good = "{ name: x-stamp, value: '1' }";
    let cases: [(&str, &Path, &str, &str, &[&str]); 9] = [
        ("no file", &folder.path().join("none.wasm"), "", good, &["none.wasm"]),
        ("no wasm", &text, "", good, &["text.wasm"]),
        ("a core module", &core, "", good, &["component"]),
        ("half a component", &cut, "", good, &["cut.wasm"]),
        ("another world", &guest("no-world"), "", "{}", &["lifecycle"]),
        ("too large", &stamp, "runtime: { component: 1KiB }", good, &["runtime.component"]),
        ("a trap while configured", &guest("trap"), "", "{ on: configure }", &["all"]),
        ("a loop while configured", &guest("spin"), "", "{ in: configure }", &["all"]),
        ("a config without a key", &stamp, "", "{ name: x-stamp }", &["all", "value"]),
    ];
    for (what, component, top, config, words) in cases {
        let origin = Upstream::down().await;
        let filters = format!("filters: [{{ use: suspect, config: {config} }}]");
        let config = Config::to(&origin).top(top).plugin("suspect", component).route(&filters);
        assert_refused(what, &GATEWAY.fails(config).await, PLUGIN, &[&["suspect"], words].concat());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_told_with_its_listener() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = taken.local_addr().expect("a bound socket has an address");
    let text = yaml(
        "version: 1\nlisteners: [{ name: front, address: <address> }]\nroutes: [{ name: r, match: {}, respond: { status: 200 } }]\n",
        &[("address", &address)],
    );
    assert_refused("taken", &GATEWAY.fails(text).await, BIND, &["front", &address.to_string()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_line_that_makes_no_sense_is_a_usage_fault() {
    for arguments in [
        &["serve"][..],
        &["run", "--no-such-flag"],
        &["run"],
        &["run", "--listen", "here", "--to", "http://127.0.0.1:9"],
        &["run", "--listen", "127.0.0.1:0"],
        &["validate", "-c"],
        &["validate", "-c", "x.yaml", "--format", "xml"],
    ] {
        let output = GATEWAY.run(arguments).await;
        assert_eq!(output.code, USAGE, "{arguments:?}: {}", output.stderr);
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_on_a_reload_leaves_the_old_snapshot_serving() {
    let origin = Upstream::echo().await;
    let good = Config::to(&origin)
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    let taken = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let more_listeners = good.to_string().replace(
        "listeners:\n",
        &format!("listeners:\n  - {{ name: second, address: {} }}\n", taken.local_addr().expect("an address")),
    );
    let with = |from: &str, to: &str| {
        let changed = good.to_string().replace(from, to);
        assert_ne!(changed, good.to_string(), "`{from}` is there to be changed");
        changed
    };
    let stamp = guest("stamp").display().to_string();
    let trap = guest("trap").display().to_string();
    let mut gateway = GATEWAY.start(&good).await;
    let mut client = gateway.client().await;
    for (what, text) in [
        ("no YAML", "version: [".to_owned()),
        ("an unknown upstream", with("upstream: origin", "upstream: orgin")),
        ("a plugin without its file", with(&stamp, "none.wasm")),
        ("a plugin that refuses its config", with("value: '1'", "valeu: '1'")),
        ("a plugin that traps", with("name: x-stamp, value: '1'", "on: configure").replace(&stamp, &trap)),
        ("a port that is taken", more_listeners),
    ] {
        gateway.reload_fails(text).await;
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.field("x-stamp")), (200, Some("1")), "{what}");
    }
    // None of them left anything behind that a good one would trip over.
    assert_eq!(gateway.reload(good).await, 2, "a refusal counts no generation");
    assert_eq!(client.get("/").await.field("x-stamp"), Some("1"));
}
