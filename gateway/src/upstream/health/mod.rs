//! Health: checks that the gateway makes of endpoints, and the end of ejections.
//!
//! One keeper for each upstream that has such rules, as a task of the control plane. It runs a check for each endpoint, and
//! outlives snapshots: an endpoint that stays keeps its check, with what that has seen so far.

mod probe;
mod check;

pub use probe::Probe;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::endpoint::Out;
use super::{Endpoint, EndpointState, Transport, Upstream, UpstreamState};
use check::check;

/// How endpoints are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    pub probe: Probe,
    /// From one check to the next, give or take a tenth.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Failures in a row that take an endpoint out. The first check of all decides alone.
    pub unhealthy_after: u32,
    /// Successes in a row that bring it back.
    pub healthy_after: u32,
}

/// An endpoint's health has changed.
#[derive(Debug, Clone)]
pub struct Flip {
    pub upstream: Arc<str>,
    pub endpoint: Arc<Endpoint>,
    pub now: Health,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Its checks succeed again.
    Healthy,
    /// Its checks fail, the last time because of this.
    Unhealthy(String),
    /// It has failed too many requests.
    Ejected,
    /// Its ejection is over.
    Returned,
}

/// Told of every flip, from several tasks.
pub type Tell = Arc<dyn Fn(Flip) + Send + Sync>;

impl Upstream {
    /// Whether a keeper is needed.
    pub fn has_health_rules(&self) -> bool {
        self.health_check.is_some() || self.ejection.is_some()
    }

    /// Forgets what no rule speaks of any more, so that nobody stays out for ever. For a snapshot that has begun to serve.
    pub fn forgive(&self) {
        let _turn = self.state.turn();
        for state in &self.states {
            if self.health_check.is_none() {
                state.bring_back(Out::FailsChecks);
            }
            if self.ejection.is_none() {
                state.bring_back(Out::Ejected);
            }
        }
        self.judge();
    }
}

/// Keeps an upstream's health, as long as somebody can tell of a newer snapshot of it.
pub async fn keep(mut newest: watch::Receiver<Arc<Upstream>>, tell: Tell) {
    let mut checks = Checks::default();
    let mut ejected = BTreeSet::new();
    loop {
        let upstream = newest.borrow_and_update().clone();
        checks.follow(&upstream, &tell);
        upstream.forgive();
        loop {
            let due = upstream.let_back(Instant::now());
            tell_ejections(&upstream, &mut ejected, &tell);
            upstream.judge();
            let due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = upstream.state.flipped.notified() => {}
                () = due => {}
                changed = newest.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

/// Says who was ejected or let back since it was last said.
fn tell_ejections(upstream: &Upstream, told: &mut BTreeSet<Arc<Endpoint>>, tell: &Tell) {
    let flip =
        |endpoint: &Arc<Endpoint>, now| Flip { upstream: upstream.name.clone(), endpoint: endpoint.clone(), now };
    for (endpoint, state) in upstream.members() {
        match (state.is_ejected(), told.contains(endpoint)) {
            (true, false) => {
                told.insert(endpoint.clone());
                tell(flip(endpoint, Health::Ejected));
            }
            (false, true) => {
                told.remove(endpoint);
                tell(flip(endpoint, Health::Returned));
            }
            _ => {}
        }
    }
    told.retain(|endpoint| upstream.endpoints.contains(endpoint));
}

/// The checks of an upstream's endpoints. They end with this.
#[derive(Default)]
struct Checks {
    rules: Option<Arc<HealthCheck>>,
    transport: Option<Arc<Transport>>,
    running: HashMap<Arc<Endpoint>, AbortHandle>,
    tasks: JoinSet<()>,
}

/// What a check is about.
struct Patient {
    upstream: Arc<str>,
    all: Arc<UpstreamState>,
    endpoint: Arc<Endpoint>,
    state: Arc<EndpointState>,
    transport: Arc<Transport>,
}

impl Checks {
    /// Checks every endpoint of `upstream`, and no other. Under other rules, or when endpoints are reached in another way, all begin
    /// anew.
    fn follow(&mut self, upstream: &Arc<Upstream>, tell: &Tell) {
        let is_same_way = self.transport.as_ref().is_some_and(|known| Arc::ptr_eq(known, &upstream.transport));
        if self.rules.as_deref() != upstream.health_check.as_ref() || !is_same_way {
            self.tasks.abort_all();
            self.running.clear();
            self.rules = upstream.health_check.clone().map(Arc::new);
            self.transport = Some(upstream.transport.clone());
        }
        while self.tasks.try_join_next().is_some() {}
        let members: HashMap<&Arc<Endpoint>, &Arc<EndpointState>> = upstream.members().collect();
        self.running.retain(|endpoint, task| {
            let stays = members.contains_key(endpoint);
            if !stays {
                task.abort();
            }
            stays
        });
        let Some(rules) = &self.rules else { return };
        for (endpoint, state) in members {
            if !self.running.contains_key(endpoint) {
                let (name, all) = (upstream.name.clone(), upstream.state.clone());
                let (endpoint, state, transport) = (endpoint.clone(), state.clone(), upstream.transport.clone());
                let patient = Patient { upstream: name, all, endpoint: endpoint.clone(), state, transport };
                let task = self.tasks.spawn(check(patient, rules.clone(), tell.clone()));
                self.running.insert(endpoint, task);
            }
        }
    }
}
