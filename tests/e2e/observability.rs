//! What the documents say of metrics, held against a scrape; and the example of an operator's rules and dashboard, held against its judges.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use harness::{Authority, Client, Config, Upstream, blocks, guest, promtool, transcripts, within};
use serde_json::Value;

use crate::GATEWAY;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/observability")
}

fn read(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn document() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gateway/docs/observability.md");
    fs::read_to_string(path).expect("the document is there")
}

/// The names of our metrics in a text, without what histograms append.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
    let ours = words.filter(|word| word.starts_with("witgate_"));
    ours.map(|name| name.strip_suffix("_bucket").unwrap_or(name).to_owned()).collect()
}

/// The names that the document's table of metrics lists, with their labels.
fn listed() -> Vec<(String, BTreeSet<String>)> {
    let document = document();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `witgate_")?.split_once('`'));
    rows.map(|(series, _)| {
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).map(str::to_owned);
        (format!("witgate_{name}"), labels.collect())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_documented_and_every_documented_metric_exists() {
    let scrape = busy_scrape().await;
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let told: BTreeSet<String> = types.filter(|name| name.starts_with("witgate_")).map(str::to_owned).collect();
    let listed = listed();
    let documented: BTreeSet<String> = listed.iter().map(|(name, _)| name.clone()).collect();
    let missing: Vec<_> = told.difference(&documented).collect();
    assert!(missing.is_empty(), "the document lacks {missing:?}");
    let imagined: Vec<_> = documented.difference(&told).filter(|name| !RARE.contains(&name.as_str())).collect();
    assert!(imagined.is_empty(), "a scrape has no {imagined:?}");
    for (name, labels) in listed.iter().filter(|(name, _)| !RARE.contains(&name.as_str())) {
        let series = ["", "_count"].map(|suffix| format!("{name}{suffix}"));
        let line = scrape.lines().find(|line| {
            series
                .iter()
                .any(|series| line.strip_prefix(series.as_str()).is_some_and(|rest| rest.starts_with(['{', ' '])))
        });
        let line = line.unwrap_or_else(|| panic!("no series of {name}"));
        let inside = line.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let found: BTreeSet<String> =
            inside.split("\",").filter_map(|pair| Some(pair.split_once('=')?.0.to_owned())).collect();
        assert_eq!(&found, labels, "{name}");
    }
}

/// They need a swap, a server, a collector or a certificate that changes, which the tests of those have.
const RARE: [&str; 10] = [
    "witgate_upstream_discovery_up",
    "witgate_otlp_spans_total",
    "witgate_clients_refused_total",
    "witgate_upgrades_total",
    "witgate_admin_refused_total",
    "witgate_tls_certificate_renewals_total",
    "witgate_plugin_swaps_total",
    "witgate_guest_dropped_total",
    "witgate_guest_counter_total",
    "witgate_guest_gauge",
];

/// A scrape of a gateway that has nearly everything.
async fn busy_scrape() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = folder.path().join("keys.json");
    fs::write(
        &keys,
        r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA","alg":"HS256"}]}"#,
    )
    .expect("it takes text");
    let origin = Upstream::echo().await;
    let top = format!(
        "admin: {{ address: 127.0.0.1:0 }}\nkey_sets: {{ idp: {{ jwks_file: '{}' }} }}\n\
         telemetry: {{ metrics: {{ filter_histograms: true }} }}",
        keys.display()
    );
    let filters = "filters: [{ use: rate-limit, config: { key: client-ip, rate: 100/1s } }, { use: circuit-breaker }, \
                   { use: mirror, config: { upstream: origin } }, { use: stamp, config: { name: x-stamp, value: s } }]";
    let config = Config::to(&origin).top(&top).plugin("stamp", &guest("stamp")).route(filters);
    let (cert, key) = Authority::new().certificate(&["localhost"]).write(folder.path(), "site");
    let listener = format!(
        "  - name: https\n    address: 127.0.0.1:0\n    tls: {{ certificates: [{{ cert: '{}', key: '{}' }}] }}\n",
        cert.display(),
        key.display()
    );
    let config = config.to_string().replace("plugins:\n", &format!("{listener}plugins:\n"));
    let gateway = GATEWAY.start(config).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.status, 200);
    let admin = gateway.admin();
    let counted = async {
        while !admin.get("/metrics").await.text().contains("witgate_http_requests_total") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("the request to be counted", counted).await;
    admin.get("/metrics").await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_tells_what_its_readme_says() {
    let (readme, config) = (read("README.md"), read("gateway.yaml"));
    let config = config.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9902", "127.0.0.1:0");
    let gateway = GATEWAY.start(config).await;
    let shown = transcripts(&readme);
    assert_eq!(shown.len(), 1);
    shown[0].holds(gateway.listener("http")).await;
    let line = blocks(&readme, "text").next().expect("it shows a metric").trim().to_owned();
    within(&line, async {
        while !Client::connect(gateway.probes()).await.get("/metrics").await.text().contains(&line) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerts_are_raised_when_they_should_be() {
    let rules = folder().join("alerts.test.yml");
    let rules = rules.to_str().expect("a plain path");
    let Some(said) = promtool(&["test", "rules", rules], "").await else { return };
    assert_eq!(said.code, 0, "{said:?}");
    let config = folder().join("prometheus.yml");
    let said = promtool(&["check", "config", config.to_str().expect("a plain path")], "").await;
    assert!(said.is_some_and(|said| said.code == 0));
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let documented: BTreeSet<String> = listed().into_iter().map(|(name, _)| name).collect();
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).expect("a dashboard is JSON");
    let targets = dashboard["panels"].as_array().into_iter().flatten();
    let targets = targets.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let asked: String = targets.filter_map(|target| target["expr"].as_str()).collect::<Vec<_>>().join(" ");
    assert!(names(&asked).len() > 10, "it shows something");
    for text in [asked, read("alerts.yml")] {
        let unknown: Vec<String> = names(&text).difference(&documented).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_in_the_document_is_valid() {
    let document = document();
    let config = blocks(&document, "yaml").next().expect("it shows a configuration");
    let output = GATEWAY.on("validate", config, &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}
