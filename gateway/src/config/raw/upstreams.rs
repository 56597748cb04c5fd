//! `upstreams` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Span, Whole};
use super::Items;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream")]
pub(in crate::config) struct RawUpstream {
    #[schemars(required, length(min = 1))]
    pub(in crate::config) endpoints: Option<Items<RawEndpoint>>,
    pub(in crate::config) timeouts: Option<RawUpstreamTimeouts>,
    pub(in crate::config) limits: Option<RawUpstreamLimits>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Endpoint")]
pub(in crate::config) struct RawEndpoint {
    /// `http://HOST:PORT`. Default port: 80.
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

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamLimits")]
pub(in crate::config) struct RawUpstreamLimits {
    /// Idle connections that each worker keeps. Default: 1024.
    pub(in crate::config) connections: Option<Whole>,
}
