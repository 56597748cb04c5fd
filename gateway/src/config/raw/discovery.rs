//! `discovery` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::Span;

/// Exactly one of `dns`, `srv`, `etcd` and `consul`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Discovery")]
pub(in crate::config) struct RawDiscovery {
    /// `HOST:PORT`: every address of the host is an endpoint.
    pub(in crate::config) dns: Option<String>,
    /// A name with SRV records: `_http._tcp.users.internal`.
    pub(in crate::config) srv: Option<String>,
    /// URL of an etcd server: `http://127.0.0.1:2379`.
    pub(in crate::config) etcd: Option<String>,
    /// URL of a Consul agent: `http://127.0.0.1:8500`.
    pub(in crate::config) consul: Option<String>,
    /// With `dns` and `srv`: `ADDRESS:PORT` of the DNS server. Default: those of the system.
    pub(in crate::config) resolver: Option<String>,
    /// With `etcd`: the keys that have endpoints as their values.
    pub(in crate::config) prefix: Option<String>,
    /// With `consul`: the service whose instances are endpoints.
    pub(in crate::config) service: Option<String>,
    /// With `consul`: only instances that have this tag. Default: all.
    pub(in crate::config) tag: Option<String>,
    /// After so long the source is asked again at the latest. Default: 30s.
    pub(in crate::config) refresh: Option<Span>,
}
