//! `chains`, `defaults` and `routes` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::form::{FieldForm, OnErrorForm, UpstreamForm};
use super::super::scalar::{Span, Whole};
use super::{Entries, Items, RawRouteTracing};

/// Either `use` with its `config` and `on_error`, or `chain` alone.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "FilterUse")]
pub(in crate::config) struct RawFilterUse {
    /// A declared plugin or a native filter.
    #[serde(rename = "use")]
    pub(in crate::config) name: Option<String>,
    /// The filter's own configuration, in the shape that it asks for. Default: {}.
    pub(in crate::config) config: Option<serde_json::Value>,
    /// What a failing plugin does to its request. Default: closed.
    pub(in crate::config) on_error: Option<OnErrorForm>,
    /// A chain whose filters stand here.
    pub(in crate::config) chain: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Defaults")]
pub(in crate::config) struct RawDefaults {
    /// Filters that stand before those of every route.
    pub(in crate::config) filters: Option<Items<RawFilterUse>>,
    /// Time for a whole request. Default: 30s.
    pub(in crate::config) timeout: Option<Span>,
}

/// Either `upstream` or `respond` says what becomes of a request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Route")]
pub(in crate::config) struct RawRoute {
    /// Its name, in metrics, logs and traces.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// What a request must be. Default: every request matches.
    #[serde(rename = "match")]
    pub(in crate::config) matches: Option<RawMatch>,
    /// Filters in this order; responses pass them in reverse.
    pub(in crate::config) filters: Option<Items<RawFilterUse>>,
    /// Names of `defaults.filters` that this route leaves out.
    pub(in crate::config) skip: Option<Items<String>>,
    /// The upstream's name, or several with weights: `{ users: 95, users-v2: 5 }`.
    pub(in crate::config) upstream: Option<UpstreamForm>,
    /// A fixed response.
    pub(in crate::config) respond: Option<RawRespond>,
    /// Time for a whole request. Default: that of `defaults`.
    pub(in crate::config) timeout: Option<Span>,
    /// Overrides the rank of the path within a host; larger goes first. Default: 0.
    pub(in crate::config) priority: Option<Whole>,
    /// What keeps a client on one of several upstreams: `header:NAME`, `cookie:NAME`, `query:NAME`, `client-ip` or `path`.
    /// Default: nothing.
    pub(in crate::config) sticky: Option<String>,
    /// Protocols that a client may turn its connection into (`Upgrade`, or an extended CONNECT over HTTP/2); `[]` for none.
    /// Default: [websocket].
    pub(in crate::config) upgrades: Option<Items<String>>,
    /// Time that a long-lived stream may stand still: an upgraded connection, a gRPC call, server-sent events. Default: 1h.
    pub(in crate::config) stream_idle_timeout: Option<Span>,
    /// How requests of this route are traced.
    pub(in crate::config) tracing: Option<RawRouteTracing>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Respond")]
pub(in crate::config) struct RawRespond {
    /// 200 to 599. Default: 200.
    pub(in crate::config) status: Option<Whole>,
    /// Fields of the response.
    pub(in crate::config) headers: Option<Entries<String>>,
    /// Its body, as text. Default: empty.
    pub(in crate::config) body: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Match")]
pub(in crate::config) struct RawMatch {
    /// Names of listeners. Default: all.
    pub(in crate::config) listeners: Option<Items<String>>,
    /// `api.example.com`, `"*.example.org"`. Default: any.
    pub(in crate::config) hosts: Option<Items<String>>,
    /// Default: `{ prefix: / }`.
    pub(in crate::config) path: Option<RawPathMatch>,
    /// Default: any.
    pub(in crate::config) methods: Option<Items<String>>,
    /// By name: a value, `{ regex: … }` or `{ present: … }`.
    pub(in crate::config) headers: Option<Entries<FieldForm>>,
    /// By name: a value, `{ regex: … }` or `{ present: … }`.
    pub(in crate::config) query: Option<Entries<FieldForm>>,
}

/// Exactly one of these keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PathMatch", extend("minProperties" = 1, "maxProperties" = 1))]
pub(in crate::config) struct RawPathMatch {
    /// This path alone.
    pub(in crate::config) exact: Option<String>,
    /// This path and all below it, by whole segments.
    pub(in crate::config) prefix: Option<String>,
    /// A path with parameters: `/users/{id}`.
    pub(in crate::config) template: Option<String>,
    /// A regular expression for the whole path.
    pub(in crate::config) regex: Option<String>,
}
