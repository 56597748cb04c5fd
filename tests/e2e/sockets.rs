//! Socket files and IPv6: for listeners and for upstreams.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use harness::{Bridge, Client, Config, Load, Upstream, http, skip};
use tokio::net::UnixStream;

use crate::GATEWAY;

/// Everything to `origin`, from a socket file in the gateway's folder.
fn on_file(origin: &Upstream, more: &str) -> String {
    let listener = format!("address: 'unix:http.sock'{more}");
    Config::to(origin).to_string().replace("address: 127.0.0.1:0", &listener)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("the socket is there").permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_on_a_socket_file_serves_and_takes_the_file_with_it() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(on_file(&origin, "")).await;
    let file = gateway.folder().join("http.sock");
    assert_eq!(mode(&file), 0o660);
    let bridge = Bridge::to_file(&file).await;
    let mut client = Client::connect(bridge.address()).await;
    let lines = ["GET /a HTTP/1.1", "Host: test.example", "X-Forwarded-For: 192.0.2.7"];
    let echo = client.ask(&lines, "").await.echo();
    assert_eq!(echo.target, "/a");
    // Whoever connects to a file is on this machine, and nobody is believed unless the configuration says so.
    assert_eq!(echo.fields.get("x-forwarded-for"), Some("127.0.0.1"));
    drop(client);
    assert_eq!(gateway.stop_and_keep().await, 0);
    assert!(!file.exists(), "the file goes with the gateway");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_clients_of_a_socket_file_may_be_believed_and_their_file_may_have_a_mode() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(on_file(&origin, "\n    mode: '0600'\n    trusted_proxies: [unix]")).await;
    let file = gateway.folder().join("http.sock");
    assert_eq!(mode(&file), 0o600);
    let bridge = Bridge::to_file(&file).await;
    let mut client = Client::connect(bridge.address()).await;
    let lines = ["GET / HTTP/1.1", "Host: test.example", "X-Forwarded-For: 192.0.2.7"];
    let echo = client.ask(&lines, "").await.echo();
    assert_eq!(echo.fields.get("x-forwarded-for"), Some("192.0.2.7, 127.0.0.1"));
    gateway.reload(on_file(&origin, "\n    mode: '0666'")).await;
    assert_eq!(mode(&file), 0o666, "a reload changes it");
    assert_eq!(client.get("/").await.status, 200, "and closes nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_workers_serve_one_socket_file() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(on_file(&origin, "").replace("version: 1", "version: 1\nworkers: 3")).await;
    let bridge = Bridge::to_file(&gateway.folder().join("http.sock")).await;
    let mut load = Load::start(bridge.address(), "/", 8);
    load.answers(200).await;
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.len()), (tally.total(), 0), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_nobody_listens_on_is_replaced_and_no_other() {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let file = folder.path().join("http.sock");
    let config = on_file(&origin, "").replace("unix:http.sock", &format!("unix:{}", file.display()));
    drop(std::os::unix::net::UnixListener::bind(&file).expect("the folder takes a socket"));
    let gateway = GATEWAY.start(&config).await;
    let bridge = Bridge::to_file(&file).await;
    assert_eq!(Client::connect(bridge.address()).await.get("/").await.status, 200);

    let refused = GATEWAY.fails(&config).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("another process does"), "{}", refused.stderr);
    assert_eq!(Client::connect(bridge.address()).await.get("/").await.status, 200, "the first one serves on");
    drop(gateway);

    let precious = folder.path().join("precious");
    fs::write(&precious, "text").expect("the folder takes a file");
    let refused = GATEWAY.fails(config.replace("http.sock", "precious")).await;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("no socket is there"), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&precious).expect("it is still there"), "text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_may_be_renamed_and_keeps_its_address() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(on_file(&origin, "")).await;
    let bridge = Bridge::to_file(&gateway.folder().join("http.sock")).await;
    let mut load = Load::start(bridge.address(), "/", 4);
    for name in ["one", "two", "http"] {
        load.answers(20).await;
        gateway.reload(on_file(&origin, "").replace("- name: http", &format!("- name: {name}"))).await;
    }
    load.answers(20).await;
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.len()), (tally.total(), 0), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_may_listen_on_a_socket_file() {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let file = folder.path().join("origin.sock");
    let bridge = Bridge::from_file(&file, origin.address());
    let config = Config::to_url(&format!("unix:{}", file.display()))
        .upstream("health_check: { path: /healthz, interval: 100ms, timeout: 5s }");
    let gateway = GATEWAY.start(config).await;
    let echo = gateway.client().await.get("/users?a=b").await.echo();
    assert_eq!((echo.target.as_str(), echo.fields.get("host")), ("/users?a=b", Some("test.example")));
    harness::within("a check", async {
        while !origin.requests().iter().any(|request| request.target == "/healthz") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let check = origin.requests().into_iter().find(|request| request.target == "/healthz").expect("it was seen");
    assert_eq!(check.fields.get("host"), Some("localhost"));
    drop(bridge);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_whose_socket_file_is_not_there_is_named_in_the_log_and_not_to_the_client() {
    let gateway = GATEWAY.start(Config::to_url("unix:/no/such/file.sock")).await;
    let answer = gateway.client().await.get("/").await;
    assert!(!answer.problem(502).to_string().contains("file.sock"));
    let wanted = |line: &harness::Line| line.text.contains("unix:/no/such/file.sock");
    gateway.log().wait("which endpoint failed", wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_and_endpoints_have_ipv6_addresses() {
    let Ok(free) = std::net::TcpListener::bind("[::1]:0") else { return skip("there is no IPv6 on the loopback") };
    let nowhere = free.local_addr().expect("it is bound");
    drop(free);
    let origin = Upstream::echo().await;
    let config = |origin: &str| Config::to_url(origin).to_string().replace("127.0.0.1:0", "'[::1]:0'");
    let mut gateway = GATEWAY.start(config(&format!("http://{origin}"))).await;
    let address = gateway.listener("http");
    assert!(address.is_ipv6() && address.port() != 0);
    let echo = Client::connect(address).await.get("/").await.echo();
    assert_eq!(echo.fields.get("x-forwarded-for"), Some("::1"));
    let forwarded = echo.fields.get("forwarded").expect("it is always there");
    assert!(forwarded.contains("for=\"[::1]\""), "{forwarded}");

    gateway.reload(config(&format!("http://{nowhere}"))).await;
    let before = gateway.log().len();
    assert_eq!(Client::connect(address).await.get("/").await.status, 502);
    let wanted = |line: &harness::Line| line.text.contains(&format!("[::1]:{}", nowhere.port()));
    gateway.log().wait_from(before, "the endpoint, with brackets", wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_only_connects_to_a_socket_file_waits_for_no_other() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(on_file(&origin, "").replace("version: 1", "version: 1\nworkers: 1")).await;
    let file = gateway.folder().join("http.sock");
    let _silent = UnixStream::connect(&file).await.expect("the listener accepts");
    let bridge = Bridge::to_file(&file).await;
    let mut client = Client::connect(bridge.address()).await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    assert_eq!(client.response().await.status, 200);
}
