//! Upstreams: named sets of endpoints, and the connections to them.
//!
//! ```text
//! load        what is under way, waiting and open, against its limits
//! retry       what is tried again, and within which budget
//! mirrored    copies of other upstreams' requests, counted
//! transport   protocol, TLS, times and limits
//! client/     this worker's connections to an endpoint
//! ```

mod balancer;
mod load;
mod retry;
mod mirrored;
mod transport;
mod client;

pub use balancer::{Balancer, Weighted};
pub use client::{Client, Failed, Loss, On, SendError, Sent};
pub use load::{Full, Limits, Load, Permit};
pub use mirrored::{MirrorOutcome, MirrorPermit, Mirrored};
pub use retry::{Budget, Hedge, RETRIES_MIN, Retries, RetryOutcome};
pub use transport::{Protocol, Tls, Transport};

use std::sync::Arc;
use std::time::Duration;

/// A named set of endpoints. Shared by all workers; each keeps its own connections.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    pub endpoints: Vec<Arc<Endpoint>>,
    pub balancer: Balancer,
    pub timeouts: Timeouts,
    pub transport: Arc<Transport>,
    /// `None`: a request is tried once.
    pub retries: Option<Retries>,
    /// Of further tries; older than this snapshot where the upstream is.
    pub budget: Arc<Budget>,
    pub mirrored: Arc<Mirrored>,
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
