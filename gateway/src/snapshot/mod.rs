//! Snapshot: everything a request needs to know, built once from a configuration, immutable, swapped as a whole.
//!
//! A request sees one snapshot from its first byte to its last. What a worker keeps for itself (connections, plugin
//! instances) hangs on to the parts that did not change, by identity: `build` carries those over.

mod build;
mod resources;
mod plugins;
mod routes;

pub use build::{BuildError, build};
pub use resources::Resources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use crate::filter::{Chain, Reply};
use crate::plugin::{Attachment, Declaration};
use crate::router::Router;
use crate::upstream::{Upstream, Weighted};

/// One generation of the gateway.
pub struct Snapshot {
    /// 1 for the first, and one more at each swap.
    pub generation: u64,
    pub listeners: Vec<Arc<Listener>>,
    pub router: Router,
    /// By the router's numbers.
    pub routes: Vec<Route>,
    pub upstreams: Vec<Arc<Upstream>>,
    /// What plugins are granted parts of.
    pub resources: Resources,
    /// The declared plugins; a plugin filter names its pool by the place here.
    pub plugins: Vec<Arc<Declaration>>,
    pub attachments: Vec<Arc<Attachment>>,
    /// Request headers that some attachment writes: no client may send them, on any route.
    pub owned_headers: Vec<HeaderName>,
}

/// An address that is listened on.
#[derive(Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: Arc<str>,
    pub address: SocketAddr,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: ListenerLimits,
}

/// What clients of a listener may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open at a time, over all workers.
    pub connections: usize,
    pub head_bytes: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_bytes: u64,
    pub requests_per_connection: u64,
    pub streams: u32,
}

/// What becomes of a request that matched.
pub struct Route {
    pub name: Arc<str>,
    pub chain: Chain,
    pub target: Target,
    /// From the request's arrival to the response's head, with all filters and tries.
    pub timeout: Duration,
}

pub enum Target {
    /// Places among the snapshot's upstreams, and whose turn it is.
    Upstreams {
        places: Vec<usize>,
        turns: Weighted,
    },
    Respond(Reply),
}
