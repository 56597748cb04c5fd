//! What an operator may ask of a running gateway: the port between the admin API and the gateway, which implements it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

use super::record::Changes;
use crate::telemetry::MetricsFormat;

/// A running gateway, as the admin API sees it. Every mutation names who wants it.
pub trait Operator: Send + Sync + 'static {
    fn status(&self) -> Status;

    /// Whether requests are served: false while draining.
    fn is_ready(&self) -> bool;

    /// Declared plugins in the order of their names.
    fn plugins(&self) -> Vec<PluginStatus>;

    /// Routes, upstreams and the whole configuration with secrets masked, as the configuration writes them.
    fn routes(&self) -> serde_json::Value;
    fn upstreams(&self) -> serde_json::Value;

    /// Puts another version in a plugin's place, at once or by degrees.
    fn swap(&self, swap: Swap) -> Answer<'_, SwapReport>;

    /// Makes the candidate of a canary or shadow run the stable version.
    fn promote(&self, plugin: String, actor: String) -> Answer<'_, SwapReport>;

    /// Ends a canary or shadow run; without one, goes back to the version before.
    fn rollback(&self, plugin: String, actor: String) -> Answer<'_, SwapReport>;

    /// Ends an override: the plugin serves what the configuration says again.
    fn reset(&self, plugin: String, actor: String) -> Answer<'_, SwapReport>;

    /// Reads the configuration again.
    fn reload(&self, actor: String) -> Answer<'_, ReloadReport>;

    /// The configuration that serves, as it is written, with secrets masked.
    fn config(&self) -> Answer<'_, ConfigReport>;

    /// What a configuration would be like; nothing changes.
    fn check_config(&self, text: String) -> Answer<'_, serde_json::Value>;

    /// Puts a text in the place of the configuration's file, when that is the one of this `ETag`.
    fn replace_config(&self, text: String, tag: String, actor: String) -> Answer<'_, ConfigReport>;

    /// Configurations that served and are kept, the latest first.
    fn config_history(&self) -> serde_json::Value;

    /// Goes back to one of them, or to the one before that which serves, until the source changes or is read anew.
    fn roll_back_config(&self, number: Option<u64>, actor: String) -> Answer<'_, ConfigRollback>;

    /// What would become of a request.
    fn explain(&self, asked: Asked) -> Answer<'_, serde_json::Value>;

    /// Stops accepting and ends the process when nothing is in flight any more.
    fn drain(&self, actor: String);

    /// Starts the program anew on this gateway's sockets; when it serves, this gateway drains and ends.
    fn upgrade(&self, actor: String) -> Answer<'_, UpgradeReport>;

    /// The admin server did not let a request in: `token`, `forbidden`, `pace`, `host`, `busy`.
    fn refused(&self, reason: &'static str);

    /// All metrics.
    fn metrics(&self, format: MetricsFormat) -> String;

    /// What happens from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// An operation under way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, OperationError>> + Send + 'a>>;

/// A wish to swap a plugin's version.
#[derive(Debug, Clone)]
pub struct Swap {
    pub plugin: String,
    pub from: SwapSource,
    /// The only digest that may be taken: needed for a plugin that is pinned.
    pub sha256: Option<[u8; 32]>,
    pub mode: SwapMode,
    /// The name of the token, or of the source of the command.
    pub actor: String,
    pub reason: Option<String>,
}

/// Where the new version comes from.
#[derive(Debug, Clone)]
pub enum SwapSource {
    /// As the configuration writes it: `builtin:NAME`, `file:PATH`, `https:…`.
    Source(String),
    /// The component itself.
    Component(Bytes),
}

/// How the new version takes over.
#[derive(Debug, Clone, PartialEq)]
pub enum SwapMode {
    Now,
    /// Serves a share of requests, 0 to 100 percent; the evidence decides how it ends.
    Canary {
        percent: f64,
        /// What keeps a client on one version, as `hash_on` writes it (`header:NAME`, `cookie:NAME`, `client-ip`).
        sticky: Option<String>,
    },
    /// Runs on copies of the heads, and only what it says is compared.
    Shadow,
}

/// What a swap came to.
#[derive(Debug, Clone, Serialize)]
pub struct SwapReport {
    pub plugin: String,
    /// The digest that serves now, or that the canary runs.
    pub sha256: String,
    pub previous_sha256: Option<String>,
    /// `serving`, `canary`, `shadow`, `unchanged`.
    pub state: &'static str,
    pub generation: u64,
    pub previous_generation: u64,
    /// Interfaces that the new version imports and the old one did not; and the other way round.
    pub rights_gained: Vec<String>,
    pub rights_lost: Vec<String>,
    pub took_ms: f64,
}

/// A configuration that took another's place.
#[derive(Debug, Clone, Serialize)]
pub struct ReloadReport {
    pub generation: u64,
    pub previous_generation: u64,
    /// Of all its texts.
    pub sha256: String,
    pub previous_sha256: String,
    pub changes: Changes,
}

/// Another process that serves in this one's place.
#[derive(Debug, Clone, Serialize)]
pub struct UpgradeReport {
    pub pid: u32,
    /// What was started.
    pub program: String,
    pub took_ms: f64,
}

/// Why an operation was not carried out. Nothing has changed then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OperationError {
    #[error("no plugin is called `{0}`")]
    UnknownPlugin(String),
    /// Something about the request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The plugin was refused: by its pin, by a limit, by its own `configure`.
    #[error("{0}")]
    Refused(String),
    /// Another operation is under way, or there is nothing to promote or roll back.
    #[error("{0}")]
    Conflict(String),
    /// The configuration forbids it (`admin.overrides: deny`).
    #[error("{0}")]
    Forbidden(String),
    /// What it was meant for has changed meanwhile.
    #[error("{0}")]
    Stale(String),
    /// The configuration has faults: of its own, or such that a plugin refuses it.
    #[error("{text}")]
    Faults { text: String, faults: serde_json::Value, by_plugin: bool },
    #[error("the gateway is draining")]
    Draining,
    /// The process that was to take this one's place ended, with this exit code.
    #[error("{text}")]
    Ended { text: String, exit_code: Option<u8> },
    #[error("{0}")]
    Failed(String),
}

#[derive(Debug, Clone, Serialize)]
pub struct Status {
    pub version: &'static str,
    /// Of the process.
    pub pid: u32,
    pub generation: u64,
    pub ready: bool,
    /// In seconds, with fractions.
    #[serde(rename = "uptime_s", serialize_with = "seconds")]
    pub uptime: Duration,
    pub workers: usize,
    pub config_source: String,
    pub config: ConfigStatus,
    /// Of the last reload, when it failed.
    pub last_reload_error: Option<String>,
    pub plugins: Vec<PluginStatus>,
}

/// A request that somebody wonders about.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub method: String,
    /// `http://HOST/PATH`, or a path.
    pub url: String,
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
    pub listener: Option<String>,
}

/// A configuration as it is written.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigReport {
    /// Its `ETag`, without quotes.
    pub sha256: String,
    pub generation: u64,
    pub source: String,
    /// Whether `PUT` may replace it: it is one file, and no other source owns it.
    pub replaceable: bool,
    pub documents: Vec<ConfigDocument>,
    /// How it came to serve, where it has just done so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadReport>,
}

/// A configuration that serves again.
#[derive(Debug, Clone, Serialize)]
pub struct ConfigRollback {
    /// Its number among those that are kept, and since when it had served.
    pub number: u64,
    pub since: String,
    #[serde(flatten)]
    pub reload: ReloadReport,
}

#[derive(Debug, Clone, Serialize)]
pub struct ConfigDocument {
    pub name: String,
    pub text: String,
}

/// The configuration that serves.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ConfigStatus {
    pub sha256: String,
    /// Its number among those that are kept.
    pub number: Option<u64>,
    /// Whether somebody went back to it, while the source has another.
    pub rolled_back: bool,
    /// Why the source cannot be read now.
    pub source_error: Option<String>,
    /// Includes whose last good version stays, with the faults of the files as they are now.
    pub held: std::collections::BTreeMap<String, String>,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A declared plugin: what serves, what is on trial, and who decided so.
#[derive(Debug, Clone, Serialize)]
pub struct PluginStatus {
    pub name: String,
    /// As the configuration writes it.
    pub source: String,
    pub sha256: String,
    /// `config` or `override`.
    pub decided_by: &'static str,
    pub r#override: Option<OverrideStatus>,
    pub previous_sha256: Option<String>,
    pub isolation: &'static str,
    pub hooks: Vec<&'static str>,
    /// Interfaces that the component imports.
    pub imports: Vec<String>,
    pub attachments: usize,
    /// A canary or shadow run, with its evidence so far.
    pub rollout: Option<serde_json::Value>,
    /// The last one that ended, with its evidence and how it was judged.
    pub last_rollout: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Serialize)]
pub struct OverrideStatus {
    pub sha256: String,
    pub actor: String,
    /// RFC 3339.
    pub since: String,
    pub reason: Option<String>,
}

/// Something that happened, for `/api/events`.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// `reload`, `swap`, `rollout`, `rollback`, `drain` …
    pub kind: &'static str,
    /// RFC 3339.
    pub time: String,
    #[serde(flatten)]
    pub detail: serde_json::Map<String, serde_json::Value>,
}
