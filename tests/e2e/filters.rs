//! Filters of a route, native and wasm: their order, their reach, and the fields that only they may write.

use harness::{Config, Upstream, guest, yaml};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_sets_adds_and_removes_both_ways() {
    let origin = Upstream::answering(harness::http(
        &["HTTP/1.1 200 OK", "Content-Length: 2", "Server: origin/1", "X-Old: 1", "X-Old: 2", "X-Kept: up"],
        "ok",
    ))
    .await;
    let config = Config::to(&origin).route(
        r"
filters:
  - use: headers
    config:
      request: { set: { x-old: new }, add: { x-kept: more }, remove: [user-agent, x-absent] }
      response: { set: { x-old: new, x-fresh: '1' }, add: { x-kept: down }, remove: [server] }
",
    );
    let gateway = GATEWAY.start(config).await;
    let lines = ["GET / HTTP/1.1", "Host: a", "X-Old: 1", "X-Old: 2", "X-Kept: client", "User-Agent: test"];
    let answer = gateway.client().await.ask(&lines, "").await;
    let up = origin.last_request().fields;
    assert_eq!((up.all("x-old"), up.all("x-kept")), (vec!["new"], vec!["client", "more"]));
    assert!(!up.has("user-agent"));
    let down = &answer.fields;
    assert_eq!((down.all("x-old"), down.all("x-fresh")), (vec!["new"], vec!["1"]));
    assert_eq!(down.all("x-kept"), ["up", "down"]);
    assert!(!down.has("server"));
}

/// The list does not care which of its filters is native: requests pass it downwards, responses upwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn native_and_wasm_filters_run_in_order_and_back() {
    let stamp = |value| format!("  - {{ use: stamp, config: {{ name: x-trail, value: {value} }} }}\n");
    let native = |value| {
        let add = format!("{{ add: {{ x-trail: {value} }} }}");
        format!("  - {{ use: headers, config: {{ request: {add}, response: {add} }} }}\n")
    };
    let orders = [
        [native("a"), stamp("b"), native("c"), stamp("d")],
        [stamp("a"), native("b"), stamp("c"), native("d")],
        [stamp("a"), stamp("b"), native("c"), native("d")],
    ];
    for filters in orders {
        let origin = Upstream::echo().await;
        let config =
            Config::to(&origin).plugin("stamp", &guest("stamp")).route(&format!("filters:\n{}", filters.concat()));
        let gateway = GATEWAY.start(&config).await;
        let answer = gateway.client().await.get("/").await;
        assert_eq!(answer.echo().fields.all("x-trail"), ["a", "b", "c", "d"], "{config}");
        assert_eq!(answer.fields.all("x-trail"), ["d", "c", "b", "a"], "{config}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn defaults_come_first_chains_are_spliced_in_and_a_route_can_skip() {
    let origin = Upstream::echo().await;
    let text = yaml(
        r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
upstreams: { origin: { endpoints: [{ url: 'http://<origin>' }] } }
plugins: { stamp: { source: 'file:<stamp>' } }
chains:
  pair:
    - { use: stamp, config: { name: x-trail, value: chain-1 } }
    - { use: headers, config: { request: { add: { x-trail: chain-2 } } } }
defaults:
  filters: [{ use: stamp, config: { name: x-trail, value: default } }]
routes:
  - name: usual
    match: { path: { prefix: / } }
    filters: [{ chain: pair }, { use: headers, config: { request: { add: { x-trail: own } } } }]
    upstream: origin
  - name: skips
    match: { path: { prefix: /skip } }
    skip: [stamp]
    filters: [{ use: headers, config: { request: { add: { x-trail: own } } } }]
    upstream: origin
",
        &[("origin", &origin), ("stamp", &guest("stamp").display())],
    );
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    let trail = client.get("/").await.echo().fields;
    assert_eq!(trail.all("x-trail"), ["default", "chain-1", "chain-2", "own"]);
    let trail = client.get("/skip").await.echo().fields;
    assert_eq!(trail.all("x-trail"), ["own"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_gateway_and_of_filters_pass_the_response_filters_too() {
    let down = Upstream::down().await;
    let filters = "filters:\n  - { use: headers, config: { response: { add: { x-trail: outer } } } }\n";
    let with = |last: &str| format!("{filters}{last}");
    let native_below = "  - { use: headers, config: { response: { add: { x-trail: inner } } } }\n";
    let config = Config::to(&down)
        .plugin("stamp", &guest("stamp"))
        .plugin("reply", &guest("reply"))
        .and_route(&with("  - { use: stamp, config: { name: x-trail, value: wasm } }\nname: hello\nmatch: { path: { exact: /hello } }\nrespond: { status: 200, body: hello, headers: { content-type: text/plain } }"))
        .and_route(&with(&format!("  - {{ use: reply, config: {{ status: 403, body: 'no' }} }}\n{native_below}name: denied\nmatch: {{ path: {{ exact: /denied }} }}\nupstream: origin")))
        .and_route("name: elsewhere\nmatch: { hosts: [elsewhere.example], path: { exact: /only } }\nupstream: origin")
        .route(&with(native_below));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;

    let hello = client.get("/hello").await;
    assert_eq!((hello.status, hello.text().as_str(), hello.field("content-type")), (200, "hello", Some("text/plain")));
    assert_eq!(hello.fields.all("x-trail"), ["wasm", "outer"]);

    let denied = client.get("/denied").await;
    assert_eq!((denied.status, denied.text().as_str()), (403, "no"));
    assert_eq!(denied.fields.all("x-trail"), ["outer"], "what stands behind the filter that answered saw no request");

    let failed = client.get("/").await;
    failed.problem(502);
    assert_eq!(failed.fields.all("x-trail"), ["inner", "outer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_by_no_route_passes_no_filter() {
    let text = r"
version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
defaults: { filters: [{ use: headers, config: { response: { set: { x-default: '1' } } } }] }
routes: [{ name: one, match: { path: { exact: /one } }, respond: { status: 204 } }]
";
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/one").await.field("x-default"), Some("1"));
    let missing = client.get("/two").await;
    missing.problem(404);
    assert!(!missing.fields.has("x-default"));
}

/// Else a client could send what an upstream trusts a plugin to have written, on the one route that forgot the plugin.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_a_plugin_owns_comes_from_no_client_on_any_route() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin).plugin("probe", &guest("probe")).and_route(
        "name: guarded\nmatch: { path: { prefix: /guarded } }\nfilters: [{ use: probe, config: { own: x-user-id } }]\nupstream: origin",
    );
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    for path in ["/guarded", "/elsewhere"] {
        let line = format!("GET {path} HTTP/1.1");
        let lines = [&line, "Host: a", "X-User-Id: 1", "x-user-id: 2", "X_User_Id: 3", "x-user_id: 4", "X-User: kept"];
        let seen = client.ask(&lines, "").await.echo().fields;
        let owned = seen.0.iter().filter(|(name, _)| name.to_lowercase().replace('_', "-") == "x-user-id");
        assert_eq!(owned.count(), 0, "{path}: {seen:?}");
        assert_eq!(seen.get("x-user"), Some("kept"));
    }
}
