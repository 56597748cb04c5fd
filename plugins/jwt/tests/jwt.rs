//! What `builtin:jwt` does with tokens, given what the gateway says of them, and which configurations it refuses.

use serde_json::{Value, json};
use witgate_jwt::Jwt;
use witgate_plugin::jwt::Refusal;
use witgate_plugin::test::{Grants, Harness, Outcome, TestRequest};

fn claims() -> Value {
    json!({
        "iss": "https://idp.example", "aud": ["api"], "sub": "ada", "exp": 1_900_000_000, "scope": "read write",
        "roles": ["admin", "ops"], "level": 3, "verified": true, "name": "Ada\r\nx-evil: 1",
    })
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().expect("an object").remove(name);
    claims
}

/// The plugin with the usual rules and these besides, in a gateway that knows some tokens.
fn jwt(config: Value) -> Result<Harness<Jwt>, String> {
    let grants = Grants::new().key_set(
        "idp",
        [
            ("good", Ok(claims())),
            ("nobody", Ok(without("sub"))),
            ("endless", Ok(without("exp"))),
            ("scp", Ok(json!({ "iss": "https://idp.example", "aud": "api", "exp": 1_900_000_000, "scp": ["read", "write"] }))),
            ("strange", Err(Refusal::UnknownKey)),
            ("early", Err(Refusal::Unavailable)),
        ],
    );
    let mut whole = json!({ "issuer": "https://idp.example", "audience": ["api"], "key_set": "idp" });
    for (name, value) in config.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    Harness::granted(grants, whole).map_err(|error| error.to_string())
}

fn with(config: Value) -> Harness<Jwt> {
    jwt(config).expect("the configuration is good")
}

fn bearer(token: &str) -> TestRequest {
    TestRequest::get("/").header("authorization", format!("Bearer {token}"))
}

/// Status and challenge of an answer; 200 for a request that passed.
fn answer(plugin: &mut Harness<Jwt>, request: TestRequest) -> (u16, String) {
    match plugin.request(request) {
        Outcome::Next(_) => (200, String::new()),
        Outcome::Respond(reply) => (reply.status(), reply.value("www-authenticate").unwrap_or_default().to_owned()),
    }
}

#[test]
fn who_has_a_good_token_passes_and_is_known() {
    let mut plugin =
        with(json!({ "inject": { "x-user-id": "sub", "x-roles": "roles", "x-level": "level", "x-plan": "plan" } }));
    assert_eq!(plugin.asked().owned_headers, ["x-level", "x-plan", "x-roles", "x-user-id"]);
    let forged = bearer("good").header("X-User-Id", "root").header("x_user_id", "root").header("x-plan", "gold");
    let outcome = plugin.request(forged);
    let passed = outcome.passed();
    for (name, expected) in [
        ("x-user-id", vec!["ada"]),
        ("x-roles", vec![r#"["admin","ops"]"#]),
        ("x-level", vec!["3"]),
        ("x-plan", vec![]),
    ] {
        assert_eq!(passed.values(name), expected, "{name}");
    }
    assert!(passed.values("x_user_id").is_empty());
    assert_eq!(passed.value("authorization"), Some("Bearer good"));
    assert_eq!(plugin.attribute("user"), Some("ada"));
    assert_eq!(plugin.attribute("scopes"), Some("read write"));
    let told = plugin.attribute("claims").expect("claims");
    assert_eq!(serde_json::from_str::<Value>(told).expect("JSON"), claims());
}

#[test]
fn what_is_remembered_of_a_token_is_what_it_says() {
    // More than are remembered at a time, and one whose claims are too long for it.
    let names: Vec<String> = (0..600).map(|number| format!("user-{number}")).collect();
    let says = |name: &str| json!({ "exp": 1_900_000_000, "sub": name, "scope": format!("read {name}") });
    let long = json!({ "exp": 1_900_000_000, "sub": "long", "scope": "read long", "more": "x".repeat(5000) });
    for cache in [0, 1024] {
        let tokens = names.iter().map(|name| (name.as_str(), Ok(says(name)))).chain([("long", Ok(long.clone()))]);
        let grants = Grants::new().key_set("idp", tokens);
        let rules = json!({ "issuer": null, "audience": null, "key_set": "idp", "cache": cache, "inject": { "x-user": "sub" } });
        let mut plugin = Harness::<Jwt>::granted(grants, rules).expect("the configuration is good");
        let again = names.iter().rev().map(String::as_str).chain(["long", "user-7", "long", "user-7"]);
        for name in names.iter().map(String::as_str).chain(again) {
            assert_eq!(plugin.request(bearer(name)).passed().value("x-user"), Some(name));
            assert_eq!(plugin.attribute("user"), Some(name));
            assert_eq!(plugin.attribute("scopes"), Some(format!("read {name}").as_str()));
        }
    }
}

#[test]
fn others_are_told_no_more_than_they_need() {
    let mut plugin = with(json!({}));
    let invalid = (401, r#"Bearer realm="gateway", error="invalid_token""#.to_owned());
    for token in ["strange", "forged", "", "endless"] {
        assert_eq!(answer(&mut plugin, bearer(token)), invalid, "{token}");
    }
    let missing = (401, r#"Bearer realm="gateway""#.to_owned());
    assert_eq!(answer(&mut plugin, TestRequest::get("/")), missing);
    assert_eq!(answer(&mut plugin, TestRequest::get("/").header("authorization", "Basic YTpi")), missing);
    assert_eq!(answer(&mut plugin, TestRequest::get("/").header("authorization", b"Bearer \xff")), invalid);
    assert_eq!(answer(&mut plugin, bearer("early")).0, 503);
    let reply = plugin.request(bearer("strange"));
    let body: Value = serde_json::from_slice(reply.reply().bytes()).expect("a problem");
    assert_eq!(body["detail"], "the token is not valid");
    assert_eq!(answer(&mut with(json!({ "require_exp": false })), bearer("endless")).0, 200);
    assert_eq!(answer(&mut with(json!({ "audience": "other" })), bearer("good")), invalid);
    assert_eq!(answer(&mut with(json!({ "issuer": ["https://other.example"] })), bearer("good")), invalid);
    assert_eq!(answer(&mut with(json!({ "issuer": null, "audience": null })), bearer("good")).0, 200);
}

#[test]
fn there_is_one_token() {
    let mut plugin = with(json!({ "from": ["header", "cookie:token", "query:access_token", "header:x-token"] }));
    let get = TestRequest::get;
    for (request, expected) in [
        (bearer("good"), 200),
        (get("/").header("authorization", "bearer  good"), 200),
        (get("/").header("cookie", "a=b; token=good"), 200),
        (get("/?a=b&access_token=good"), 200),
        (get("/").header("x-token", "good"), 200),
        (bearer("good").header("cookie", "token=good"), 200),
        (bearer("good").header("cookie", "token=forged"), 400),
        (bearer("good").header("authorization", "Bearer forged"), 400),
        (bearer("good").header("authorization", "Basic YTpi"), 400),
        (get("/?access_token=good&access%5Ftoken=forged"), 400),
        (get("/").header("cookie", "token=good; token=forged"), 400),
        (get("/").header("cookie", "tokens=good"), 401),
    ] {
        assert_eq!(answer(&mut plugin, request.clone()).0, expected, "{request:?}");
    }
}

#[test]
fn a_token_need_not_reach_the_upstream() {
    let mut plugin = with(json!({ "from": ["header", "cookie:token", "query:t"], "forward": false }));
    assert_eq!(plugin.request(bearer("good")).passed().value("authorization"), None);
    let outcome = plugin.request(TestRequest::get("/x?a=1&t=good&b=%20&c").header("cookie", "a=b; token=good; c=d"));
    assert_eq!(outcome.passed().value("cookie"), Some("a=b; c=d"));
    assert_eq!(outcome.passed().target(), "/x?a=1&b=%20&c=");
    let outcome = plugin.request(TestRequest::get("/x?a").header("cookie", "token=good"));
    assert_eq!((outcome.passed().value("cookie"), outcome.passed().target()), (None, "/x?a".to_owned()));
}

#[test]
fn scopes_and_claims_are_required() {
    let insufficient = |scope: &str| (403, format!(r#"Bearer realm="gateway", error="insufficient_scope"{scope}"#));
    let read = json!({ "scopes": ["read", "write"] });
    for token in ["good", "scp"] {
        assert_eq!(answer(&mut with(read.clone()), bearer(token)).0, 200);
    }
    let admin = answer(&mut with(json!({ "scopes": ["read", "admin"] })), bearer("good"));
    assert_eq!(admin, insufficient(r#", scope="read admin""#));
    assert_eq!(answer(&mut with(json!({ "scopes": ["rea"] })), bearer("good")).0, 403);
    for (claims, expected) in [
        (json!({ "verified": true, "level": [3, 4] }), 200),
        (json!({ "roles": "admin" }), 200),
        (json!({ "roles": ["dev", "ops"] }), 200),
        (json!({ "sub": "ada" }), 200),
        (json!({ "roles": "dev" }), 403),
        (json!({ "verified": "true" }), 403),
        (json!({ "level": 4 }), 403),
        (json!({ "plan": "gold" }), 403),
    ] {
        let answer = answer(&mut with(json!({ "required_claims": claims })), bearer("good"));
        assert_eq!(answer.0, expected, "{claims}");
        assert!(expected == 200 || answer == insufficient(""));
    }
}

#[test]
fn a_claim_cannot_write_headers() {
    let mut plugin = with(json!({ "inject": { "x-name": "name" } }));
    assert_eq!(answer(&mut plugin, bearer("good")).0, 401);
    assert_eq!(plugin.request(bearer("scp")).passed().value("x-name"), None);
}

#[test]
fn who_is_nobody_has_no_attribute() {
    let mut plugin = with(json!({}));
    plugin.request(bearer("nobody"));
    assert_eq!(plugin.attribute("user"), None);
    assert_eq!(plugin.attribute("scopes"), Some("read write"));
}

#[test]
fn it_asks_only_for_what_its_configuration_needs() {
    let asked = with(json!({})).asked();
    assert_eq!((asked.request_headers, asked.path), (vec!["authorization".to_owned()], false));
    let asked = with(json!({ "from": ["query:token"] })).asked();
    assert_eq!((asked.request_headers, asked.path), (vec![], true));
}

#[test]
fn faults_name_their_keys() {
    for (config, expected) in [
        (json!({ "isuer": "x" }), "isuer: unknown field `isuer`, expected one of `key_set`, `issuer`"),
        (json!({ "scopes": "read" }), "scopes: invalid type: string \"read\", expected a sequence"),
        (json!({ "leeway": 30 }), "leeway: invalid type: integer `30`, expected a duration with its unit"),
        (json!({ "leeway": "9999999d" }), "leeway: is too long"),
        (json!({ "cache": -1 }), "cache: invalid value: integer `-1`, expected u32"),
        (json!({ "from": ["cookies:x"] }), "from[0]: \"cookies:x\" is no place for a credential: write `header`"),
        (json!({ "from": [] }), "from: invalid length 0, expected at least one value"),
        (json!({ "inject": { "host": "sub" } }), "inject.host: `host` is written by the gateway itself"),
        (json!({ "scopes": ["a\"b"] }), "scopes[0]: is no scope"),
        (json!({ "key_set": "other" }), "this plugin is granted no key set `other`"),
        (json!({ "required_claims": { "a": {} } }), "required_claims.a: invalid type: map"),
    ] {
        let error = jwt(config.clone()).err().unwrap_or_else(|| panic!("accepted: {config}"));
        assert!(error.starts_with(expected), "{config}\n  gives    {error}\n  expected {expected}…");
    }
    for missing in ["issuer", "audience", "key_set"] {
        let mut whole = json!({ "issuer": "i", "audience": "a", "key_set": "idp" });
        whole.as_object_mut().expect("an object").remove(missing);
        let error = Harness::<Jwt>::new(whole).err().map(|error| error.to_string());
        assert_eq!(error, Some(format!("missing field `{missing}`")));
    }
}
