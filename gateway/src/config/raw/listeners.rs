//! `listeners` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Rate, Size, Span, Whole};
use super::{Items, RawListenerTls};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Listener")]
pub(in crate::config) struct RawListener {
    /// Its name, in metrics, logs and `match.listeners`.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// Address and port (`0.0.0.0:8080`, `[::]:8080`), or `unix:PATH`. Port 0 lets the system choose.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// Permissions of a socket file, in octal. Default: 0660.
    pub(in crate::config) mode: Option<String>,
    /// TLS towards clients. Default: none, they speak in the clear.
    pub(in crate::config) tls: Option<RawListenerTls>,
    /// Networks (`10.0.0.0/8`) and addresses whose forwarding headers are believed; `unix` for the clients of a socket file.
    /// Default: none.
    pub(in crate::config) trusted_proxies: Option<Items<String>>,
    /// Load balancers that tell their client by the PROXY protocol. Default: none do.
    pub(in crate::config) proxy_protocol: Option<RawProxyProtocol>,
    /// What its clients may take.
    pub(in crate::config) limits: Option<RawListenerLimits>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProxyProtocol")]
pub(in crate::config) struct RawProxyProtocol {
    /// Networks and addresses of the load balancers. Each of their connections begins with a header; connections of others are closed.
    #[schemars(required)]
    pub(in crate::config) from: Option<Items<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerLimits")]
pub(in crate::config) struct RawListenerLimits {
    /// Open connections. Default: 10000.
    pub(in crate::config) connections: Option<Whole>,
    /// Open connections of one client: of one IPv4 address, or one IPv6 network of 64 bits. Default: as many as `connections`.
    pub(in crate::config) connections_per_client: Option<Whole>,
    /// Size of a request's head. Default: 64KiB.
    pub(in crate::config) headers: Option<Size>,
    /// Time for the handshake of TLS. Default: 10s.
    pub(in crate::config) handshake_timeout: Option<Span>,
    /// Header fields of a request. Default: 100.
    pub(in crate::config) header_count: Option<Whole>,
    /// Size of a request's target: its path and query. Default: 16KiB.
    pub(in crate::config) target: Option<Size>,
    /// Time for a request's head to arrive. Default: 10s.
    pub(in crate::config) header_timeout: Option<Span>,
    /// Time that a connection may stand still. Default: 60s.
    pub(in crate::config) idle_timeout: Option<Span>,
    /// Size of a request's body. Default: 10MiB.
    pub(in crate::config) body: Option<Size>,
    /// What a client must send of a request's body, and take of a response, in each second that it is waited for. `0B` is no limit. Default: 500B.
    pub(in crate::config) body_min_rate: Option<Size>,
    /// Time that a client may take nothing, or too little, of a response. Default: 60s.
    pub(in crate::config) send_timeout: Option<Span>,
    /// Requests that one connection may carry. Default: 100000.
    pub(in crate::config) requests_per_connection: Option<Whole>,
    /// Concurrent HTTP/2 streams of one connection. Default: 128.
    pub(in crate::config) streams: Option<Whole>,
    /// Frames of an HTTP/2 connection that cost work and carry nothing: resets, pings, settings, empty ones. Default: 1000/10s.
    pub(in crate::config) http2_abuse: Option<Rate>,
}
