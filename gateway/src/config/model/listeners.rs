//! Listeners: the addresses that clients connect to.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{ByteSize, ListenerTls};

/// One address that is listened on.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: String,
    pub address: SocketAddr,
    pub tls: Option<ListenerTls>,
    /// Peers whose forwarding headers are believed. An address alone is a network of one.
    pub trusted_proxies: Vec<IpNet>,
    /// Key `proxy_protocol.from`: peers that say who their client is; nobody else may connect then.
    pub proxy_protocol: Option<Vec<IpNet>>,
    pub limits: ListenerLimits,
}

/// Limits of one listener; none is zero, except `body`, where zero refuses every body.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerLimits {
    /// Open connections; 10,000.
    pub connections: usize,
    /// Size of a request's head; 64 KiB.
    pub headers: ByteSize,
    /// Time for the handshake of TLS; 10 s.
    pub handshake_timeout: Duration,
    /// Time for a request's head to arrive; 10 s.
    pub header_timeout: Duration,
    /// Time that a connection may stand still; 60 s.
    pub idle_timeout: Duration,
    /// Size of a request's body; 10 MiB.
    pub body: ByteSize,
    /// Requests that one connection may carry; 100,000.
    pub requests_per_connection: u64,
    /// Concurrent HTTP/2 streams of one connection; 128.
    pub streams: u32,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            headers: ByteSize::kib(64),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body: ByteSize::mib(10),
            requests_per_connection: 100_000,
            streams: 128,
        }
    }
}
