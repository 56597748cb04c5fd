//! What a gateway answered, in words for people.

use std::fmt::Write as _;

use serde_json::Value;

/// A swap, or what followed one.
pub(super) fn swap(report: &Value) -> String {
    let (plugin, now) = (text(&report["plugin"]), version(&report["sha256"]));
    let before = version(&report["previous_sha256"]);
    let mut line = match text(&report["state"]) {
        "serving" => format!("{plugin}: {now} serves in the place of {before}"),
        "unchanged" => format!("{plugin}: {now} serves already"),
        "rolled_back" => format!("{plugin}: the trial is over, {now} serves"),
        state @ ("canary" | "shadow") => format!("{plugin}: {now} is on trial ({state}) beside {before}"),
        state => format!("{plugin}: {now} ({state})"),
    };
    let _ =
        write!(line, ", generation {}, {:.0} ms", report["generation"], report["took_ms"].as_f64().unwrap_or_default());
    for (key, words) in [("rights_gained", "now imports"), ("rights_lost", "no longer imports")] {
        let names: Vec<_> = report[key].as_array().into_iter().flatten().map(text).collect();
        if !names.is_empty() {
            let _ = write!(line, "\n  {words} {}", names.join(", "));
        }
    }
    line
}

/// A plugin whose canary has ended.
pub(super) fn rollout(plugin: &Value) -> String {
    let mut line = format!("{}: {} serves", text(&plugin["name"]), version(&plugin["sha256"]));
    if !plugin["last_rollout"].is_null() {
        let _ = write!(line, "\n  {}", trial(&plugin["last_rollout"]));
    }
    line
}

pub(super) fn reload(report: &Value) -> String {
    let mut words = format!("reloaded: generation {}", report["generation"]);
    let named: Vec<&str> =
        report["changes"]["named"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for change in &named {
        let _ = write!(words, "\n  {change}");
    }
    let count = report["changes"]["count"].as_u64().unwrap_or_default();
    match count.saturating_sub(named.len() as u64) {
        0 => words,
        more => format!("{words}\n  and {more} more"),
    }
}

pub(super) fn upgrade(report: &Value) -> String {
    let (pid, program) = (&report["pid"], text(&report["program"]));
    let took_ms = report["took_ms"].as_f64().unwrap_or_default();
    format!("upgraded: process {pid} serves ({program}), {took_ms:.0} ms")
}

pub(super) fn roll_back(report: &Value) -> String {
    format!(
        "the configuration {} of {} serves again, generation {}, until its source changes or is read anew",
        report["number"],
        text(&report["since"]),
        report["generation"],
    )
}

/// The whole gateway: two lines about it, and one for each plugin.
pub(super) fn status(status: &Value) -> String {
    let ready = if status["ready"] == true { "ready" } else { "not ready" };
    let mut out = format!(
        "witgate {}: {ready}, generation {}, {} workers, up {}\nconfiguration: {}",
        text(&status["version"]),
        status["generation"],
        status["workers"],
        duration(status["uptime_s"].as_f64().unwrap_or_default()),
        text(&status["config_source"]),
    );
    let config = &status["config"];
    if config["rolled_back"] == true {
        let _ = write!(out, "\nsomebody went back to number {}: the source has another", config["number"]);
    }
    if let Some(error) = config["source_error"].as_str() {
        let _ = write!(out, "\nthe source cannot be read: {error}");
    }
    for include in config["held"].as_object().into_iter().flatten().map(|(include, _)| include) {
        let _ = write!(out, "\nthe files of {include} have faults: their last good version stays");
    }
    if let Some(error) = status["last_reload_error"].as_str() {
        let _ = write!(out, "\nthe last reload failed: {error}");
    }
    let plugins = status["plugins"].as_array().map(Vec::as_slice).unwrap_or_default();
    let width = plugins.iter().map(|plugin| text(&plugin["name"]).len()).max().unwrap_or_default();
    for plugin in plugins {
        let _ = write!(
            out,
            "\n  {:width$}  {}  {} ({})",
            text(&plugin["name"]),
            version(&plugin["sha256"]),
            text(&plugin["source"]),
            decided(plugin),
        );
        if !plugin["rollout"].is_null() {
            let _ = write!(out, "\n  {:width$}  {}", "", trial(&plugin["rollout"]));
        }
    }
    out
}

/// A canary or a shadow run: its version, its evidence so far, and how it ended if it has.
fn trial(rollout: &Value) -> String {
    let mut words = format!("{} {}", text(&rollout["mode"]), version(&rollout["sha256"]));
    if let Some(percent) = rollout["percent"].as_f64() {
        let _ = write!(words, " at {percent} %");
    }
    for (side, name) in [("trial", "it"), ("stable", "the stable version")] {
        let side = &rollout["evidence"][side];
        let _ = write!(words, "; {name} had {} calls, {} failures", side["calls"], side["failures"]);
        if let Some(p99_us) = side["p99_us"].as_f64() {
            let _ = write!(words, ", p99 {p99_us:.0} µs");
        }
    }
    if let Some(outcome) = rollout["outcome"].as_str() {
        let _ = write!(words, "; {} by {}", outcome.replace('_', " "), text(&rollout["decided_by"]));
    }
    if let Some(reason) = rollout["reason"].as_str() {
        let _ = write!(words, ": {reason}");
    }
    words
}

/// Who decided what serves.
fn decided(plugin: &Value) -> String {
    let held = &plugin["override"];
    if held.is_null() {
        return text(&plugin["decided_by"]).to_owned();
    }
    let mut words = format!("override by {}, {}", text(&held["actor"]), text(&held["since"]));
    if let Some(reason) = held["reason"].as_str() {
        let _ = write!(words, ": {reason}");
    }
    words
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// As metrics and logs call a version.
fn version(sha256: &Value) -> &str {
    let sha256 = text(sha256);
    sha256.get(..12).unwrap_or(sha256)
}

/// To the two largest units.
fn duration(seconds: f64) -> String {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an uptime is a small, positive number")]
    let seconds = seconds as u64;
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn swapped(state: &str) -> Value {
        json!({
            "plugin": "jwt", "sha256": "cd".repeat(32), "previous_sha256": "ab".repeat(32), "state": state,
            "generation": 8, "rights_gained": [], "rights_lost": [], "took_ms": 33.6,
        })
    }

    #[test]
    fn a_swap_says_what_serves() {
        assert_eq!(
            swap(&swapped("serving")),
            "jwt: cdcdcdcdcdcd serves in the place of abababababab, generation 8, 34 ms"
        );
        assert_eq!(
            swap(&swapped("canary")),
            "jwt: cdcdcdcdcdcd is on trial (canary) beside abababababab, generation 8, 34 ms"
        );
        assert_eq!(swap(&swapped("unchanged")), "jwt: cdcdcdcdcdcd serves already, generation 8, 34 ms");
        assert_eq!(swap(&swapped("rolled_back")), "jwt: the trial is over, cdcdcdcdcdcd serves, generation 8, 34 ms");
        let mut report = swapped("serving");
        report["rights_gained"] = json!(["witgate:plugin/http@0.1.0"]);
        assert!(swap(&report).ends_with("\n  now imports witgate:plugin/http@0.1.0"));
    }

    #[test]
    fn a_trial_shows_its_evidence_and_its_end() {
        let told = rollout(&json!({
            "name": "jwt", "sha256": "ab".repeat(32),
            "last_rollout": {
                "mode": "canary", "percent": 5.0, "sha256": "cd".repeat(32), "outcome": "rolled_back",
                "decided_by": "evidence", "reason": "it fails",
                "evidence": {
                    "trial": { "calls": 12, "failures": 6, "p99_us": 80.2 },
                    "stable": { "calls": 200, "failures": 0, "p99_us": null },
                },
            },
        }));
        let lines = [
            "jwt: abababababab serves",
            "  canary cdcdcdcdcdcd at 5 %; it had 12 calls, 6 failures, p99 80 µs; the stable version had 200 calls, \
             0 failures; rolled back by evidence: it fails",
        ];
        assert_eq!(told, lines.join("\n"));
    }

    #[test]
    fn a_status_has_a_line_for_each_plugin() {
        let told = status(&json!({
            "version": "0.1.0", "generation": 3, "ready": true, "workers": 2, "uptime_s": 7325.5,
            "config_source": "gateway.yaml", "last_reload_error": "no",
            "plugins": [
                { "name": "jwt", "source": "builtin:jwt", "sha256": "ab".repeat(32), "decided_by": "config", "override": null, "rollout": null },
                { "name": "audit", "source": "file:a.wasm", "sha256": "cd".repeat(32), "decided_by": "override", "rollout": null,
                  "override": { "actor": "local", "since": "2026-01-01T00:00:00Z", "reason": "ticket 12" } },
            ],
        }));
        let lines = [
            "witgate 0.1.0: ready, generation 3, 2 workers, up 2h 2m",
            "configuration: gateway.yaml",
            "the last reload failed: no",
            "  jwt    abababababab  builtin:jwt (config)",
            "  audit  cdcdcdcdcdcd  file:a.wasm (override by local, 2026-01-01T00:00:00Z: ticket 12)",
        ];
        assert_eq!(told, lines.join("\n"));
    }

    #[test]
    fn a_duration_has_two_units() {
        for (seconds, told) in [(5.9, "5s"), (65.0, "1m 5s"), (3600.0, "1h 0m"), (90_000.0, "1d 1h")] {
            assert_eq!(duration(seconds), told);
        }
    }
}
