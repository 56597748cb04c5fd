//! The dashboard, as a browser shows it: Chromium, driven by playwright-core from the npm registry.

use std::path::{Path, PathBuf};

use harness::{Binary, Config, Load, Output, Upstream, guest, run, skip};
use serde_json::Value;
use tokio::process::Command;

const GATEWAY: Binary = Binary::new(env!("CARGO_BIN_EXE_witgate-under-test"), env!("CARGO_TARGET_TMPDIR"));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_the_gateway_and_swaps_a_plugin() {
    let Some(browser) = Browser::find().await else { return };
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("admin: { address: 127.0.0.1:0 }\nstate_dir: state")
        .plugin("stamp", &guest("stamp"))
        .route("filters:")
        .route("  - { use: cors, config: { allow_origins: ['https://example.com'] } }")
        .route("  - { use: stamp, config: { name: x-stamp, value: '1' } }");
    let mut gateway = GATEWAY.start(&config).await;
    // What is wrong with a configuration is shown with the line that it stands in.
    gateway.reload_fails(config.clone().top("x: '<b>bold</b>'")).await;
    let load = Load::start(gateway.listener("http"), "/", 2);
    let admin = gateway.admin();
    let seen = browser.visit(&format!("http://{}/", admin.address), &admin.token).await;
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
    assert_eq!((&seen["injected"], &seen["origins"].as_array().map(Vec::len)), (&0.into(), &Some(1)), "{seen}");
    let complaints = all("complaints");
    let expected = |line: &&str| line.contains("401");
    assert_eq!(
        complaints.lines().filter(|line| !expected(line)).collect::<Vec<_>>(),
        [""; 0],
        "the wrong token's aside"
    );
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
    async fn visit(&self, url: &str, token: &str) -> Value {
        let mut node = Command::new("node");
        node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard/visit.mjs"));
        node.args([&self.playwright, &self.program]).args([url, token]);
        node.args(std::env::var_os("WITGATE_PICTURES"));
        node.env("SWAP_SOURCE", format!("file:{}", guest("impostor").display()));
        let Output { code, stdout, stderr } = run(&mut node).await;
        assert_eq!(code, 0, "{stderr}");
        serde_json::from_str(&stdout).expect("the visit prints JSON")
    }
}

const PLAYWRIGHT: &str = "1.64.1";
