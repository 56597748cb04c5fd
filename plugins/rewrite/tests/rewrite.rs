//! What `builtin:rewrite` does to messages, and which configurations it refuses: tables of cases.

use witgate_plugin::test::{Harness, TestRequest, TestResponse, json};
use witgate_rewrite::Rewrite;

fn rewrite(config: serde_json::Value) -> Harness<Rewrite> {
    Harness::new(config).expect("the configuration is good")
}

#[test]
fn paths() {
    let strip = json!({ "strip_prefix": "/api" });
    let add = json!({ "add_prefix": "/v1/" });
    let both = json!({ "strip_prefix": "/api/", "add_prefix": "/v1" });
    let users =
        json!({ "regex": { "match": "^/users/(?<id>[0-9]+)/([a-z]+)$", "replace": "/${capture.2}/${capture.id}" } });
    let every = json!({ "regex": { "match": "/a(b)?", "replace": "/x${capture.1}" } });
    let dollar = json!({ "regex": { "match": "^/price", "replace": "/$$${capture.0}$$" } });
    let slashless = json!({ "regex": { "match": "^/old/", "replace": "new/" } });
    let all = json!({ "strip_prefix": "/api", "regex": { "match": "^/a", "replace": "/b" }, "add_prefix": "/api" });
    for (path, target, expected) in [
        (&strip, "/api/users", "/users"),
        (&strip, "/api", "/"),
        (&strip, "/api/", "/"),
        (&strip, "/apix", "/apix"),
        (&strip, "/v1/api", "/v1/api"),
        (&strip, "/api?full=1", "/?full=1"),
        (&add, "/", "/v1/"),
        (&add, "/users?full=1", "/v1/users?full=1"),
        (&both, "/api/users", "/v1/users"),
        (&both, "/other", "/v1/other"),
        (&users, "/users/42/posts?x=/users/1/a", "/posts/42?x=/users/1/a"),
        (&users, "/users/me/posts", "/users/me/posts"),
        (&every, "/a/ab/c", "/x/xb/c"),
        (&dollar, "/price", "/$/price$"),
        (&slashless, "/old/x", "/new/x"),
        (&all, "/api/a", "/api/b"),
        (&json!({}), "/same", "/same"),
    ] {
        let mut plugin = rewrite(json!({ "request": { "path": path } }));
        let outcome = plugin.request(TestRequest::get(target));
        assert_eq!(outcome.passed().target(), expected, "{target} with {path}");
    }
}

#[test]
fn request_headers_are_removed_then_set_then_added() {
    let mut plugin = rewrite(json!({ "request": { "headers": {
        "remove": ["X-Gone", "x-both"],
        "set": { "x-one": "new", "x-two": ["a", "b"], "x-price": "$$5" },
        "add": { "x-one": "more", "x-both": "fresh" },
    } } }));
    let request = TestRequest::get("/").header("x-gone", "1").header("x-one", "old").header("x-both", "stale");
    let outcome = plugin.request(request);
    let passed = outcome.passed();
    for (name, expected) in [
        ("x-gone", vec![]),
        ("x-one", vec!["new", "more"]),
        ("x-two", vec!["a", "b"]),
        ("x-price", vec!["$5"]),
        ("x-both", vec!["fresh"]),
    ] {
        assert_eq!(passed.values(name), expected, "{name}");
    }
}

#[test]
fn response_headers() {
    let mut plugin = rewrite(json!({ "response": { "headers": {
        "set": { "x-hello": "witgate" },
        "add": { "vary": ["accept", "origin"] },
        "remove": ["server"],
    } } }));
    let outcome = plugin.response(TestResponse::new(200).header("server", "x").header("vary", "cookie"));
    let passed = outcome.passed();
    assert_eq!(passed.values("x-hello"), ["witgate"]);
    assert_eq!(passed.values("vary"), ["cookie", "accept", "origin"]);
    assert_eq!(passed.values("server"), [""; 0]);

    // Without a request part, the request hook changes nothing.
    let request = TestRequest::get("/a?b").header("server", "x");
    assert_eq!(plugin.request(request.clone()).passed(), &request);
}

#[test]
fn queries() {
    for (query, target, expected) in [
        (json!({ "remove": ["a"] }), "/x?a=1&b=2&a=3&ab=4&c", "/x?b=2&ab=4&c"),
        (json!({ "remove": ["a"] }), "/x?a", "/x"),
        (json!({ "remove": ["debug"] }), "/x?de%62ug=1&a=%64", "/x?a=%64"),
        (json!({ "remove": ["a%20b", "c"] }), "/x?a+b=1&a%20b=2&%63", "/x"),
        (json!({ "remove": ["a"] }), "/x?b=", "/x?b="),
        (json!({ "set": { "a": "1" } }), "/x", "/x?a=1"),
        (json!({ "set": { "a": "1" } }), "/x?b=2&a=0&a", "/x?b=2&a=1"),
        (
            json!({ "set": { "who": "${attribute.user}", "at": "${param.id}-$$" } }),
            "/x?y",
            "/x?y&at=4%2F2-$&who=a%20b%26c",
        ),
    ] {
        let mut plugin = rewrite(json!({ "request": { "query": query } }));
        let request = TestRequest::get(target).attribute("user", "a b&c").param("id", "4/2");
        assert_eq!(plugin.request(request).passed().target(), expected, "{target} with {query}");
    }
}

#[test]
fn values_are_computed_from_the_request() {
    let mut plugin = rewrite(json!({
        "request": {
            "headers": {
                "remove": ["x-secret"],
                "set": { "x-who": "${attribute.user}@${client.ip}", "x-old": "${request.header.x-old}!", "x-secret": "$$" },
                "add": { "x-seen": ["${request.method} ${request.path}", "${request.header.x-absent}"] },
            },
            "path": { "regex": { "match": "^/users/([^/]+)", "replace": "/${attribute.user}/${capture.1}" } },
        },
        "response": { "headers": { "set": { "x-path": "${request.path}" }, "add": { "x-user": "by ${attribute.user}" }, "remove": ["server"] } },
    }));
    let request = TestRequest::new("PUT", "/users/42/x?y")
        .client("192.0.2.1")
        .attribute("user", "a/b\r\nc")
        .header("x-old", "1")
        .header("x-secret", "s");
    let outcome = plugin.request(request);
    let passed = outcome.passed();
    for (name, expected) in [
        ("x-who", vec!["a/bc@192.0.2.1"]),
        ("x-old", vec!["1!"]),
        ("x-secret", vec!["$"]),
        ("x-seen", vec!["PUT /users/42/x", ""]),
    ] {
        assert_eq!(passed.values(name), expected, "{name}");
    }
    assert_eq!(passed.target(), "/a%2Fb%0D%0Ac/42/x?y");
    let outcome = plugin.response(TestResponse::new(200).header("server", "x").header("x-user", "old"));
    let passed = outcome.passed();
    assert_eq!((passed.value("x-path"), passed.value("server")), (Some("/users/42/x"), None));
    assert_eq!(passed.values("x-user"), ["old", "by a/bc"]);
}

#[test]
fn method_authority_and_status() {
    let mut plugin = rewrite(json!({
        "request": { "method": "PROPFIND", "authority": "users.internal:8080" },
        "response": { "status": { "404": 200, "500": 503 } },
    }));
    let outcome = plugin.request(TestRequest::get("/"));
    assert_eq!((&*outcome.passed().method, &*outcome.passed().authority), ("PROPFIND", "users.internal:8080"));
    for (status, expected) in [(404, 200), (500, 503), (200, 200)] {
        assert_eq!(plugin.response(TestResponse::new(status)).passed().status, expected);
    }
}

#[test]
fn it_asks_only_for_what_its_configuration_needs() {
    assert!(!rewrite(json!(null)).asked().path);
    assert!(!rewrite(json!({ "request": { "headers": { "remove": ["a"] }, "path": {} } })).asked().path);
    assert!(rewrite(json!({ "request": { "path": { "add_prefix": "/a" } } })).asked().path);
}

#[test]
fn what_is_no_method_authority_status_or_query_is_refused() {
    check_refusals([
        (json!({ "request": { "method": "GET /" } }), "request.method: \"GET /\" is no method"),
        (json!({ "request": { "method": "" } }), "request.method: \"\" is no method"),
        (json!({ "request": { "authority": "a@b" } }), "request.authority: \"a@b\" is no authority"),
        (json!({ "response": { "status": { "404": 100 } } }), "response.status.404: 100 is no status from 200 to 599"),
        (
            json!({ "response": { "status": { "x": 200 } } }),
            "response.status.?: invalid value: expected key to be a number",
        ),
        (json!({ "request": { "query": { "set": { "a": "b c" } } } }), "request.query.set.a: ' ' cannot stand"),
        (json!({ "request": { "query": { "set": { "a": "b&c=d" } } } }), "request.query.set.a: '&' cannot stand"),
        (json!({ "request": { "query": { "set": { "a=b": "c" } } } }), "request.query.set.a=b: '=' cannot stand"),
    ]);
}

/// Each configuration is refused, with a message that begins so.
fn check_refusals<const N: usize>(cases: [(serde_json::Value, &str); N]) {
    for (config, expected) in cases {
        let text = config.to_string();
        let error = Harness::<Rewrite>::new(config).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| panic!("accepted: {text}"));
        assert!(error.starts_with(expected), "{text}\n  gives    {error}\n  expected {expected}…");
    }
}

#[test]
fn unknown_keys_are_refused() {
    check_refusals([
        (json!({ "requests": {} }), "requests: unknown field `requests`"),
        (json!({ "request": { "querry": {} } }), "request.querry: unknown field `querry`"),
        (json!({ "response": { "path": {} } }), "response.path: unknown field `path`"),
        (json!({ "response": { "headers": { "sat": {} } } }), "response.headers.sat: unknown field `sat`"),
    ]);
}

#[test]
fn headers_that_are_not_http_are_refused() {
    let set = |name: &str, value| json!({ "request": { "headers": { "set": { name: value } } } });
    check_refusals([
        (set("a", json!(1)), "request.headers.set.a: invalid type: integer `1`, expected a string"),
        (set("a", json!([])), "request.headers.set.a: invalid length 0, expected at least one value"),
        (set("a b", json!("1")), "request.headers.set.a b: \"a b\" is no header name"),
        (set("a", json!("x\r\nb: y")), "request.headers.set.a: \"x\\r\\nb: y\" is no header value"),
        (set("a", json!(["x", " y"])), "request.headers.set.a[1]: \" y\" is no header value"),
        (set("Host", json!("a")), "request.headers.set.Host: `host` is written by the gateway"),
        (
            set("a", json!("${request.verb}")),
            "request.headers.set.a: a request has no `request.verb`; for a plain `${` write `$${`",
        ),
        (set("a", json!("${env.x}")), "request.headers.set.a: there is no `env.x`"),
        (set("a", json!("${capture.1}")), "request.headers.set.a: there is no `capture.1`"),
        (json!({ "response": { "headers": { "add": { "a": "\u{7f}" } } } }), "response.headers.add.a: "),
        (json!({ "request": { "headers": { "remove": ["a", "a:"] } } }), "request.headers.remove[1]: \"a:\" is no"),
    ]);
}

#[test]
fn paths_that_cannot_be_are_refused() {
    let path = |edits| json!({ "request": { "path": edits } });
    let regex = |pattern, replace| path(json!({ "regex": { "match": pattern, "replace": replace } }));
    let replace = |replace| regex("/a", replace);
    check_refusals([
        (path(json!({ "strip_prefix": "api" })), "request.path.strip_prefix: \"api\" must begin with `/`"),
        (path(json!({ "add_prefix": "/a?b" })), "request.path.add_prefix: '?' cannot stand there"),
        (path(json!({ "regex": { "match": "a" } })), "request.path.regex: missing field `replace`"),
        (regex("(", "/"), "request.path.regex.match: "),
        (replace("/${capture.1}"), "request.path.regex.replace: `match` has no group `1`"),
        (replace("/${capture.id}"), "request.path.regex.replace: `match` has no group `id`"),
        (replace("/${request.x}"), "request.path.regex.replace: a request has no `request.x`"),
        (replace("/$1"), "request.path.regex.replace: a lone `$`"),
        (replace("/${capture.0"), "request.path.regex.replace: a lone `$`"),
        (replace("/b c"), "request.path.regex.replace: ' ' cannot stand there"),
    ]);
}

#[test]
fn hooks_without_a_rule_are_skipped() {
    for (config, skips) in [
        (json!({}), (true, true)),
        (json!({ "request": { "path": { "add_prefix": "/v1" } } }), (false, true)),
        (json!({ "request": { "query": { "remove": ["debug"] } } }), (false, true)),
        (json!({ "request": { "method": "PUT" } }), (false, true)),
        (json!({ "request": { "authority": "users.internal" } }), (false, true)),
        (json!({ "request": { "headers": { "remove": ["x-a"] } } }), (false, true)),
        (json!({ "response": { "status": { "404": 410 } } }), (true, false)),
        (json!({ "response": { "headers": { "set": { "x-a": "1" } } } }), (true, false)),
        (json!({ "response": { "headers": { "set": { "x-a": "${request.path}" } } } }), (false, false)),
    ] {
        let asked = rewrite(config.clone()).asked();
        assert_eq!((asked.skip_request, asked.skip_response), skips, "{config}");
    }
}
