//! Upstreams: where requests go.

use std::fmt;
use std::time::Duration;

use super::{
    Affinity, Balance, Discovery, HealthCheck, Hedge, OutlierEjection, Retries, UpstreamLimits, UpstreamProtocol,
    UpstreamTls,
};
use crate::message::RequestKey;

/// Endpoints that serve the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// At least one, and at least one whose weight is not zero; none where there is `discovery`.
    pub endpoints: Vec<Endpoint>,
    pub timeouts: UpstreamTimeouts,
    pub limits: UpstreamLimits,
    pub balance: Balance,
    /// What keeps requests together on one endpoint.
    pub hash_on: Option<RequestKey>,
    pub affinity: Option<Affinity>,
    /// How long an endpoint that comes back takes to get its whole share; `None` gives it at once.
    pub slow_start: Option<Duration>,
    pub health_check: Option<HealthCheck>,
    pub outlier_ejection: Option<OutlierEjection>,
    /// When a smaller share of the endpoints is healthy, all are used; in percent, 50.
    pub panic_threshold: f64,
    pub discovery: Option<Discovery>,
    pub protocol: UpstreamProtocol,
    /// `None`: endpoints are spoken to in the clear.
    pub tls: Option<UpstreamTls>,
    /// `None`: a request is tried once.
    pub retries: Option<Retries>,
    pub hedge: Option<Hedge>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    pub url: EndpointUrl,
    /// Share of the upstream's requests, relative to the other endpoints; 1, and 0 takes the endpoint out.
    pub weight: u32,
}

/// `http://HOST:PORT` or `https://HOST:PORT`; no path, query or user. Displayed in that form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// A name or an address; an IPv6 address stands here without its brackets.
    pub host: String,
    /// 80, or 443 with TLS, where the URL has none; never 0.
    pub port: u16,
    /// The scheme is `https`.
    pub is_tls: bool,
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Times that a request may spend on an upstream; none is zero.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamTimeouts {
    /// To connect; 1 s.
    pub connect: Duration,
    /// From the start of a try to the head of its response; 15 s.
    pub per_try: Duration,
    /// A body that stands still, and a pooled connection that is unused; 30 s.
    pub idle: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(1), per_try: Duration::from_secs(15), idle: Duration::from_secs(30) }
    }
}
