//! `witgate top`: what a running gateway is doing, again and again, from its metrics.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::operate::{self, CommandError};
use super::remote::{Reach, Remote};
use super::scrape::{Rates, Scrape};
use super::{Format, print};

#[derive(Debug, Args)]
pub(super) struct Top {
    /// Seconds from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = interval)]
    interval: f64,
    /// Look once, and end.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn top(top: &Top, format: Format) -> ExitCode {
    operate::run(&top.reach, format, async |remote| {
        let mut before = Scrape::read(&remote.text("/metrics").await?);
        let mut began = Instant::now();
        loop {
            tokio::time::sleep(Duration::from_secs_f64(top.interval)).await;
            let after = Scrape::read(&remote.text("/metrics").await?);
            let now = Instant::now();
            let rates = Rates { before: &before, after: &after, seconds: (now - began).as_secs_f64() };
            let shown = look(&remote, &rates).await?;
            match format {
                Format::Json => print(&shown.to_string()),
                Format::Text => print(&page(&shown, !top.once && std::io::stdout().is_terminal())),
            }
            if top.once {
                return Ok(ExitCode::SUCCESS);
            }
            (before, began) = (after, now);
        }
    })
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.1..=3600.0).contains(&seconds) { Ok(seconds) } else { Err("it is 0.1 to 3600 seconds".to_owned()) }
}

/// All that is shown, the busiest first.
async fn look(remote: &Remote, rates: &Rates<'_>) -> Result<Value, CommandError> {
    let (routes, plugins) = (remote.get("/api/routes").await?, remote.get("/api/plugins").await?);
    let mut routes: Vec<Value> = names(&routes).map(|name| route(name, rates)).collect();
    let mut plugins: Vec<Value> = names(&plugins).map(|name| plugin(name, rates)).collect();
    for rows in [&mut routes, &mut plugins] {
        rows.sort_by(|one, other| number(other, "rate").total_cmp(&number(one, "rate")));
    }
    Ok(json!({
        "requests_per_second": rates.of(REQUESTS, &[]),
        "in_flight": rates.after.sum("witgate_http_requests_in_flight", &[]),
        "connections": rates.after.sum("witgate_connections", &[]),
        "generation": rates.after.sum("witgate_config_generation", &[]),
        "memory_bytes": rates.after.sum("process_resident_memory_bytes", &[]),
        "routes": routes,
        "plugins": plugins,
    }))
}

fn route(name: &str, rates: &Rates<'_>) -> Value {
    let labels = [("route", name)];
    let rate = rates.of(REQUESTS, &labels);
    let failed = rates.beginning(REQUESTS, &labels, "code", "5");
    json!({
        "name": name,
        "rate": rate,
        "failed": if rate > 0.0 { failed / rate } else { 0.0 },
        "p50_s": rates.quantile(0.5, "witgate_http_request_duration_seconds", &labels),
        "p99_s": rates.quantile(0.99, "witgate_http_request_duration_seconds", &labels),
        "own_p99_s": rates.quantile(0.99, "witgate_overhead_seconds", &labels),
    })
}

fn plugin(name: &str, rates: &Rates<'_>) -> Value {
    let calls = "witgate_plugin_calls_total";
    let rate = rates.of(calls, &[("plugin", name)]);
    let failed: f64 = FAILURES.iter().map(|outcome| rates.of(calls, &[("plugin", name), ("outcome", outcome)])).sum();
    json!({
        "name": name,
        "rate": rate,
        "failed": if rate > 0.0 { failed / rate } else { 0.0 },
        "p50_s": rates.quantile(0.5, "witgate_plugin_duration_seconds", &[("plugin", name)]),
        "p99_s": rates.quantile(0.99, "witgate_plugin_duration_seconds", &[("plugin", name)]),
    })
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(|item| item["name"].as_str())
}

/// Tables for people; on a terminal each takes the last one's place.
fn page(shown: &Value, redraws: bool) -> String {
    let mut page = if redraws { CLEAR.to_owned() } else { String::new() };
    let _ = write!(
        page,
        "{:.0} requests/s, {} in flight, {} connections, generation {}, {:.0} MiB",
        number(shown, "requests_per_second"),
        number(shown, "in_flight"),
        number(shown, "connections"),
        number(shown, "generation"),
        number(shown, "memory_bytes") / f64::from(1 << 20),
    );
    for (kind, rates) in [("routes", "requests/s"), ("plugins", "calls/s")] {
        let rows = shown[kind].as_array().map(Vec::as_slice).unwrap_or_default();
        if rows.is_empty() {
            continue;
        }
        let _ = write!(page, "\n\n{kind:32} {rates:>10} {:>8} {:>9} {:>9}", "failed", "p50", "p99");
        for row in rows.iter().take(ROWS_MAX) {
            let _ = write!(
                page,
                "\n{:32} {:>10.1} {:>6.1} % {:>9} {:>9}",
                row["name"].as_str().unwrap_or_default(),
                number(row, "rate"),
                100.0 * number(row, "failed"),
                time(&row["p50_s"]),
                time(&row["p99_s"]),
            );
        }
    }
    page
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_default()
}

fn time(seconds: &Value) -> String {
    match seconds.as_f64() {
        None => "-".to_owned(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

const REQUESTS: &str = "witgate_http_requests_total";
/// Outcomes of a plugin's call that are its own fault.
const FAILURES: [&str; 4] = ["error", "trap", "deadline", "memory"];
/// The screen's beginning, and nothing below (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";
/// As many as a screen has room for.
const ROWS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_line_for_each_route_and_plugin() {
        let shown = json!({
            "requests_per_second": 1234.4, "in_flight": 3.0, "connections": 8.0, "generation": 2.0, "memory_bytes": 52_428_800.0,
            "routes": [{ "name": "users", "rate": 1200.0, "failed": 0.015, "p50_s": 0.0008, "p99_s": 0.0123 }],
            "plugins": [{ "name": "jwt", "rate": 0.0, "failed": 0.0, "p50_s": null, "p99_s": null }],
        });
        let lines = [
            "1234 requests/s, 3 in flight, 8 connections, generation 2, 50 MiB",
            "",
            "routes                           requests/s   failed       p50       p99",
            "users                                1200.0    1.5 %    800 µs   12.3 ms",
            "",
            "plugins                             calls/s   failed       p50       p99",
            "jwt                                     0.0    0.0 %         -         -",
        ];
        assert_eq!(page(&shown, false), lines.join("\n"));
        assert!(page(&shown, true).starts_with(CLEAR));
    }
}
