//! What upstreams need of the control plane: a keeper of their endpoints' health, and a task that follows where they come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Shared;
use super::outage::Outage;
use crate::outbound::{AskError, Trust};
use crate::snapshot::Snapshot;
use crate::telemetry::EndpointSample;
use crate::upstream::{self, Discovery, DiscoveryError, Flip, Found, Health, Seeker, Upstream};

/// The tasks of the upstreams that serve.
#[derive(Default)]
pub(super) struct Tasks {
    gateway: Weak<Shared>,
    /// Who keeps health is told of newer snapshots here, and ends when there is nobody to tell it.
    keepers: BTreeMap<Arc<str>, watch::Sender<Arc<Upstream>>>,
    followers: BTreeMap<Arc<str>, Follower>,
}

/// A task that follows a source until this is dropped.
struct Follower {
    discovery: Discovery,
    task: AbortHandle,
}

impl Tasks {
    /// For a gateway that has just begun.
    pub(super) fn of(gateway: Weak<Shared>, snapshot: &Snapshot) -> Self {
        let mut tasks = Self { gateway, ..Self::default() };
        tasks.follow(snapshot);
        tasks
    }

    /// Starts and ends tasks as this snapshot, which has begun to serve, wants it. Those that are unchanged run on.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) {
        for upstream in &snapshot.upstreams {
            match &upstream.discovery {
                Some(discovery) => self.discover(&upstream.name, discovery),
                None => drop(self.followers.remove(&upstream.name)),
            }
            if !upstream.has_health_rules() {
                self.keepers.remove(&upstream.name);
                upstream.forgive();
            } else if let Some(keeper) = self.keepers.get(&upstream.name) {
                let is_news = !Arc::ptr_eq(&keeper.borrow(), upstream);
                if is_news {
                    keeper.send_replace(upstream.clone());
                }
            } else {
                self.keep(upstream);
            }
        }
        let names: BTreeSet<&Arc<str>> = snapshot.upstreams.iter().map(|upstream| &upstream.name).collect();
        self.keepers.retain(|name, _| names.contains(name));
        self.followers.retain(|name, _| names.contains(name));
    }

    fn keep(&mut self, upstream: &Arc<Upstream>) {
        let (keeper, newest) = watch::channel(upstream.clone());
        let gateway = self.gateway.clone();
        let tell = move |flip| {
            if let Some(gateway) = gateway.upgrade() {
                gateway.flipped(&flip);
            }
        };
        tokio::spawn(upstream::keep(newest, Arc::new(tell)));
        self.keepers.insert(upstream.name.clone(), keeper);
    }

    fn discover(&mut self, name: &Arc<str>, discovery: &Discovery) {
        if self.followers.get(name).is_some_and(|follower| follower.discovery == *discovery) {
            return;
        }
        let Some(trust) = self.gateway.upgrade().map(|gateway| gateway.runtime.trust().clone()) else { return };
        let mut seeker = Seeker::new(discovery, &trust);
        let (gateway, of, meant) = (self.gateway.clone(), name.clone(), discovery.clone());
        let task = tokio::spawn(async move {
            loop {
                let answer = seeker.next().await;
                let Some(gateway) = gateway.upgrade() else { return };
                gateway.discovered(&of, &meant, answer).await;
            }
        });
        let follower = Follower { discovery: discovery.clone(), task: task.abort_handle() };
        self.followers.insert(name.clone(), follower);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn flipped(&self, flip: &Flip) {
        let Flip { upstream, endpoint, now } = flip;
        let endpoint = endpoint.to_string();
        let told = [("upstream", Value::from(&**upstream)), ("endpoint", endpoint.as_str().into())];
        match now {
            Health::Healthy => tracing::info!(upstream = &**upstream, endpoint, "endpoint is healthy"),
            Health::Unhealthy(error) => {
                tracing::warn!(upstream = &**upstream, endpoint, error, "endpoint is unhealthy")
            }
            Health::Ejected => tracing::warn!(upstream = &**upstream, endpoint, "endpoint is ejected"),
            Health::Returned => tracing::info!(upstream = &**upstream, endpoint, "endpoint is back from its ejection"),
        }
        let [upstream, endpoint] = told;
        match now {
            Health::Healthy => self.event("health", [upstream, endpoint, ("healthy", true.into())]),
            Health::Unhealthy(error) => {
                let error = ("error", error.as_str().into());
                self.event("health", [upstream, endpoint, ("healthy", false.into()), error]);
            }
            Health::Ejected | Health::Returned => {
                self.event("ejection", [upstream, endpoint, ("ejected", (*now == Health::Ejected).into())]);
            }
        }
    }

    /// A source has answered, or has not.
    async fn discovered(&self, name: &str, discovery: &Discovery, answer: Result<Found, DiscoveryError>) {
        let (kind, error) = match answer {
            Ok(found) => match self.publish(name, discovery, found).await {
                Ok(()) => return self.discovers_again(name),
                Err(error) => (error.clone(), error),
            },
            Err(error) => (error.kind(), error.to_string()),
        };
        let is_news = self.told().discovery_outages.entry(name.to_owned()).or_default().note(kind, error.clone());
        if is_news {
            tracing::warn!(upstream = name, error, "discovery failed: the last endpoints stay in force");
            self.event("discovery", [("upstream", name.into()), ("error", error.into())]);
        } else {
            tracing::debug!(upstream = name, error, "discovery fails still");
        }
    }

    fn discovers_again(&self, name: &str) {
        if self.told().discovery_outages.remove(name).is_some() {
            tracing::info!(upstream = name, "discovery is back");
        }
    }

    /// Lets these endpoints serve, unless they do already or somebody else says by now which do.
    async fn publish(&self, name: &str, discovery: &Discovery, found: Found) -> Result<(), String> {
        let mut running = self.running.lock().await;
        let snapshot = self.current.load_full();
        let Some(upstream) = snapshot.upstream(name) else { return Ok(()) };
        let is_meant = upstream.discovery.as_ref() == Some(discovery) && !self.is_draining();
        if !is_meant || upstream.endpoints_with_weights() == found {
            return Ok(());
        }
        let endpoints = found.len();
        let next = snapshot.with_upstream(upstream.with_endpoints(found));
        let (config, overrides) = (running.config.clone(), running.overrides.clone());
        self.commit(&mut running, next, config, overrides).await.map_err(|error| error.to_string())?;
        tracing::info!(upstream = name, endpoints, "endpoints discovered");
        self.event("discovery", [("upstream", name.into()), ("endpoints", endpoints.into())]);
        Ok(())
    }

    /// Upstreams as an operator sees them.
    pub(super) fn upstream_statuses(&self) -> Value {
        let snapshot = self.current.load_full();
        let told = self.told();
        let upstreams = snapshot.upstreams.iter().map(|upstream| {
            let mut status = json!({
                "name": &*upstream.name,
                "balance": upstream.balance.name(),
                "panicking": upstream.is_panicking(),
                "endpoints": endpoint_statuses(upstream),
            });
            if upstream.discovery.is_some() {
                status["discovery_error"] = told.discovery_outages.get(&*upstream.name).map(Outage::error).into();
            }
            status
        });
        upstreams.collect()
    }

    pub(super) fn endpoint_samples(&self) -> Vec<EndpointSample> {
        let snapshot = self.current.load_full();
        let samples = snapshot.upstreams.iter().flat_map(|upstream| {
            upstream.endpoints.iter().zip(&upstream.states).map(|(endpoint, state)| EndpointSample {
                upstream: upstream.name.to_string(),
                endpoint: endpoint.to_string(),
                is_healthy: state.is_healthy(),
            })
        });
        samples.collect()
    }
}

fn endpoint_statuses(upstream: &Upstream) -> Vec<Value> {
    let members = upstream.endpoints.iter().zip(&upstream.weights).zip(&upstream.states);
    let status = |((endpoint, weight), state): ((&Arc<upstream::Endpoint>, &u32), &Arc<upstream::EndpointState>)| {
        json!({
            "address": endpoint.to_string(),
            "weight": weight,
            "healthy": state.is_healthy(),
            "fails_checks": state.fails_checks(),
            "ejected": state.is_ejected(),
            "in_flight": state.in_flight(),
            "latency_ms": state.latency().map(|latency| latency.as_secs_f64() * 1e3),
        })
    };
    members.map(status).collect()
}

/// Asks each source that has not answered yet, and waits for a while: a gateway that begins shall know its endpoints.
pub(super) async fn first_answers(mut snapshot: Snapshot, trust: &Trust) -> Snapshot {
    let unknown = snapshot.upstreams.iter_mut().filter(|upstream| upstream.endpoints.is_empty());
    let asking = unknown.filter_map(|upstream| {
        let mut seeker = Seeker::new(upstream.discovery.as_ref()?, trust);
        Some(async move {
            let answer = tokio::time::timeout(FIRST_ANSWER_MAX, seeker.next()).await;
            match answer.unwrap_or(Err(AskError::Timeout(FIRST_ANSWER_MAX).into())) {
                Ok(found) => *upstream = Arc::new(upstream.with_endpoints(found)),
                Err(error) => {
                    tracing::warn!(upstream = &*upstream.name, %error, "no endpoints yet: requests to this upstream fail");
                }
            }
        })
    });
    join_all(asking).await;
    snapshot
}

/// How long a start or a reload waits for sources that never answered.
const FIRST_ANSWER_MAX: Duration = Duration::from_secs(3);
