//! Upgrades: another process takes a gateway's place on its sockets, and no client notices; one that does not serve changes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use harness::{Binary, Bridge, Client, Config, Line, Load, Upstream, guest, http, variant};
use rustix::process::Signal;

use crate::GATEWAY;

/// Everything to `origin`, with an admin server and a state folder of its own.
fn administered(origin: &Upstream) -> Config {
    Config::to(origin).top("admin: { address: '127.0.0.1:0' }\nstate_dir: state")
}

/// The program under another path, where a test may put another in its place.
fn movable(folder: &Path) -> (Binary, PathBuf) {
    let path = folder.join("witgate");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_witgate-under-test"), &path).expect("the folder takes a link");
    let name: &'static str = path.to_str().expect("temporary folders have plain names").to_owned().leak();
    (Binary::new(name, env!("CARGO_TARGET_TMPDIR")), path)
}

/// Put a script in the place of a program.
fn replace(program: &Path, script: &str) {
    let draft = program.with_extension("new");
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).expect("the folder takes a file");
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    fs::rename(draft, program).expect("a file can be renamed in its folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_no_request_whatever_the_number_of_workers() {
    let origin = Upstream::echo().await;
    let config = |workers: usize| Config::to(&origin).top(&format!("workers: {workers}"));
    let mut gateway = GATEWAY.start(config(2)).await;
    let address = gateway.listener("http");
    let (mut kept, mut new) = (Load::start(address, "/kept", 3), Load::anew(address, "/new", 3));
    let mut pids = Vec::new();
    for workers in [1, 2, 3] {
        kept.answers(20).await;
        new.answers(20).await;
        let mut upload = Client::connect(address).await;
        upload.send(http(&["POST /upload HTTP/1.1", "Host: a", "Content-Length: 6"], "sl")).await;
        gateway.write_config(config(workers));
        pids.push(gateway.upgrade().await);
        // Whatever process has it: the connection is there, and what is sent on it arrives.
        upload.send("ow").await;
        new.answers(20).await;
        upload.send("ly").await;
        assert_eq!(upload.response().await.echo().body_bytes, 6);
        assert_eq!(gateway.listener("http"), address);
    }
    kept.answers(20).await;
    new.answers(20).await;
    assert_eq!(gateway.first_ended().await, 0);
    for load in [kept, new] {
        let tally = load.stop().await;
        assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
    }
    pids.dedup();
    assert_eq!(pids.len(), 3, "a process for each upgrade");
    gateway.stop_heir().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_finishes_on_the_old_process() {
    let mut origin = Upstream::manual().await;
    let mut gateway = GATEWAY.start(Config::to(&origin)).await;
    let mut early = gateway.client().await;
    early.send(http(&["GET /early HTTP/1.1", "Host: a"], "")).await;
    let mut held = origin.next().await;
    held.send(http(&["HTTP/1.1 200 OK", "Content-Length: 4"], "bo")).await;
    assert_eq!(early.head().await.status(), 200);
    gateway.upgrade().await;
    let mut late = gateway.client().await;
    late.send(http(&["GET /late HTTP/1.1", "Host: a"], "")).await;
    origin.next().await.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    assert_eq!(late.response().await.text(), "ok", "the new one serves");
    held.send("dy").await;
    assert_eq!(early.rest().await.expect("the rest of the body"), b"body");
    drop(early);
    assert_eq!(gateway.first_ended().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_is_the_one_that_is_found_now() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let (binary, program) = movable(folder.path());
    let origin = Upstream::echo().await;
    let mut gateway = binary.start(Config::to(&origin)).await;
    let mark = folder.path().join("mark");
    let real = env!("CARGO_BIN_EXE_witgate-under-test");
    replace(&program, &format!("echo \"$@\" > {}\nexec {real} \"$@\"", mark.display()));
    gateway.upgrade().await;
    let arguments = fs::read_to_string(&mark).expect("the new program ran");
    assert!(arguments.starts_with("run -c "), "{arguments}");
    assert_eq!(gateway.client().await.get("/").await.status, 200);
    gateway.stop_heir().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_does_not_serve_leaves_the_old_one_serving() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let (binary, program) = movable(folder.path());
    let origin = Upstream::echo().await;
    let config = administered(&origin).top("upgrade: { timeout: 1s }\nworkers: 1");
    let mut gateway = binary.start(&config).await;
    let mut client = gateway.client().await;
    let mut events = gateway.admin().events().await;
    let pid = folder.path().join("pid");
    let slow = format!("echo $$ > {}\nexec sleep 60", pid.display());
    for (script, why) in [
        ("exit 7", "ended with exit code 7"),
        ("kill -9 $$", "ended by signal: 9"),
        (slow.as_str(), "was not ready within `upgrade.timeout` (1s)"),
    ] {
        replace(&program, script);
        let before = gateway.log().len();
        gateway.signal(Signal::USR2);
        let line = gateway.upgraded_from(before).await;
        assert_eq!((line.message(), line.level()), ("upgrade failed", "ERROR"), "{}", line.text);
        assert!(line.field("error").is_some_and(|error| error.contains(why)), "{}", line.text);
        let event = events.next("upgrade").await;
        assert!(event["error"].as_str().is_some_and(|error| error.contains(why)), "{event}");
        assert_eq!(client.get("/").await.status, 200, "the connections of before are served as before");
        assert_eq!(gateway.client().await.get("/").await.status, 200, "and so are new ones");
    }
    let pid = fs::read_to_string(&pid).expect("it ran").trim().to_owned();
    harness::within("the slow process to be ended", async {
        while fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    fs::remove_file(&program).expect("it is there");
    let answer = gateway.admin().post("/api/upgrade").await;
    assert!(answer.status == 500 && answer.text().contains("cannot start"), "{}", answer.text());
    assert_eq!(gateway.admin().metric("witgate_upgrades_total{outcome=\"failed\"}").await, 4.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_refused_is_told_to_whoever_asked_for_the_upgrade() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(administered(&origin)).await;
    gateway.write_config(administered(&origin).route("timeout: never"));
    let output = gateway.command(&["upgrade", "--format", "json"]).await;
    assert_eq!(output.code, 3, "as the new process ended: {output:?}");
    let told: serde_json::Value = serde_json::from_str(&output.stderr).expect("one JSON value");
    let why = told["error"].as_str().expect("it says why");
    assert!(why.contains("ended with exit code 3") && why.contains("never"), "{why}");
    assert_eq!(gateway.client().await.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_waits_until_the_new_process_serves_with_the_same_state() {
    let origin = Upstream::echo().await;
    let config = administered(&origin)
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    let mut gateway = GATEWAY.start(config).await;
    let other = fs::read(guest("impostor")).expect("a guest can be read");
    assert_eq!(gateway.admin().upload("stamp", &other).await.status, 200);
    let before = gateway.log().len();
    let admin = gateway.admin();
    let old = admin.get("/api/status").await.json()["pid"].clone();
    let output = gateway.command(&["upgrade", "--format", "json"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    let report: serde_json::Value = serde_json::from_str(&output.stdout).expect("one JSON value");
    gateway.upgraded_from(before).await;
    let status = admin.get("/api/status").await.json();
    assert_eq!(status["pid"], report["pid"], "the same address, the same token, another process");
    assert_ne!(status["pid"], old);
    assert_eq!(status["plugins"][0]["decided_by"], "override", "{status}");
    assert_eq!(gateway.client().await.get("/").await.field("x-impostor"), Some("response"));
    let by_config = variant("stamp", "again");
    assert_eq!(admin.upload("stamp", &by_config).await.status, 200, "and it takes orders");
    gateway.stop_heir().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_admin_server_the_command_goes_by_the_pid_file() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(Config::to(&origin).top("pid_file: witgate.pid")).await;
    let file = gateway.folder().join("witgate.pid");
    let old = fs::read_to_string(&file).expect("a start writes it");
    let before = gateway.log().len();
    let output = gateway.command_by_config(&["upgrade"]).await;
    assert_eq!(output.code, 0, "{output:?}");
    gateway.upgraded_from(before).await;
    let new = fs::read_to_string(&file).expect("the new process writes it");
    assert!(new != old && output.stdout.contains(new.trim()), "{old} {new} {}", output.stdout);
    assert_eq!(gateway.first_ended().await, 0);
    assert_eq!(fs::read_to_string(&file).expect("the old process leaves it"), new);

    gateway
        .write_config(Config::to(&origin).top("pid_file: witgate.pid\nupgrade: { timeout: 1s }").route("timeout: x"));
    let output = gateway.command_by_config(&["upgrade"]).await;
    assert_eq!(output.code, 3, "its configuration cannot be read: {output:?}");
    fs::write(&file, "1\n").expect("the file is ours");
    gateway.write_config(Config::to(&origin).top("pid_file: witgate.pid"));
    let output = gateway.command_by_config(&["upgrade"]).await;
    assert!(output.code == 1 && output.stderr.contains("process 1 is no gateway"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_may_change_in_between_and_socket_files_stay_with_who_serves() {
    let origin = Upstream::echo().await;
    let listeners = |list: &str| {
        let listeners = format!("listeners: [{list}]\n");
        let rest = administered(&origin).to_string();
        let (before, after) = rest.split_once("listeners:\n").expect("it has listeners");
        let (_, after) = after.split_once("upstreams:").expect("it has upstreams");
        format!("{before}{listeners}probes: {{ address: 'unix:probes.sock' }}\nupstreams:{after}")
    };
    let (kept, going, coming) = (
        "{ name: file, address: 'unix:kept.sock' }",
        "{ name: going, address: 'unix:going.sock' }, { name: tcp, address: '127.0.0.1:0' }",
        "{ name: coming, address: 'unix:coming.sock' }, { name: http, address: '127.0.0.1:0' }",
    );
    let mut gateway = GATEWAY.start(listeners(&format!("{kept}, {going}"))).await;
    let path = |name: &str| gateway.folder().join(format!("{name}.sock"));
    let (kept_file, going_file, coming_file, probes_file) =
        (path("kept"), path("going"), path("coming"), path("probes"));
    let (doors, probes) = (Bridge::to_file(&kept_file).await, Bridge::to_file(&probes_file).await);
    let (mut load, mut probing) = (Load::anew(doors.address(), "/", 2), Load::anew(probes.address(), "/readyz", 2));
    load.answers(10).await;
    probing.answers(10).await;
    gateway.write_config(listeners(&format!("{kept}, {coming}")));
    gateway.upgrade().await;
    load.answers(10).await;
    probing.answers(10).await;
    assert_eq!(gateway.first_ended().await, 0);
    load.answers(10).await;
    probing.answers(10).await;
    for load in [load, probing] {
        let tally = load.stop().await;
        assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
    }
    assert!(kept_file.exists() && coming_file.exists() && probes_file.exists());
    assert!(!going_file.exists(), "nobody listens there any more");
    assert_eq!(gateway.client().await.get("/").await.status, 200, "the new listener serves");
    gateway.signal(Signal::TERM);
    harness::within("the files to go", async {
        while kept_file.exists() || coming_file.exists() || probes_file.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_upgrade_at_a_time_and_an_end_ends_both() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let (binary, program) = movable(folder.path());
    let origin = Upstream::echo().await;
    let mut gateway = binary.start(administered(&origin)).await;
    let pid = folder.path().join("pid");
    replace(&program, &format!("echo $$ > {0}.new\nmv {0}.new {0}\nexec sleep 60", pid.display()));
    gateway.signal(Signal::USR2);
    gateway.log().wait("that the upgrade has begun", |line: &Line| line.message() == "upgrading").await;
    let second = gateway.admin().post("/api/upgrade").await;
    assert!(second.status == 409 && second.text().contains("under way"), "{}", second.text());
    harness::within("the new process to run", async {
        while !pid.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().await.code, 0);
    let pid = fs::read_to_string(&pid).expect("it ran").trim().to_owned();
    harness::within("the new process to be ended", async {
        while fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !status.contains("State:\tZ")) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
