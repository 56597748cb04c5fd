//! `witgate diff`: what a reload would change.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::remote::{Reach, RemoteError};
use super::{EXIT_FAILURE, Format, complain, load, print, refuse};
use crate::config::{Change, compare};
use crate::gateway::GatewayError;

/// Two configurations.
#[derive(Debug, Args)]
pub(super) struct Two {
    /// What serves: a source, or several with commas between them.
    old: String,
    /// What would take its place.
    new: String,
    /// A running gateway, HOST:PORT or unix:PATH, that is asked which plugins are overridden; its token is in `WITGATE_ADMIN_TOKEN`.
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
}

pub(super) fn run(two: &Two, format: Format) -> ExitCode {
    let words = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let loaded = load(&words(&two.old)).and_then(|old| Ok((old, load(&words(&two.new))?)));
    let changes = match &loaded {
        Ok((old, new)) => compare(old, new),
        Err(error) => return refuse(error, format),
    };
    let overrides = match two.admin.as_deref().map(overrides).transpose() {
        Ok(overrides) => overrides.unwrap_or_default(),
        Err(RemoteError::Config(error)) => return refuse(&error, format),
        Err(error) => {
            complain(&format!("error: {error}"));
            return ExitCode::from(EXIT_FAILURE);
        }
    };
    match format {
        Format::Json => print(&json!({ "changes": changes, "overrides": overrides }).to_string()),
        Format::Text => print(text(&changes, &overrides).trim_end()),
    }
    // As `diff` has it.
    if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DIFFERENT) }
}

/// Plugins that do not serve what the configuration says, whatever it says.
fn overrides(admin: &str) -> Result<Vec<Value>, RemoteError> {
    let remote = Reach::at(admin).remote()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::Worker)?;
    let status = runtime.block_on(remote.get("/api/status"))?;
    let plugins = status["plugins"].as_array().cloned().unwrap_or_default();
    Ok(plugins.into_iter().filter(|plugin| plugin["decided_by"] == "override").collect())
}

fn text(changes: &[Change], overrides: &[Value]) -> String {
    let mut out = String::new();
    for change in changes {
        let sign = match change.kind {
            "added" => '+',
            "removed" => '-',
            _ => '~',
        };
        let name = change.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
        let note = change.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        let words = if change.kind == "reordered" { " in another order" } else { "" };
        let _ = writeln!(out, "{sign} {}{name}{words}{note}", change.what);
        for detail in &change.details {
            let path = if detail.path.is_empty() { String::new() } else { format!("{}: ", detail.path) };
            let _ = match (&detail.old, &detail.new) {
                (Some(old), Some(new)) => writeln!(out, "    {path}{old} -> {new}"),
                (None, Some(new)) => writeln!(out, "  + {path}{new}"),
                (Some(old), None) => writeln!(out, "  - {path}{old}"),
                (None, None) => Ok(()),
            };
        }
        if change.more > 0 {
            let _ = writeln!(out, "    and {} more", change.more);
        }
    }
    if changes.is_empty() {
        out.push_str("nothing would change\n");
    }
    for plugin in overrides {
        let name = plugin["name"].as_str().unwrap_or_default();
        let actor = plugin["override"]["actor"].as_str().unwrap_or("a trial");
        let is_touched = changes.iter().any(|change| change.what == "plugin" && change.name.as_deref() == Some(name));
        let end = if is_touched { "; ends if `source`, `sha256` or `canary` of it changes" } else { "; stays" };
        let _ = writeln!(out, "! plugin {name} is overridden by {actor}{end}");
    }
    out
}

const EXIT_DIFFERENT: u8 = 1;
