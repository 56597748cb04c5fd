//! What `builtin:api-key` does with keys, and which configurations it refuses.

use serde_json::{Value, json};
use witgate_api_key::ApiKey;
use witgate_plugin::test::{Grants, Harness, Outcome, TestRequest};

/// The SHA-256 of `s3cret`.
const HASHED: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

fn listed(config: Value) -> Result<Harness<ApiKey>, String> {
    let mut whole = json!({ "keys": [
        { "key": "k1", "id": "ada", "scopes": ["read", "write"], "context": { "plan": "gold", "quota": 5 } },
        { "sha256": HASHED, "id": "bob" },
    ] });
    for (name, value) in config.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    Harness::new(whole).map_err(|error| error.to_string())
}

fn in_table(config: Value) -> Harness<ApiKey> {
    let table = json!({
        "k1": { "id": "ada", "scopes": ["read", "write"], "context": { "plan": "gold", "quota": 5 } },
        format!("sha256:{HASHED}"): { "id": "bob" },
        "broken": { "name": "eve" },
    });
    let mut whole = json!({ "table": "clients" });
    for (name, value) in config.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    Harness::granted(Grants::new().table("clients", table), whole).expect("the configuration is good")
}

fn both(config: Value) -> [Harness<ApiKey>; 2] {
    [listed(config.clone()).expect("the configuration is good"), in_table(config)]
}

fn with_key(key: &str) -> TestRequest {
    TestRequest::get("/").header("x-api-key", key)
}

fn status(plugin: &mut Harness<ApiKey>, request: TestRequest) -> u16 {
    match plugin.request(request) {
        Outcome::Next(_) => 200,
        Outcome::Respond(reply) => {
            let challenge = reply.value("www-authenticate");
            assert_eq!(challenge, (reply.status() == 401).then_some(r#"ApiKey realm="gateway""#));
            reply.status()
        }
    }
}

#[test]
fn who_has_a_key_passes_and_is_known() {
    for mut plugin in
        both(json!({ "inject": { "x-user-id": "id", "x-plan": "plan", "x-quota": "quota", "x-can": "scopes" } }))
    {
        assert_eq!(plugin.asked().owned_headers, ["x-can", "x-plan", "x-quota", "x-user-id"]);
        let outcome = plugin.request(with_key("k1").header("X-User-Id", "root"));
        for (name, value) in [("x-user-id", "ada"), ("x-plan", "gold"), ("x-quota", "5"), ("x-can", "read write")] {
            assert_eq!(outcome.passed().values(name), [value], "{name}");
        }
        assert_eq!((plugin.attribute("user"), plugin.attribute("scopes")), (Some("ada"), Some("read write")));
        let claims: Value = serde_json::from_str(plugin.attribute("claims").expect("claims")).expect("JSON");
        assert_eq!(claims, json!({ "sub": "ada", "scope": "read write", "plan": "gold", "quota": 5 }));

        let outcome = plugin.request(with_key("s3cret").header("x-plan", "gold"));
        assert_eq!((outcome.passed().value("x-user-id"), outcome.passed().value("x-plan")), (Some("bob"), None));
    }
}

#[test]
fn others_do_not_pass() {
    for mut plugin in both(json!({})) {
        for key in ["", "k", "k11", "K1", "s3cret ", HASHED, &format!("sha256:{HASHED}"), "\u{fffd}"] {
            assert_eq!(status(&mut plugin, with_key(key)), 401, "{key}");
        }
        assert_eq!(status(&mut plugin, TestRequest::get("/")), 401);
        assert_eq!(status(&mut plugin, TestRequest::get("/?x-api-key=k1")), 401);
        assert_eq!(status(&mut plugin, with_key("k1").header("x-api-key", "s3cret")), 401);
    }
    let mut plugin = in_table(json!({}));
    assert_eq!(status(&mut plugin, with_key("broken")), 500);
    assert!(plugin.log()[0].message.contains("unknown field `name`"), "{:?}", plugin.log());
}

#[test]
fn a_key_may_be_for_some_routes_only() {
    for (scopes, ada, bob) in [(json!([]), 200, 200), (json!(["read"]), 200, 403), (json!(["read", "admin"]), 403, 403)]
    {
        for mut plugin in both(json!({ "scopes": scopes })) {
            assert_eq!((status(&mut plugin, with_key("k1")), status(&mut plugin, with_key("s3cret"))), (ada, bob));
        }
    }
}

#[test]
fn a_key_is_where_the_configuration_says() {
    let get = TestRequest::get;
    for mut plugin in both(json!({ "header": "Authorization", "query": "key", "forward": false })) {
        let outcome = plugin.request(get("/?a=1&key=k%31").header("x-other", "1"));
        assert_eq!(outcome.passed().target(), "/?a=1");
        let outcome = plugin.request(get("/").header("authorization", "k1"));
        assert_eq!(outcome.passed().value("authorization"), None);
        assert_eq!(status(&mut plugin, get("/?key=k1&key=s3cret")), 401);
        assert_eq!(status(&mut plugin, with_key("k1")), 401);
    }
    let asked = listed(json!({ "query": "key" })).map(|plugin| plugin.asked()).expect("good");
    assert_eq!((asked.path, asked.request_headers), (true, vec![]));
    assert_eq!(listed(json!({})).expect("good").asked().request_headers, ["x-api-key"]);
}

#[test]
fn a_hundred_thousand_keys_are_as_good_as_one() {
    let keys: Vec<_> =
        (0..100_000).map(|number| json!({ "key": format!("key-{number}"), "id": number.to_string() })).collect();
    let mut plugin = listed(json!({ "keys": keys })).expect("the configuration is good");
    for number in [0, 1, 49_999, 99_999] {
        plugin.request(with_key(&format!("key-{number}")));
        assert_eq!(plugin.attribute("user"), Some(number.to_string().as_str()));
    }
    assert_eq!(status(&mut plugin, with_key("key-100000")), 401);
}

#[test]
fn faults_name_their_keys() {
    let one = |key: Value| json!({ "keys": [{ "key": "a", "id": "a" }, key] });
    for (config, expected) in [
        (json!({ "haeder": "x" }), "haeder: unknown field `haeder`"),
        (json!({ "header": "x y" }), "header: \"x y\" is no header name"),
        (json!({ "table": "clients" }), "give `keys` or `table`"),
        (json!({ "keys": null }), "give `keys` or `table`"),
        (json!({ "keys": null, "table": "clients" }), "this plugin is granted no table `clients`"),
        (one(json!({ "id": "b" })), "keys[1]: give `key` or `sha256`"),
        (one(json!({ "key": "b", "sha256": HASHED, "id": "b" })), "keys[1]: give `key` or `sha256`"),
        (one(json!({ "key": "", "id": "b" })), "keys[1].key: must not be empty"),
        (one(json!({ "key": "a", "id": "b" })), "keys[1]: is the key of an earlier one"),
        (one(json!({ "key": "b" })), "keys[1]: missing field `id`"),
        (one(json!({ "sha256": "abc", "id": "b" })), "keys[1].sha256: must have 64 hexadecimal digits"),
        (one(json!({ "sha256": "é".repeat(32), "id": "b" })), "keys[1].sha256: must have 64 hexadecimal digits"),
        (one(json!({ "key": "b", "id": "b", "scope": [] })), "keys[1].scope: unknown field `scope`"),
    ] {
        let error = listed(config.clone()).err().unwrap_or_else(|| panic!("accepted: {config}"));
        assert!(error.starts_with(expected), "{config}\n  gives    {error}\n  expected {expected}…");
    }
    let breaks = json!({ "inject": { "x-user-id": "id" }, "keys": [{ "key": "a", "id": "a\nb" }] });
    assert_eq!(listed(breaks).err().as_deref(), Some("keys[0]: injects a control character"));
}
