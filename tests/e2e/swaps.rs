//! Versions of one plugin that take each other's place: at once, by degrees, by themselves, and back.

use std::fs;

use harness::{Admin, Client, Config, Load, Upstream, guest, http, put, sha256, variant};
use serde_json::{Value, json};

use crate::GATEWAY;

const STAMPED: &str = "filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]";

/// One route through the plugin `stamp`, with an admin server and a state folder of its own.
fn swappable(origin: &Upstream, declaration: &str) -> Config {
    let top = "workers: 2\nadmin: { address: '127.0.0.1:0' }\nstate_dir: state";
    Config::to(origin).top(top).plugin_with("stamp", &guest("stamp"), declaration).route(STAMPED)
}

fn component(name: &str) -> Vec<u8> {
    fs::read(guest(name)).expect("a guest can be read")
}

/// Who served a request: `stamp` or `impostor`, the same on its way up and down.
async fn served_by(client: &mut Client, fields: &[&str]) -> &'static str {
    let answer = client.ask(&[&["GET / HTTP/1.1", "Host: a"][..], fields].concat(), "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let up = answer.echo().fields;
    match (up.get("x-stamp"), answer.field("x-stamp"), up.get("x-impostor"), answer.field("x-impostor")) {
        (Some("1"), Some("1"), None, None) => "stamp",
        (None, None, Some("request"), Some("response")) => "impostor",
        mixed => panic!("one request met two versions: {mixed:?}"),
    }
}

async fn evidence(admin: &Admin, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    admin.plugin_until("stamp", what, |plugin| wanted(&plugin["rollout"]["evidence"])).await
}

// ---- at once ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_lose_no_request() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    let admin = gateway.admin();
    let mut load = Load::start(gateway.listener("http"), "/", 4);
    for round in 0..40 {
        load.answers(10).await;
        let next = if round % 2 == 0 { component("impostor") } else { variant("stamp", &round.to_string()) };
        let report = admin.upload("stamp", &next).await.json();
        assert_eq!((&report["state"], &report["sha256"]), (&json!("serving"), &json!(sha256(&next))), "{report}");
        let expected = if round % 2 == 0 { "impostor" } else { "stamp" };
        assert_eq!(served_by(&mut gateway.client().await, &[]).await, expected, "round {round}");
    }
    load.answers(10).await;
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_ends_on_the_version_it_began_with() {
    let mut origin = Upstream::manual().await;
    for isolation in ["isolation: shared", "isolation: fresh"] {
        let gateway = GATEWAY.start(swappable(&origin, isolation)).await;
        let mut early = gateway.client().await;
        early.send(http(&["GET /early HTTP/1.1", "Host: a"], "")).await;
        let mut held = origin.next().await;
        gateway.admin().upload("stamp", &component("impostor")).await;
        let mut late = gateway.client().await;
        late.send(http(&["GET /late HTTP/1.1", "Host: a"], "")).await;
        let mut next = origin.next().await;
        assert_eq!((held.head.fields.get("x-stamp"), next.head.fields.get("x-impostor")), (Some("1"), Some("request")));
        let response = http(&["HTTP/1.1 200 OK", "Content-Length: 2"], "ok");
        next.send(&response).await;
        held.send(&response).await;
        let (early, late) = (early.response().await, late.response().await);
        assert_eq!((early.field("x-stamp"), early.field("x-impostor")), (Some("1"), None), "{isolation}");
        assert_eq!((late.field("x-stamp"), late.field("x-impostor")), (None, Some("response")), "{isolation}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_goes_to_the_version_before() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    assert_eq!(admin.post("/api/plugins/stamp/rollback").await.status, 409, "there is nothing to go back to");
    admin.upload("stamp", &component("impostor")).await;
    assert_eq!(served_by(&mut client, &[]).await, "impostor");
    for expected in ["stamp", "impostor", "stamp"] {
        let report = admin.post("/api/plugins/stamp/rollback").await.json();
        assert_eq!(report["state"], "serving", "{report}");
        assert_eq!(served_by(&mut client, &[]).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_version_before_is_swapped_in_as_it_was_loaded() {
    let state = tempfile::tempdir().expect("the system gives a temporary folder");
    let origin = Upstream::echo().await;
    let own = format!("state_dir: {}/state", state.path().display());
    let config = swappable(&origin, "").to_string().replace("state_dir: state", &own);
    let gateway = GATEWAY.with_level("debug").start(&config).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    admin.upload("stamp", &component("impostor")).await;
    // With its machine code gone from the disk, whatever was loaded again would have to be compiled again.
    let code = state.path().join("state/compiled");
    fs::remove_dir_all(&code).and_then(|()| fs::create_dir(&code)).expect("the folder of the machine code");
    for expected in ["stamp", "impostor", "stamp"] {
        let report = admin.upload("stamp", &component(expected)).await.json();
        assert_eq!(report["state"], "serving", "{report}");
        assert_eq!(served_by(&mut client, &[]).await, expected);
    }
    let compiled = gateway.log().lines().iter().filter(|line| line.message() == "compiled").count();
    assert_eq!(compiled, 2, "{}", gateway.log().text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_outlives_reload_and_ends_with_the_declaration() {
    let origin = Upstream::echo().await;
    let mut gateway = GATEWAY.start(swappable(&origin, "")).await;
    gateway.admin().upload("stamp", &component("impostor")).await;
    gateway.reload(swappable(&origin, "limits: { log_lines: 7 }")).await;
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "impostor", "its limits are not its source");
    let other = gateway.folder().join("other.wasm");
    fs::write(&other, variant("stamp", "other")).expect("a temporary folder takes files");
    gateway.reload(swappable(&origin, "").to_string().replace(&*guest("stamp").to_string_lossy(), "other.wasm")).await;
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "stamp");
    assert_eq!(gateway.admin().plugin("stamp").await["decided_by"], "config");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_plugin_is_swapped_with_a_new_pin_only() {
    let pin = format!("sha256: {}", sha256(&component("stamp")));
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, &pin)).await;
    let (admin, next) = (gateway.admin(), component("impostor"));
    for (pin, status) in [("", 422), ("?sha256=1111111111111111111111111111111111111111111111111111111111111111", 422)]
    {
        assert_eq!(admin.upload(&format!("stamp{pin}"), &next).await.status, status, "{pin}");
        assert_eq!(served_by(&mut gateway.client().await, &[]).await, "stamp");
    }
    let said = admin.upload(&format!("stamp?sha256={}", sha256(&next)), &next).await;
    assert_eq!(said.status, 200, "{}", said.text());
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "impostor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_that_asks_for_more_rights_is_refused() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    let said = gateway.admin().upload("stamp", &component("kv")).await;
    assert_eq!(said.status, 422, "{}", said.text());
    assert!(said.text().contains("kv") && said.text().contains("no store"), "{}", said.text());
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "stamp");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_configuration_forbids_it_nobody_overrides_it() {
    let origin = Upstream::echo().await;
    let config = swappable(&origin, "").to_string().replace("'127.0.0.1:0' }", "'127.0.0.1:0', overrides: deny }");
    let gateway = GATEWAY.start(config).await;
    let said = gateway.admin().upload("stamp", &component("impostor")).await;
    assert_eq!(said.status, 403, "{}", said.text());
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "stamp");
}

// ---- by themselves ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changes_takes_its_own_place() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("stamp.wasm");
    put(&path, component("stamp"));
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("admin: { address: '127.0.0.1:0' }\nstate_dir: state")
        .plugin_with("stamp", &path, "reload: watch")
        .route(STAMPED);
    let gateway = GATEWAY.start(config).await;
    let mut load = Load::start(gateway.listener("http"), "/", 2);
    let admin = gateway.admin();
    for next in [component("impostor"), variant("stamp", "again"), component("impostor")] {
        put(&path, &next);
        let plugin =
            admin.plugin_until("stamp", "the file's version", |it| it["sha256"] == sha256(&next).as_str()).await;
        assert_eq!(plugin["decided_by"], "config", "{plugin}");
        load.answers(5).await;
    }
    put(&path, b"\0asm but no component");
    gateway.log().wait("that the file is refused", |line| line.message() == "plugin not changed").await;
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "impostor");
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
}

// ---- by degrees ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_serves_its_share_and_is_promoted() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    let report = admin.upload("stamp?canary=25", &component("impostor")).await.json();
    assert_eq!(report["state"], "canary", "{report}");
    let mut by_canary = 0;
    for _ in 0..400 {
        by_canary += usize::from(served_by(&mut client, &[]).await == "impostor");
    }
    assert_eq!(by_canary, 100, "every fourth request, on the one worker that has the connection");
    let plugin = evidence(&admin, "the evidence of 100 requests", |it| it["trial"]["calls"] == 200).await;
    let rollout = &plugin["rollout"];
    assert_eq!((&rollout["mode"], &rollout["percent"]), (&json!("canary"), &json!(25.0)), "{plugin}");
    assert_eq!(rollout["evidence"]["stable"]["calls"], 600, "{plugin}");
    let report = admin.post("/api/plugins/stamp/promote").await.json();
    assert_eq!(report["state"], "serving", "{report}");
    assert_eq!(served_by(&mut client, &[]).await, "impostor");
    let plugin = admin.plugin("stamp").await;
    assert_eq!((&plugin["rollout"], &plugin["last_rollout"]["outcome"]), (&Value::Null, &json!("promoted")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sticky_canary_keeps_each_client_on_one_version() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    gateway.admin().upload("stamp?canary=50&sticky=header:x-user", &component("impostor")).await;
    let mut by_canary = 0;
    for user in 0..40 {
        let field = format!("x-user: {user}");
        let first = served_by(&mut gateway.client().await, &[&field]).await;
        // Other connections, and so other workers, say the same.
        for _ in 0..3 {
            assert_eq!(served_by(&mut gateway.client().await, &[&field]).await, first, "user {user}");
        }
        by_canary += usize::from(first == "impostor");
    }
    assert!((8..32).contains(&by_canary), "half of the users, more or less: {by_canary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_is_rolled_back_by_its_evidence() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    let admin = gateway.admin();
    let mut events = admin.events().await;
    admin.upload("stamp?canary=50", &component("impostor")).await;
    let mut client = gateway.client().await;
    let trapping = ["GET / HTTP/1.1", "Host: a", "X-Trap: 1"];
    let mut failed = 0;
    let rolled_back = harness::within("the rollback", events.next("rollout"));
    let requests = async {
        loop {
            failed += usize::from(client.ask(&trapping, "").await.status == 500);
        }
    };
    let event = tokio::select! { event = rolled_back => event, () = requests => unreachable!() };
    assert_eq!((&event["plugin"], &event["outcome"]), (&json!("stamp"), &json!("rolled_back")), "{event}");
    let plugin = admin.plugin_until("stamp", "the end of the trial", |it| it["rollout"].is_null()).await;
    let report = &plugin["last_rollout"];
    assert_eq!((&report["decided_by"], &report["mode"]), (&json!("evidence"), &json!("canary")), "{plugin}");
    assert!(report["evidence"]["trial"]["outcomes"]["trap"].as_u64() >= Some(10), "{plugin}");
    assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("failed")), "{plugin}");
    assert!(failed >= 10);
    for _ in 0..20 {
        assert_eq!(served_by(&mut gateway.client().await, &["X-Trap: 1"]).await, "stamp");
    }
    assert_eq!(admin.metric(r#"witgate_plugin_swaps_total{outcome="rolled_back",plugin="stamp"}"#).await, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_run_is_compared_and_changes_nothing() {
    let origin = Upstream::echo().await;
    let gateway = GATEWAY.start(swappable(&origin, "")).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    let report = admin.upload("stamp?shadow=true", &variant("stamp", "twin")).await.json();
    assert_eq!(report["state"], "shadow", "{report}");
    for _ in 0..20 {
        assert_eq!(served_by(&mut client, &[]).await, "stamp");
    }
    let compared = |it: &Value, same: u64, differs: u64, failed: u64| {
        it["compared"] == json!({ "same": same, "differs": differs, "failed": failed })
    };
    evidence(&admin, "20 requests that are the same", |it| compared(it, 40, 0, 0)).await;

    admin.upload("stamp?shadow=true", &component("impostor")).await;
    for _ in 0..20 {
        assert_eq!(served_by(&mut client, &[]).await, "stamp");
    }
    evidence(&admin, "20 requests that differ", |it| compared(it, 0, 40, 0)).await;
    let line = gateway.log().wait("that a difference is logged", |line| line.message() == "a shadow run differs").await;
    assert!(line.field("request_id").is_some(), "{}", line.text);
    assert_eq!(served_by(&mut client, &["X-Trap: 1"]).await, "stamp", "its trap is nobody's");
    evidence(&admin, "a shadow that failed", |it| it["compared"]["failed"] == 1).await;
    let report = admin.post("/api/plugins/stamp/promote").await.json();
    assert_eq!(report["state"], "serving", "{report}");
    assert_eq!(served_by(&mut client, &[]).await, "impostor");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_canary_begins_and_ends_by_itself() {
    let origin = Upstream::echo().await;
    let canary = |rules: &str| {
        let source = guest("impostor");
        let canary = format!("canary: {{ source: 'file:{}', percent: 50%, {rules} }}", source.display());
        swappable(&origin, &canary)
    };
    let mut gateway = GATEWAY.start(swappable(&origin, "")).await;
    gateway.reload(canary("rollback_when: { min_calls: 20, p99_ratio: 1000 }, promote_after: 1ms")).await;
    let admin = gateway.admin();
    let mut load = Load::start(gateway.listener("http"), "/", 2);
    load.answers(60).await;
    let plugin = admin.plugin_until("stamp", "that the canary is promoted", |it| it["rollout"].is_null()).await;
    assert_eq!((&plugin["last_rollout"]["outcome"], &plugin["decided_by"]), (&json!("promoted"), &json!("override")));
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "impostor");
    // The same text says the same: a reload does not begin again what is over.
    gateway.reload(canary("rollback_when: { min_calls: 20, p99_ratio: 1000 }, promote_after: 1ms")).await;
    assert_eq!(served_by(&mut gateway.client().await, &[]).await, "impostor");
    assert_eq!(admin.plugin("stamp").await["rollout"], Value::Null);
    // Another text is another wish.
    gateway.reload(canary("rollback_when: { min_calls: 1000000 }")).await;
    let plugin = admin.plugin("stamp").await;
    assert_eq!(plugin["rollout"]["actor"], "configuration", "{plugin}");
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");
}
