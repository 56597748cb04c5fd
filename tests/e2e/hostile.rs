//! Hostile guests: whatever one does ends its own request, with a problem 500, and costs nobody else anything.
//!
//! Each test asks the guests in turn, round after round, on one worker. After each of them the worker serves a request of another
//! route; at the end the gateway is no larger than it was. What is refused before it may serve stands in `refused`.

use std::path::PathBuf;
use std::time::Instant;

use harness::{Client, Config, Gateway, Handmade, Load, Upstream, guest};
use serde_json::{Value, json};

use crate::GATEWAY;

/// A route through a guest.
struct Attack {
    /// The route's name and, behind a `/`, its path.
    name: String,
    plugin: &'static str,
    config: Value,
}

/// Guests and the routes through them, beside a route that passes none of them.
struct Siege {
    folder: tempfile::TempDir,
    plugins: Vec<(&'static str, PathBuf, &'static str)>,
    attacks: Vec<Attack>,
}

/// Memory that allocators and pools may keep beyond what they had after the first rounds. One request that leaked its megabyte
/// would go beyond it within the rounds of a test.
const SLACK_BYTES: usize = 8 << 20;

impl Siege {
    fn new() -> Siege {
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        Siege { folder, plugins: Vec::new(), attacks: Vec::new() }
    }

    /// Declare a guest.
    fn plugin(mut self, name: &'static str, declaration: &'static str) -> Siege {
        self.plugins.push((name, guest(name), declaration));
        self
    }

    /// A route through a guest that is declared.
    fn attack(mut self, plugin: &'static str, name: impl Into<String>, config: Value) -> Siege {
        self.attacks.push(Attack { name: name.into(), plugin, config });
        self
    }

    /// Declare a guest that was written by hand, and a route through it.
    fn handmade(mut self, name: &'static str, declaration: &'static str, guest: &Handmade) -> Siege {
        let component = guest.write(self.folder.path(), name);
        self.plugins.push((name, component, declaration));
        self.attack(name, name, json!({}))
    }

    /// The requests of each route, and what the responses pass, as deeds of `puppet`.
    fn request(self, name: impl Into<String>, deeds: Value) -> Siege {
        self.attack("puppet", name, json!({ "request": deeds }))
    }

    fn response(self, name: impl Into<String>, deeds: Value) -> Siege {
        self.attack("puppet", name, json!({ "response": deeds }))
    }

    fn config(&self, origin: &Upstream) -> Config {
        let mut config = Config::to(origin).top("workers: 1");
        for (name, component, declaration) in &self.plugins {
            config = config.plugin_with(name, component, declaration);
        }
        for Attack { name, plugin, config: own } in &self.attacks {
            // JSON is YAML, but for one control character that only JSON lets stand as it is.
            let own = own.to_string().replace('\u{7f}', "\\u007f");
            config = config.and_route(&format!(
                "name: {name}\nmatch: {{ path: {{ exact: /{name} }} }}\nfilters: [{{ use: {plugin}, config: {own} }}]\nupstream: origin"
            ));
        }
        config
    }

    /// Every attack is answered with a problem 500, in every round.
    async fn is_withstood(&self, rounds: usize) -> (Upstream, Gateway) {
        self.ends_with(rounds, |_, status| status == 500).await
    }

    async fn ends_with(&self, rounds: usize, expected: impl Fn(&str, u16) -> bool) -> (Upstream, Gateway) {
        let origin = Upstream::echo().await;
        let gateway = GATEWAY.start(self.config(&origin)).await;
        let mut client = gateway.client().await;
        let warm_up = rounds.div_ceil(4);
        for _ in 0..warm_up {
            self.round(&mut client, &expected).await;
        }
        let before = gateway.memory_bytes();
        for _ in 0..rounds {
            self.round(&mut client, &expected).await;
        }
        let after = gateway.memory_bytes();
        assert!(after < before + SLACK_BYTES, "{before} bytes became {after} in {rounds} rounds");
        (origin, gateway)
    }

    async fn round(&self, client: &mut Client, expected: &impl Fn(&str, u16) -> bool) {
        let mut strange = Vec::new();
        for Attack { name, .. } in &self.attacks {
            let answer = client.get(&format!("/{name}")).await;
            if !expected(name, answer.status) {
                strange.push(format!("{name}: {} {:.100}", answer.status, answer.text()));
            }
            if answer.status == 500 {
                answer.problem(500);
            }
            assert_eq!(client.get("/").await.status, 200, "after {name}");
        }
        assert!(strange.is_empty(), "{}", strange.join("\n"));
    }
}

/// An import of a guest's own package.
const LISTENER: &str = r#"(import "witgate:plugin/exchange@0.1.0" "listener" (func $listener (param i32)))"#;
const WANT_METHOD: &str = r#"(import "witgate:plugin/setup@0.1.0" "want-method" (func $want_method (result i32)))"#;

/// Asks for a value, so that hooks get some and memory for them is asked of the guest; `$armed` is 1 from then on.
fn wants_values() -> Handmade {
    Handmade::new()
        .import("witgate:plugin/setup@0.1.0", "", WANT_METHOD)
        .field("(global $armed (mut i32) (i32.const 0))")
        .does("configure", "(drop (call $want_method)) (global.set $armed (i32.const 1)) (i32.const 1024)")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handmade_guest_that_behaves_is_a_plugin_like_any_other() {
    let siege = Siege::new().handmade("plain", "", &Handmade::new()).handmade("values", "", &wants_values());
    siege.ends_with(50, |_, status| status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_in_every_place() {
    let trap = |function| Handmade::new().does(function, "(unreachable)");
    Siege::new()
        .plugin("trap", "")
        .plugin("puppet", "")
        .attack("trap", "request", json!({ "on": "request" }))
        .attack("trap", "response", json!({ "on": "response" }))
        .handmade("by-hand", "", &trap("on-request"))
        .handmade("by-hand-later", "", &trap("on-response"))
        .handmade("result-read", "", &trap("requested"))
        .handmade("result-read-later", "", &trap("responded"))
        .handmade(
            "allocator",
            "",
            &wants_values().does("realloc", "(if (global.get $armed) (then (unreachable))) (i32.const 65536)"),
        )
        .handmade(
            "division",
            "",
            &Handmade::new().does("on-request", "(i32.div_u (i32.const 1) (local.get $has_values))"),
        )
        .handmade("out-of-bounds", "", &Handmade::new().does("on-request", "(i32.load (i32.const -4))"))
        .request("exit", json!([{ "exit": 0 }]))
        .request("abort", json!([{ "exit": 134 }]))
        .request("recursion", json!(["recurse"]))
        .handmade(
            "recursion-by-hand",
            "",
            &Handmade::new()
                .field("(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))")
                .does("on-request", "(call $deeper (i32.const 0))"),
        )
        .is_withstood(200)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_in_every_place() {
    const SHORT: &str = "limits: { deadline: 5ms, timeout: 60s }";
    let spin = |function| Handmade::new().does(function, "(loop (br 0)) (unreachable)");
    Siege::new()
        .plugin("spin", SHORT)
        .attack("spin", "request", json!({ "in": "request" }))
        .attack("spin", "response", json!({ "in": "response" }))
        .handmade("by-hand", SHORT, &spin("on-request"))
        .handmade("by-hand-later", SHORT, &spin("on-response"))
        .handmade("result-read", SHORT, &spin("requested"))
        .handmade("result-read-later", SHORT, &spin("responded"))
        .handmade(
            "allocator",
            SHORT,
            &wants_values().does("realloc", "(if (global.get $armed) (then (loop (br 0)))) (i32.const 65536)"),
        )
        .is_withstood(15)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_table_bombs() {
    const ROOM: &str = "limits: { memory: 8MiB, deadline: 5s }";
    let random = r#"(import "wasi:random/random@0.2.6" "get-random-bytes" (func $random (param i64 i32)))"#;
    let package = "package wasi:random@0.2.6 { interface random { get-random-bytes: func(len: u64) -> list<u8>; } }";
    let dice = Handmade::new().import("wasi:random/random@0.2.6", package, random);
    Siege::new()
        .plugin("hog", ROOM)
        .attack("hog", "hoard", json!({}))
        .handmade(
            "memory",
            ROOM,
            &Handmade::new().does("on-request", "(loop (drop (memory.grow (i32.const 1))) (br 0)) (unreachable)"),
        )
        .handmade(
            "memory-at-once",
            ROOM,
            &Handmade::new().does("on-request", "(drop (memory.grow (i32.const 65000))) (unreachable)"),
        )
        .handmade(
            "table",
            ROOM,
            &Handmade::new().field("(table $t 1 funcref)").does(
                "on-request",
                "(loop (drop (table.grow $t (ref.null func) (i32.const 100))) (br 0)) (unreachable)",
            ),
        )
        .handmade(
            "table-at-once",
            ROOM,
            &Handmade::new()
                .field("(table $t 1 funcref)")
                .does("on-request", "(drop (table.grow $t (ref.null func) (i32.const 4000000))) (unreachable)"),
        )
        // What the host would have to make for the guest, who has no room for it.
        .handmade(
            "random",
            ROOM,
            &dice.clone().does("on-request", "(call $random (i64.const 60000000) (i32.const 1024)) (unreachable)"),
        )
        .handmade(
            "more-random",
            ROOM,
            &dice.does("on-request", "(call $random (i64.const -1) (i32.const 1024)) (unreachable)"),
        )
        .is_withstood(40)
        .await;
}

/// What the canonical ABI forbids, and what it allows but nobody should believe.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_lie_about_memory() {
    // A verdict at 1024: its kind, then a pointer and a count.
    let verdict = |kind: u32, list: u32, count: u32| {
        let store = |at: u32, value: u32| format!("(i32.store (i32.const {at}) (i32.const {}))", value.cast_signed());
        let body = format!("{} {} {} (i32.const 1024)", store(1024, kind), store(1028, list), store(1032, count));
        Handmade::new().does("on-request", &body)
    };
    let edits = |count: u32, value_bytes: u32| {
        // So many times `append-header("x", …)`, and every value is the same bytes.
        let fill = format!(
            "(local $at i32) (local.set $at (i32.const 65536))
            (loop
              (i32.store8 (local.get $at) (i32.const 1))
              (i32.store offset=4 (local.get $at) (i32.const 16))
              (i32.store offset=8 (local.get $at) (i32.const 1))
              (i32.store offset=12 (local.get $at) (i32.const 0))
              (i32.store offset=16 (local.get $at) (i32.const {value_bytes}))
              (local.set $at (i32.add (local.get $at) (i32.const 20)))
              (br_if 0 (i32.lt_u (local.get $at) (i32.const {}))))",
            65536 + 20 * count
        );
        verdict(0, 65536, count).pages("32").field("(data (i32.const 16) \"x\")").does("start", &fill)
    };
    Siege::new()
        .handmade("result-outside", "", &Handmade::new().does("on-request", "(i32.const -16)"))
        .handmade("result-at-the-end", "", &Handmade::new().does("on-request", "(i32.const 131068)"))
        .handmade("result-misaligned", "", &Handmade::new().does("on-request", "(i32.const 1025)"))
        .handmade("no-such-verdict", "", &verdict(77, 0, 0))
        .handmade("list-outside", "", &verdict(0, 0x7fff_0000, 1))
        .handmade("list-misaligned", "", &verdict(0, 1026, 1))
        .handmade("list-without-end", "", &verdict(0, 2048, u32::MAX))
        .handmade("list-around-the-world", "", &verdict(0, 2048, 0x0ccc_cccd))
        .handmade("no-such-edit", "", &verdict(0, 2048, 1).field("(data (i32.const 2048) \"\\ff\")"))
        .handmade(
            "no-text",
            "",
            // `remove-header` of two bytes that are no UTF-8.
            &verdict(0, 2048, 1)
                .field("(data (i32.const 2048) \"\\02\\00\\00\\00\\00\\10\\00\\00\\02\\00\\00\\00\")")
                .field("(data (i32.const 4096) \"\\c3\\28\")"),
        )
        .handmade("many-edits", "", &edits(50_000, 1))
        .handmade("many-names-for-the-same-bytes", "", &edits(5_000, 1 << 20))
        .handmade("reply-outside", "", &verdict(1, 200, 0x7fff_0000).field("(data (i32.const 1036) \"\\01\")"))
        .is_withstood(100)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_that_would_break_the_message() {
    let names = [
        "",
        "a b",
        "a:b",
        "a\r\nx-smuggled",
        "a\n",
        "a\0",
        "a\t",
        "ä",
        "a\u{7f}",
        "(a)",
        "content-length",
        "host",
        "connection",
    ];
    let values = ["1\r\nx-smuggled: 1", "1\r\n\r\nHTTP/1.1 200 OK", "1\n", "1\r", "1\0", "\u{1b}[0m", "\u{7f}"];
    let mut siege = Siege::new().plugin("puppet", "");
    for (index, name) in names.iter().enumerate() {
        for edit in ["set-header", "append-header"] {
            let deeds = json!([{ edit: [name, "1"] }]);
            siege = siege.request(format!("request-{edit}-name-{index}"), deeds.clone());
            siege = siege.response(format!("response-{edit}-name-{index}"), deeds);
        }
        let deeds = json!([{ "remove-header": name }]);
        siege = siege.request(format!("request-remove-{index}"), deeds.clone());
        siege = siege.response(format!("response-remove-{index}"), deeds);
        // A reply's length is the gateway's to write, whatever the guest says.
        if *name != "content-length" {
            let deeds = json!([{ "reply": { "status": 200, "headers": [[name, "1"]] } }]);
            siege = siege.request(format!("request-reply-name-{index}"), deeds.clone());
            siege = siege.response(format!("response-reply-name-{index}"), deeds);
        }
    }
    for (index, value) in values.iter().enumerate() {
        for edit in ["set-header", "append-header"] {
            let deeds = json!([{ edit: ["x-a", value] }]);
            siege = siege.request(format!("request-{edit}-value-{index}"), deeds.clone());
            siege = siege.response(format!("response-{edit}-value-{index}"), deeds);
        }
        let deeds = json!([{ "reply": { "status": 200, "headers": [["x-a", value]] } }]);
        siege = siege.request(format!("request-reply-value-{index}"), deeds.clone());
        siege = siege.response(format!("response-reply-value-{index}"), deeds);
        for edit in ["set-query", "set-method", "set-authority", "select-upstream"] {
            siege = siege.request(format!("{edit}-{index}"), json!([{ edit: value }]));
        }
        siege = siege.request(format!("set-path-{index}"), json!([{ "set-path": format!("/{value}") }]));
    }
    for (edit, bad) in [
        ("set-path", ["a", "http://elsewhere.test/", "/%00", "/a?b", "/\\a"].as_slice()),
        ("set-query", &["a b", "a\"b"]),
        ("set-method", &["", "GET /", "G:T"]),
        ("set-authority", &["", "a b", "a/b", "a?b", "user@a", "a:port", "a:", "a:70000", ":80"]),
        ("select-upstream", &["", "nobody", "../origin"]),
    ] {
        for (index, value) in bad.iter().enumerate() {
            siege = siege.request(format!("{edit}-bad-{index}"), json!([{ edit: value }]));
        }
    }
    for status in [0_u16, 1, 99, 100, 101, 103, 199, 600, 999, 65535] {
        siege = siege.request(format!("reply-{status}"), json!([{ "reply": { "status": status } }]));
        siege = siege.response(format!("reply-later-{status}"), json!([{ "reply": { "status": status } }]));
        siege = siege.response(format!("status-{status}"), json!([{ "set-status": status }]));
    }
    siege.is_withstood(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_headers_and_bytes() {
    const ROOM: &str = "limits: { memory: 32MiB, deadline: 5s }";
    let mut siege = Siege::new().plugin("puppet", ROOM);
    for edit in ["append-header", "set-header"] {
        // Names differ by their length, so that `set-header` adds as many.
        let deeds: Vec<Value> = (1..=300).map(|length| json!({ edit: ["x".repeat(length), "1"] })).collect();
        siege = siege.request(format!("request-{edit}s"), json!(deeds));
        siege = siege.response(format!("response-{edit}s"), json!(deeds));
    }
    let many = json!([{ "times": [100_000, [{ "append-header": ["x-flood", "1"] }]] }]);
    let huge = json!([{ "append-header": ["x-flood", 900_000] }]);
    let larger = json!([{ "append-header": ["x-flood", 4_000_000] }]);
    let name = json!([{ "append-header": ["x".repeat(70_000), "1"] }]);
    for (what, deeds) in [("edits", many), ("value", huge), ("larger-value", larger), ("name", name)] {
        siege = siege.request(format!("request-{what}"), deeds.clone());
        siege = siege.response(format!("response-{what}"), deeds);
    }
    let headers: Vec<_> = (0..300).map(|_| json!(["x-flood", "1"])).collect();
    siege
        .request("reply-headers", json!([{ "reply": { "status": 200, "headers": headers } }]))
        .request("reply-value", json!([{ "reply": { "status": 200, "headers": [["x-flood", 900_000]] } }]))
        .request("reply-body", json!([{ "reply": { "status": 200, "body": 2 << 20 } }]))
        .response("reply-body-later", json!([{ "reply": { "status": 200, "body": 2 << 20 } }]))
        .request("path", json!([{ "set-path": 900_000 }]))
        .request("query", json!([{ "set-query": 20_000 }]))
        .request("method", json!([{ "set-method": 900_000 }]))
        .request("authority", json!([{ "set-authority": 900_000 }]))
        .request("keep", json!([{ "keep": 4097 }]))
        .request("attribute", json!([{ "set-attribute": ["a", 16 << 10] }]))
        .request("attribute-name", json!([{ "set-attribute": [900_000, "a"] }]))
        .is_withstood(10)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_that_are_repeated_where_and_as_they_may_not_be() {
    let parrot = |name: &str, config: Value| (name.to_owned(), config);
    let mut siege = Siege::new().plugin("parrot", "limits: { host_calls: 200 }");
    for (name, config) in [
        parrot("more-than-a-call-may", json!({ "does": "repeat", "bytes": 50_000, "times": 6 })),
        parrot("more-calls-than-it-may", json!({ "does": "repeat", "bytes": 1, "times": 200 })),
        parrot("of-a-response", json!({ "does": "confuse", "in_request": true })),
        parrot("of-a-request", json!({ "does": "confuse", "in_request": false })),
        parrot("without-end", json!({ "does": "remember-all" })),
        parrot("malformed", json!({ "does": "malformed" })),
    ] {
        siege = siege.attack("parrot", name, config);
    }
    siege.is_withstood(50).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_are_repeated_as_often_as_a_call_may() {
    let siege = Siege::new()
        .plugin("parrot", "")
        .attack("parrot", "much", json!({ "does": "repeat", "bytes": 50_000, "times": 5 }))
        .attack("parrot", "guess", json!({ "does": "guess" }))
        .attack("parrot", "respond", json!({ "does": "respond" }));
    let (_origin, gateway) =
        siege.ends_with(20, |name, status| status == if name == "respond" { 204 } else { 200 }).await;
    let mut client = gateway.client().await;
    let much = client.get("/much").await.echo();
    assert_eq!((much.fields.get("x-a").map(str::len), much.fields.get("x-made")), (Some(50_000), Some("5")));
    let guess = client.get("/guess").await.echo();
    assert_eq!((guess.fields.get("x-a"), guess.fields.get("x-made")), (None, Some("false")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn panics_with_a_large_message() {
    Siege::new()
        .plugin("puppet", "limits: { memory: 16MiB, deadline: 5s }")
        .request("small", json!([{ "panic": "trapped" }]))
        .request("large", json!([{ "panic": 200_000 }]))
        .request("larger", json!([{ "panic": 3_000_000 }]))
        .request("larger-than-memory", json!([{ "panic": 64 << 20 }]))
        .response("large-later", json!([{ "panic": 200_000 }]))
        .is_withstood(20)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storms_of_host_calls() {
    const LINES_A_SECOND: u64 = 5;
    const SHORT: &str = "limits: { deadline: 10ms, timeout: 60s, log_lines: 5 }";
    let begin = Instant::now();
    let ask = Handmade::new().import("witgate:plugin/exchange@0.1.0", "", LISTENER);
    let long = format!("storm {}", "x".repeat(20_000));
    let (_origin, gateway) = Siege::new()
        .plugin("puppet", SHORT)
        .request("log", json!([{ "forever": [{ "log": "storm" }] }]))
        .request("long-lines", json!([{ "forever": [{ "log": long }] }]))
        .response("log-later", json!([{ "forever": [{ "log": "storm" }] }]))
        .handmade(
            "exchange",
            SHORT,
            &ask.does("on-request", "(loop (call $listener (i32.const 1024)) (br 0)) (unreachable)"),
        )
        .is_withstood(25)
        .await;
    // So many lines a second of one plugin, whatever becomes of its instances.
    let lines = gateway.log().lines();
    let storm = lines.iter().filter(|line| line.message().starts_with("storm")).count() as u64;
    let most = LINES_A_SECOND * (begin.elapsed().as_secs() + 2);
    assert!((1..=most).contains(&storm), "{storm} lines, of at most {most}");
    assert!(lines.iter().all(|line| line.text.len() < 8192), "a line has an end");
}

/// A guest that waits costs no worker anything but the instance that waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_without_end() {
    let siege = Siege::new()
        .plugin("puppet", "limits: { timeout: 100ms, instances: 16 }")
        .request("request", json!([{ "sleep": 3_600_000 }]))
        .response("response", json!([{ "sleep": 3_600_000 }]));
    let (_origin, gateway) = siege.is_withstood(5).await;
    let address = gateway.listener("http");
    let waiters =
        (0..64).map(|_| tokio::spawn(async move { Client::connect(address).await.get("/request").await.status }));
    let waiters: Vec<_> = waiters.collect();
    let mut client = gateway.client().await;
    while !waiters.iter().all(|waiter| waiter.is_finished()) {
        assert_eq!(client.get("/").await.status, 200);
    }
    for waiter in waiters {
        // Those who found no instance to wait with were told so at once.
        assert!([500, 503].contains(&waiter.await.expect("an answer")));
    }
}

/// Handles of WASI are made without any grant, so what they cost the host is bounded all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_that_are_never_given_back() {
    let package = "package wasi:io@0.2.6 { interface poll { resource pollable; } }
package wasi:clocks@0.2.6 { interface monotonic-clock { use wasi:io/poll@0.2.6.{pollable}; subscribe-duration: func(when: u64) -> pollable; } }";
    let subscribe = r#"(import "wasi:clocks/monotonic-clock@0.2.6" "subscribe-duration" (func $subscribe (param i64) (result i32)))"#;
    let hoard = Handmade::new().import("wasi:clocks/monotonic-clock@0.2.6", package, subscribe).does(
        "on-request",
        "(local $n i32) (local.set $n (i32.const 500))
        (loop
          (drop (call $subscribe (i64.const 3600000000000)))
          (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i32.const 1024)",
    );
    Siege::new()
        .handmade("hoard", "limits: { deadline: 5s }", &hoard)
        .ends_with(400, |_, status| [200, 500].contains(&status))
        .await;
}

/// A worker's instance is configured for attachments that the control side has tried on others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_that_takes_only_its_first_configuration() {
    for second in ["(unreachable)", "(loop (br 0)) (unreachable)"] {
        let body = format!(
            "(if (global.get $configured) (then {second})) (global.set $configured (i32.const 1)) (i32.const 1024)"
        );
        let once = Handmade::new().field("(global $configured (mut i32) (i32.const 0))").does("configure", &body);
        let siege =
            Siege::new().handmade("once", "limits: { instances: 1 }", &once).attack("once", "again", json!({ "n": 1 }));
        siege.ends_with(if second.starts_with("(u") { 50 } else { 3 }, |_, status| [200, 500].contains(&status)).await;
    }
}

/// `release` runs when a reload has taken an attachment away, in a call of another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traps_and_loops_in_release_cost_no_request() {
    for (name, own, other) in [
        ("trap", json!({ "on": "release" }), json!({ "on": "nowhere" })),
        ("spin", json!({ "in": "release" }), json!({ "in": "response" })),
    ] {
        let origin = Upstream::echo().await;
        let kept =
            Siege::new().plugin(name, "limits: { instances: 1, deadline: 5ms }").attack(name, "kept", own.clone());
        let both = Siege::new()
            .plugin(name, "limits: { instances: 1, deadline: 5ms }")
            .attack(name, "kept", own)
            .attack(name, "other", other);
        let (kept, both) = (kept.config(&origin), both.config(&origin));
        let mut gateway = GATEWAY.start(&both).await;
        let mut client = gateway.client().await;
        for _ in 0..5 {
            assert_eq!(client.get("/kept").await.status, 200, "{name}");
            client.get("/other").await;
            gateway.reload(&kept).await;
            for _ in 0..3 {
                assert_eq!(client.get("/kept").await.status, 200, "{name}, while it is released");
            }
            gateway.reload(&both).await;
        }
    }
}

/// All at once, with ordinary traffic beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_hostile_requests_fails_none_of_the_others() {
    const SHORT: &str = "limits: { deadline: 5ms, timeout: 60s, memory: 8MiB }";
    let siege = Siege::new()
        .plugin("trap", SHORT)
        .plugin("spin", SHORT)
        .plugin("hog", SHORT)
        .plugin("puppet", SHORT)
        .attack("trap", "trap", json!({ "on": "request" }))
        .attack("spin", "spin", json!({ "in": "request" }))
        .attack("hog", "hog", json!({}))
        .request("recursion", json!(["recurse"]))
        .request("panic", json!([{ "panic": 100_000 }]));
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(siege.config(&origin)).await;
    let address = gateway.listener("http");
    let mut good = Load::start(address, "/", 2);
    let attackers: Vec<_> =
        siege.attacks.iter().map(|attack| Load::start(address, &format!("/{}", attack.name), 2)).collect();
    good.answers(500).await;
    for attacker in attackers {
        let tally = attacker.stop().await;
        assert_eq!((tally.of(500), tally.failures.as_slice()), (tally.total(), [].as_slice()));
        assert!(tally.total() > 0, "each of them was answered");
    }
    let tally = good.stop().await;
    assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()));
}
