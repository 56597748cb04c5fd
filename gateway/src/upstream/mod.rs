//! Upstreams: named sets of endpoints, how those do, whose turn it is, and the connections to them.
//!
//! ```text
//! endpoint    where one listens; what is known of how it does, shared by all workers
//! latency     its average
//! balancer/   whose turn it is
//! ejection    who fails too often takes no requests for a while
//! health/     who fails its checks takes none either
//! discovery/  where endpoints come from that the configuration does not name
//! load        what is under way, waiting and open, against its limits
//! retry       what is tried again, and within which budget
//! mirrored    copies of other upstreams' requests, counted
//! transport   protocol, TLS, times and limits
//! client/     this worker's connections to an endpoint
//! ```

mod endpoint;
mod latency;
mod balancer;
mod ejection;
mod health;
mod discovery;
mod load;
mod retry;
mod mirrored;
mod transport;
mod client;

pub use balancer::{Balance, Balancer, Weighted};
pub use client::{Client, Failed, Loss, On, SendError, Sent};
pub use discovery::{Access, Discovery, DiscoveryError, Found, Seeker, Source};
pub use ejection::{EJECTIONS_COUNTED_MAX, Ejection, Outcome};
pub use endpoint::{Endpoint, EndpointState, InFlight};
pub use health::{Flip, Health, HealthCheck, Probe, Tell, keep};
pub use load::{Full, Limits, Load, Permit};
pub use mirrored::{MirrorOutcome, MirrorPermit, Mirrored};
pub use retry::{Budget, Hedge, RETRIES_MIN, Retries, RetryOutcome};
pub use transport::{Protocol, Tls, Transport};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::message::RequestKey;

/// A named set of endpoints. Shared by all workers; each keeps its own connections.
#[derive(Debug, Clone)]
pub struct Upstream {
    pub name: Arc<str>,
    /// At most [`ENDPOINTS_MAX`].
    pub endpoints: Vec<Arc<Endpoint>>,
    /// By endpoint: its share of the requests; 0 for none.
    pub weights: Vec<u32>,
    /// By endpoint, and older than this snapshot where the endpoint is.
    pub states: Vec<Arc<EndpointState>>,
    pub state: Arc<UpstreamState>,
    pub balance: Balance,
    pub balancer: Arc<Balancer>,
    /// What keeps requests together on one endpoint, where the balancer looks at it.
    pub hash_on: Option<RequestKey>,
    pub affinity: Option<Affinity>,
    /// How long an endpoint that comes back takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// From 0 to 1: when a smaller share of the endpoints is healthy, all are used.
    pub panic_threshold: f64,
    pub health_check: Option<HealthCheck>,
    pub ejection: Option<Ejection>,
    /// Where endpoints come from; `None` where the configuration names them.
    pub discovery: Option<Discovery>,
    pub transport: Arc<Transport>,
    /// `None`: a request is tried once.
    pub retries: Option<Retries>,
    /// Of further tries; older than this snapshot where the upstream is.
    pub budget: Arc<Budget>,
    pub mirrored: Arc<Mirrored>,
}

/// What outlives snapshots of an upstream as a whole.
#[derive(Debug, Default)]
pub struct UpstreamState {
    /// Whether so few endpoints are healthy that all are used.
    is_panicking: AtomicBool,
    /// Held while an endpoint's health changes, never by a request that goes well.
    turn: Mutex<()>,
    /// Tells that some endpoint's health has changed.
    pub(super) flipped: Notify,
}

/// Sessions that stay at their endpoint, told apart by a cookie that the gateway sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    pub cookie: Box<str>,
    /// How long clients keep it; `None` until they are closed.
    pub ttl: Option<Duration>,
}

/// What a choice of an endpoint goes by, beside the balancer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'p> {
    /// Requests of the same hash go to the same endpoint, where the balancer looks at it.
    pub hash: Option<u64>,
    /// Endpoints that this request has tried already: others go first.
    pub avoid: &'p [usize],
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

impl Upstream {
    /// The same with these endpoints and weights. What is known of endpoints that it has already stays known.
    #[must_use]
    pub fn with_endpoints(&self, endpoints: Vec<(Endpoint, u32)>) -> Self {
        let known: HashMap<&Endpoint, (&Arc<Endpoint>, &Arc<EndpointState>)> =
            self.endpoints.iter().zip(&self.states).map(|member| (&**member.0, member)).collect();
        // The first ones share everything at once.
        let fresh = if known.is_empty() { EndpointState::new } else { EndpointState::joining };
        let mut next = Self { endpoints: Vec::new(), weights: Vec::new(), states: Vec::new(), ..self.clone() };
        for (endpoint, weight) in endpoints {
            let (endpoint, state) = match known.get(&endpoint) {
                Some((endpoint, state)) => (Arc::clone(endpoint), Arc::clone(state)),
                None => (Arc::new(endpoint), Arc::new(fresh())),
            };
            next.endpoints.push(endpoint);
            next.weights.push(weight);
            next.states.push(state);
        }
        next.balancer = Arc::new(Balancer::new(self.balance, &next.endpoints, &next.weights));
        next
    }

    /// The place of the endpoint for the next try; `None` when none takes requests.
    pub fn pick(&self, pick: &Pick<'_>) -> Option<usize> {
        let all = self.state.is_panicking.load(Relaxed);
        let takes = |place: usize| all || self.states[place].is_healthy();
        let admits = |place: usize, coin: u32| {
            takes(place)
                && !pick.avoid.contains(&place)
                && self.slow_start.is_none_or(|window| self.states[place].takes_its_share(window, coin))
        };
        self.balancer.pick(pick.hash, &self.states, admits).or_else(|| self.find(pick, takes))
    }

    /// Looks at all of them: rarely needed, when hardly any takes requests or all that do have been tried.
    fn find(&self, pick: &Pick<'_>, takes: impl Fn(usize) -> bool) -> Option<usize> {
        let count = self.endpoints.len();
        let hash = pick.hash.unwrap_or_else(|| fastrand::u64(..));
        let start = usize::try_from(hash % count.max(1) as u64).unwrap_or_default();
        let mut candidates =
            (0..count).map(|at| (start + at) % count).filter(|place| self.weights[*place] > 0 && takes(*place));
        let first = candidates.next()?;
        let untried = |place: &usize| !pick.avoid.contains(place);
        Some(std::iter::once(first).chain(candidates).find(untried).unwrap_or(first))
    }

    /// A try begins; it counts until what this returns is dropped.
    pub fn begin(&self, place: usize) -> InFlight {
        self.states[place].begin()
    }

    /// A try has ended, or the head of its response is there.
    pub fn report(&self, place: usize, outcome: Outcome) {
        let state = &self.states[place];
        if self.balancer.learns_latency() {
            state.latency.record(outcome.as_latency(), state.ticks(std::time::Instant::now()));
        }
        if let Some(rules) = &self.ejection
            && rules.is_enough(state, outcome)
        {
            self.eject(rules, place);
        }
    }

    /// Whether so few endpoints are healthy that all are used.
    pub fn is_panicking(&self) -> bool {
        self.state.is_panicking.load(Relaxed)
    }

    /// Its endpoints with their weights.
    pub fn endpoints_with_weights(&self) -> Vec<(Endpoint, u32)> {
        self.endpoints.iter().map(|endpoint| (**endpoint).clone()).zip(self.weights.iter().copied()).collect()
    }

    /// The endpoints that may get requests at all.
    fn members(&self) -> impl Iterator<Item = (&Arc<Endpoint>, &Arc<EndpointState>)> {
        let all = self.endpoints.iter().zip(&self.states).zip(&self.weights);
        all.filter(|(_, weight)| **weight > 0).map(|(member, _)| member)
    }

    /// An endpoint's health has changed.
    fn flipped(&self) {
        self.judge();
        self.state.flipped.notify_one();
    }

    /// Draws the conclusions from a change of some endpoint's health, or of the endpoints.
    fn judge(&self) {
        let (healthy, all) = self
            .members()
            .fold((0u32, 0u32), |(healthy, all), (_, state)| (healthy + u32::from(state.is_healthy()), all + 1));
        let is_panicking = f64::from(healthy) < self.panic_threshold * f64::from(all);
        self.state.is_panicking.store(is_panicking, Relaxed);
    }
}

impl UpstreamState {
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Endpoints of one upstream: balancers count them in 16 bits, and some keep tables that grow with them.
pub const ENDPOINTS_MAX: usize = 4096;

#[cfg(test)]
mod tests;
