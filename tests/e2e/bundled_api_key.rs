//! `builtin:api-key` on real routes: keys in the config and in tables, and what the upstream gets to know of their owners.

use std::fmt::Write as _;

use harness::{Client, Config, Response, Upstream};

use crate::GATEWAY;

/// The SHA-256 of `s3cret`.
const HASHED: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

async fn ask(client: &mut Client, field: &str) -> Response {
    client.ask(&["GET / HTTP/1.1", "Host: a", "X-User-Id: root", field], "").await
}

async fn status(client: &mut Client, field: &str) -> u16 {
    ask(client, field).await.status
}

fn config(origin: &Upstream, keys: &str) -> Config {
    Config::to(origin).builtin("api-key").route(&format!(
        "filters: [{{ use: api-key, config: {{ inject: {{ x-user-id: id, x-plan: plan }}, {keys} }} }}]"
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_key_is_known_to_the_upstream() {
    let origin = Upstream::echo().await;
    let keys = format!(
        "scopes: [read], keys: [{{ key: k1, id: ada, scopes: [read], context: {{ plan: gold }} }}, {{ sha256: {HASHED}, id: bob }}]"
    );
    let gateway = GATEWAY.start(config(&origin, &keys)).await;
    let mut client = gateway.client().await;
    let echo = ask(&mut client, "X-API-Key: k1").await.echo();
    assert_eq!((echo.fields.all("x-user-id"), echo.fields.get("x-plan")), (vec!["ada"], Some("gold")));
    assert_eq!(status(&mut client, "X-API-Key: s3cret").await, 403);
    for field in ["X-API-Key: k2", "X-API-Key:", "X: 1", "Authorization: k1"] {
        let answer = ask(&mut client, field).await;
        assert_eq!(
            (answer.status, answer.field("www-authenticate")),
            (401, Some(r#"ApiKey realm="gateway""#)),
            "{field}"
        );
    }
    let answer = client.ask(&["GET / HTTP/1.1", "Host: a", "X-API-Key: k1", "X-API-Key: s3cret"], "").await;
    assert_eq!(answer.status, 401);
}

/// The gateway remembers edits that come again, of so many clients: what the others are told is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_client_is_the_same_at_each_request_of_many() {
    let origin = Upstream::echo().await;
    let key = |number: u32| format!("{{ key: key-{number}, id: '{number}', context: {{ plan: plan-{number} }} }}");
    let keys: Vec<_> = (0..1500).map(key).collect();
    let gateway = GATEWAY.start(config(&origin, &format!("keys: [{}]", keys.join(", "))).top("workers: 1")).await;
    let mut client = gateway.client().await;
    let mut told = async |number: u32| {
        let echo = ask(&mut client, &format!("X-API-Key: key-{number}")).await.echo();
        let plan = format!("plan-{number}");
        assert_eq!(echo.fields.all("x-user-id"), [number.to_string()], "key-{number}");
        assert_eq!(echo.fields.all("x-plan"), [plan], "key-{number}");
    };
    for number in (0..4).flat_map(|_| 0..1500) {
        told(number).await;
        // One that comes all the time.
        told(0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_holds_as_many_keys_as_there_are_and_changes_with_its_file() {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("clients.json");
    let mut table = format!(r#"{{ "sha256:{HASHED}": {{ "id": "bob" }}, "broken": 1"#);
    for number in 0..100_000 {
        let _ = write!(table, r#", "key-{number}": {{ "id": "{number}", "context": {{ "plan": "gold" }} }}"#);
    }
    table.push('}');
    std::fs::write(&path, &table).expect("a temporary folder takes files");
    // Nothing is granted: the attachment names the table, and the plugin is bundled.
    let config =
        config(&origin, "table: clients").top(&format!("tables: {{ clients: {{ file: '{}' }} }}", path.display()));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    let echo = ask(&mut client, "X-API-Key: key-99999").await.echo();
    assert_eq!((echo.fields.all("x-user-id"), echo.fields.get("x-plan")), (vec!["99999"], Some("gold")));
    let echo = ask(&mut client, "X-API-Key: s3cret").await.echo();
    assert_eq!((echo.fields.all("x-user-id"), echo.fields.get("x-plan")), (vec!["bob"], None));
    for field in
        ["X-API-Key: key-100000".to_owned(), format!("X-API-Key: {HASHED}"), format!("X-API-Key: sha256:{HASHED}")]
    {
        assert_eq!(status(&mut client, &field).await, 401, "{field}");
    }
    assert_eq!(status(&mut client, "X-API-Key: broken").await, 500);

    // Nobody has to order a reload.
    let write = |text: &str| std::fs::write(&path, text).expect("a temporary folder takes files");
    write(r#"{ "new": { "id": "eve" }"#);
    let said = "a table cannot be loaded; the last good entries stay in use";
    gateway.log().wait("that the table cannot be read", |line| line.message() == said).await;
    assert_eq!(status(&mut client, "X-API-Key: key-1").await, 200);
    write(r#"{ "new": { "id": "eve" } }"#);
    gateway.log().wait("that the table was read", |line| line.message() == "loaded a table").await;
    assert_eq!(
        (status(&mut client, "X-API-Key: new").await, status(&mut client, "X-API-Key: key-1").await),
        (200, 401)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_with_its_key() {
    let origin = Upstream::echo().await;
    for (keys, words) in [
        ("keys: [{ key: a, id: a }, { key: b, nmae: b }]", "unknown key `nmae`"),
        ("keys: [{ key: a, id: a }, { key: a, id: b }]", "keys[1]: is the key of an earlier one"),
        ("table: clients", "granted no table `clients`"),
        ("header: x", "give `keys` or `table`"),
    ] {
        let refused = GATEWAY.on("validate", config(&origin, keys), &[]).await;
        let said = refused.stdout.clone() + &refused.stderr;
        assert!(refused.code == 4 && said.contains(words) && said.contains("gateway.yaml:"), "{words}: {refused:?}");
    }
}
