//! Routes, and the filters that their requests pass.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::message::RequestKey;

/// One entry of a filter list: `use` a plugin or native filter, or splice a `chain`.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterUse {
    /// `config` is an empty object where the file gives none.
    Use { name: String, config: serde_json::Value, on_error: OnError },
    /// The name of a chain that exists.
    Chain(String),
}

/// What a failing plugin does to its request, by kind of failure; closed by default, `limit` always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnError {
    pub load: Failure,
    pub trap: Failure,
    pub deadline: Failure,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Failure {
    /// The request ends with an error.
    #[default]
    Closed,
    /// The request goes on as if the filter were not there.
    Open,
}

/// What every route begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    pub filters: Vec<FilterUse>,
    /// Time for a whole request; 30 s.
    pub timeout: Duration,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { filters: Vec::new(), timeout: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub name: String,
    /// Key `match`.
    pub matches: Match,
    pub filters: Vec<FilterUse>,
    /// Names of `defaults.filters` (of a plugin, a native filter or a chain) that this route leaves out.
    pub skip: Vec<String>,
    /// Keys `upstream` or `respond`.
    pub target: Target,
    /// `None`: that of `defaults`.
    pub timeout: Option<Duration>,
    /// Overrides the rank of the path within a host; 0, and larger goes first.
    pub priority: i32,
    /// What keeps a client on one of several upstreams; `None` gives each request its turn.
    pub sticky: Option<RequestKey>,
    /// Protocols that a client may turn its connection into, in lower case; WebSocket alone.
    pub upgrades: Vec<String>,
    /// Time that a long-lived stream may stand still: an upgraded connection, a gRPC call, server-sent events; 1 h.
    pub stream_idle_timeout: Duration,
    /// Key `tracing.sample`, from 0 to 1; `None`: that of `telemetry`.
    pub trace_sample: Option<f64>,
}

impl Route {
    /// Where the file says nothing.
    pub const UPGRADES: [&'static str; 1] = ["websocket"];
    pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
}

/// What becomes of a request once its filters let it pass.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// Upstream names with weights, not all zero; `upstream: users` is one name with weight 1.
    Upstream(Vec<(String, u32)>),
    Respond(Respond),
}

/// A fixed response.
#[derive(Debug, Clone, PartialEq)]
pub struct Respond {
    /// 200 to 599; 200 where the file gives none.
    pub status: u16,
    /// By name in lower case; neither framing nor hop-by-hop headers.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What a request must be for a route to take it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Match {
    /// Empty: all.
    pub listeners: Vec<String>,
    /// Empty: any. The syntax of a pattern is the router's to judge.
    pub hosts: Vec<String>,
    pub path: PathMatch,
    /// Empty: any.
    pub methods: Vec<String>,
    /// By name in lower case.
    pub headers: BTreeMap<String, FieldMatch>,
    pub query: BTreeMap<String, FieldMatch>,
}

/// Exact paths, prefixes and templates begin with `/`; templates and regexes are the router's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    Exact(String),
    Prefix(String),
    Template(String),
    Regex(String),
}

impl Default for PathMatch {
    /// Every path.
    fn default() -> Self {
        Self::Prefix("/".to_owned())
    }
}

/// What a header or a query parameter must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldMatch {
    Equals(String),
    Regex(String),
    Present(bool),
}
