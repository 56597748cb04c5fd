//! Upstreams: named sets of endpoints, and the connections to them.

mod balancer;
mod client;

pub use balancer::{Balancer, Weighted};
pub use client::{Client, SendError, Sent};

use std::sync::Arc;
use std::time::Duration;

/// A named set of endpoints. Shared by all workers; each keeps its own connections.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub balancer: Balancer,
    pub timeouts: Timeouts,
    /// Connections of one worker to one endpoint that may wait idle.
    pub idle_connections_max: usize,
}

/// Where one server of an upstream listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Resolving the name and connecting.
    pub connect: Duration,
    /// One try, from choosing the endpoint to the response's head.
    pub per_try: Duration,
    /// A body that stands still; a connection that waits unused.
    pub idle: Duration,
}
