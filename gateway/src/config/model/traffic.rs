//! How requests reach an upstream: protocol, TLS, limits, retries, hedging.

use std::path::PathBuf;
use std::time::Duration;

use super::ByteSize;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpstreamProtocol {
    #[default]
    Http1,
    /// With prior knowledge, or by ALPN where there is TLS.
    Http2,
    /// What the upstream chooses by ALPN; HTTP/1.1 without TLS.
    Auto,
}

/// TLS to an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// `None`: the authorities of the system.
    pub ca: Option<PathBuf>,
    /// Certificate and key of the gateway itself; keys `cert` and `key`.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `None`: the endpoint's host.
    pub server_name: Option<String>,
    pub verify: bool,
}

impl Default for UpstreamTls {
    fn default() -> Self {
        Self { ca: None, identity: None, server_name: None, verify: true }
    }
}

/// Figures over all workers; none is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// 1024.
    pub connections: usize,
    /// Requests that wait for a connection; 1024.
    pub pending: usize,
    /// Requests under way; 4096.
    pub requests: usize,
    /// Requests on one HTTP/2 connection; 100.
    pub streams: usize,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self { connections: 1024, pending: 1024, requests: 4096, streams: 100 }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Tries after the first one, at least 1; 1.
    pub attempts: u32,
    pub when: RetryWhen,
    /// From 0 to 1; 0.2.
    pub budget: f64,
    /// 25 ms.
    pub backoff: Duration,
    /// Methods that are tried again though the upstream may have begun with the request.
    pub methods: Vec<String>,
    /// The longest body that is kept to be sent again; 64 KiB.
    pub body: ByteSize,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 1,
            when: RetryWhen { connect_failure: true, reset: true, timeout: false, statuses: vec![502, 503, 504] },
            budget: 0.2,
            backoff: Duration::from_millis(25),
            methods: ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].map(str::to_owned).to_vec(),
            body: ByteSize::kib(64),
        }
    }
}

/// What is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryWhen {
    pub connect_failure: bool,
    pub reset: bool,
    pub timeout: bool,
    /// 400 to 599.
    pub statuses: Vec<u16>,
}

/// Tries beside a try that takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    /// 100 ms.
    pub after: Duration,
    /// At least 1; 1.
    pub max: u32,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { after: Duration::from_millis(100), max: 1 }
    }
}
