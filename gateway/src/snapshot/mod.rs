//! Snapshot: everything a request needs to know, built once from a configuration, immutable, swapped as a whole.
//!
//! A request sees one snapshot from its first byte to its last. What a worker keeps for itself (connections, plugin
//! instances) hangs on to the parts that did not change, by identity: `build` carries those over.

mod build;
mod listeners;
mod routes;
mod upstreams;
mod transport;
mod resources;
mod tables;
mod plugins;
mod bundled;
mod choices;
mod versions;
mod plugin;
mod config_fault;
mod explain;
mod expiring;

pub use build::{BuildError, build};
pub use choices::{Choice, Choices, TrialChoice};
pub use config_fault::ConfigFault;
pub use expiring::expiring;
pub use explain::{Explanation, Other, Passed, Placed, Question, QuestionError, explain};
pub use listeners::{Renewal, renewed, tls_files};
pub use plugin::{Plugin, Refusal, Settings, Use};
pub use resources::Resources;
pub use versions::{Versions, canary_of, remember};

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::config::model::{ListenAddress, Overload};
use crate::filter::native::States;
use crate::filter::{Chain, Reply};
use crate::message::RequestKey;
use crate::router::Router;
use crate::telemetry::{RouteNames, TelemetryRules};
use crate::tls::Termination;
use crate::upstream::{Upstream, Weighted};

/// One generation of the gateway.
#[derive(Clone)]
pub struct Snapshot {
    /// 1 for the first, and one more at each swap.
    pub generation: u64,
    pub listeners: Vec<Arc<Listener>>,
    pub router: Arc<Router>,
    /// By the router's numbers.
    pub routes: Arc<[Route]>,
    pub route_names: Arc<RouteNames>,
    pub upstreams: Vec<Arc<Upstream>>,
    /// What plugins are granted parts of.
    pub resources: Arc<Resources>,
    /// The declared plugins; a plugin filter names its own by the place here.
    pub plugins: Vec<Plugin>,
    /// Request headers that some attachment writes: no client may send them, on any route.
    pub owned_headers: Vec<HeaderName>,
    /// Guest CPU time of one request, over all its plugins.
    pub request_deadline: Duration,
    /// What the gateway bears before it gives things up.
    pub overload: Overload,
    /// What native filters know beyond this snapshot.
    pub states: Arc<States>,
    /// What is told of requests.
    pub telemetry: Arc<TelemetryRules>,
}

impl Snapshot {
    pub fn plugin(&self, name: &str) -> Option<&Plugin> {
        self.plugins.iter().find(|plugin| *plugin.name == *name)
    }

    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| *upstream.name == *name)
    }

    /// The next generation, which differs in one upstream.
    #[must_use]
    pub fn with_upstream(&self, upstream: Upstream) -> Self {
        let upstream = Arc::new(upstream);
        let same = |known: &Arc<Upstream>| if known.name == upstream.name { upstream.clone() } else { known.clone() };
        let upstreams = self.upstreams.iter().map(same).collect();
        Self { generation: self.generation + 1, upstreams, ..self.clone() }
    }

    /// The next generation, which differs in the TLS of one listener.
    #[must_use]
    pub fn with_listener(&self, listener: Arc<Listener>) -> Self {
        let same = |known: &Arc<Listener>| if known.name == listener.name { listener.clone() } else { known.clone() };
        let listeners = self.listeners.iter().map(same).collect();
        Self { generation: self.generation + 1, listeners, ..self.clone() }
    }

    /// The next generation, which differs in one plugin's releases.
    #[must_use]
    pub fn with_plugin(&self, plugin: Plugin) -> Self {
        let same = |known: &Plugin| if known.name == plugin.name { plugin.clone() } else { known.clone() };
        let plugins: Vec<Plugin> = self.plugins.iter().map(same).collect();
        let owned_headers = owned_headers(&plugins, &self.listeners);
        Self { generation: self.generation + 1, plugins, owned_headers, ..self.clone() }
    }
}

/// What filters inject, and what listeners say of their clients' certificates.
fn owned_headers(plugins: &[Plugin], listeners: &[Arc<Listener>]) -> Vec<HeaderName> {
    let clients = listeners.iter().filter_map(|listener| listener.tls.as_ref()?.clients());
    let identities = clients.flat_map(|clients| clients.headers.iter().map(|(name, _)| name));
    let mut names: Vec<HeaderName> =
        plugins.iter().flat_map(Plugin::owned_headers).chain(identities).cloned().collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

/// An address that is listened on.
#[derive(Debug, PartialEq, Eq)]
pub struct Listener {
    pub name: Arc<str>,
    pub address: ListenAddress,
    /// Permissions of the socket file, where the address is one.
    pub mode: u32,
    /// `None`: clients speak in the clear.
    pub tls: Option<Arc<Termination>>,
    pub trusted_proxies: Vec<IpNet>,
    /// Peers that tell by the PROXY protocol who their client is; nobody else may connect then.
    pub proxy_protocol: Option<Vec<IpNet>>,
    pub limits: ListenerLimits,
}

/// What clients of a listener may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Open at a time, over all workers.
    pub connections: usize,
    /// Of those, by one client's address.
    pub connections_per_client: usize,
    pub head_bytes: usize,
    pub handshake_timeout: Duration,
    pub header_count: usize,
    pub target_bytes: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_bytes: u64,
    /// Of a request's body and of responses, while the client is waited for; 0 is no limit.
    pub body_bytes_per_second_min: u64,
    pub send_timeout: Duration,
    pub requests_per_connection: u64,
    pub streams: u32,
    /// So many frames that carry nothing, in so much time.
    pub http2_abuse: (u32, Duration),
}

/// What becomes of a request that matched.
pub struct Route {
    pub name: Arc<str>,
    pub chain: Chain,
    pub target: Target,
    /// From the request's arrival to the response's head, with all filters and tries.
    pub timeout: Duration,
    /// Protocols that a client may turn its connection into, in lower case.
    pub upgrades: Box<[HeaderValue]>,
    /// How long such a connection may stand still, a gRPC call, or a stream of events.
    pub stream_idle_timeout: Duration,
    /// The pattern of its path, as traces tell it.
    pub pattern: Arc<str>,
    /// Its share of sampled traces, where it has one of its own.
    pub trace_sample: Option<f64>,
}

pub enum Target {
    /// Places among the snapshot's upstreams, and whose turn it is.
    Upstreams {
        places: Vec<usize>,
        turns: Weighted,
        /// What keeps a client on one of them.
        sticky: Option<RequestKey>,
    },
    Respond(Reply),
}
