//! What plugins can ask of the gateway: values in stores, tables, secrets, limiters, hashes and the time; what each needs, and where it ends.

use std::collections::BTreeSet;
use std::path::Path;

use harness::{Client, Config, Gateway, Redis, Upstream, guest};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use crate::GATEWAY;

const IN_MEMORY: &str = "{ memory: 64KiB }";

/// A gateway whose every route ends at the guest `kv`, over a store of this kind.
fn kv(origin: &Upstream, store: &str, limits: &str) -> Config {
    Config::to(origin)
        .top(&format!("workers: 4\nstores: {{ local: {store} }}"))
        .plugin_with("kv", &guest("kv"), &format!("grants: {{ stores: [local] }}\n{limits}"))
        .route("filters: [{ use: kv, config: { store: local } }]")
}

fn on_redis(url: impl std::fmt::Display) -> String {
    format!("{{ redis: '{url}', timeout: 30s }}")
}

/// What the guest says to a command.
async fn ask(client: &mut Client, command: &str) -> String {
    let answer = client.ask(&["GET / HTTP/1.1", "Host: a", &format!("X-Do: {command}")], "").await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.text()
}

/// The status of a command that may fail.
async fn status(client: &mut Client, command: &str) -> u16 {
    client.ask(&["GET / HTTP/1.1", "Host: a", &format!("X-Do: {command}")], "").await.status
}

/// Holds for every store, whatever its kind.
async fn a_store_serves_every_worker(gateway: &Gateway) {
    assert_eq!(ask(&mut gateway.client().await, "set k one").await, "()");
    // Each connection may land on another worker.
    for _ in 0..16 {
        assert_eq!(ask(&mut gateway.client().await, "get k").await, "one");
        ask(&mut gateway.client().await, "increment n 1").await;
    }
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "increment n 0").await, "16");
    assert_eq!(ask(&mut client, "increment k 1").await, "NotANumber");
    assert_eq!(ask(&mut client, "delete k; delete k; get k").await, "true;false;-");

    // Of many who want to be the first, one is.
    let address = gateway.listener("http");
    let racers = (0..16).map(|_| {
        tokio::spawn(async move { ask(&mut Client::connect(address).await, "compare-and-set first - mine").await })
    });
    let racers: Vec<_> = racers.collect();
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.await.expect("an answer") == "true");
    }
    assert_eq!(winners, 1);

    ask(&mut client, "set short 1 20; set long 1 3600000; increment counted 1 20").await;
    while ask(&mut client, "get short; get counted").await != "-;-" {}
    assert_eq!(ask(&mut client, "get long").await, "1");
}

/// Keys and values at the largest size, and beyond.
async fn a_store_has_largest_sizes(gateway: &Gateway) {
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "set k*1024 x*1048576").await, "()");
    assert_eq!(ask(&mut client, "get k*1024").await.len(), 1 << 20);
    assert_eq!(ask(&mut client, "set k*1025 1; get k*1025").await, "TooLarge;TooLarge");
    assert_eq!(ask(&mut client, "set k x*1048577; get k").await, "TooLarge;-");
}

/// A call may hand the largest value over, and has the time for it.
const ROOMY: &str = "limits: { reply: 4MiB, deadline: 5s }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_in_memory_are_there_for_every_worker() {
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(kv(&origin, "{ memory: 8MiB }", ROOMY)).await;
    a_store_serves_every_worker(&gateway).await;
    a_store_has_largest_sizes(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_on_redis_are_there_for_every_worker_and_gateway() {
    let Some(redis) = Redis::start().await else { return };
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(kv(&origin, &on_redis(&redis), ROOMY)).await;
    a_store_serves_every_worker(&gateway).await;
    a_store_has_largest_sizes(&gateway).await;
    let other = GATEWAY.start(kv(&origin, &on_redis(&redis), "")).await;
    assert_eq!(ask(&mut other.client().await, "get long").await, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_memory_takes_its_quota_and_no_more() {
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(kv(&origin, IN_MEMORY, "")).await;
    let mut client = gateway.client().await;
    let mut kept = 0;
    while ask(&mut client, &format!("set key-{kept} x*1000")).await == "()" {
        kept += 1;
    }
    assert!((32..64).contains(&kept), "64 KiB hold {kept} values of 1000 bytes and what it takes to keep them");
    assert_eq!(ask(&mut client, "set another x*1000; increment n*1020 1").await, "OverQuota;OverQuota");
    for number in 0..kept {
        assert_eq!(ask(&mut client, &format!("get key-{number}")).await.len(), 1000, "no value went for another");
    }
    assert_eq!(ask(&mut client, "delete key-0; set another x*1000").await, "true;()");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_may_go_and_come_back() {
    let Some(redis) = Redis::start().await else { return };
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(kv(&origin, &on_redis(&redis), "")).await;
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "increment n 1").await, "1");
    let address = redis.address();
    redis.stop().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client, "get n; increment n 1").await, "Unavailable;Unavailable");
    }
    let mut log = gateway.log();
    log.wait("that the store is gone", |line| line.message() == "a store cannot be reached").await;
    let _redis = Redis::start_at(address).await.expect("it was there before");
    assert_eq!(ask(&mut client, "increment n 5").await, "5", "another server, and empty");
    log.wait("that the store is back", |line| line.message() == "a store can be reached again").await;
    let changes = log.lines().into_iter().filter(|line| line.message().starts_with("a store can")).count();
    assert_eq!(changes, 2, "{}", log.text());
}

/// A server that speaks as much of Redis as GET takes, and answers when `together` of them wait for it.
async fn stalling(together: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has free ports");
    let url = format!("redis://{}", listener.local_addr().expect("a bound socket has an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut waiting = 0;
                while let Some(words) = command(&mut stream).await {
                    if words[0] != "GET" {
                        let _ = stream.write_all(b"+OK\r\n").await;
                        continue;
                    }
                    waiting += 1;
                    if waiting == together {
                        // Longer than a first slice, so that each call has to be asked again.
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                        let _ = stream.write_all(&b"$-1\r\n".repeat(std::mem::take(&mut waiting))).await;
                    }
                }
            });
        }
    });
    url
}

/// One command as an array of bulk strings (RESP).
async fn command(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<Vec<String>> {
    async fn number(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<usize> {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        line.get(1..)?.trim().parse().ok()
    }
    let mut words = Vec::new();
    for _ in 0..number(stream).await? {
        let mut word = vec![0; number(stream).await? + 2];
        stream.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word).trim().to_owned());
    }
    Some(words)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_store_is_no_time_of_the_guest() {
    let origin = Upstream::down().await;
    let limits = "limits: { deadline: 100ms, timeout: 60s }";
    let config = kv(&origin, &on_redis(stalling(1).await), limits).to_string().replace("workers: 4", "workers: 1");
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    let gets = ["get k"; 60].join(";");
    assert_eq!(ask(&mut client, &gets).await, ["-"; 60].join(";"), "60 waits of 5 ms are no 100 ms of work");
    assert_eq!(status(&mut client, "get k; spin").await, 500, "what comes after a wait is work again");
    assert_eq!(status(&mut client, "spin").await, 500);
    assert_eq!(ask(&mut client, "get k").await, "-");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_a_store_do_not_wait_for_each_other() {
    let origin = Upstream::down().await;
    let limits = "limits: { deadline: 10s, timeout: 60s }";
    // Each answer takes eight calls of one worker that wait at once: more than may run long at a time.
    let config = kv(&origin, &on_redis(stalling(8).await), limits).to_string().replace("workers: 4", "workers: 1");
    let gateway = GATEWAY.start(config).await;
    let address = gateway.listener("http");
    let calls = (0..8)
        .map(|_| tokio::spawn(async move { ask(&mut Client::connect(address).await, &["get k"; 10].join(";")).await }));
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.expect("an answer"), ["-"; 10].join(";"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_store_ends_with_the_time_of_the_call() {
    let origin = Upstream::down().await;
    let config = kv(&origin, &on_redis(stalling(usize::MAX).await), "limits: { timeout: 50ms }");
    let gateway = GATEWAY.start(config).await;
    assert_eq!(status(&mut gateway.client().await, "get k").await, 500);
    let url = stalling(usize::MAX).await;
    let config = kv(&origin, &format!("{{ redis: '{url}', timeout: 20ms }}"), "limits: { timeout: 60s }");
    let gateway = GATEWAY.start(config).await;
    assert_eq!(ask(&mut gateway.client().await, "get k").await, "Unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_gets_no_interface_without_a_grant() {
    let origin = Upstream::down().await;
    let resources = Files::new();
    for (name, grants, words) in [
        ("kv", "", &["witgate:plugin/kv", "grants: { stores: [NAME] }"][..]),
        ("kv", "grants: { secrets: [key] }", &["witgate:plugin/kv", "no store"]),
        (
            "caps",
            "grants: { stores: [local] }",
            &["witgate:plugin/tables", "witgate:plugin/secrets", "witgate:plugin/rate-limit", "{ limiters: [NAME] }"],
        ),
    ] {
        let config = Config::to(&origin).top(&resources.yaml()).plugin_with("suspect", &guest(name), grants);
        for command in ["validate", "run"] {
            let output = GATEWAY.on(command, &config, &[]).await;
            assert_eq!(output.code, 4, "{command} {name} {grants}: {}", output.stderr);
            for word in [words, &["suspect"]].concat() {
                assert!(output.stderr.contains(word), "{command} {name}: no `{word}` in\n{}", output.stderr);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_not_granted_is_refused_where_the_plugin_is_configured() {
    let origin = Upstream::down().await;
    let config = kv(&origin, IN_MEMORY, "").to_string().replace("store: local }", "store: other }");
    let output = GATEWAY.on("validate", &config, &[]).await;
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(output.stderr.contains("store: this plugin is granted no store `other`"), "{}", output.stderr);
}

/// Files that resources are read from.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().expect("the system gives a temporary folder"));
        files.write("key", "hunter2hunter2\n");
        files.write("clients.yaml", "ada: { id: 1 }\n7: seven\n");
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("a temporary folder takes files");
    }

    /// One resource of each kind.
    fn yaml(&self) -> String {
        let folder = Path::display(self.0.path());
        format!(
            "workers: 2\n\
             stores: {{ local: {{ memory: 1MiB }} }}\n\
             secrets: {{ key: {{ file: {folder}/key }} }}\n\
             tables: {{ clients: {{ file: {folder}/clients.yaml }} }}\n\
             limiters: {{ per-user: {{ rate: 5/1h }} }}"
        )
    }
}

const CAPS: &str = "grants: { tables: [clients], secrets: [key], limiters: [per-user] }";
const CAPS_CONFIG: &str = "{ table: clients, secret: key, limiter: per-user }";

/// A gateway whose route `/` ends at the guest `caps`, and `/other` at the same guest declared once more.
fn caps(origin: &Upstream, files: &Files, declaration: &str) -> Config {
    let other = format!("filters: [{{ use: other, config: {CAPS_CONFIG} }}]");
    Config::to(origin)
        .top(&files.yaml())
        .plugin_with("caps", &guest("caps"), declaration)
        .plugin_with("other", &guest("caps"), CAPS)
        .and_route(&format!("name: other\nmatch: {{ path: {{ prefix: /other }} }}\n{other}\nupstream: origin"))
        .route(&format!("filters: [{{ use: caps, config: {CAPS_CONFIG} }}]"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hashes_and_the_time_are_those_of_the_standards_and_the_system() {
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(caps(&origin, &Files::new(), CAPS)).await;
    let mut client = gateway.client().await;
    // FIPS 180-4's example, by its first four bytes.
    let starts = |text: String| text.split(' ').map(|hash| hash[..8].to_owned()).collect::<Vec<_>>();
    assert_eq!(starts(ask(&mut client, "digest abc").await), ["ba7816bf", "cb00753f", "ddaf35a1"]);
    // RFC 4231 has no vector without spaces; this one comes from Python's `hmac`.
    assert_eq!(starts(ask(&mut client, "hmac Jefe what").await), ["1df7fcde", "be051db1", "dd2f4c27"]);
    assert_eq!(ask(&mut client, "equal abc abc").await, "true");
    assert_eq!(ask(&mut client, "equal abc abd").await, "false");
    let (one, two) = (ask(&mut client, "random").await, ask(&mut client, "random").await);
    assert!(one.len() == 2048 && one != two);

    let number = |text: String| text.parse::<u128>().expect("a number");
    let before = since_1970_ms();
    let said = number(ask(&mut client, "unix-ms").await);
    assert!((before..=since_1970_ms()).contains(&said), "{said}");
    let mut last = 0;
    for _ in 0..8 {
        let now = number(ask(&mut gateway.client().await, "monotonic-ns").await);
        assert!(now > last, "{now} comes after {last}, on whatever instance");
        last = now;
    }
}

fn since_1970_ms() -> u128 {
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH);
    now.expect("the clock of this machine stands after 1970").as_millis()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_looked_up_by_key_and_read_again_on_a_reload() {
    let origin = Upstream::down().await;
    let files = Files::new();
    let config = caps(&origin, &files, CAPS);
    let mut gateway = GATEWAY.start(&config).await;
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "table ada").await, r#"{"id":1}"#);
    assert_eq!(ask(&mut client, "table 7").await, r#""seven""#);
    assert_eq!(ask(&mut client, "table bob").await, "-");
    files.write("clients.yaml", "bob: 2\n");
    gateway.reload(&config).await;
    assert_eq!(ask(&mut client, "table ada").await, "-");
    assert_eq!(ask(&mut client, "table bob").await, "2");
    files.write("clients.yaml", "- bob\n");
    let refusal = gateway.reload_fails(&config).await;
    assert!(refusal.text.contains("table `clients`"), "{}", refusal.text);
    assert_eq!(ask(&mut client, "table bob").await, "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_and_buckets_outlive_a_reload_that_does_not_touch_them() {
    let origin = Upstream::down().await;
    let config = kv(&origin, IN_MEMORY, "");
    let mut gateway = GATEWAY.start(&config).await;
    ask(&mut gateway.client().await, "set k kept").await;
    gateway.reload(config.listener("limits: { connections: 100 }")).await;
    assert_eq!(ask(&mut gateway.client().await, "get k").await, "kept");

    let files = Files::new();
    let config = caps(&origin, &files, CAPS);
    let mut gateway = GATEWAY.start(&config).await;
    assert_eq!(ask(&mut gateway.client().await, "take ada 5").await, "true 0/5");
    gateway.reload(config.clone().listener("limits: { connections: 100 }")).await;
    assert_eq!(ask(&mut gateway.client().await, "take ada 1").await, "false 0/5");
    gateway.reload(config.to_string().replace("5/1h", "6/1h")).await;
    assert_eq!(ask(&mut gateway.client().await, "take ada 1").await, "true 5/6", "another rate is another limiter");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limiter_is_shared_by_plugins_and_workers() {
    let origin = Upstream::down().await;
    let gateway = GATEWAY.start(caps(&origin, &Files::new(), CAPS)).await;
    let mut left = BTreeSet::new();
    for path in ["/", "/other", "/", "/other", "/"] {
        let mut client = gateway.client().await;
        let answer = client.ask(&[&format!("GET {path} HTTP/1.1"), "Host: a", "X-Do: take ada 1"], "").await;
        left.insert(answer.text());
    }
    let expected = ["true 0/5", "true 1/5", "true 2/5", "true 3/5", "true 4/5"];
    assert!(left.iter().eq(expected), "{left:?}");
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "take ada 1").await, "false 0/5");
    assert_eq!(ask(&mut client, "take bob 2").await, "true 3/5", "another key has its own bucket");
    assert_eq!(ask(&mut client, "take bob 6").await, "false 0/5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_used_by_name_and_shown_to_nobody() {
    let origin = Upstream::down().await;
    let files = Files::new();
    let config = caps(&origin, &files, CAPS).to_string();
    let config = config.replace("stores: {", "stores: { away: { redis: 'redis://u:hunter2hunter2@127.0.0.1:1' }, ");
    let gateway = GATEWAY.with_level("trace").start(&config).await;
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, "secret-equals hunter2hunter2").await, "true");
    assert_eq!(ask(&mut client, "secret-equals hunter2").await, "false");
    assert_eq!(ask(&mut client, "secret-hmac what").await, ask(&mut client, "hmac hunter2hunter2 what").await[..64]);
    let refusal = ask(&mut client, "reveal").await;
    assert_eq!(refusal, "error: this plugin may use the secret `key`, but not read it");
    let log = gateway.log();
    assert_eq!(gateway.stop().await.code, 0);
    assert!(!log.text().contains("hunter2"), "{}", log.text());
    assert!(!log.lines().iter().any(|line| line.message() == "a plugin reads a secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reveal_takes_a_grant_of_its_own_and_is_noted_once() {
    let origin = Upstream::down().await;
    let grants = CAPS.replace("secrets: [key]", "secrets: [key], reveal: [key]");
    let gateway = GATEWAY.start(caps(&origin, &Files::new(), &grants)).await;
    let hex: String = b"hunter2hunter2".iter().map(|byte| format!("{byte:02x}")).collect();
    for _ in 0..8 {
        assert_eq!(ask(&mut gateway.client().await, "reveal").await, hex);
    }
    let log = gateway.log();
    let notes: Vec<_> = log.lines().into_iter().filter(|line| line.message() == "a plugin reads a secret").collect();
    assert_eq!(notes.len(), 1, "{}", log.text());
    assert_eq!((notes[0].field("plugin"), notes[0].field("secret")), (Some("caps"), Some("key")));
    assert!(notes[0].text.contains("witgate::audit"), "{}", notes[0].text);
    assert!(!log.text().contains("hunter2") && !log.text().contains(&hex));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_the_host_and_handles_have_their_limits() {
    for (limits, config, is_within) in [
        ("limits: { host_calls: 100 }", "calls: 100", true),
        ("limits: { host_calls: 100 }", "calls: 101", false),
        ("limits: { handles: 10 }", "handles: 10", true),
        ("limits: { handles: 10 }", "handles: 11", false),
        ("limits: { host_calls: 10000, deadline: 5s }", "handles: 1024", true),
        ("limits: { host_calls: 10000, deadline: 5s }", "handles: 1025", false),
        ("", "calls: 1000", true),
        ("", "calls: 1001", false),
    ] {
        let origin = Upstream::echo().await;
        let config = Config::to(&origin)
            .top("stores: { local: { memory: 64KiB } }")
            .plugin_with("storm", &guest("storm"), &format!("grants: {{ stores: [local] }}\n{limits}"))
            .route(&format!("filters: [{{ use: storm, config: {{ store: local, {config} }} }}]"));
        let gateway = GATEWAY.start(&config).await;
        let mut client = gateway.client().await;
        // What one call used, the next has again.
        for _ in 0..3 {
            let expected = if is_within { 200 } else { 500 };
            assert_eq!(client.get("/").await.status, expected, "{limits} {config}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_under_impossible_names_are_counted_as_lost() {
    let origin = Upstream::down().await;
    let gateway = GATEWAY
        .start(caps(&origin, &Files::new(), CAPS).top("admin: { address: '127.0.0.1:0' }\nstate_dir: state"))
        .await;
    let mut client = gateway.client().await;
    for command in ["count hits 1", "gauge hits 1", "count Hits 1", "count 1x 1"] {
        ask(&mut client, command).await;
    }
    let admin = gateway.admin();
    assert_eq!(admin.metric(r#"witgate_guest_counter_total{name="hits",plugin="caps"}"#).await, 1.0);
    assert_eq!(admin.metric(r#"witgate_guest_dropped_total{plugin="caps"}"#).await, 3.0);
}
