//! `upstreams` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Share, Span, Whole};
use super::traffic::{RawHedge, RawRetries, RawUpstreamLimits, RawUpstreamTls};
use super::{Items, RawAffinity, RawDiscovery, RawHealthCheck, RawOutlierEjection};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(in crate::config) struct RawUpstream {
    /// Where it listens. Either this or `discovery`.
    #[schemars(length(min = 1))]
    pub(in crate::config) endpoints: Option<Items<RawEndpoint>>,
    /// How long a request may take there.
    pub(in crate::config) timeouts: Option<RawUpstreamTimeouts>,
    /// How much may go there at a time.
    pub(in crate::config) limits: Option<RawUpstreamLimits>,
    /// Who chooses the endpoint of a request. Default: round-robin; maglev with `affinity`.
    #[schemars(extend("enum" = ["round-robin", "least-request", "p2c-ewma", "random", "maglev", "ring-hash"]))]
    pub(in crate::config) balance: Option<String>,
    /// What keeps requests together on one endpoint, for maglev and ring-hash: `header:NAME`, `cookie:NAME`, `query:NAME`,
    /// `client-ip` or `path`.
    pub(in crate::config) hash_on: Option<String>,
    /// Sessions that stay at their endpoint by a cookie that the gateway sets.
    pub(in crate::config) affinity: Option<RawAffinity>,
    /// How long an endpoint that comes back takes to get its whole share. Default: it gets it at once.
    pub(in crate::config) slow_start: Option<Span>,
    /// Checks that the gateway makes of each endpoint. Default: none.
    pub(in crate::config) health_check: Option<RawHealthCheck>,
    /// When endpoints that fail their requests take none for a while. Default: never.
    pub(in crate::config) outlier_ejection: Option<RawOutlierEjection>,
    /// When a smaller share of the endpoints is healthy, all are used. Default: 50%.
    pub(in crate::config) panic_threshold: Option<Share>,
    /// Where endpoints come from that are not named here.
    pub(in crate::config) discovery: Option<RawDiscovery>,
    /// `auto` leaves the choice to the upstream where there is TLS. Default: http1.
    #[schemars(extend("enum" = ["http1", "http2", "auto"]))]
    pub(in crate::config) protocol: Option<String>,
    /// TLS to endpoints with `https://`. Default: the system's authorities, and no certificate of the gateway's own.
    pub(in crate::config) tls: Option<RawUpstreamTls>,
    /// When a request is tried again. Default: never.
    pub(in crate::config) retries: Option<RawRetries>,
    /// A second try beside one that is slow. Default: there is none.
    pub(in crate::config) hedge: Option<RawHedge>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Endpoint")]
pub(in crate::config) struct RawEndpoint {
    /// `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`. Default port: 80 or 443.
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
