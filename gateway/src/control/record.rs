//! The record: who changed what, from what and to what, on the log target `witgate::audit`. One line for each change, whoever
//! made it, and for each that was refused; never with a value of the configuration, which may be a secret.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::operator::{ConfigReport, ConfigRollback, OperationError, ReloadReport, SwapReport, UpgradeReport};

/// Something that changes a gateway, on its way to the record.
#[derive(Debug, Clone)]
pub struct Record {
    pub action: &'static str,
    /// The token's name; `signal`, `source: …` or `trial` where nobody asked over the admin API.
    pub actor: Cow<'static, str>,
    /// Where the token was shown.
    pub client: Option<String>,
    pub plugin: Option<String>,
    /// Of the component that is wanted, where that is known beforehand.
    pub sha256: Option<String>,
    pub reason: Option<String>,
}

/// What was before a change, and what is after it.
#[derive(Debug, Clone, Default)]
pub struct Turn {
    pub before: State,
    pub after: State,
    /// Of a configuration.
    pub changes: Option<Changes>,
}

/// What serves. Each part is left out where the change has nothing to do with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub generation: Option<u64>,
    /// Of the plugin's component, or of the configuration's texts.
    pub sha256: Option<String>,
    /// Of the process that serves.
    pub pid: Option<u32>,
}

/// What differs between two configurations: the names of entries and keys, never their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Entries that came, went or changed.
    pub count: usize,
    /// The first [`Changes::NAMED_MAX`] of them: `route users: timeout`.
    pub named: Vec<String>,
}

impl Record {
    pub fn new(action: &'static str, actor: impl Into<Cow<'static, str>>) -> Self {
        Self { action, actor: actor.into(), client: None, plugin: None, sha256: None, reason: None }
    }

    #[must_use]
    pub fn on(self, plugin: &str) -> Self {
        Self { plugin: Some(plugin.to_owned()), ..self }
    }

    #[must_use]
    pub fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    /// It was done.
    pub fn done(&self, turn: &Turn) {
        let Turn { before, after, changes } = turn;
        self.write("ok", None, before, after, changes.as_ref());
    }

    /// It was not done.
    pub fn failed(&self, error: &OperationError) {
        let nothing = State::default();
        self.write(kind(error), Some(&told(error)), &nothing, &nothing, None);
    }

    fn write(&self, outcome: &str, error: Option<&str>, before: &State, after: &State, changes: Option<&Changes>) {
        // A component that was put in place is known by what the gateway says of it.
        let sha256 = after.sha256.as_deref().filter(|_| self.plugin.is_some()).or(self.sha256.as_deref());
        tracing::info!(
            target: AUDIT,
            action = self.action,
            actor = &*self.actor,
            client = self.client.as_deref(),
            plugin = self.plugin.as_deref(),
            sha256,
            reason = self.reason.as_deref(),
            generation_before = before.generation,
            generation_after = after.generation,
            sha256_before = before.sha256.as_deref(),
            sha256_after = after.sha256.as_deref(),
            pid_before = before.pid,
            pid_after = after.pid,
            changes = changes.map(|changes| changes.count),
            changed = changes.map(tracing::field::display),
            outcome,
            error,
            "audit"
        );
    }
}

/// Records a mutation that was not let in: its token has no name, or not the role, or its client asks too often.
pub(super) fn denied(method: &str, path: &str, client: &str, status: u16, error: &dyn fmt::Display) {
    tracing::info!(target: AUDIT, action = "denied", client, method, path, outcome = status, error = %error, "audit");
}

impl State {
    fn new(generation: u64, sha256: Option<&str>) -> Self {
        Self { generation: Some(generation), sha256: sha256.map(str::to_owned), pid: None }
    }

    fn of_process(pid: u32) -> Self {
        Self { pid: Some(pid), ..Self::default() }
    }
}

impl From<&SwapReport> for Turn {
    fn from(report: &SwapReport) -> Self {
        let before = State::new(report.previous_generation, report.previous_sha256.as_deref());
        Self { before, after: State::new(report.generation, Some(&report.sha256)), changes: None }
    }
}

impl From<&ReloadReport> for Turn {
    fn from(report: &ReloadReport) -> Self {
        Self {
            before: State::new(report.previous_generation, Some(&report.previous_sha256)),
            after: State::new(report.generation, Some(&report.sha256)),
            changes: Some(report.changes.clone()),
        }
    }
}

impl From<&ConfigReport> for Turn {
    fn from(report: &ConfigReport) -> Self {
        report.reload.as_ref().map(Self::from).unwrap_or_default()
    }
}

impl From<&ConfigRollback> for Turn {
    fn from(report: &ConfigRollback) -> Self {
        Self::from(&report.reload)
    }
}

impl From<&UpgradeReport> for Turn {
    fn from(report: &UpgradeReport) -> Self {
        let before = State::of_process(std::process::id());
        Self { before, after: State::of_process(report.pid), changes: None }
    }
}

impl Changes {
    /// How many are named.
    pub const NAMED_MAX: usize = 20;

    pub fn of(changes: &[crate::config::Change]) -> Self {
        Self { count: changes.len(), named: changes.iter().take(Self::NAMED_MAX).map(named).collect() }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.named.join("; "))?;
        match self.count.saturating_sub(self.named.len()) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// `route users: timeout, filters.0.config`; `+ route users`.
fn named(change: &crate::config::Change) -> String {
    let sign = match change.kind {
        "added" => "+ ",
        "removed" => "- ",
        _ => "",
    };
    let name = change.name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
    let mut paths: Vec<&str> =
        change.details.iter().map(|detail| detail.path.as_str()).filter(|path| !path.is_empty()).collect();
    paths.dedup();
    let more = if change.more > 0 { format!(" and {} more", change.more) } else { String::new() };
    let paths = if paths.is_empty() { String::new() } else { format!(": {}{more}", paths.join(", ")) };
    format!("{sign}{}{name}{paths}", change.what)
}

/// In a word.
fn kind(error: &OperationError) -> &'static str {
    match error {
        OperationError::UnknownPlugin(_) => "unknown plugin",
        OperationError::Invalid(_) => "invalid",
        OperationError::Refused(_) => "refused",
        OperationError::Conflict(_) => "conflict",
        OperationError::Forbidden(_) => "forbidden",
        OperationError::Stale(_) => "stale",
        OperationError::Faults { .. } => "faults",
        OperationError::Draining => "draining",
        OperationError::Ended { .. } | OperationError::Failed(_) => "failed",
    }
}

/// A fault of a configuration is shown with the line that it stands in, and on that line may stand a secret: the record has places alone.
fn told(error: &OperationError) -> String {
    let faults = match error {
        OperationError::Faults { faults, .. } => faults,
        OperationError::Ended { exit_code: Some(code), .. } => {
            return format!("the new process ended with exit code {code}");
        }
        error => return error.to_string(),
    };
    let faults = faults.as_array().map(Vec::as_slice).unwrap_or_default();
    let place = |fault: &serde_json::Value| {
        let file = fault["file"].as_str().unwrap_or_default();
        fault["line"].as_u64().map_or_else(|| file.to_owned(), |line| format!("{file}:{line}:{}", fault["column"]))
    };
    let places: Vec<String> = faults.iter().take(PLACES_MAX).map(place).collect();
    format!("{} faults, at {}", faults.len(), places.join(", "))
}

/// The log target of the record.
const AUDIT: &str = "witgate::audit";
/// Places of faults that the record names.
const PLACES_MAX: usize = 5;
