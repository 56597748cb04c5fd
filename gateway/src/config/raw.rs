//! The configuration as it is written: every key of the YAML with its type, and nothing about what must hold between them.
//!
//! Every key may be missing here, and every item of a list or a map may be a hole, because what was refused is cut out and the rest goes
//! on to be checked. `check` says what must be there. The comments on the keys are the descriptions of the JSON Schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::form::{FieldForm, OnErrorForm, UpstreamForm};
use super::scalar::{AutoOrWhole, Size, Span, Whole};

/// A list, `None` where an item was cut out.
pub(super) type Items<T> = Vec<Option<T>>;

/// A map by name, `None` where a value was cut out.
pub(super) type Entries<T> = BTreeMap<String, Option<T>>;

/// The configuration of a Witgate gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Config", extend("patternProperties" = { "^x-": true }))]
pub(super) struct RawConfig {
    /// The version of this format: 1.
    #[schemars(required, extend("const" = 1))]
    pub(super) version: Option<Whole>,
    /// Data-plane threads; `auto` is one per core. Default: auto.
    pub(super) workers: Option<AutoOrWhole>,
    /// The folder for compiled plugins. A relative one is resolved against the folder of this file.
    pub(super) state_dir: Option<String>,
    /// Figures of the plugin engine that are fixed at start.
    pub(super) runtime: Option<RawRuntime>,
    /// The addresses that are listened on.
    #[schemars(required, length(min = 1))]
    pub(super) listeners: Option<Items<RawListener>>,
    /// Plugins by name, declared once and attached to routes by that name.
    pub(super) plugins: Option<Entries<RawPlugin>>,
    /// Upstreams by name.
    pub(super) upstreams: Option<Entries<RawUpstream>>,
    /// Filter lists by name, to be reused.
    pub(super) chains: Option<Entries<Items<RawFilterUse>>>,
    /// What every route begins with.
    pub(super) defaults: Option<RawDefaults>,
    /// Which requests go where, and through which filters.
    pub(super) routes: Option<Items<RawRoute>>,
    /// What the gateway tells about itself.
    pub(super) telemetry: Option<RawTelemetry>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Runtime")]
pub(super) struct RawRuntime {
    /// Instances of all plugins that may live at once. Default: 1024.
    pub(super) slots: Option<Whole>,
    /// Largest component that is accepted. Default: 16MiB.
    pub(super) component: Option<Size>,
    /// Wall clock and CPU time for compiling one component. Default: 60s.
    pub(super) compile_timeout: Option<Span>,
    /// Address space for compiling one component. Default: 2GiB.
    pub(super) compile_memory: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub(super) struct RawListener {
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// Address and port: `0.0.0.0:8080`, `[::]:8080`. Port 0 lets the system choose.
    #[schemars(required)]
    pub(super) address: Option<String>,
    /// Networks (`10.0.0.0/8`) and addresses whose forwarding headers are believed. Default: none.
    pub(super) trusted_proxies: Option<Items<String>>,
    pub(super) limits: Option<RawListenerLimits>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerLimits")]
pub(super) struct RawListenerLimits {
    /// Open connections. Default: 10000.
    pub(super) connections: Option<Whole>,
    /// Size of a request's head. Default: 64KiB.
    pub(super) headers: Option<Size>,
    /// Time for a request's head to arrive. Default: 10s.
    pub(super) header_timeout: Option<Span>,
    /// Time that a connection may stand still. Default: 60s.
    pub(super) idle_timeout: Option<Span>,
    /// Size of a request's body. Default: 10MiB.
    pub(super) body: Option<Size>,
    /// Requests that one connection may carry. Default: 100000.
    pub(super) requests_per_connection: Option<Whole>,
    /// Concurrent HTTP/2 streams of one connection. Default: 128.
    pub(super) streams: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Plugin")]
pub(super) struct RawPlugin {
    /// `builtin:NAME` or `file:PATH`. A relative path is resolved against the folder of this file.
    #[schemars(required)]
    pub(super) source: Option<String>,
    /// The only digest that may be loaded: 64 hexadecimal digits.
    pub(super) sha256: Option<String>,
    /// `shared`: an instance serves many requests, one after the other. `fresh`: each request has its own. Default: shared.
    #[schemars(extend("enum" = ["shared", "fresh"]))]
    pub(super) isolation: Option<String>,
    pub(super) limits: Option<RawPluginLimits>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginLimits")]
pub(super) struct RawPluginLimits {
    /// Memory of one instance, 64MiB at most. Default: 16MiB.
    pub(super) memory: Option<Size>,
    /// CPU time in the plugin for one call. Default: 10ms.
    pub(super) deadline: Option<Span>,
    /// Wall clock for one call, with host calls. Default: 5s.
    pub(super) timeout: Option<Span>,
    /// Live instances per worker. Default: 64.
    pub(super) instances: Option<Whole>,
    /// Size of a reply that the plugin makes. Default: 1MiB.
    pub(super) reply: Option<Size>,
    /// Log lines per second. Default: 100.
    pub(super) log_lines: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(super) struct RawUpstream {
    #[schemars(required, length(min = 1))]
    pub(super) endpoints: Option<Items<RawEndpoint>>,
    pub(super) timeouts: Option<RawUpstreamTimeouts>,
    pub(super) limits: Option<RawUpstreamLimits>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Endpoint")]
pub(super) struct RawEndpoint {
    /// `http://HOST:PORT`. Default port: 80.
    #[schemars(required)]
    pub(super) url: Option<String>,
    /// Share of the requests, relative to the other endpoints; 0 takes the endpoint out. Default: 1.
    pub(super) weight: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamTimeouts")]
pub(super) struct RawUpstreamTimeouts {
    /// To connect. Default: 1s.
    pub(super) connect: Option<Span>,
    /// From the start of a try to the head of its response. Default: 15s.
    pub(super) per_try: Option<Span>,
    /// For a body that stands still and a pooled connection that is unused. Default: 30s.
    pub(super) idle: Option<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamLimits")]
pub(super) struct RawUpstreamLimits {
    /// Idle connections that each worker keeps. Default: 1024.
    pub(super) connections: Option<Whole>,
}

/// Either `use` with its `config` and `on_error`, or `chain` alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilterUse")]
pub(super) struct RawFilterUse {
    /// A declared plugin or a native filter.
    #[serde(rename = "use")]
    pub(super) name: Option<String>,
    /// The filter's own configuration, in the shape that it asks for. Default: {}.
    pub(super) config: Option<serde_json::Value>,
    /// What a failing plugin does to its request. Default: closed.
    pub(super) on_error: Option<OnErrorForm>,
    /// A chain whose filters stand here.
    pub(super) chain: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Defaults")]
pub(super) struct RawDefaults {
    /// Filters that stand before those of every route.
    pub(super) filters: Option<Items<RawFilterUse>>,
    /// Time for a whole request. Default: 30s.
    pub(super) timeout: Option<Span>,
}

/// Either `upstream` or `respond` says what becomes of a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub(super) struct RawRoute {
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// What a request must be. Default: every request matches.
    #[serde(rename = "match")]
    pub(super) matches: Option<RawMatch>,
    /// Filters in this order; responses pass them in reverse.
    pub(super) filters: Option<Items<RawFilterUse>>,
    /// Names of `defaults.filters` that this route leaves out.
    pub(super) skip: Option<Items<String>>,
    /// The upstream's name, or several with weights: `{ users: 95, users-v2: 5 }`.
    pub(super) upstream: Option<UpstreamForm>,
    /// A fixed response.
    pub(super) respond: Option<RawRespond>,
    /// Time for a whole request. Default: that of `defaults`.
    pub(super) timeout: Option<Span>,
    /// Overrides the rank of the path within a host; larger goes first. Default: 0.
    pub(super) priority: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Respond")]
pub(super) struct RawRespond {
    /// 200 to 599. Default: 200.
    pub(super) status: Option<Whole>,
    pub(super) headers: Option<Entries<String>>,
    pub(super) body: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Match")]
pub(super) struct RawMatch {
    /// Names of listeners. Default: all.
    pub(super) listeners: Option<Items<String>>,
    /// `api.example.com`, `"*.example.org"`. Default: any.
    pub(super) hosts: Option<Items<String>>,
    /// Default: `{ prefix: / }`.
    pub(super) path: Option<RawPathMatch>,
    /// Default: any.
    pub(super) methods: Option<Items<String>>,
    /// By name: a value, `{ regex: … }` or `{ present: … }`.
    pub(super) headers: Option<Entries<FieldForm>>,
    /// By name: a value, `{ regex: … }` or `{ present: … }`.
    pub(super) query: Option<Entries<FieldForm>>,
}

/// Exactly one of these keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PathMatch", extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct RawPathMatch {
    /// This path alone.
    pub(super) exact: Option<String>,
    /// This path and all below it, by whole segments.
    pub(super) prefix: Option<String>,
    /// A path with parameters: `/users/{id}`.
    pub(super) template: Option<String>,
    /// A regular expression for the whole path.
    pub(super) regex: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Telemetry")]
pub(super) struct RawTelemetry {
    pub(super) access_log: Option<RawAccessLog>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccessLog")]
pub(super) struct RawAccessLog {
    /// Default: off.
    #[schemars(extend("enum" = ["off"]))]
    pub(super) output: Option<String>,
}
