//! The upstreams of a snapshot: what the configuration says of them, and what is known of their endpoints since before.

use std::sync::Arc;

use http::StatusCode;

use super::{Snapshot, transport};
use crate::config::Fault;
use crate::config::model::{self as config, Config};
use crate::outbound::{Credential, Held, TlsFiles, Trust};
use crate::plugin::Named;
use crate::resource::Secret;
use crate::upstream::{
    Access, Affinity, Balance, Balancer, Discovery, Ejection, Endpoint, HealthCheck, Probe, Source, Transport, Upstream,
};

/// In the order of the configuration's map. Those that are discovered have the endpoints that they had, from the same source.
pub(super) fn upstreams(
    config: &Config,
    previous: Option<&Snapshot>,
    secrets: &Named<Secret>,
    trust: &Trust,
    faults: &mut Vec<Fault>,
) -> Vec<Arc<Upstream>> {
    let old = |name: &str| previous.and_then(|previous| previous.upstream(name)).map(|old| &**old);
    let mut upstream = |(name, raw): (&String, &config::Upstream)| {
        let transport = transport::transport(name, raw, old(name), trust, faults);
        Arc::new(upstream(name, raw, old(name), secrets, transport))
    };
    config.upstreams.iter().map(&mut upstream).collect()
}

fn upstream(
    name: &str,
    raw: &config::Upstream,
    old: Option<&Upstream>,
    secrets: &Named<Secret>,
    transport: Arc<Transport>,
) -> Upstream {
    let discovery = raw.discovery.as_ref().map(|raw| discovery(raw, secrets));
    let endpoints = match &discovery {
        None => raw.endpoints.iter().map(endpoint).collect(),
        Some(discovery) => {
            old.filter(|old| is_same_source(old, discovery)).map(|old| old.endpoints_with_weights()).unwrap_or_default()
        }
    };
    let balance = balance(raw.balance);
    let known = Upstream {
        name: name.into(),
        endpoints: old.map(|old| old.endpoints.clone()).unwrap_or_default(),
        weights: old.map(|old| old.weights.clone()).unwrap_or_default(),
        states: old.map(|old| old.states.clone()).unwrap_or_default(),
        state: old.map(|old| old.state.clone()).unwrap_or_default(),
        balance,
        balancer: Arc::new(Balancer::new(Balance::default(), &[], &[])),
        hash_on: raw.hash_on.clone(),
        affinity: raw
            .affinity
            .as_ref()
            .map(|affinity| Affinity { cookie: affinity.cookie.as_str().into(), ttl: affinity.ttl }),
        slow_start: raw.slow_start,
        panic_threshold: raw.panic_threshold / 100.0,
        health_check: raw.health_check.as_ref().map(health_check),
        ejection: raw.outlier_ejection.as_ref().map(ejection),
        discovery,
        transport,
        retries: transport::retries(raw),
        budget: old.map(|old| old.budget.clone()).unwrap_or_default(),
        mirrored: old.map(|old| old.mirrored.clone()).unwrap_or_default(),
    };
    known.with_endpoints(endpoints)
}

fn endpoint(raw: &config::Endpoint) -> (Endpoint, u32) {
    let endpoint = match &raw.url {
        config::EndpointUrl::Tcp { host, port, .. } => Endpoint::Tcp { host: host.clone(), port: *port },
        config::EndpointUrl::Unix(path) => Endpoint::Unix(path.clone()),
    };
    (endpoint, raw.weight)
}

fn is_same_source(old: &Upstream, discovery: &Discovery) -> bool {
    old.discovery.as_ref().is_some_and(|old| old.source.is_same_place(&discovery.source))
}

fn balance(raw: config::Balance) -> Balance {
    match raw {
        config::Balance::RoundRobin => Balance::RoundRobin,
        config::Balance::LeastRequest => Balance::LeastRequest,
        config::Balance::P2cEwma => Balance::P2cEwma,
        config::Balance::Random => Balance::Random,
        config::Balance::Maglev => Balance::Maglev,
        config::Balance::RingHash => Balance::RingHash,
    }
}

fn health_check(raw: &config::HealthCheck) -> HealthCheck {
    HealthCheck {
        probe: match &raw.probe {
            config::Probe::Http { path, statuses } => Probe::Http {
                path: path.clone(),
                statuses: statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok()).collect(),
            },
            config::Probe::Tcp => Probe::Tcp,
            config::Probe::Grpc { service } => Probe::Grpc { service: service.clone() },
        },
        interval: raw.interval,
        timeout: raw.timeout,
        unhealthy_after: raw.unhealthy_after,
        healthy_after: raw.healthy_after,
    }
}

fn ejection(raw: &config::OutlierEjection) -> Ejection {
    Ejection {
        consecutive_5xx: raw.consecutive_5xx,
        connect_failures: raw.connect_failures,
        latency: raw.latency,
        eject_for: raw.eject_for,
        share_max: raw.max_ejected / 100.0,
    }
}

fn discovery(raw: &config::Discovery, secrets: &Named<Secret>) -> Discovery {
    use config::DiscoverySource as Raw;
    let source = match raw.source.clone() {
        Raw::Dns { host, port, resolver } => Source::Dns { host, port, resolver },
        Raw::Srv { name, resolver } => Source::Srv { name, resolver },
        Raw::Etcd { server, user, prefix } => Source::Etcd { server: access(server, secrets), user, prefix },
        Raw::Consul { server, service, tag } => Source::Consul { server: access(server, secrets), service, tag },
    };
    Discovery { source, refresh: raw.refresh }
}

fn access(raw: config::DiscoveryServer, secrets: &Named<Secret>) -> Access {
    let config::DiscoveryServer { url, secret, ca, identity } = raw;
    // Without the secret there is a fault already, and nothing is asked.
    let secret = secret.and_then(|name| secrets.get(name.0.as_str()));
    let credential = secret.map(|secret| Credential::Held(Held::new(&String::from_utf8_lossy(secret.expose()))));
    Access { origin: url, credential, files: TlsFiles { ca, identity } }
}
