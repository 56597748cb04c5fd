//! Where endpoints come from that the configuration does not name.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::SecretRef;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub source: DiscoverySource,
    /// After so long the source is asked again at the latest, also where it would tell by itself; 30 s.
    pub refresh: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiscoverySource {
    /// Every address of a name is an endpoint. `resolver`: who is asked; `None` is whom the system asks.
    Dns { host: String, port: u16, resolver: Option<SocketAddr> },
    /// Targets, ports and weights are in the records of this name (RFC 2782).
    Srv { name: String, resolver: Option<SocketAddr> },
    /// Every key below `prefix` has an endpoint as its value.
    Etcd { server: DiscoveryServer, user: Option<String>, prefix: String },
    /// Every instance of the service, or those with this tag, whose checks pass.
    Consul { server: DiscoveryServer, service: String, tag: Option<String> },
}

/// A server that knows endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryServer {
    /// Without a path.
    pub url: String,
    /// The password of the user, or the token.
    pub secret: Option<SecretRef>,
    /// Authorities in the place of the system's.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}
