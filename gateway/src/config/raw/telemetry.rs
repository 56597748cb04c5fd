//! `telemetry` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{NumberOrWord, Share, Size, Span, Whole};
use super::{Entries, Items};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Telemetry")]
pub(in crate::config) struct RawTelemetry {
    /// A line for each request. Default: there is none.
    pub(in crate::config) access_log: Option<RawAccessLog>,
    /// What is measured of requests.
    pub(in crate::config) metrics: Option<RawMetrics>,
    /// Requests as parts of traces. Default: they are not.
    pub(in crate::config) tracing: Option<RawTracing>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccessLog")]
pub(in crate::config) struct RawAccessLog {
    /// `json`, `common`, `combined`, or a text with places for fields: `${ts} ${client} ${path} ${status}`. Default: json.
    pub(in crate::config) format: Option<String>,
    /// `stdout`, `file:PATH`, or `off`. Default: stdout.
    pub(in crate::config) output: Option<String>,
    /// The fields of a JSON line, in this order. Default: all that need no name of their own.
    pub(in crate::config) fields: Option<Items<String>>,
    /// More fields of a JSON line, after the usual ones: `request.header.NAME`, `response.header.NAME`, `attribute.NAME`.
    pub(in crate::config) more_fields: Option<Items<String>>,
    /// What is not shown, beside what usually carries credentials.
    pub(in crate::config) redact: Option<RawRedact>,
    /// Share of the lines that is written. Default: 100%.
    pub(in crate::config) sample: Option<Share>,
    /// Which requests have a line: those of which any of this is true. Default: all.
    pub(in crate::config) only: Option<RawOnly>,
    /// The longest line; longer values are cut. Default: 8KiB.
    pub(in crate::config) line: Option<Size>,
    /// Lines that wait to be written; further ones are given up and counted. Default: 4MiB.
    pub(in crate::config) queue: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redact")]
pub(in crate::config) struct RawRedact {
    /// Names of header fields.
    pub(in crate::config) headers: Option<Items<String>>,
    /// Names of query parameters.
    pub(in crate::config) query: Option<Items<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccessLogOnly")]
pub(in crate::config) struct RawOnly {
    /// Statuses such as `404`, and classes such as `5xx`.
    pub(in crate::config) status: Option<Items<NumberOrWord>>,
    /// Requests that took longer.
    pub(in crate::config) slower_than: Option<Span>,
    /// Two letters that say why a request ended as it did, such as `UF`.
    pub(in crate::config) flags: Option<Items<String>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Metrics")]
pub(in crate::config) struct RawMetrics {
    /// Whether times of requests are told by route, and not for all routes together. Default: true.
    pub(in crate::config) route_histograms: Option<bool>,
    /// Whether the filters of each route are measured. Default: false.
    pub(in crate::config) filter_histograms: Option<bool>,
    /// Bounds of buckets in seconds, ascending, by what is measured.
    pub(in crate::config) buckets: Option<RawBuckets>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Buckets")]
pub(in crate::config) struct RawBuckets {
    /// Whole requests. Default: from 0.5 ms to 60 s.
    pub(in crate::config) request: Option<Items<f64>>,
    /// Tries at upstreams. Default: from 0.5 ms to 60 s.
    pub(in crate::config) upstream: Option<Items<f64>>,
    /// The gateway's own time of a request. Default: from 1 µs to 100 ms.
    pub(in crate::config) overhead: Option<Items<f64>>,
    /// Filters. Default: from 1 µs to 100 ms.
    pub(in crate::config) filter: Option<Items<f64>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tracing")]
pub(in crate::config) struct RawTracing {
    /// The collector that takes spans by OTLP over HTTP. Default: http://127.0.0.1:4318.
    pub(in crate::config) otlp: Option<String>,
    /// Share of the traces begun here that is sampled. Default: 100%.
    pub(in crate::config) sample: Option<Share>,
    /// Whose `traceparent` decides what is sampled: that of peers in `trusted_proxies` (the traces of others are continued, and `sample` decides),
    /// of all, or of none (each request begins a trace, with a link). Default: trusted_proxies.
    #[schemars(extend("enum" = ["trusted_proxies", "all", "none"]))]
    pub(in crate::config) trust: Option<String>,
    /// Whether requests that failed are told of though they are not sampled. Default: false.
    pub(in crate::config) errors: Option<bool>,
    /// What this gateway is called in traces. Default: witgate.
    pub(in crate::config) name: Option<String>,
    /// Header fields of each export.
    pub(in crate::config) headers: Option<Entries<String>>,
    /// How long an export may take, with all its tries. Default: 10s.
    pub(in crate::config) timeout: Option<Span>,
    /// Spans that wait to be exported; further ones are given up and counted. Default: 16384.
    pub(in crate::config) queue: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RouteTracing")]
pub(in crate::config) struct RawRouteTracing {
    /// Share of the traces begun on this route that is sampled. Default: that of `telemetry.tracing`.
    pub(in crate::config) sample: Option<Share>,
}
