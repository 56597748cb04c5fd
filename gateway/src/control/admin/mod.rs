//! The admin server: what an operator may see of a running gateway, and do to it, over HTTP/1.1 and JSON.
//!
//! `serve` takes connections, `gate` decides who may ask for what, the files after it answer. What an operation does is the
//! affair of whoever implements [`Operator`](super::Operator). This API takes code, hence the gate before everything: the
//! right host, no foreign web page, a token for whatever changes something, and each change on record.

mod serve;
mod seats;
mod socket;

mod gate;
mod host;
mod pace;
mod token;

mod desk;
mod problem;
mod probes;
mod status;
mod plugins;
mod upload;
mod config;
mod wish;
mod operation;
mod events;
mod dashboard;

pub use pace::AdminRate;
pub use serve::{AdminError, AdminServer, BindError, ProbesServer};
pub use token::{AdminToken, TokenError};

use std::time::Duration;

/// Who may use the admin server. It may change while the server runs.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// With distinct names.
    pub tokens: Vec<AdminToken>,
    /// Names in lower case, without a port, that a `Host` may have besides those of the address itself.
    pub allowed_hosts: Vec<String>,
}

/// Bounds on what clients of the admin server may take.
#[derive(Debug, Clone)]
pub struct AdminLimits {
    /// Largest component that may be uploaded (`runtime.component`).
    pub upload_bytes: usize,
    /// Largest JSON body.
    pub json_bytes: usize,
    /// Largest configuration that may be sent.
    pub config_bytes: usize,
    /// Largest request line and fields together.
    pub head_bytes: usize,
    /// Open at once. One more takes the place of the one that has waited for longest, or is closed where all are busy.
    pub connections: usize,
    /// Answered at once, apart from streams of events.
    pub requests: usize,
    /// Of one client: a token, or without one an address. Probes do not count.
    pub request_rate: AdminRate,
    /// Tokens that nobody has, shown from one address. Beyond that none is looked at, the right one neither.
    pub failure_rate: AdminRate,
    /// New versions that are received or swapped in at once.
    pub uploads: usize,
    /// Open streams of events.
    pub streams: usize,
    /// From the end of a response, or the start of the connection, to the end of the next head.
    pub head_timeout: Duration,
    /// From the first byte of a body to its last.
    pub body_timeout: Duration,
    /// How long a stream of events may be silent before a comment shows that it lives.
    pub stream_silence: Duration,
}

impl AdminLimits {
    /// The defaults, with the largest component that is accepted.
    pub fn new(upload_bytes: usize) -> Self {
        Self {
            upload_bytes,
            json_bytes: 64 << 10,
            config_bytes: crate::config::TEXT_BYTES_MAX,
            head_bytes: 16 << 10,
            connections: 64,
            requests: 32,
            request_rate: AdminRate { count: 100, period: Duration::from_secs(1), burst: 500 },
            failure_rate: AdminRate { count: 10, period: Duration::from_secs(60), burst: 10 },
            uploads: 2,
            streams: 16,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            stream_silence: Duration::from_secs(15),
        }
    }
}

#[cfg(test)]
mod tests;
