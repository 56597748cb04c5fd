//! The dashboard, as a browser shows it: Chromium, driven by playwright-core from the npm registry. And the example's dashboard for Grafana, as
//! Prometheus answers it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Admin, Binary, Client, Config, Gateway, Load, Output, Prometheus, Upstream, guest, run, skip};
use serde_json::{Value, json};
use tokio::process::Command;

const GATEWAY: Binary = Binary::new(env!("CARGO_BIN_EXE_witgate-under-test"), env!("CARGO_TARGET_TMPDIR"));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_the_gateway_and_swaps_a_plugin() {
    let Some(browser) = Browser::find().await else { return };
    let origin = Upstream::echo().await;
    // Under names of their own, for the pictures.
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let [stamp, next] = [("stamp", "stamp.wasm"), ("impostor", "stamp-2.wasm")].map(|(name, file)| {
        let place = folder.path().join(file);
        std::fs::copy(guest(name), &place).expect("a temporary folder takes files");
        place
    });
    let config = Config::to(&origin)
        .top("admin: { address: 127.0.0.1:0 }\nstate_dir: state")
        .plugin("stamp", &stamp)
        .route("filters:")
        .route("  - { use: cors, config: { allow_origins: ['https://example.com'] } }")
        .route("  - { use: stamp, config: { name: x-stamp, value: '1' } }");
    let mut gateway = GATEWAY.start(&config).await;
    // What is wrong with a configuration is shown with the line that it stands in.
    gateway.reload_fails(config.clone().top("x: '<b>bold</b>'")).await;
    let load = Load::start(gateway.listener("http"), "/", 2);
    let admin = gateway.admin();
    let seen = browser.visit("visit.mjs", &admin, &[&format!("file:{}", next.display())]).await;
    let tally = load.stop().await;
    assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{tally:?}");

    let all =
        |key: &str| seen[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
    let shows = |key: &str, texts: &[&str]| {
        texts.iter().for_each(|text| assert!(all(key).contains(text), "`{text}` in {key}: {}", all(key)));
    };
    shows("state", &["serving"]);
    shows("routes", &["all", "cors → stamp", "origin"]);
    shows("stages", &["cors", "native", "stamp", "plugin · request, response", "mean", "origin", "upstream"]);
    shows("tiles", &["Requests a second", "p99", "Generation"]);
    shows("plugins", &["stamp", "configuration"]);
    shows("upstreams", &["origin", &origin.to_string(), "healthy"]);
    shows("swapped", &["override"]);
    shows("events", &["swap", "serving"]);
    shows("held", &["<img src=x onerror=alert(1)>"]);
    shows("reload", &["The last reload failed", "<b>bold</b>"]);
    assert_eq!(seen["lockedBefore"], 4, "without a token nothing can be done: {seen}");
    // Names and reasons are text, whatever they look like; and nothing comes from elsewhere.
    assert_eq!((&seen["injected"], &seen["strays"]), (&0.into(), &json!([])), "{seen}");
    let complaints = all("complaints");
    let expected = |line: &&str| line.contains("401");
    assert_eq!(
        complaints.lines().filter(|line| !expected(line)).collect::<Vec<_>>(),
        [""; 0],
        "the wrong token's aside"
    );
}

/// With what serves its requests.
async fn plain() -> (Gateway, Upstream) {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("admin: { address: 127.0.0.1:0 }\nstate_dir: state")
        .plugin("stamp", &guest("stamp"))
        .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
    (GATEWAY.start(&config).await, origin)
}

fn numbers(value: &Value) -> impl Iterator<Item = (&str, f64)> {
    value.as_object().into_iter().flatten().filter_map(|(name, number)| Some((name.as_str(), number.as_f64()?)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_things_are_called_nothing_runs_and_nothing_is_markup() {
    let Some(browser) = Browser::find().await else { return };
    let (gateway, _origin) = plain().await;
    let seen = browser.visit("hostile.mjs", &gateway.admin(), &[]).await;
    assert_eq!((&seen["ran"], &seen["violations"]), (&Value::Null, &json!([])), "a script ran, or tried to");
    assert_eq!((&seen["foreign"], &seen["handlers"]), (&json!(["form"]), &json!(0)), "the dialog's form is our own");
    assert_eq!((&seen["invisible"], &seen["strays"]), (&json!(0), &json!([])), "{seen}");
    assert_eq!(seen["wide"], false, "no name makes the page wider than the window");
    assert!(seen["tallest"].as_f64() < Some(400.0), "nor a row taller than the others: {}", seen["tallest"]);
    for place in ["routes", "plugins", "upstreams", "events", "reload", "notice", "dialog"] {
        let text = seen[place].as_str().unwrap_or_default();
        assert!(text.contains("<img src=x onerror=") && !text.is_empty(), "names are shown as they are in {place}");
    }
    for place in ["routes", "plugins", "upstreams", "events", "reload", "notice"] {
        let text = seen[place].as_str().unwrap_or_default();
        assert!(
            text.contains("\\u{202e}") && text.contains("\\u{1b}"),
            "what nobody would see is written out in {place}"
        );
    }
    let complaints: Vec<&str> = seen["complaints"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(complaints.iter().all(|line| line.contains("422")), "{complaints:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_done_by_the_keyboard_and_read_in_the_light_and_in_the_dark() {
    let Some(browser) = Browser::find().await else { return };
    let (gateway, _origin) = plain().await;
    let seen = browser.visit("people.mjs", &gateway.admin(), &[]).await;
    assert_eq!(seen["outlined"], json!([true, true, true]), "the focus is seen: {seen}");
    assert_eq!(seen["focusAfterEscape"], "Sign in", "and goes back to where it was");
    assert_ne!(seen["light"], seen["dark"]);
    for scheme in ["light", "dark"] {
        let low: Vec<_> = numbers(&seen["contrasts"][scheme]).filter(|(_, ratio)| *ratio < 4.5).collect();
        assert!(numbers(&seen["contrasts"][scheme]).count() == 12 && low.is_empty(), "{scheme}: {low:?}");
    }
    assert_eq!((&seen["unlabelled"], &seen["complaints"], &seen["strays"]), (&json!(0), &json!([]), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_each_of_its_files_forbid_what_they_do_not_need() {
    let (gateway, _origin) = plain().await;
    let admin = gateway.admin();
    let page = admin.get("/").await;
    let html = page.text();
    let files = html.split('"').filter(|word| [".js", ".css", ".svg"].iter().any(|end| word.ends_with(end)));
    let mut paths: Vec<String> = files.map(|file| format!("/{file}")).collect();
    paths.extend(["/", "/dom.js", "/views.js"].map(str::to_owned));
    for path in paths {
        let said = Client::connect(admin.address)
            .await
            .ask(&[&format!("GET {path} HTTP/1.1"), &format!("Host: {}", admin.address)], "")
            .await;
        let policy = said.field("content-security-policy").unwrap_or_default();
        assert_eq!(said.status, 200, "{path}");
        for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: `{part}` in {policy}");
        }
        for part in ["form-action 'none'", "frame-ancestors 'none'", "connect-src 'self'"] {
            assert!(policy.contains(part), "{path}: `{part}` in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{path}: {policy}");
        assert_eq!(said.field("x-content-type-options"), Some("nosniff"), "{path}");
    }
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains(" on"), "nothing is inline");
    assert_eq!(html.matches("<script").count(), html.matches("<script type=\"module\" src=").count());
    assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("//"), "nothing is from elsewhere");
}

/// Everything that the example's dashboard for Grafana has a panel for: answers, failures, further tries, limits, circuits, plugins.
async fn busy(origin: &Upstream, down: &Upstream) -> Gateway {
    let collector = Upstream::down().await;
    let top = format!(
        "admin: {{ address: 127.0.0.1:0 }}\nprobes: {{ address: 127.0.0.1:0 }}\nstate_dir: state\n\
         telemetry: {{ access_log: {{ output: 'file:access.log' }}, tracing: {{ otlp: 'http://{collector}', sample: 100%, timeout: 1s }} }}"
    );
    let filters = "filters: [{ use: rate-limit, config: { key: client-ip, rate: 40/1s, burst: 20 } }, { use: circuit-breaker }, \
                   { use: stamp, config: { name: x-stamp, value: s } }]";
    let broken = format!("reports: {{ endpoints: [{{ url: 'http://{down}' }}], retries: {{ attempts: 1 }} }}");
    let config = Config::to(origin).top(&top).plugin("stamp", &guest("stamp")).route(filters).and_route(
        "name: reports\nmatch: { path: { prefix: /reports } }\nfilters: [{ use: circuit-breaker, config: { min_requests: 5 } }]\nupstream: reports",
    );
    let config = config.to_string().replace("upstreams:\n", &format!("upstreams:\n  {broken}\n"));
    GATEWAY.start(config).await
}

/// The panels of a dashboard for Grafana, with what stands for its variables.
fn panels() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/observability/dashboard.json");
    let text = std::fs::read_to_string(path).expect("the example has a dashboard");
    let dashboard: Value = serde_json::from_str(&text.replace("$__rate_interval", "5s")).expect("a dashboard is JSON");
    dashboard["panels"].as_array().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_panel_of_the_dashboard_for_grafana_finds_something_in_prometheus() {
    let (origin, down) = (Upstream::echo().await, Upstream::down().await);
    let gateway = busy(&origin, &down).await;
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/observability");
    let Some(prometheus) = Prometheus::start(&example, gateway.probes()).await else { return };
    let loads = ["/", "/reports"].map(|path| Load::start(gateway.listener("http"), path, 1));
    let panels = panels();
    assert!(panels.len() > 10);
    for panel in &panels {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a target has a query");
            harness::within(query, async {
                while prometheus.query(query).await.is_empty() {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            })
            .await;
        }
    }
    assert!(prometheus.rules().await.contains(&"WitgateErrors".to_owned()), "it knows the alerts");
    if let Some(pictures) = std::env::var_os("WITGATE_PICTURES") {
        draw(&prometheus, panels, Path::new(&pictures)).await;
    }
    for load in loads {
        assert!(load.stop().await.total() > 0);
    }
}

/// Draws the panels with what Prometheus found for them in a while.
async fn draw(prometheus: &Prometheus, panels: Vec<Value>, pictures: &Path) {
    const SECONDS: u64 = 60;
    let Some(browser) = Browser::find().await else { return };
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let mut drawn = Vec::new();
    for mut panel in panels {
        for target in panel["targets"].as_array_mut().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap_or_default().to_owned();
            target["found"] = prometheus.range(&query, SECONDS).await.into();
        }
        drawn.push(panel);
    }
    let file = pictures.join("panels.json");
    std::fs::write(&file, Value::from(drawn).to_string()).expect("the folder takes files");
    let mut node = Command::new("node");
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard/panels.mjs"));
    node.args([&browser.playwright, &browser.program, &file, &pictures.join("panels.png")]);
    let Output { code, stderr, .. } = run(&mut node).await;
    assert_eq!(code, 0, "{stderr}");
    std::fs::remove_file(file).expect("it is ours");
}

/// Chromium, and what drives it.
struct Browser {
    program: PathBuf,
    playwright: PathBuf,
}

impl Browser {
    /// `None`, said loudly, where this machine has no browser.
    async fn find() -> Option<Browser> {
        let on_path = |name: &str| {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|program| program.is_file())
        };
        let Some(program) = on_path("chromium").or_else(|| on_path("google-chrome")) else {
            skip("no `chromium` is installed");
            return None;
        };
        let Some(npm) = on_path("npm") else {
            skip("no `npm` is installed");
            return None;
        };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("playwright-{PLAYWRIGHT}"));
        let playwright = folder.join("node_modules/playwright-core");
        if !playwright.join("package.json").exists() {
            let mut install = Command::new(npm);
            install.args(["install", "--no-audit", "--no-fund", "--prefix"]).arg(&folder);
            let Output { code, stderr, .. } = run(install.arg(format!("playwright-core@{PLAYWRIGHT}"))).await;
            if code != 0 {
                skip(&format!("playwright-core cannot be installed: {stderr}"));
                return None;
            }
        }
        Some(Browser { program, playwright })
    }

    /// What a visit shows; with `WITGATE_PICTURES` set to a folder, that gets screenshots.
    async fn visit(&self, script: &str, admin: &Admin, more: &[&str]) -> Value {
        let mut node = Command::new("node");
        node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboard").join(script));
        node.args([&self.playwright, &self.program]).args([&format!("http://{}/", admin.address), &admin.token]);
        node.args(more).args(std::env::var_os("WITGATE_PICTURES"));
        let Output { code, stdout, stderr } = run(&mut node).await;
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).expect("the visit prints JSON")
    }
}

const PLAYWRIGHT: &str = "1.64.1";
