//! `health_check` and `outlier_ejection` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Share, Span, Whole};
use super::Items;

/// Exactly one of `path`, `tcp` and `grpc`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "HealthCheck")]
pub(in crate::config) struct RawHealthCheck {
    /// `GET` of this path has to be answered with one of `statuses`.
    pub(in crate::config) path: Option<String>,
    /// `true`: it has to be possible to connect.
    #[schemars(extend("const" = true))]
    pub(in crate::config) tcp: Option<bool>,
    /// The gRPC service that has to say that it serves; `""` for the whole server.
    pub(in crate::config) grpc: Option<String>,
    /// Default: 200 to 299.
    #[schemars(length(min = 1))]
    pub(in crate::config) statuses: Option<Items<Whole>>,
    /// From one check of an endpoint to the next, give or take a tenth. Default: 5s.
    pub(in crate::config) interval: Option<Span>,
    /// For one check. Default: 1s.
    pub(in crate::config) timeout: Option<Span>,
    /// Failures in a row that take an endpoint out. Default: 3.
    pub(in crate::config) unhealthy_after: Option<Whole>,
    /// Successes in a row that bring an endpoint back. Default: 2.
    pub(in crate::config) healthy_after: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OutlierEjection")]
pub(in crate::config) struct RawOutlierEjection {
    /// Failures in a row: responses of 5xx, none in time, broken off, slower than `latency`. Default: 5.
    pub(in crate::config) consecutive_5xx: Option<Whole>,
    /// Connections in a row that could not be made. Default: 5.
    pub(in crate::config) connect_failures: Option<Whole>,
    /// A response's head that takes longer is a failure. Default: however long it takes.
    pub(in crate::config) latency: Option<Span>,
    /// How long an endpoint takes no requests: the first time so long, the second time twice as long, up to ten times. Default: 30s.
    pub(in crate::config) eject_for: Option<Span>,
    /// Share of the endpoints that may be ejected at a time. Default: 50%.
    pub(in crate::config) max_ejected: Option<Share>,
}
