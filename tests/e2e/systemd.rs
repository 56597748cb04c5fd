//! systemd: sockets that it made, and what it is told. systemd itself is not needed; its protocols are a few variables and a socket.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use harness::{Bridge, Client, Config, Load, Upstream, within, yaml};
use rustix::process::Signal;
use tokio::net::UnixDatagram;

use crate::GATEWAY;

/// Where a gateway tells the service manager how it does.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Manager {
        Manager(UnixDatagram::bind(path).expect("the folder takes a socket"))
    }

    /// The next news that has this line; what is passed over is not wanted.
    async fn hears(&self, line: &str) -> String {
        loop {
            let mut news = vec![0; 4096];
            let length = within(&format!("the service manager to hear {line}"), self.0.recv(&mut news)).await;
            news.truncate(length.expect("the socket is ours"));
            let news = String::from_utf8(news).expect("news are text");
            if news.lines().any(|told| told == line) {
                return news;
            }
        }
    }
}

/// A listener by the name of its socket, and one by the file of its own.
fn config(origin: &Upstream, file: &Path) -> String {
    let rest = Config::to(origin).to_string();
    let (before, after) = rest.split_once("listeners:\n").expect("it has listeners");
    let (_, after) = after.split_once("upstreams:").expect("it has upstreams");
    let listeners = "workers: 3\nlisteners:\n  - { name: http, address: '192.0.2.1:80' }\n  - { name: file, address: 'unix:<file>' }\nupstreams:";
    format!("{before}{}{after}", yaml(listeners, &[("file", &file.display())]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_systemd_made_are_served_by_all_workers_and_left_to_it() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let origin = Upstream::echo().await;
    let file = folder.path().join("file.sock");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports");
    let address = tcp.local_addr().expect("it is bound");
    let unix = std::os::unix::net::UnixListener::bind(&file).expect("the folder takes a socket");
    let sockets = [("http", tcp.into()), ("unknown", unix.into())];
    let mut gateway = GATEWAY.activate(config(&origin, &file), sockets, &[]).await;
    assert_eq!(gateway.listener("http"), address, "the name of a socket goes before the configured address");
    let bridge = Bridge::to_file(&file).await;
    let loads = [Load::anew(address, "/", 3), Load::anew(bridge.address(), "/", 3)];
    let mut finished = Vec::new();
    for (turn, mut load) in loads.into_iter().enumerate() {
        load.answers(50).await;
        if turn == 0 {
            gateway.upgrade().await;
            assert_eq!(gateway.first_ended().await, 0);
        }
        load.answers(50).await;
        finished.push(load.stop().await);
    }
    for tally in finished {
        assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
    }
    gateway.stop_heir().await;
    assert!(file.exists(), "systemd goes on listening there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_fits_no_listener_is_closed_and_named() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let origin = Upstream::echo().await;
    let file = folder.path().join("file.sock");
    let (one, two) = (TcpListener::bind("127.0.0.1:0"), std::os::unix::net::UnixListener::bind(&file));
    let sockets = [("other", one.expect("the loopback has free ports").into()), ("", two.expect("a socket").into())];
    let gateway = GATEWAY.activate(Config::to(&origin), sockets, &[]).await;
    for name in ["other", ""] {
        let named = |line: &harness::Line| line.level() == "WARN" && line.field("name") == Some(name);
        gateway.log().wait("that nobody wants the socket", named).await;
    }
    assert!(std::os::unix::net::UnixStream::connect(&file).is_err(), "nobody listens");
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_manager_is_told_how_the_gateway_does() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let place = folder.path().join("notify.sock");
    let manager = Manager::at(&place);
    let origin = Upstream::echo().await;
    let sockets = || TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports").into();
    let environment =
        [("NOTIFY_SOCKET", place.to_str().expect("temporary folders have plain names")), ("WATCHDOG_USEC", "200000")];
    let config = Config::to(&origin);
    let mut gateway = GATEWAY.activate(&config, [("http", sockets()), ("x", sockets())], &environment).await;
    manager.hears("READY=1").await;
    manager.hears("WATCHDOG=1").await;

    gateway.reload(&config).await;
    let news = manager.hears("RELOADING=1").await;
    assert!(news.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{news}");
    manager.hears("READY=1").await;
    gateway.reload_fails(config.clone().route("timeout: never")).await;
    manager.hears("RELOADING=1").await;
    let news = manager.hears("READY=1").await;
    assert!(news.contains("STATUS=serving; the reload failed"), "{news}");

    gateway.write_config(&config);
    let pid = gateway.upgrade().await;
    manager.hears(&format!("MAINPID={pid}")).await;
    assert_eq!(gateway.first_ended().await, 0);
    manager.hears("WATCHDOG=1").await;
    assert_eq!(Client::connect(gateway.listener("http")).await.get("/").await.status, 200);
    gateway.signal(Signal::TERM);
    manager.hears("STOPPING=1").await;
    fs::remove_file(&place).expect("the gateway leaves it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_units_of_the_example_are_valid_and_so_is_its_configuration() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy");
    let read = |name: &str| fs::read_to_string(example.join(name)).expect("the example has this file");
    let config = read("witgate.yaml").replace("state_dir: /var/lib/witgate\n", "");
    let output = GATEWAY.on("validate", config, &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);

    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    for name in ["witgate.service", "witgate.socket"] {
        // The program must be there for its unit to be valid.
        let unit = read(name).replace("/usr/local/bin/witgate", env!("CARGO_BIN_EXE_witgate-under-test"));
        fs::write(folder.path().join(name), unit).expect("the folder takes a file");
    }
    let mut verify = std::process::Command::new("systemd-analyze");
    verify.arg("verify").args(["witgate.service", "witgate.socket"].map(|name| folder.path().join(name)));
    let Ok(output) = verify.output() else { return harness::skip("systemd-analyze is not installed") };
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !told.contains("witgate"), "{told}");
}
