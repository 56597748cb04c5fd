//! How requests reach an upstream, as it is written: TLS, limits, retries, hedging.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{NumberOrWord, Share, Size, Span, Whole};
use super::Items;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamLimits")]
pub(in crate::config) struct RawUpstreamLimits {
    /// Open connections, over all workers. Default: 1024.
    pub(in crate::config) connections: Option<Whole>,
    /// Requests that wait for a connection, over all workers; further ones are answered 503 at once. Default: 1024.
    pub(in crate::config) pending: Option<Whole>,
    /// Requests under way, over all workers; further ones are answered 503 at once. Default: 4096.
    pub(in crate::config) requests: Option<Whole>,
    /// Requests at a time on one HTTP/2 connection, where the upstream allows as many. Default: 100.
    pub(in crate::config) streams: Option<Whole>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "UpstreamTls")]
pub(in crate::config) struct RawUpstreamTls {
    /// File of the authorities that are believed, in PEM. Default: those of the system.
    pub(in crate::config) ca: Option<String>,
    /// File of the gateway's own certificate and those up to its authority, in PEM; with `key`.
    pub(in crate::config) cert: Option<String>,
    /// File of the private key of `cert`, in PEM.
    pub(in crate::config) key: Option<String>,
    /// The name that the upstream's certificate must be for, and that it is asked for by. Default: the endpoint's host.
    pub(in crate::config) server_name: Option<String>,
    /// Whether the upstream's certificate is checked. Default: true.
    pub(in crate::config) verify: Option<bool>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Retries")]
pub(in crate::config) struct RawRetries {
    /// Tries after the first one. Default: 1.
    pub(in crate::config) attempts: Option<Whole>,
    /// What is tried again: `connect-failure`, `reset`, `timeout` (of `per_try`), or a status from 400 to 599.
    /// Default: [connect-failure, reset, 502, 503, 504].
    pub(in crate::config) when: Option<Items<NumberOrWord>>,
    /// Share of the requests of the last ten seconds that may be retries; 30 may be in any case. Default: 20%.
    pub(in crate::config) budget: Option<Share>,
    /// Longest wait before the first retry, doubled for each further one; the wait itself is random. Default: 25ms.
    pub(in crate::config) backoff: Option<Span>,
    /// Methods that are tried again though the upstream may have begun with the request.
    /// Default: [GET, HEAD, OPTIONS, TRACE, PUT, DELETE], which do the same when they are said twice.
    pub(in crate::config) methods: Option<Items<String>>,
    /// The longest body that is kept to be sent again. Default: 64KiB.
    pub(in crate::config) body: Option<Size>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Hedge")]
pub(in crate::config) struct RawHedge {
    /// How long a try is waited for before another one starts beside it. Default: 100ms.
    pub(in crate::config) after: Option<Span>,
    /// Tries beside the first one. Default: 1.
    pub(in crate::config) max: Option<Whole>,
}
