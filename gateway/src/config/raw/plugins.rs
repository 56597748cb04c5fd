//! `plugins` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Factor, Share, Size, Span, SpanOrNever, Whole};
use super::Items;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Plugin")]
pub(in crate::config) struct RawPlugin {
    /// `builtin:NAME`, `file:PATH` or `https://…`. A relative path is resolved against the folder of this file.
    #[schemars(required)]
    pub(in crate::config) source: Option<String>,
    /// The only digest that may be loaded: 64 hexadecimal digits.
    pub(in crate::config) sha256: Option<String>,
    /// The minisign key that must have signed the component: the base64 line of the public key file.
    pub(in crate::config) public_key: Option<String>,
    /// `watch`: a change of the file swaps the plugin. Default: manual.
    #[schemars(extend("enum" = ["manual", "watch"]))]
    pub(in crate::config) reload: Option<String>,
    /// `shared`: an instance serves many requests, one after the other. `fresh`: each request has its own. Default: shared.
    #[schemars(extend("enum" = ["shared", "fresh"]))]
    pub(in crate::config) isolation: Option<String>,
    /// When an instance has done enough, and another one takes its place.
    pub(in crate::config) recycle: Option<RawRecycle>,
    /// What one instance or one call may take.
    pub(in crate::config) limits: Option<RawPluginLimits>,
    /// What of this configuration the plugin may use. Default: nothing.
    pub(in crate::config) grants: Option<RawGrants>,
    /// Another version that is tried on some of the requests.
    pub(in crate::config) canary: Option<RawCanary>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PluginLimits")]
pub(in crate::config) struct RawPluginLimits {
    /// Memory of one instance, 64MiB at most. Default: 16MiB.
    pub(in crate::config) memory: Option<Size>,
    /// CPU time in the plugin for one call. Default: 10ms.
    pub(in crate::config) deadline: Option<Span>,
    /// Wall clock for one call, with host calls. Default: 5s.
    pub(in crate::config) timeout: Option<Span>,
    /// Live instances per worker. Default: 64.
    pub(in crate::config) instances: Option<Whole>,
    /// Size of a reply that the plugin makes. Default: 1MiB.
    pub(in crate::config) reply: Option<Size>,
    /// Log lines per second. Default: 100.
    pub(in crate::config) log_lines: Option<Whole>,
    /// Instances per worker that wait with their request. Default: 256.
    pub(in crate::config) parked: Option<Whole>,
    /// Elements of one table of an instance. Default: 20000.
    pub(in crate::config) tables: Option<Whole>,
    /// Calls to the gateway during one call of the plugin. Default: 1000.
    pub(in crate::config) host_calls: Option<Whole>,
    /// Bytes handed to the gateway during one call of the plugin. Default: 4MiB.
    pub(in crate::config) host_bytes: Option<Size>,
    /// Requests of its own during one call of the plugin. Default: 16.
    pub(in crate::config) outbound_calls: Option<Whole>,
    /// Size of a body that is collected for the plugin. Default: 1MiB.
    pub(in crate::config) body: Option<Size>,
    /// Attributes that the plugin sets on one request. Default: 64.
    pub(in crate::config) attributes: Option<Whole>,
    /// Distinct names of the plugin's own metrics. Default: 64.
    pub(in crate::config) metrics: Option<Whole>,
    /// Attributes that the plugin sets on the span of one call. Default: 32.
    pub(in crate::config) span_attributes: Option<Whole>,
    /// Open resource handles of one instance. Default: 1024.
    pub(in crate::config) handles: Option<Whole>,
    /// Instances per worker that are replaced after failures in one second. Default: 1000.
    pub(in crate::config) restarts: Option<Whole>,
}

/// When an instance is replaced by a new one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Recycle")]
pub(in crate::config) struct RawRecycle {
    /// After so many calls. Default: 1000000.
    pub(in crate::config) uses: Option<Whole>,
    /// At this age; `never` at none. Default: 1h.
    pub(in crate::config) age: Option<SpanOrNever>,
    /// When its memory has grown to this size. Default: at none.
    pub(in crate::config) memory: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Grants")]
pub(in crate::config) struct RawGrants {
    /// Origins that the plugin may send requests to: `https://audit.example.com`.
    pub(in crate::config) http: Option<Items<String>>,
    /// Whether those may be at loopback, link-local and private addresses. Default: false.
    pub(in crate::config) private_addresses: Option<bool>,
    /// Names of `stores`.
    pub(in crate::config) stores: Option<Items<String>>,
    /// Names of `tables`.
    pub(in crate::config) tables: Option<Items<String>>,
    /// Names of `key_sets`.
    pub(in crate::config) key_sets: Option<Items<String>>,
    /// Names of `limiters`.
    pub(in crate::config) limiters: Option<Items<String>>,
    /// Names of `secrets`, to be used.
    pub(in crate::config) secrets: Option<Items<String>>,
    /// Those of `secrets` that the plugin may also read.
    pub(in crate::config) reveal: Option<Items<String>>,
}

/// Either `percent` or `shadow`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Canary")]
pub(in crate::config) struct RawCanary {
    /// As the plugin's own.
    #[schemars(required)]
    pub(in crate::config) source: Option<String>,
    /// The only digest that may be loaded: 64 hexadecimal digits.
    pub(in crate::config) sha256: Option<String>,
    /// Share of the requests: `5%`.
    pub(in crate::config) percent: Option<Share>,
    /// Whether its verdict is only compared with that of the stable version. Default: false.
    pub(in crate::config) shadow: Option<bool>,
    /// What keeps one client on one version: `header:NAME`, `cookie:NAME`, `query:NAME`, `client-ip` or `path`. Default: nothing.
    pub(in crate::config) sticky: Option<String>,
    /// When it has failed.
    pub(in crate::config) rollback_when: Option<RawRollbackWhen>,
    /// How long it must hold to take the stable version's place. Default: it waits for an order.
    pub(in crate::config) promote_after: Option<Span>,
}

/// When a canary has failed, compared with the stable version.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RollbackWhen")]
pub(in crate::config) struct RawRollbackWhen {
    /// So many times the share of failed calls. Default: 2.
    pub(in crate::config) error_ratio: Option<Factor>,
    /// So many times the 99th percentile of the time for a call. Default: 2.
    pub(in crate::config) p99_ratio: Option<Factor>,
    /// Calls of the canary before it is judged. Default: 500.
    pub(in crate::config) min_calls: Option<Whole>,
    /// How far back calls count. Default: to its beginning.
    pub(in crate::config) window: Option<Span>,
}
