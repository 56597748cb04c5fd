//! Plugins, good and hostile: what a guest can do to its own request, and what it cannot do to anybody else's.

use std::path::Path;

use harness::{Client, Config, Gateway, Upstream, guest, sha256};

use crate::GATEWAY;

/// A gateway whose route `/guest` passes the guest and whose route `/` does not.
async fn beside(origin: &Upstream, name: &str, declaration: &str, filter: &str) -> Gateway {
    let route = format!(
        "name: guest\nmatch: {{ path: {{ prefix: /guest }} }}\nfilters: [{{ use: {name}, config: {filter} }}]\nupstream: origin"
    );
    let config = Config::to(origin).top("workers: 1").plugin_with(name, &guest(name), declaration);
    GATEWAY.start(config.and_route(&route)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_sees_the_request_that_the_client_sent() {
    let origin = Upstream::echo().await;
    let gateway = beside(&origin, "probe", "", "{ header: x-two }").await;
    let lines = [
        "POST /guest/a/../b?x=1 HTTP/1.1",
        "Host: api.example.com:8080",
        "Content-Length: 0",
        "X-Two: 1",
        "X-Two: 2",
        "X-Fetch: f",
    ];
    let seen = gateway.client().await.ask(&lines, "").await.echo().fields;
    for (name, value) in [
        ("x-probe-method", "POST"),
        ("x-probe-scheme", "http"),
        ("x-probe-authority", "api.example.com:8080"),
        ("x-probe-path", "/guest/b?x=1"),
        ("x-probe-client", "127.0.0.1"),
        ("x-probe-route", "guest"),
        ("x-probe-listener", "http"),
        ("x-probe-headers", "1|2"),
        ("x-probe-fetched", "f"),
        ("x-probe-attribute", "-"),
    ] {
        assert_eq!(seen.get(name), Some(value), "{name}: {seen:?}");
    }
    assert_eq!(seen.get("x-probe-request-id"), seen.get("x-request-id"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_sees_the_response_and_who_made_it() {
    let origin = Upstream::echo().await;
    let down = Upstream::down().await;
    let filters = "filters: [{ use: probe }, { use: reply, config: { status: 418, body: tea } }]";
    let config = Config::to(&origin)
        .plugin("probe", &guest("probe"))
        .plugin("reply", &guest("reply"))
        .and_route(&format!("name: reply\nmatch: {{ path: {{ exact: /reply }} }}\n{filters}\nupstream: origin"))
        .and_route("name: down\nmatch: { path: { exact: /down } }\nfilters: [{ use: probe }]\nupstream: down")
        .route("filters: [{ use: probe, config: { header: content-type } }]");
    let config = config
        .to_string()
        .replace("upstreams:\n", &format!("upstreams:\n  down: {{ endpoints: [{{ url: 'http://{down}' }}] }}\n"));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    for (path, status, origin) in [("/up", "200", "upstream"), ("/reply", "418", "filter"), ("/down", "502", "gateway")]
    {
        let answer = client.ask(&[&format!("GET {path} HTTP/1.1"), "Host: a", "X-Fetch: f"], "").await;
        for (name, value) in [
            ("x-probe-status", status),
            ("x-probe-origin", origin),
            ("x-probe-kept", path),
            ("x-probe-listener", "http"),
            ("x-probe-request-fetched", "f"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{path} {name}: {:?}", answer.fields);
        }
    }
    assert_eq!(client.get("/up").await.field("x-probe-headers"), Some("application/json"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_can_answer_in_the_place_of_the_upstream() {
    let origin = Upstream::echo().await;
    let gateway = beside(&origin, "reply", "", r#"{ status: 403, body: "no" }"#).await;
    let mut client = gateway.client().await;
    let answer = client.get("/guest").await;
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    assert!(origin.requests().is_empty());
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trap_ends_its_own_request_and_no_other() {
    for isolation in ["shared", "fresh"] {
        let origin = Upstream::echo().await;
        let gateway = beside(&origin, "trap", &format!("isolation: {isolation}"), "{ on: 'header:x-trap' }").await;
        let mut client = gateway.client().await;
        for round in 1..=20 {
            let lines = ["GET /guest HTTP/1.1", "Host: a", "X-Trap: 1"];
            client.ask(&lines, "").await.problem(500);
            assert_eq!(client.get("/guest").await.status, 200, "{isolation}, round {round}");
        }
        assert_eq!(origin.requests().len(), 20, "a request that trapped reached no upstream");
    }
}

/// Each of these guests breaks a limit of its own on every request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_beyond_its_limits_is_a_problem_500_each_time() {
    for (name, limits, config) in [
        ("trap", "", "{ on: request }"),
        ("trap", "", "{ on: response }"),
        ("spin", "limits: { deadline: 20ms, timeout: 30s }", "{ in: request }"),
        ("spin", "limits: { deadline: 30s, timeout: 50ms }", "{ in: request }"),
        ("hog", "limits: { memory: 4MiB, deadline: 5s }", "{}"),
    ] {
        let origin = Upstream::echo().await;
        let gateway = beside(&origin, name, limits, config).await;
        let mut client = gateway.client().await;
        for _ in 0..3 {
            let answer = client.get("/guest").await;
            assert_eq!(answer.status, 500, "{name} {limits} {config}");
            answer.problem(500);
            assert_eq!(client.get("/").await.status, 200, "{name} {limits} {config}");
        }
        // The response hook runs after the upstream has answered; every other failure comes before.
        let passed = origin.requests().iter().filter(|request| request.target == "/guest").count();
        let expected = if config == "{ on: response }" { 3 } else { 0 };
        assert_eq!(passed, expected, "{name} {config}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_loops_leave_other_routes_of_the_same_worker_alone() {
    let origin = Upstream::echo().await;
    let gateway = beside(&origin, "spin", "limits: { deadline: 20ms, timeout: 60s }", "{ in: request }").await;
    let address = gateway.listener("http");
    let spinners =
        (0..64).map(|_| tokio::spawn(async move { Client::connect(address).await.get("/guest").await.status }));
    let spinners: Vec<_> = spinners.collect();
    let mut client = gateway.client().await;
    let mut answered = 0;
    // The last spinner is still at it when the others are answered: there is no end of the loop that somebody waits for.
    while !spinners.iter().all(|spinner| spinner.is_finished()) {
        assert_eq!(client.get("/").await.status, 200);
        answered += 1;
    }
    for spinner in spinners {
        assert_eq!(spinner.await.expect("an answer"), 500);
    }
    assert!(answered >= 10, "64 loops of 20 ms took turns with {answered} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attachments_of_one_plugin_keep_their_own_configs() {
    let origin = Upstream::echo().await;
    for isolation in ["shared", "fresh"] {
        let mut config = Config::to(&origin).top("workers: 1");
        config = config.plugin_with(
            "stamp",
            &guest("stamp"),
            &format!("isolation: {isolation}\nlimits: {{ instances: 1 }}"),
        );
        for name in ["one", "two", "three"] {
            config = config.and_route(&format!(
                "name: {name}\nmatch: {{ path: {{ prefix: /{name} }} }}\nfilters: [{{ use: stamp, config: {{ name: x-stamp, value: {name} }} }}]\nupstream: origin"
            ));
        }
        let gateway = GATEWAY.start(config).await;
        let mut client = gateway.client().await;
        for name in ["one", "two", "three", "two", "one", "one", "three"] {
            let answer = client.get(&format!("/{name}")).await;
            assert_eq!(answer.echo().fields.all("x-stamp"), [name], "{isolation}");
            assert_eq!(answer.fields.all("x-stamp"), [name], "{isolation}");
        }
        let unfiltered = client.get("/").await;
        assert!(!unfiltered.echo().fields.has("x-stamp") && !unfiltered.fields.has("x-stamp"));
    }
}

/// A configuration alone cannot make a plugin fail open; the component has to declare it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_did_not_declare_it_never_fails_open() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .plugin("trap", &guest("trap"))
        .route("filters: [{ use: trap, config: { on: request }, on_error: { trap: open } }]");
    match GATEWAY.try_start(config).await {
        Ok(gateway) => drop(gateway.client().await.get("/").await.problem(500)),
        Err(refusal) => {
            assert!([3, 4].contains(&refusal.code), "{refusal:?}");
            assert!(refusal.stderr.contains("on_error") && refusal.stderr.contains("trap"), "{}", refusal.stderr);
        }
    }
    assert!(origin.requests().is_empty());
}

/// Open takes three: a component that declares it, a configuration that says so for this kind of failure, and a failure that is no limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_fails_open_only_where_both_sides_say_so() {
    for (name, limits, config, on_error, status) in [
        ("trap", "", "{ on: request, may_fail_open: true }", "{ trap: open }", 200),
        ("trap", "", "{ on: response, may_fail_open: true }", "{ trap: open }", 200),
        ("trap", "", "{ on: request, may_fail_open: true }", "{ deadline: open }", 500),
        ("trap", "", "{ on: request, may_fail_open: true }", "closed", 500),
        ("spin", "limits: { deadline: 20ms }", "{ in: request, may_fail_open: true }", "{ deadline: open }", 200),
        ("spin", "limits: { deadline: 20ms }", "{ in: request, may_fail_open: true }", "{ trap: open }", 500),
        ("hog", "limits: { memory: 4MiB, deadline: 5s }", "{}", "{ trap: open, deadline: open }", 500),
    ] {
        let origin = Upstream::echo().await;
        let filters = format!("filters: [{{ use: {name}, config: {config}, on_error: {on_error} }}]");
        let config = Config::to(&origin).plugin_with(name, &guest(name), limits).route(&filters);
        let gateway = GATEWAY.start(config).await;
        let mut client = gateway.client().await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.status, status, "{name}: {filters}");
        }
        assert_eq!(origin.requests().len(), if status == 200 { 3 } else { 0 }, "{name}: {filters}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_start_compiles_nothing() {
    let state = tempfile::tempdir().expect("the system gives a temporary folder");
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top(&format!("state_dir: {}/state", state.path().display()))
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    for (start, compiles) in [("first", true), ("second", false)] {
        let gateway = GATEWAY.with_level("debug").start(&config).await;
        let answer = gateway.client().await.get("/").await;
        assert_eq!(answer.field("x-stamp"), Some("1"), "{start}");
        let compiled = gateway.log().lines().iter().any(|line| line.message() == "compiled");
        assert_eq!(compiled, compiles, "{start} start:\n{}", gateway.log().text());
        assert_eq!(gateway.stop().await.code, 0);
        assert!(files_in(state.path()) > 0, "the compiled code is kept");
    }
}

fn files_in(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files_in(&path) } else { 1 }).sum()
}

/// At each limit a plugin serves, and one beyond it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_as_large_as_it_says() {
    let attributes = |count: usize| {
        let deeds: Vec<_> = (0..count).map(|number| format!("{{ set-attribute: [a{number}, x] }}")).collect();
        format!("{{ request: [{}] }}", deeds.join(", "))
    };
    let reply = |bytes: usize| format!("{{ request: [{{ reply: {{ status: 200, body: {bytes} }} }}] }}");
    let log = |bytes: usize| format!("{{ request: [{{ log: {bytes} }}] }}");
    let origin = Upstream::echo().await;
    for (limits, within, beyond) in [
        ("limits: { attributes: 3 }", attributes(3), attributes(4)),
        ("limits: { reply: 1KiB }", reply(1024), reply(1025)),
        ("limits: { host_bytes: 64KiB }", log(60 << 10), log(70 << 10)),
    ] {
        for (config, status) in [(within, 200), (beyond, 500)] {
            let gateway = beside(&origin, "puppet", limits, &config).await;
            let mut client = gateway.client().await;
            for _ in 0..2 {
                assert_eq!(client.get("/guest").await.status, status, "{limits} {config:.60}");
                assert_eq!(client.get("/").await.status, 200);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_keeps_failing_open_is_left_out_for_a_while() {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("workers: 1\nadmin: { address: '127.0.0.1:0' }\nstate_dir: state")
        .plugin("trap", &guest("trap"))
        .route("filters: [{ use: trap, config: { on: request, may_fail_open: true }, on_error: open }]");
    let gateway = GATEWAY.start(config).await;
    let (admin, mut client) = (gateway.admin(), gateway.client().await);
    let version = &sha256(&std::fs::read(guest("trap")).expect("a guest can be read"))[..12];
    let trapped =
        format!(r#"witgate_plugin_calls_total{{hook="request",outcome="trap",plugin="trap",version="{version}"}}"#);
    let skipped = format!(r#"witgate_plugin_skipped_total{{plugin="trap",version="{version}"}}"#);
    for _ in 0..5 {
        assert_eq!(client.get("/").await.status, 200);
    }
    assert_eq!((admin.metric(&trapped).await, admin.metric(&skipped).await), (5.0, 0.0));
    gateway.log().wait("that the breaker opens", |line| line.message().contains("left out for a while")).await;
    // A slow machine may find the pause over, and the plugin tried once more: then the pause doubles.
    harness::within("a call that is left out", async {
        while admin.metric(&skipped).await == 0.0 {
            assert_eq!(client.get("/").await.status, 200);
        }
    })
    .await;
}

/// A plugin that fails closed is never left out; whoever crashes it on purpose waits for the next instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_that_failed_are_replaced_at_a_capped_rate() {
    const RATE: u32 = 10;
    const TRAPS: u32 = 2 * RATE;
    let origin = Upstream::echo().await;
    let limits = format!("limits: {{ restarts: {RATE} }}");
    let gateway = beside(&origin, "trap", &limits, "{ on: 'header:x-trap' }").await;
    let mut client = gateway.client().await;
    let begin = std::time::Instant::now();
    for _ in 0..TRAPS {
        client.ask(&["GET /guest HTTP/1.1", "Host: a", "X-Trap: 1"], "").await.problem(500);
    }
    assert_eq!(client.get("/guest").await.status, 200);
    // As many as the rate at once, and the others one by one.
    let least = std::time::Duration::from_secs(1).mul_f64(f64::from(TRAPS - RATE - 1) / f64::from(RATE));
    assert!(begin.elapsed() >= least, "{TRAPS} instances were replaced within {:?}", begin.elapsed());
}
