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
    /// With `etcd`: who asks. Default: nobody in particular.
    pub(in crate::config) user: Option<String>,
    /// With `etcd` and `user`: the password, as `secret://NAME`.
    #[schemars(regex(pattern = r"^secret://|\$\{"))]
    pub(in crate::config) password: Option<String>,
    /// With `consul`: the ACL token, as `secret://NAME`.
    #[schemars(regex(pattern = r"^secret://|\$\{"))]
    pub(in crate::config) token: Option<String>,
    /// With `etcd` and `consul` at an `https` URL: whom to believe, and who the gateway is.
    pub(in crate::config) tls: Option<RawDiscoveryTls>,
    /// After so long the source is asked again at the latest. Default: 30s.
    pub(in crate::config) refresh: Option<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "DiscoveryTls")]
pub(in crate::config) struct RawDiscoveryTls {
    /// File of the authorities that are believed, in PEM. Default: those of the system.
    pub(in crate::config) ca: Option<String>,
    /// File of the gateway's own certificate and those up to its authority, in PEM; with `key`.
    pub(in crate::config) cert: Option<String>,
    /// File of the private key of `cert`, in PEM.
    pub(in crate::config) key: Option<String>,
}
