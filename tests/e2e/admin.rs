//! The admin server and the commands that ask it: what serves is seen and changed, by those who may, and on record.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harness::{Admin, Client, Config, Gateway, Output, Upstream, guest, http, sha256, variant};
use serde_json::{Value, json};

use crate::GATEWAY;

/// One route through the plugin `stamp`, with an admin server and a state folder of its own.
fn administered(origin: &Upstream) -> Config {
    Config::to(origin)
        .top("admin: { address: '127.0.0.1:0' }\nstate_dir: state")
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]")
}

fn digest_of(guest_name: &str) -> String {
    sha256(&fs::read(guest(guest_name)).expect("a guest can be read"))
}

/// What the gateway put on record last.
async fn record(gateway: &Gateway, action: &str) -> harness::Line {
    let is_it = |line: &harness::Line| line.message() == "audit" && line.field("action") == Some(action);
    gateway.log().wait(&format!("`{action}` on record"), is_it).await
}

// ---- the API ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_uploaded_serves() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let (admin, next) = (gateway.admin(), variant("stamp", "next"));
    let mut events = admin.events().await;
    let report = admin.upload("stamp?reason=ticket+12", &next).await.json();
    assert_eq!(report["state"], "serving", "{report}");
    assert_eq!((&report["sha256"], &report["previous_sha256"]), (&json!(sha256(&next)), &json!(digest_of("stamp"))));

    let event = events.next("swap").await;
    assert_eq!((&event["plugin"], &event["sha256"]), (&json!("stamp"), &report["sha256"]), "{event}");
    let plugin = admin.plugin("stamp").await;
    assert_eq!((&plugin["sha256"], &plugin["decided_by"]), (&report["sha256"], &json!("override")), "{plugin}");
    let held = &plugin["override"];
    assert_eq!((&held["actor"], &held["reason"]), (&json!("local"), &json!("ticket 12")), "{plugin}");
    let line = record(&gateway, "swap").await;
    let told = (line.field("actor"), line.field("plugin"), line.field("sha256"), line.field("outcome"));
    assert_eq!(told, (Some("local"), Some("stamp"), report["sha256"].as_str(), Some("ok")));

    assert_eq!(gateway.client().await.get("/").await.field("x-stamp"), Some("1"));
    let version = &sha256(&next)[..12];
    let calls =
        format!(r#"witgate_plugin_calls_total{{hook="request",outcome="ok",plugin="stamp",version="{version}"}}"#);
    assert!(admin.metric(&calls).await >= 1.0, "{}", admin.get("/metrics").await.text());
    assert_eq!(admin.metric(r#"witgate_plugin_override{plugin="stamp"}"#).await, 1.0);
    assert_eq!(admin.metric(r#"witgate_plugin_swaps_total{outcome="serving",plugin="stamp"}"#).await, 1.0);
    assert_eq!(admin.metric("witgate_config_generation").await, report["generation"].as_f64().expect("a number"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_refused_changes_nothing() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let admin = gateway.admin();
    let refused = [&b"\0asm"[..], b"text", &fs::read(guest("no-world")).expect("a guest can be read")];
    for component in refused {
        let said = admin.upload("stamp", component).await;
        assert_eq!(
            (said.status, said.field("content-type")),
            (422, Some("application/problem+json")),
            "{}",
            said.text()
        );
        assert!(said.text().contains("stamp"), "it names the plugin: {}", said.text());
    }
    let half =
        ["PUT /api/plugins/stamp HTTP/1.1", &format!("Host: {}", admin.address), "Content-Type: application/wasm"];
    let token = format!("Authorization: Bearer {}", admin.token);
    let mut client = Client::connect(admin.address).await;
    client.send(http(&[&half[..], &["Content-Length: 1000", &token]].concat(), "\0asm")).await;
    client.finish_sending().await;
    assert_eq!(client.response().await.status, 400, "it was cut");
    assert_eq!(admin.upload("nobody", &variant("stamp", "next")).await.status, 404);

    let plugin = admin.plugin("stamp").await;
    assert_eq!((&plugin["sha256"], &plugin["override"]), (&json!(digest_of("stamp")), &Value::Null), "{plugin}");
    assert_eq!(gateway.client().await.get("/").await.field("x-stamp"), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_may_keep_swaps_to_itself() {
    let config = administered(&Upstream::echo().await).to_string();
    let gateway = GATEWAY.start(config.replace("'127.0.0.1:0' }", "'127.0.0.1:0', overrides: deny }")).await;
    let admin = gateway.admin();
    let said = admin.upload("stamp", &variant("stamp", "next")).await;
    assert_eq!(said.status, 403, "{}", said.text());
    assert!(said.text().contains("overrides"), "{}", said.text());
    assert_eq!(admin.plugin("stamp").await["decided_by"], "config");
    assert_eq!(admin.post("/api/reload").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_the_configuration_have_their_roles() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let file = folder.path().join("board");
    fs::write(&file, "viewer-secret-0123\n").expect("a temporary folder takes files");
    let config = administered(&Upstream::echo().await)
        .top(&format!("secrets: {{ board: {{ file: '{}' }} }}", file.display()))
        .to_string();
    let tokens = "tokens: [{ name: board, token: 'secret://board', role: viewer }]";
    let gateway = GATEWAY.start(config.replace("'127.0.0.1:0' }", &format!("'127.0.0.1:0', {tokens} }}"))).await;
    let admin = Admin { token: "viewer-secret-0123".to_owned(), ..gateway.admin() };
    assert_eq!(admin.get("/api/status").await.status, 200);
    for request in ["POST /api/reload", "POST /api/drain", "PUT /api/plugins/stamp", "POST /api/plugins/stamp/rollback"]
    {
        let said = admin.ask(request, &["Content-Type: application/wasm"], "\0asm").await;
        assert_eq!(said.status, 403, "{request}: {}", said.text());
        assert!(said.text().contains("`board`") && said.text().contains("`viewer`"), "{}", said.text());
        assert_eq!(admin.ask_as("", request, &[], "").await.status, 401, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_may_be_ordered_and_is_counted() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(administered(&origin)).await;
    let admin = gateway.admin();
    gateway.write_config(administered(&origin).route("timeout: 7s"));
    let report = admin.post("/api/reload").await.json();
    assert_eq!((&report["generation"], &report["previous_generation"]), (&json!(2), &json!(1)), "{report}");
    assert_eq!(report["changes"], json!({ "count": 1, "named": ["route all: timeout"] }), "{report}");
    gateway.write_config("version: 1\nstate_dir: state\n");
    let said = admin.post("/api/reload").await;
    assert_eq!(said.status, 400, "{}", said.text());
    assert!(said.text().contains("listeners"), "it says what is wrong: {}", said.text());
    let status = admin.get("/api/status").await.json();
    assert_eq!(status["generation"], 2, "{status}");
    assert!(status["last_reload_error"].as_str().is_some_and(|error| error.contains("listeners")), "{status}");
    for (outcome, count) in [("ok", 1.0), ("failed", 1.0)] {
        let series = format!(r#"witgate_config_reloads_total{{outcome="{outcome}",source="admin"}}"#);
        assert_eq!(admin.metric(&series).await, count, "{series}");
    }
    assert_eq!(admin.metric("witgate_config_last_reload_successful").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_may_be_ordered_and_is_no_longer_ready() {
    let mut origin = Upstream::manual().await;
    let mut gateway = GATEWAY.start(administered(&origin).top("probes: { address: '127.0.0.1:0' }")).await;
    let mut client = gateway.client().await;
    client.send(http(&["GET / HTTP/1.1", "Host: a"], "")).await;
    let mut held = origin.next().await;
    let (admin, probes) = (gateway.admin(), gateway.probes());
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/api/status", 404)] {
        assert_eq!(Client::connect(probes).await.get(path).await.status, status, "{path}");
    }
    assert_eq!(admin.post("/api/drain").await.status, 202);
    harness::within("it to be no longer ready", async {
        while Client::connect(probes).await.get("/readyz").await.status != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(admin.upload("stamp", &variant("stamp", "late")).await.status, 503);
    held.send(http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok")).await;
    assert_eq!(client.response().await.text(), "ok");
    assert_eq!(gateway.ended().await.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_view_tells_what_the_document_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/docs/operations.md");
    let page = fs::read_to_string(page).expect("a document is text");
    let row = |view: &str| {
        let row = page.lines().find_map(|line| line.strip_prefix(&format!("| {view} | ")));
        let row = row.unwrap_or_else(|| panic!("a row for {view}"));
        row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    let origin = Upstream::echo().await;
    let found = "found: { discovery: { dns: 'localhost:9', refresh: 1h } }";
    let config = administered(&origin).to_string().replace("upstreams:\n", &format!("upstreams:\n  {found}\n"));
    let gateway = GATEWAY.start(config).await;
    let admin = gateway.admin();
    let get = async |path: &str| admin.get(path).await.json();
    let (status, routes, upstreams) = (get("/api/status").await, get("/api/routes").await, get("/api/upstreams").await);
    let plugins = get("/api/plugins").await;
    assert_eq!(keys(&status), row("`/api/status`"));
    assert_eq!(keys(&routes[0]), row("`/api/routes`"));
    assert_eq!((&routes[0]["name"], &routes[0]["filters"]), (&json!("all"), &json!(["stamp"])), "{routes}");
    assert_eq!((&routes[0]["path"], &routes[0]["upstreams"]), (&json!("/"), &json!(["origin"])), "{routes}");
    assert_eq!(keys(&upstreams[0]), row("`/api/upstreams`"), "the one that is discovered stands first");
    let origin = &upstreams
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["name"] == "origin")
        .expect("it is there")["endpoints"];
    assert_eq!(keys(&origin[0]), row("an endpoint"));
    assert_eq!(keys(&plugins[0]), row("`/api/plugins`"));
    assert_eq!(keys(&get("/api/plugins/stamp").await), row("`/api/plugins`"));
}

// ---- the commands ----

fn ok(output: &Output) -> &str {
    assert_eq!(output.code, 0, "{output:?}");
    output.stdout.trim_end()
}

/// A second version of `stamp` in a file.
fn next_version(folder: &Path) -> (String, String) {
    let (component, path) = (variant("stamp", "next"), folder.join("next.wasm"));
    fs::write(&path, &component).expect("a temporary folder takes files");
    (format!("file:{}", path.display()), sha256(&component))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_swap_and_go_back() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let admin = gateway.admin();
    let ((source, next), first) = (next_version(gateway.folder()), digest_of("stamp"));
    let said = gateway.command(&["swap", "stamp", &source, "--reason", "it is better"]).await;
    assert!(
        ok(&said).starts_with(&format!("stamp: {} serves in the place of {}", &next[..12], &first[..12])),
        "{said:?}"
    );
    let said = gateway.command(&["status"]).await;
    assert!(ok(&said).contains(&next[..12]) && said.stdout.contains("override by local"), "{said:?}");
    assert!(said.stdout.contains("it is better"), "{said:?}");

    let said = gateway.command(&["rollback", "stamp", "--format", "json"]).await;
    let report: Value = serde_json::from_str(ok(&said)).expect("JSON");
    assert_eq!(report["sha256"], json!(first));
    ok(&gateway.command(&["swap", "stamp", &source, "--sha256", &next]).await);
    ok(&gateway.command(&["plugin", "reset", "stamp"]).await);
    let plugin = admin.plugin("stamp").await;
    assert_eq!((&plugin["sha256"], &plugin["decided_by"]), (&json!(first), &json!("config")), "{plugin}");
    ok(&gateway.command(&["reload"]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_tells_what_stands_in_the_way() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let bad = format!("file:{}", guest("no-world").display());
    let (source, next) = next_version(gateway.folder());
    let other = digest_of("stamp");
    for (arguments, code, word) in [
        (&["swap", "stamp", &bad][..], 4, "stamp"),
        (&["swap", "stamp", &source, "--sha256", &other], 4, &next[..12]),
        (&["swap", "nobody", &source], 1, "`nobody`"),
        (&["swap", "stamp", "file:no/such.wasm"], 1, "no/such.wasm"),
        (&["swap", "stamp", "some.wasm"], 1, "file:some.wasm"),
        (&["swap", "stamp", "builtin:nothing"], 1, "nothing"),
        (&["promote", "stamp"], 1, "stamp"),
        (&["rollback", "stamp"], 1, "stamp"),
        (&["swap", "stamp", &source, "--canary", "5%", "--shadow"], 2, "--shadow"),
        (&["swap", "stamp", &source, "--wait"], 2, "--canary"),
    ] {
        let said = gateway.command(arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {said:?}");
        assert!(said.stderr.contains(word), "{arguments:?}: {said:?}");
        if code != 2 {
            let said = gateway.command(&[arguments, &["--format", "json"]].concat()).await;
            let error: Value = serde_json::from_str(said.stderr.trim()).expect("JSON");
            assert!(error["error"].as_str().is_some_and(|error| error.contains(word)), "{error}");
        }
    }
    assert_eq!(gateway.admin().plugin("stamp").await["sha256"], json!(other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_waits_ends_with_the_canary() {
    let gateway = GATEWAY.start(administered(&Upstream::echo().await)).await;
    let admin = gateway.admin();
    let (source, next) = next_version(gateway.folder());
    for (end, code) in [("rollback", 4), ("promote", 0)] {
        let arguments = ["swap", "stamp", &source, "--canary", "50%", "--sticky", "client-ip", "--wait"];
        let command = gateway.command(&arguments);
        let ended = async {
            let plugin = admin.plugin_until("stamp", "the canary", |plugin| !plugin["rollout"].is_null()).await;
            assert_eq!((&plugin["rollout"]["sha256"], &plugin["rollout"]["mode"]), (&json!(next), &json!("canary")));
            ok(&gateway.command(&[end, "stamp"]).await);
        };
        let (said, ()) = tokio::join!(command, ended);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.stdout.contains("is on trial (canary)") && said.stdout.contains("by local"), "{said:?}");
    }
    assert_eq!(admin.plugin("stamp").await["sha256"], json!(next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_finds_its_gateway_through_the_configuration() {
    let config = administered(&Upstream::echo().await).to_string();
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let socket = folder.path().join("admin.sock");
    let address = format!("'unix:{}'", socket.display());
    let gateway = GATEWAY.start(config.replace("'127.0.0.1:0' }", &format!("{address} }}"))).await;
    assert!(ok(&gateway.command_by_config(&["status"]).await).contains("ready, generation 1"));
    assert_eq!(ok(&gateway.command_by_config(&["reload"]).await), "reloaded: generation 2");
    let (source, _) = next_version(folder.path());
    ok(&gateway.command_by_config(&["swap", "stamp", &source]).await);
    let said = gateway.command_by_config(&["drain"]).await;
    assert!(ok(&said).starts_with("draining"), "{said:?}");
    let mut gateway = gateway;
    assert_eq!(gateway.ended().await.code, 0);
    assert!(!socket.exists(), "the socket goes with the gateway");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_finds_no_gateway_says_where_it_looked() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let said = GATEWAY.run(&["status", "--admin", &nobody.to_string()]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains(&nobody.to_string()) && said.stderr.contains("help:"), "{said:?}");
    let said = GATEWAY.on("status", Config::to(&Upstream::down().await), &[]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.stderr.contains("no `admin`") && said.stderr.contains("help:"), "{said:?}");
    assert_eq!(GATEWAY.on("status", "version: 2\n", &[]).await.code, 3);
    assert_eq!(GATEWAY.run(&["status"]).await.code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_server_that_cannot_bind_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let config = administered(&Upstream::down().await).to_string().replace("127.0.0.1:0' }", &format!("{address}' }}"));
    let said = GATEWAY.fails(config).await;
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.stderr.contains(&address), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_moves_the_server_is_answered_where_it_was_ordered() {
    let origin = Upstream::echo().await;
    let at = |address: &str| Config::to(&origin).top(&format!("admin: {{ address: '{address}:0' }}\nstate_dir: state"));
    let gateway = GATEWAY.start(at("127.0.0.1")).await;
    let old = gateway.admin();
    gateway.write_config(at("127.0.0.2"));
    let answer = old.post("/api/reload").await;
    assert_eq!((answer.status, &answer.json()["generation"]), (200, &json!(2)));
    let new = gateway.admin();
    assert_ne!(new.address, old.address);
    assert_eq!(new.get("/api/status").await.status, 200);
    harness::within("the old socket to be closed", async {
        while tokio::net::TcpStream::connect(old.address).await.is_ok() {}
    })
    .await;
}
