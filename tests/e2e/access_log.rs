//! The access log: a line for each request, whatever became of it, and no request that waits for it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use harness::{Config, Gateway, Upstream, guest, http, within};
use rustix::process::Signal;
use serde_json::Value;

use crate::GATEWAY;

/// The lines of a file, once there are so many.
async fn lines(file: &Path, count: usize) -> Vec<String> {
    within(&format!("{count} lines in the access log"), async {
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            if text.lines().count() >= count {
                return text.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

pub(crate) async fn json(file: &Path, count: usize) -> Vec<Value> {
    let lines = lines(file, count).await;
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A file of the test's own: the gateway's folder is not known before it is started.
pub(crate) struct File {
    folder: tempfile::TempDir,
}

impl File {
    pub(crate) fn new() -> File {
        File { folder: tempfile::tempdir().expect("the system gives a temporary folder") }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("access.log")
    }

    /// As keys of the configuration, with more of the access log's.
    pub(crate) fn keys(&self, more: &str) -> String {
        format!("telemetry: {{ access_log: {{ output: 'file:{}'{more} }} }}", self.path().display())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_told_with_all_that_became_of_it() {
    let (origin, file) = (Upstream::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").await, File::new());
    let config = Config::to(&origin)
        .top(&file.keys(""))
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: headers, config: { request: { set: { x-a: b } } } }, { use: stamp, config: { name: x-stamp, value: s } }]");
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    let answer =
        client.ask(&["POST /users?id=1 HTTP/1.1", "Host: api.example.com:80", "Content-Length: 3"], "abc").await;
    assert_eq!(answer.status, 200);
    let line = &json(&file.path(), 1).await[0];
    let sent = origin.last_request();
    for (field, expected) in [
        ("request_id", sent.fields.get("x-request-id").unwrap_or_default()),
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("host", "api.example.com:80"),
        ("path", "/users?id=1"),
        ("protocol", "HTTP/1.1"),
        ("listener", "http"),
        ("route", "all"),
        ("upstream", "origin"),
        ("endpoint", &origin.to_string()),
        ("flags", ""),
    ] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    for (field, expected) in [("status", 200), ("bytes_in", 3), ("bytes_out", 5), ("generation", 1), ("attempts", 1)] {
        assert_eq!(line[field], expected, "{field}: {line}");
    }
    let ms = |field: &str| line[field].as_f64().unwrap_or_else(|| panic!("{field} is a number: {line}"));
    assert!(ms("overhead_ms") > 0.0 && ms("upstream_ms") > 0.0, "{line}");
    assert!((ms("overhead_ms") + ms("upstream_ms") - ms("duration_ms")).abs() < 0.01, "{line}");
    let filters = line["filters"].as_array().expect("a list");
    let told: Vec<_> = filters.iter().map(|filter| (filter["name"].as_str(), filter["outcome"].as_str())).collect();
    assert_eq!(told, [(Some("headers"), Some("ok")), (Some("stamp"), Some("ok"))], "{line}");
    assert_eq!(filters[1]["version"].as_str().map(str::len), Some(12), "{line}");
    assert!(line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z') && ts.len() == 24), "{line}");
    assert!(line["user"].is_null() && line["trace_id"].is_null(), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_went_wrong_is_told_by_flags() {
    let file = File::new();
    let slow = "name: slow\nmatch: { path: { prefix: /slow } }\nupstream: origin\ntimeout: 100ms";
    let nowhere = "name: other\nmatch: { hosts: [other.example], path: { prefix: /x } }\nrespond: { status: 200 }";
    let mut origin = Upstream::manual().await;
    let down = Upstream::down().await;
    let config = Config::to(&origin).top(&file.keys("")).and_route(slow).and_route(nowhere);
    let config = config
        .to_string()
        .replace("upstreams:\n", &format!("upstreams:\n  down: {{ endpoints: [{{ url: 'http://{down}' }}] }}\n"));
    let config = config
        .replace("routes:\n", "routes:\n  - { name: dead, match: { path: { prefix: /dead } }, upstream: down }\n");
    let config = config.replace("match: { path: { prefix: / } }", "match: { path: { prefix: /all } }");
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/dead").await.status, 502);
    assert_eq!(client.get("/none").await.status, 404);
    // Such a head ends its connection.
    assert_eq!(gateway.client().await.ask(&["GET /%00 HTTP/1.1", "Host: h"], "").await.status, 400);
    client.send(http(&["GET /slow HTTP/1.1", "Host: h"], "")).await;
    let _held = origin.next().await;
    assert_eq!(client.response().await.status, 504);
    let mut leaving = gateway.client().await;
    leaving.send(http(&["GET /all HTTP/1.1", "Host: h"], "")).await;
    let _held_too = origin.next().await;
    drop(leaving);
    let told = json(&file.path(), 5).await;
    let of = |path: &str| {
        let line = told.iter().find(|line| line["path"] == path).unwrap_or_else(|| panic!("{path} in {told:?}"));
        (line["status"].as_u64().unwrap_or_default(), line["flags"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(of("/dead"), (502, "UF".to_owned()));
    assert_eq!(of("/none"), (404, "NR".to_owned()));
    assert_eq!(of("/%00"), (400, "BR".to_owned()));
    assert_eq!(of("/slow"), (504, "UT".to_owned()));
    assert_eq!(of("/all"), (499, "DC".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_amid_its_answer_and_an_upstream_that_does_are_told_apart() {
    let (mut origin, file) = (Upstream::manual().await, File::new());
    let gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(""))).await;
    let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n";
    let mut client = gateway.client().await;
    client.send(http(&["GET /client HTTP/1.1", "Host: h"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(begun).await;
    client.head().await;
    drop(client);
    let told = json(&file.path(), 1).await;
    assert_eq!((&told[0]["flags"], &told[0]["status"]), (&"DC".into(), &200.into()), "{told:?}");

    let mut client = gateway.client().await;
    client.send(http(&["GET /upstream HTTP/1.1", "Host: h"], "")).await;
    let mut exchange = origin.next().await;
    exchange.send(begun).await;
    client.head().await;
    exchange.reset();
    assert!(client.rest().await.is_err());
    let told = json(&file.path(), 2).await;
    assert_eq!((&told[1]["flags"], &told[1]["bytes_out"]), (&"UR".into(), &3.into()), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_a_body_is_whole() {
    let origin = Upstream::echo().await;
    let file = File::new();
    let fixed = "name: fixed\nmatch: { path: { prefix: /fixed } }\nrespond: { status: 200, body: hello }";
    let none = "name: none\nmatch: { path: { prefix: /none } }\nrespond: { status: 204 }";
    // Lines of several workers come in no order.
    let config = Config::to(&origin).top("workers: 1").top(&file.keys("")).and_route(fixed).and_route(none);
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    for request in ["HEAD /fixed", "HEAD /", "GET /none", "GET /fixed"] {
        client.ask(&[&format!("{request} HTTP/1.1"), "Host: h"], "").await;
    }
    let mut http2 = gateway.http2().await;
    http2.get("/fixed").await;
    let told = json(&file.path(), 5).await;
    assert!(told.iter().all(|line| line["flags"] == ""), "{told:?}");
    let bytes: Vec<_> = told.iter().map(|line| line["bytes_out"].as_u64()).collect();
    assert_eq!(bytes, [Some(0), Some(0), Some(0), Some(5), Some(5)], "{told:?}");
    assert_eq!(told[4]["protocol"], "HTTP/2.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_can_forge_a_line_or_show_a_secret_by_it() {
    let origin = Upstream::echo().await;
    let file = File::new();
    let keys = ", format: '${method} ${path} \"${request.header.x-a}\" ${request.header.authorization} ${status}'";
    let gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(keys))).await;
    let mut client = gateway.client().await;
    let lines_sent =
        ["GET /a?token=s3cret&b=1 HTTP/1.1", "Host: h", "X-A: a\"b\tc\u{fc}", "Authorization: Bearer s3cret"];
    client.ask(&lines_sent, "").await;
    client.get("/second").await;
    let told = lines(&file.path(), 2).await;
    assert_eq!(told[0], r#"GET /a?token=[redacted]&b=1 "a\x22b\x09c\xC3\xBC" [redacted] 200"#);
    assert_eq!(told[1], r#"GET /second "-" - 200"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_of_the_length_that_is_allowed() {
    let origin = Upstream::echo().await;
    let file = File::new();
    let gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(", line: 4KiB"))).await;
    gateway.client().await.get(&format!("/{}", "x".repeat(6_000))).await;
    let told = lines(&file.path(), 1).await;
    let line: Value = serde_json::from_str(&told[0]).expect("it is whole");
    assert!(told[0].len() < 4096 && line["path"].as_str().is_some_and(|path| path.ends_with("...")), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_can_be_those_of_failed_requests_alone() {
    let origin = Upstream::echo().await;
    let file = File::new();
    let keys = ", only: { status: [404, 5xx] }, more_fields: [request.header.x-a, attribute.none]";
    let missing = "name: missing\nmatch: { path: { prefix: /missing } }\nrespond: { status: 404 }";
    let gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(keys)).and_route(missing)).await;
    let mut client = gateway.client().await;
    for _ in 0..5 {
        client.get("/").await;
    }
    client.ask(&["GET /missing HTTP/1.1", "Host: h", "X-A: 1"], "").await;
    let told = json(&file.path(), 1).await;
    assert_eq!((told.len(), &told[0]["path"]), (1, &"/missing".into()));
    assert_eq!((&told[0]["request.header.x-a"], &told[0]["attribute.none"]), (&"1".into(), &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_a_share_of_the_lines() {
    let origin = Upstream::echo().await;
    let file = File::new();
    let gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(", sample: 50%"))).await;
    let mut client = gateway.client().await;
    for _ in 0..200 {
        client.get("/").await;
    }
    assert_eq!(gateway.stop().await.code, 0);
    let written = lines(&file.path(), 1).await.len();
    // By chance this fails once in more tries than there are seconds in a million years.
    assert!((40..=160).contains(&written), "{written} of 200");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_at_the_end_nor_by_a_reload() {
    let (file, other) = (File::new(), File::new());
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(""))).await;
    let mut client = gateway.client().await;
    for _ in 0..20 {
        client.get("/before").await;
    }
    gateway.reload(Config::to(&origin).top(&other.keys(", format: '${path}'"))).await;
    for _ in 0..20 {
        client.get("/after").await;
    }
    assert_eq!(gateway.stop().await.code, 0);
    let (before, after) = (json(&file.path(), 20).await, lines(&other.path(), 20).await);
    assert!(before.len() == 20 && before.iter().all(|line| line["path"] == "/before"), "{before:?}");
    assert_eq!(after, ["/after"; 20]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_opens_the_file_anew() {
    let origin = Upstream::echo().await;
    let file = File::new();
    let gateway = GATEWAY.start(Config::to(&origin).top(&file.keys(", format: '${path}'"))).await;
    let mut client = gateway.client().await;
    client.get("/one").await;
    lines(&file.path(), 1).await;
    let moved = file.folder.path().join("access.log.1");
    fs::rename(file.path(), &moved).expect("it is there");
    let mut log = gateway.log();
    gateway.signal(Signal::USR1);
    log.wait("that it opened its files anew", |line| line.message() == "logs reopened").await;
    client.get("/two").await;
    assert_eq!(lines(&file.path(), 1).await, ["/two"]);
    assert_eq!(lines(&moved, 1).await, ["/one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_costs_lines_and_no_requests() {
    let origin = Upstream::echo().await;
    let full = "admin: { address: 127.0.0.1:0 }\ntelemetry: { access_log: { output: 'file:/dev/full' } }";
    let gateway = GATEWAY.start(Config::to(&origin).top(full)).await;
    let mut client = gateway.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let admin = gateway.admin();
    let dropped = async {
        while admin.metric("witgate_access_log_dropped_total").await < 10.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the lines to be counted as lost", dropped).await;
    assert_eq!(client.get("/").await.status, 200);
    let output = gateway.stop().await;
    assert_eq!(output.code, 0);
    assert_eq!(output.stderr.matches("the access log cannot be written").count(), 1, "it is said once");
}

/// A gateway whose standard output is a pipe that is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standard_output_that_nobody_reads_costs_lines_and_no_requests() {
    let origin = Upstream::echo().await;
    let gateway: Gateway = GATEWAY
        .with_closed_stdout()
        .start(Config::to(&origin).top("telemetry: { access_log: { format: combined } }"))
        .await;
    let mut client = gateway.client().await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.status, 200);
    }
    let mut log = gateway.log();
    log.wait("that it cannot write", |line| line.message().starts_with("the access log cannot be written")).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(gateway.stop().await.code, 0);
}
