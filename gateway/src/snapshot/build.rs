//! Building: a checked configuration in, a snapshot out, or everything that is wrong with it.
//!
//! Nothing that serves is touched before all of the new is made; what is unchanged is carried over from the old.

use std::sync::Arc;

use super::plugins::Plugins;
use super::resources::Resources;
use super::{Choices, Listener, ListenerLimits, Snapshot, owned_headers, routes, transport};
use crate::config::Fault;
use crate::config::model::{self as config, Config};
use crate::outbound::Trust;
use crate::plugin::Runtime;
use crate::upstream::{Balancer, Endpoint, Upstream};

/// Why there is no snapshot.
#[derive(Debug)]
pub enum BuildError {
    /// The configuration itself is wrong.
    Config(Vec<Fault>),
    /// The configuration is right, but a plugin cannot serve it.
    Plugin(Vec<Fault>),
}

/// Builds the generation after `previous`. `choices` go before what the configuration says of plugins.
///
/// # Errors
/// All faults of the configuration, or, when it has none, all faults of its plugins.
pub async fn build(
    config: &Config,
    choices: &Choices,
    previous: Option<&Snapshot>,
    runtime: &Runtime,
) -> Result<Snapshot, BuildError> {
    let mut faults = Vec::new();
    let router = routes::router(config, &mut faults);
    let resources =
        Resources::open(config, previous.map(|previous| &*previous.resources), runtime.trust(), &mut faults).await;
    let mut plugins = Plugins::new(config, previous, runtime, &resources);
    plugins.load(choices, &mut faults).await;
    let routes = routes::routes(config, &mut plugins, &mut faults);
    let upstreams = upstreams(config, previous, runtime.trust(), &mut faults);
    let (Some(router), true) = (router, faults.is_empty()) else {
        return Err(BuildError::Config(faults));
    };
    let plugins = plugins.deploy().await.map_err(BuildError::Plugin)?;
    Ok(Snapshot {
        generation: previous.map_or(1, |previous| previous.generation + 1),
        listeners: config.listeners.iter().map(|raw| listener(raw, previous)).collect(),
        router: Arc::new(router),
        routes: routes.into(),
        upstreams,
        resources: Arc::new(resources),
        owned_headers: owned_headers(&plugins),
        plugins,
        request_deadline: config.runtime.request_deadline,
    })
}

fn listener(raw: &config::Listener, previous: Option<&Snapshot>) -> Arc<Listener> {
    let limits = &raw.limits;
    let listener = Listener {
        name: raw.name.as_str().into(),
        address: raw.address,
        trusted_proxies: raw.trusted_proxies.clone(),
        limits: ListenerLimits {
            connections: limits.connections,
            head_bytes: limits.headers.in_memory(),
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            body_bytes: limits.body.0,
            requests_per_connection: limits.requests_per_connection,
            streams: limits.streams,
        },
    };
    let old = previous.and_then(|previous| previous.listeners.iter().find(|old| ***old == listener));
    old.cloned().unwrap_or_else(|| Arc::new(listener))
}

/// In the map's order. What is counted goes on from the upstream of the same name.
fn upstreams(
    config: &Config,
    previous: Option<&Snapshot>,
    trust: &Trust,
    faults: &mut Vec<Fault>,
) -> Vec<Arc<Upstream>> {
    let old = |name: &str| previous?.upstreams.iter().find(|upstream| *upstream.name == *name);
    let upstream = |(name, raw): (&String, &config::Upstream)| {
        let old = old(name).map(|old| &**old);
        let weights: Vec<u32> = raw.endpoints.iter().map(|endpoint| endpoint.weight).collect();
        let endpoints = raw.endpoints.iter().map(|endpoint| &endpoint.url);
        Arc::new(Upstream {
            name: name.as_str().into(),
            endpoints: endpoints.map(|url| Arc::new(Endpoint { host: url.host.clone(), port: url.port })).collect(),
            balancer: Balancer::new(&weights),
            timeouts: transport::timeouts(raw),
            transport: transport::transport(name, raw, old, trust, faults),
            retries: transport::retries(raw),
            budget: old.map(|old| old.budget.clone()).unwrap_or_default(),
            mirrored: old.map(|old| old.mirrored.clone()).unwrap_or_default(),
        })
    };
    config.upstreams.iter().map(upstream).collect()
}
