//! Upstreams: where requests go.

use std::fmt;
use std::path::PathBuf;
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

/// `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`; no path of a request, query or user. Displayed in that form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointUrl {
    Tcp {
        /// A name or an address; an IPv6 address stands here without its brackets.
        host: String,
        /// 80, or 443 with TLS, where the URL has none; never 0.
        port: u16,
        /// The scheme is `https`.
        is_tls: bool,
    },
    /// A socket file, spoken to in the clear: a relative one is already resolved against the folder of the file that names it.
    Unix(PathBuf),
}

impl EndpointUrl {
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { is_tls: true, .. })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp { host, port, is_tls } => {
                let scheme = if *is_tls { "https" } else { "http" };
                let (left, right) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{scheme}://{left}{host}{right}:{port}")
            }
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
