//! What `builtin:policy` decides about requests, and which rules it refuses.

use serde_json::{Value, json};
use witgate_plugin::test::{Harness, Outcome, TestRequest};
use witgate_policy::Policy;

fn policy(rules: Value) -> Result<Harness<Policy>, String> {
    Harness::new(json!({ "rules": rules })).map_err(|error| error.to_string())
}

fn with(rules: Value) -> Harness<Policy> {
    policy(rules).expect("the rules are good")
}

fn request() -> TestRequest {
    let claims = json!({
        "sub": "ada", "roles": ["admin", "ops"], "level": 3, "ratio": 0.5, "org": { "name": "acme", "tags": ["a"] },
        "email.verified": true, "none": null,
    });
    TestRequest::new("POST", "/v1/users/42?full=1&x")
        .authority("API.example.com:8443")
        .client("192.0.2.7")
        .header("x-team", "red")
        .header("accept", "a/b")
        .header("accept", "c/d")
        .param("id", "42")
        .attribute("user", "ada")
        .attribute("scopes", "read write")
        .attribute("claims", &claims.to_string())
        .attribute("tier", "gold")
        .attribute("geo", r#"{"country":"DE"}"#)
}

/// Whether the rule applies to the request; its error.
fn decide(when: &str, request: TestRequest) -> Result<bool, String> {
    let mut plugin = with(json!([{ "when": when, "deny": { "status": 418 } }]));
    match plugin.request(request) {
        Outcome::Next(_) => Ok(false),
        Outcome::Respond(reply) if reply.status() == 418 => Ok(true),
        Outcome::Respond(reply) => {
            assert_eq!(reply.status(), 403);
            Err(plugin.log()[0].message.clone())
        }
    }
}

#[test]
fn rules_see_the_request() {
    for when in [
        r#"request.method == "POST""#,
        r#"request.scheme in ["http", "https"]"#,
        r#"request.host == "api.example.com""#,
        r#"request.path == "/v1/users/42" && request.path.startsWith("/v1/")"#,
        r#"request.query == "full=1&x" && request.query.contains("full")"#,
        r#"request.client_ip == "192.0.2.7""#,
        r#"request.headers["x-team"] == "red" && request.headers["X-Team"] == "red""#,
        r#"request.headers.accept == "a/b, c/d""#,
        r#"has(request.headers.accept) && !has(request.headers.cookie)"#,
        r#""x-team" in request.headers && !("x-tea" in request.headers)"#,
        r#"params.id == "42" && int(params.id) < 43 && !has(params.name)"#,
        r#"attributes.tier == "gold" && attributes.geo.country == "DE" && !("x" in attributes)"#,
        r#"user == "ada" && "admin" in user.roles && claims.sub == "ada""#,
        r#"claims.level >= 3 && claims.level < 4 && claims.ratio > 0.4"#,
        r#"claims.org.name == "acme" && has(claims.org.tags) && !has(claims.org.x) && claims["email.verified"]"#,
        r#"has(claims.sub) && !has(claims.plan) && "sub" in claims && claims.none == null"#,
        r#""read" in scopes && !("rea" in scopes) && scopes.size() == 2"#,
        r#"claims.roles.exists(role, role == "ops") && claims.roles.all(request, request.size() > 2)"#,
        r#"claims.roles.filter(r, r != "ops") == ["admin"] && size(claims.roles.map(r, r + "!")) == 2"#,
        r#"(has(claims.plan) ? claims.plan : "free") == "free""#,
        r#"type(claims.level) == int && {"a": claims.level}["a"] == 3"#,
        "claims.size() == 7",
        r#"request.path.matches("^/v[0-9]+/users/") && !user.matches("^a$") && matches(user, "d")"#,
        r#"request.headers["x-team"].startsWith("r") && [1, 2].exists_one(n, n == claims.level - 1)"#,
        r#"claims.roles.map(r, {"role": r}).size() + 1 == 3 && -claims.level < 0 && 1 < 2.5"#,
        "// A comment.\ntrue",
    ] {
        assert_eq!(decide(when, request()), Ok(true), "{when}");
        let negated = format!("!({when}\n)");
        assert_eq!(decide(&negated, request()), Ok(false), "{negated}");
    }
}

#[test]
fn the_first_who_denies_ends_it() {
    let rules = json!([
        { "when": "request.method == \"GET\"", "deny": {} },
        { "when": "request.method == \"POST\" && !(\"root\" in user.roles)", "deny": { "status": 451, "detail": "not you" } },
        { "when": "true", "deny": {} },
    ]);
    let outcome = with(rules.clone()).request(request());
    let body: Value = serde_json::from_slice(outcome.reply().bytes()).expect("a problem");
    assert_eq!((outcome.reply().status(), &body["detail"]), (451, &json!("not you")));
    assert_eq!(with(rules).request(TestRequest::get("/")).reply().status(), 403);
}

#[test]
fn rules_tag_and_choose() {
    let mut plugin = with(json!([
        { "when": "attributes.tier == \"gold\"", "tag": { "headers": { "x-tier": "gold" }, "attributes": { "fast": "yes" } } },
        { "when": "user == \"ada\"", "upstream": "canary", "tag": { "attributes": { "fast": "very" } } },
        { "when": "true", "upstream": "other" },
    ]));
    assert_eq!(plugin.asked().owned_headers, ["x-tier"]);
    let outcome = plugin.request(request().header("x-tier", "platinum"));
    assert_eq!(outcome.passed().values("x-tier"), ["gold"]);
    assert_eq!(plugin.attribute("fast"), Some("very"));
    assert_eq!(outcome.passed().upstream.as_deref(), Some("canary"));
}

#[test]
fn what_cannot_be_decided_is_denied() {
    for (when, words) in [
        (r#"claims.plan == "gold""#, "claims.plan"),
        (r#"request.headers.cookie == "x""#, "request.headers.cookie"),
        ("claims.level", "not bool"),
        (r#"claims.level == "3" || claims.level > "3""#, "overload"),
        ("1 / (claims.level - 3) == 1", "zero"),
        ("claims.roles[5] == \"x\"", "bounds"),
    ] {
        let error = decide(when, request()).expect_err(when);
        assert!(error.starts_with("rules[0] cannot be decided") && error.contains(words), "{when}: {error}");
    }
    assert!(decide("claims.sub == \"ada\"", TestRequest::get("/")).is_err(), "nobody said who it is");
    assert!(decide("claims.sub == \"ada\"", TestRequest::get("/").attribute("claims", "{")).is_err());
    let mut open = with(json!([{ "when": "claims.plan == \"free\"", "deny": {}, "on_error": "open" }]));
    open.request(request()).passed();
}

#[test]
fn only_what_rules_mention_is_asked_for() {
    let asked = with(json!([
        { "when": "request.method == \"GET\" && (\"x-a\" in request.headers || has(params.id))", "deny": {} },
        { "when": "claims.sub == \"a\" || user == \"b\" || request.headers[\"X-A\"] == \"c\"", "deny": {} },
    ]))
    .asked();
    assert!(asked.method && !asked.path && !asked.client && !asked.authority && !asked.scheme);
    assert_eq!((asked.request_headers, asked.params), (vec!["x-a".to_owned()], vec!["id".to_owned()]));
    assert_eq!(asked.attributes, ["claims", "user"]);
}

#[test]
fn faults_are_found_with_their_place() {
    for (when, expected) in [
        ("request.method == ", "rules[1].when: line 1, column 19: "),
        ("true &&\n  (user == \"a\"", "rules[1].when: line 2, column 15: "),
        ("true &&\n  usr == \"a\"", "rules[1].when: line 2, column 3: there is no `usr` here"),
        ("request.verb == \"GET\"", "rules[1].when: line 1, column 1: a request has no `request.verb`"),
        ("request == 1", "rules[1].when: line 1, column 1: name what of `request` is meant"),
        ("size(request.headers) > 1", "rules[1].when: line 1, column 6: name what of `request.headers` is meant"),
        ("request.headers[user] == \"\"", "rules[1].when: line 1, column 1: name what of `request.headers` is meant"),
        ("user.lower() == \"a\"", "rules[1].when: line 1, column 6: there is no function `lower`"),
        ("user.matches(\"(a\")", "rules[1].when: line 1, column 6: "),
        ("user.matches(user)", "rules[1].when: line 1, column 6: the pattern of `matches` must stand here"),
        ("true && request.path > 3", "rules[1].when: line 1, column 9: `>` does not take text and int"),
        ("request.headers[\"x-a\"] == 1", "rules[1].when: line 1, column 1: `==` does not take text and int"),
        ("!request.method", "rules[1].when: line 1, column 2: `!` does not take text"),
        ("request.method", "rules[1].when: line 1, column 1: is of the type text, not bool"),
        ("size(scopes) == \"1\"", "rules[1].when: line 1, column 14: `==` does not take int and text"),
        ("size(user, 1) == 2", "rules[1].when: line 1, column 1: `size` does not take so many arguments"),
        ("int(\"a\") == 1", "rules[1].when: line 1, column 1: is the same for all requests, and fails: "),
        (
            "[1, 2].map(n, n + \"a\") == []",
            "rules[1].when: line 1, column 1: is the same for all requests, and fails: ",
        ),
        ("request.path.size > 1", "rules[1].when: line 1, column 14: text has no members"),
        ("request.path.exists(c, c == \"/\")", "rules[1].when: line 1, column 21: text has no items"),
    ] {
        let rules = json!([{ "when": "true", "deny": {} }, { "when": when, "deny": {} }]);
        let error = policy(rules).err().unwrap_or_else(|| panic!("accepted: {when}"));
        assert!(error.starts_with(expected), "{when}\n  gives    {error}\n  expected {expected}…");
    }
    for (rule, expected) in [
        (json!({ "when": "true" }), "rules[0]: does nothing"),
        (json!({ "when": "true", "deny": {}, "upstream": "a" }), "rules[0]: who is denied"),
        (json!({ "when": "true", "deny": { "status": 200 } }), "rules[0].deny.status: must be from 400 to 599"),
        (json!({ "when": "true", "deny": { "stat": 403 } }), "rules[0].deny.stat: unknown field `stat`"),
        (json!({ "if": "true" }), "rules[0].if: unknown field `if`"),
        (json!({ "when": "true", "tag": { "headers": { "host": "a" } } }), "rules[0].tag.headers.host: `host`"),
        (json!({ "when": "true", "deny": {}, "on_error": "pass" }), "rules[0].on_error: unknown variant `pass`"),
    ] {
        let error = policy(json!([rule])).err().unwrap_or_else(|| panic!("accepted: {rule}"));
        assert!(error.starts_with(expected), "{rule}\n  gives    {error}\n  expected {expected}…");
    }
}
