//! Listeners: the addresses that clients connect to.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::{ByteSize, ListenerTls, Rate};

/// One address that is listened on.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub name: String,
    pub address: ListenAddress,
    /// Permissions of the socket file, where the address is one; 0660.
    pub mode: u32,
    pub tls: Option<ListenerTls>,
    /// Peers whose forwarding headers are believed. An address alone is a network of one. Clients of a socket file count as
    /// 127.0.0.1, which `unix` stands for.
    pub trusted_proxies: Vec<IpNet>,
    /// Key `proxy_protocol.from`: peers that say who their client is; nobody else may connect then.
    pub proxy_protocol: Option<Vec<IpNet>>,
    pub limits: ListenerLimits,
}

/// Where a server listens. Displayed as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// The system chooses a port for 0.
    Tcp(SocketAddr),
    /// `unix:PATH`: a relative one is already resolved against the folder of the file that names it.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether the system chooses where, so that the address stands for no place yet.
    pub fn is_any_port(&self) -> bool {
        matches!(self, Self::Tcp(address) if address.port() == 0)
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Limits of one listener; none is zero, except `body`, where zero refuses every body, and `body_min_rate`, where it is no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerLimits {
    /// Open connections; 10,000.
    pub connections: usize,
    /// Open connections of one client's address; `connections`.
    pub connections_per_client: usize,
    /// Size of a request's head; 64 KiB.
    pub headers: ByteSize,
    /// Time for the handshake of TLS; 10 s.
    pub handshake_timeout: Duration,
    /// Header fields of a request; 100.
    pub header_count: usize,
    /// Size of a request's target; 16 KiB.
    pub target: ByteSize,
    /// Time for a request's head to arrive; 10 s.
    pub header_timeout: Duration,
    /// Time that a connection may stand still; 60 s.
    pub idle_timeout: Duration,
    /// Size of a request's body; 10 MiB.
    pub body: ByteSize,
    /// What a client must send of a body, and take of a response, in each second that it is waited for; 500 B.
    pub body_min_rate: ByteSize,
    /// Time that a client may take nothing, or too little, of a response; 60 s.
    pub send_timeout: Duration,
    /// Requests that one connection may carry; 100,000.
    pub requests_per_connection: u64,
    /// Concurrent HTTP/2 streams of one connection; 128.
    pub streams: u32,
    /// HTTP/2 frames that carry nothing; 1,000 in 10 s.
    pub http2_abuse: Rate,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_client: 10_000,
            headers: ByteSize::kib(64),
            handshake_timeout: Duration::from_secs(10),
            header_count: 100,
            target: ByteSize::kib(16),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body: ByteSize::mib(10),
            body_min_rate: ByteSize(500),
            send_timeout: Duration::from_secs(60),
            requests_per_connection: 100_000,
            streams: 128,
            http2_abuse: Rate { count: 1000, per: Duration::from_secs(10) },
        }
    }
}
