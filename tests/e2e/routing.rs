//! Which route takes a request: hosts, paths, methods, fields, query, listeners and priorities, in the order of contract §1.
//!
//! Each route answers with its own name, so that a row of a table says what was asked and who took it. The router's own tests hold the
//! rarer cases; here stand those that a user would try.

use harness::{Client, Config, Gateway, Upstream, guest};

use crate::GATEWAY;

/// Routes that answer with their names, from `(name, match, more keys)`.
fn named(listeners: &[&str], routes: &[(&str, &str, &str)]) -> String {
    let listeners = listeners.iter().map(|name| format!("  - {{ name: {name}, address: 127.0.0.1:0 }}\n"));
    let routes = routes.iter().map(|(name, matched, more)| {
        format!("  - {{ name: {name}, match: {{ {matched} }}, respond: {{ status: 200, body: {name} }}{more} }}\n")
    });
    format!("version: 1\nlisteners:\n{}routes:\n{}", listeners.collect::<String>(), routes.collect::<String>())
}

/// One row: method and target, host, one more field, and the route that takes it; none is a 404.
type Row<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

async fn check(client: &mut Client, rows: &[Row<'_>]) {
    for (request, host, field, expected) in rows {
        let (line, host) = (format!("{request} HTTP/1.1"), format!("Host: {host}"));
        let answer = client.ask(&[&line, &host, field], "").await;
        match expected {
            Some(name) => assert_eq!((answer.status, answer.text().as_str()), (200, *name), "{request} {host} {field}"),
            None => assert_eq!(answer.status, 404, "{request} {host} {field}: {}", answer.text()),
        }
    }
}

async fn start(routes: &[(&str, &str, &str)]) -> (Gateway, Client) {
    let gateway = GATEWAY.start(named(&["http"], routes)).await;
    let client = gateway.client().await;
    (gateway, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_go_from_exact_to_longest_wildcard_to_any() {
    let (_gateway, mut client) = start(&[
        ("any", "path: { prefix: / }", ""),
        ("wide", "hosts: ['*.example.com']", ""),
        ("narrow", "hosts: ['*.eu.example.com']", ""),
        ("exact", "hosts: [api.example.com, api.example.org]", ""),
        ("exact-below", "hosts: [api.example.com], path: { prefix: /below }", ""),
    ])
    .await;
    check(
        &mut client,
        &[
            ("GET /", "api.example.com", "X: 1", Some("exact")),
            ("GET /", "API.Example.COM", "X: 1", Some("exact")),
            ("GET /", "api.example.com:8080", "X: 1", Some("exact")),
            ("GET /", "api.example.com.", "X: 1", Some("exact")),
            ("GET /", "api.example.org", "X: 1", Some("exact")),
            ("GET /below/it", "api.example.com", "X: 1", Some("exact-below")),
            ("GET /", "www.example.com", "X: 1", Some("wide")),
            ("GET /", "a.b.example.com", "X: 1", Some("wide")),
            ("GET /", "www.eu.example.com", "X: 1", Some("narrow")),
            ("GET /", "example.com", "X: 1", Some("any")),
            ("GET /", "[::1]:80", "X: 1", Some("any")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_go_from_exact_to_template_to_regex_to_longest_prefix() {
    let (_gateway, mut client) = start(&[
        ("root", "path: { prefix: / }", ""),
        ("users", "path: { prefix: /users }", ""),
        ("users-deep", "path: { prefix: /users/a/b }", ""),
        ("regex", "path: { regex: '/users/[0-9]+' }", ""),
        ("vague", "path: { template: '/{kind}/{id}/orders' }", ""),
        ("template", "path: { template: '/users/{id}/orders' }", ""),
        ("exact", "path: { exact: /users/42 }", ""),
    ])
    .await;
    check(
        &mut client,
        &[
            ("GET /users/42", "a", "X: 1", Some("exact")),
            ("GET /users/42?x=1", "a", "X: 1", Some("exact")),
            ("GET /users/43", "a", "X: 1", Some("regex")),
            ("GET /users/43x", "a", "X: 1", Some("users")),
            ("GET /users/43/orders", "a", "X: 1", Some("template")),
            ("GET /teams/43/orders", "a", "X: 1", Some("vague")),
            ("GET /users/a/b/c", "a", "X: 1", Some("users-deep")),
            ("GET /users/a/bc", "a", "X: 1", Some("users")),
            ("GET /users", "a", "X: 1", Some("users")),
            ("GET /usersx", "a", "X: 1", Some("root")),
            ("GET /x/../users/./42", "a", "X: 1", Some("exact")),
            ("GET /users/%34%32", "a", "X: 1", Some("exact")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_fields_and_query_choose_among_equal_paths() {
    let (_gateway, mut client) = start(&[
        ("plain", "path: { prefix: /a }", ""),
        ("method", "path: { prefix: /a }, methods: [POST, PUT]", ""),
        ("field", "path: { prefix: /a }, headers: { x-tenant: acme }", ""),
        ("pattern", "path: { prefix: /a }, headers: { x-tenant: { regex: 'a[0-9]+' }, accept: '*/*' }", ""),
        ("query", "path: { prefix: /a }, query: { v: '2' }", ""),
        ("absent", "path: { prefix: /b }, headers: { x-tenant: { present: false } }", ""),
        ("present", "path: { prefix: /b }, headers: { x-tenant: { present: true } }", ""),
    ])
    .await;
    check(
        &mut client,
        &[
            ("GET /a", "h", "X: 1", Some("plain")),
            ("POST /a", "h", "X: 1", Some("method")),
            ("POST /a", "h", "X-Tenant: acme", Some("method")),
            ("GET /a", "h", "X-Tenant: acme", Some("field")),
            ("GET /a", "h", "X-Tenant: acme2", Some("plain")),
            ("GET /a?v=2", "h", "X: 1", Some("query")),
            ("GET /a?v=3", "h", "X: 1", Some("plain")),
            ("GET /a?v=2", "h", "X-Tenant: acme", Some("field")),
            ("GET /a", "h", "X-Tenant: a7\r\nAccept: */*", Some("pattern")),
            ("GET /b", "h", "X-Tenant: any", Some("present")),
            ("GET /b", "h", "X: 1", Some("absent")),
            ("GET /c", "h", "X: 1", None),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_priority_overrides_the_path_but_not_the_host() {
    let (_gateway, mut client) = start(&[
        ("exact", "path: { exact: /a/b }", ""),
        ("raised", "path: { prefix: /a }", ", priority: 10"),
        ("lowered", "path: { exact: /c }", ", priority: -1"),
        ("usual", "path: { prefix: /c }", ""),
        ("of-host", "hosts: [h.example], path: { prefix: / }", ""),
    ])
    .await;
    check(
        &mut client,
        &[
            ("GET /a/b", "h", "X: 1", Some("raised")),
            ("GET /c", "h", "X: 1", Some("usual")),
            ("GET /a/b", "h.example", "X: 1", Some("of-host")),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_reached_over_its_listeners_only() {
    let routes =
        [("inner", "listeners: [internal], path: { prefix: /metrics }", ""), ("both", "path: { prefix: / }", "")];
    let gateway = GATEWAY.start(named(&["http", "internal"], &routes)).await;
    for (listener, expected) in [("http", "both"), ("internal", "inner")] {
        let mut client = Client::connect(gateway.listener(listener)).await;
        check(&mut client, &[("GET /metrics", "h", "X: 1", Some(expected))]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_of_equal_routes_wins() {
    let (_gateway, mut client) = start(&[
        ("first", "path: { prefix: /a }", ""),
        ("second", "path: { prefix: /a }", ""),
        ("first-regex", "path: { regex: '/r/.*' }", ""),
        ("second-regex", "path: { regex: '/r/x.*' }", ""),
    ])
    .await;
    check(&mut client, &[("GET /a", "h", "X: 1", Some("first")), ("GET /r/xy", "h", "X: 1", Some("first-regex"))])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_see_what_a_template_captured() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin).plugin("probe", &guest("probe")).and_route(
        "name: orders\nmatch: { path: { template: '/users/{id}/orders/{order}' } }\nfilters: [{ use: probe, config: { params: [order, none, id] } }]\nupstream: origin",
    );
    let gateway = GATEWAY.start(config).await;
    let seen = gateway.client().await.get("/users/4%202/orders/o-7?x=1").await.echo().fields;
    assert_eq!(seen.get("x-probe-params"), Some("order=o-7,none=-,id=4%202"));
    assert_eq!(seen.get("x-probe-route"), Some("orders"));
    assert_eq!(seen.get("x-probe-path"), Some("/users/4%202/orders/o-7?x=1"));
}
