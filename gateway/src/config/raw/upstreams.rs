//! `upstreams` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Span, Whole};
use super::Items;
use super::traffic::{RawHedge, RawRetries, RawUpstreamLimits, RawUpstreamTls};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(in crate::config) struct RawUpstream {
    #[schemars(required, length(min = 1))]
    pub(in crate::config) endpoints: Option<Items<RawEndpoint>>,
    pub(in crate::config) timeouts: Option<RawUpstreamTimeouts>,
    pub(in crate::config) limits: Option<RawUpstreamLimits>,
    /// `auto` leaves the choice to the upstream where there is TLS. Default: http1.
    #[schemars(extend("enum" = ["http1", "http2", "auto"]))]
    pub(in crate::config) protocol: Option<String>,
    /// Of endpoints with `https://`. Default: the system's authorities, and no certificate of the gateway's own.
    pub(in crate::config) tls: Option<RawUpstreamTls>,
    /// Default: there are none.
    pub(in crate::config) retries: Option<RawRetries>,
    /// Default: there is none.
    pub(in crate::config) hedge: Option<RawHedge>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Endpoint")]
pub(in crate::config) struct RawEndpoint {
    /// `http://HOST:PORT` or `https://HOST:PORT`. Default port: 80 or 443.
    #[schemars(required)]
    pub(in crate::config) url: Option<String>,
    /// Share of the requests, relative to the other endpoints; 0 takes the endpoint out. Default: 1.
    pub(in crate::config) weight: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamTimeouts")]
pub(in crate::config) struct RawUpstreamTimeouts {
    /// To connect. Default: 1s.
    pub(in crate::config) connect: Option<Span>,
    /// From the start of a try to the head of its response. Default: 15s.
    pub(in crate::config) per_try: Option<Span>,
    /// For a body that stands still and a pooled connection that is unused. Default: 30s.
    pub(in crate::config) idle: Option<Span>,
}
