//! Where endpoints come from that the configuration does not name.

use std::net::SocketAddr;
use std::time::Duration;

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
    /// Every key below `prefix` has an endpoint as its value. `url` is that of a server, without a path.
    Etcd { url: String, prefix: String },
    /// Every instance of the service, or those with this tag, whose checks pass. `url` is that of an agent, without a path.
    Consul { url: String, service: String, tag: Option<String> },
}
