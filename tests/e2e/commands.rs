//! Commands to a running gateway: each does it, is refused, or finds nobody, and its exit code tells which.

use std::fs;

use harness::{Config, Gateway, Output, Upstream, guest, variant};
use serde_json::Value;

use crate::GATEWAY;

/// One route through the plugin `stamp`, an admin server, and a token that may only read.
fn administered(origin: &Upstream, secret: &std::path::Path) -> String {
    let admin = "admin: { address: '127.0.0.1:0', tokens: [{ name: board, token: 'secret://board', role: viewer }] }";
    Config::to(origin)
        .top(&format!("{admin}\nsecrets: {{ board: {{ file: '{}' }} }}\nstate_dir: state", secret.display()))
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]")
        .to_string()
}

/// With the folder that holds the secret.
async fn start() -> (Gateway, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let secret = folder.path().join("board");
    fs::write(&secret, "viewer-secret-0123\n").expect("a temporary folder takes files");
    let config = administered(&Upstream::echo().await, &secret);
    (GATEWAY.start(&config).await, folder, config)
}

/// A command, with a source for a swap.
fn commands(source: &str) -> [Vec<&str>; 9] {
    [
        vec!["status"],
        vec!["top", "--once", "--interval", "0.1"],
        vec!["swap", "stamp", source],
        vec!["rollback", "stamp"],
        vec!["promote", "stamp"],
        vec!["plugin", "reset", "stamp"],
        vec!["reload"],
        vec!["drain"],
        vec!["upgrade"],
    ]
}

fn changes(command: &[&str]) -> bool {
    !matches!(command[0], "status" | "top")
}

/// Both forms of a failure say the same.
fn check_json(said: &Output) -> Value {
    let told: Value = serde_json::from_str(said.stderr.trim()).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert!(told["error"].as_str().is_some_and(|error| !error.is_empty()), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_does_what_it_is_for() {
    let (mut gateway, folder, config) = start().await;
    let next = folder.path().join("next.wasm");
    fs::write(&next, variant("stamp", "next")).expect("a temporary folder takes files");
    let source = format!("file:{}", next.display());
    let canary = folder.path().join("canary.wasm");
    fs::write(&canary, variant("stamp", "canary")).expect("a temporary folder takes files");
    let canary = format!("file:{}", canary.display());
    gateway.write_config(config.replace("name: all\n", "name: all\n    timeout: 7s\n"));
    for (command, word) in [
        (&["status"][..], "ready, generation 1"),
        (&["top", "--once", "--interval", "0.1"], "requests/s"),
        (&["swap", "stamp", &source], "serves in the place of"),
        (&["rollback", "stamp"], "serves in the place of"),
        (&["swap", "stamp", &canary, "--canary", "10%"], "is on trial"),
        (&["promote", "stamp"], "serves in the place of"),
        (&["plugin", "reset", "stamp"], "serves in the place of"),
        (&["reload"], "route all: timeout"),
        (&["drain"], "draining"),
    ] {
        let said = gateway.command(command).await;
        assert_eq!(said.code, 0, "{command:?}: {said:?}");
        assert!(said.stdout.contains(word) && said.stderr.is_empty(), "{command:?}: {said:?}");
    }
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_tells_that_it_was_refused_and_by_which_token() {
    let (gateway, folder, _) = start().await;
    let next = folder.path().join("next.wasm");
    fs::write(&next, variant("stamp", "next")).expect("a temporary folder takes files");
    let source = format!("file:{}", next.display());
    for command in commands(&source) {
        let said = gateway.command_with("nobody-has-this-one", &command).await;
        assert_eq!(said.code, 1, "{command:?}: {said:?}");
        // Ten guesses, and none is heard any more.
        let words = ["no token is known by this secret", "too many wrong tokens"];
        assert!(words.iter().any(|word| said.stderr.contains(word)), "{command:?}: {said:?}");
    }
    let (gateway, ..) = start().await;
    for command in commands(&source) {
        let said = gateway.command_with("viewer-secret-0123", &command).await;
        let said_json =
            gateway.command_with("viewer-secret-0123", &[&command[..], &["--format", "json"]].concat()).await;
        if !changes(&command) {
            assert_eq!((said.code, said_json.code), (0, 0), "{command:?}: {said:?}");
            continue;
        }
        assert_eq!((said.code, said_json.code), (1, 1), "{command:?}: {said:?}");
        assert!(said.stderr.contains("the token `board` has the role `viewer`"), "{command:?}: {said:?}");
        assert!(said.stderr.contains("help: the token that was shown is WITGATE_ADMIN_TOKEN"), "{said:?}");
        assert_eq!(check_json(&said_json)["status"], 403);
    }
    assert_eq!(gateway.admin().plugin("stamp").await["decided_by"], "config", "nothing has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_tells_that_nobody_is_there() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let nobody = nobody.to_string();
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let missing = format!("unix:{}", folder.path().join("admin.sock").display());
    for command in commands("builtin:jwt") {
        for place in [&nobody, &missing] {
            let said = GATEWAY.run(&[&command[..], &["--admin", place]].concat()).await;
            assert_eq!(said.code, 1, "{command:?}: {said:?}");
            assert!(said.stderr.contains(place.as_str()) && said.stderr.contains("help: is the gateway running"));
        }
        let said = GATEWAY.run(&[&command[..], &["--admin", &nobody, "--format", "json"]].concat()).await;
        assert_eq!((said.code, &check_json(&said)["status"]), (1, &Value::Null), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_with_faults_ends_a_reload_as_it_ends_a_validation() {
    let (gateway, _folder, config) = start().await;
    gateway.write_config(config.replace("name: all\n", "name: all\n    timeout: never\n"));
    let said = gateway.command(&["reload"]).await;
    assert!(said.code == 3 && said.stderr.contains("never"), "{said:?}");
    let told = check_json(&gateway.command(&["reload", "--format", "json"]).await);
    assert_eq!((&told["status"], told["faults"].as_array().map(Vec::len)), (&400.into(), Some(1)), "{told}");
    // One that the plugin refuses is another matter.
    gateway.write_config(config.replace("value: '1'", "valu: '1'"));
    let said = gateway.command(&["reload"]).await;
    assert_eq!(said.code, 4, "{said:?}");
    assert_eq!(gateway.client().await.get("/").await.field("x-stamp"), Some("1"), "what served serves on");
}
