//! The upstreams of a snapshot: what is unchanged is carried over from the one before, and so is all that is counted.

use std::path::Path;
use std::sync::Arc;

use http::{Method, StatusCode};
use rustls::pki_types::ServerName;

use super::Snapshot;
use crate::config::model::{self as config, Config};
use crate::config::{At, Fault};
use crate::outbound::{TlsTerms, Trust};
use crate::upstream::{Balancer, Endpoint, Hedge, Limits, Protocol, Retries, Timeouts, Tls, Transport, Upstream};

/// The upstreams in the map's order; the faults of those whose TLS cannot be set up are noted.
pub(super) fn upstreams(
    config: &Config,
    previous: Option<&Snapshot>,
    trust: &Trust,
    faults: &mut Vec<Fault>,
) -> Vec<Arc<Upstream>> {
    let old = |name: &str| previous?.upstreams.iter().find(|upstream| *upstream.name == *name);
    let upstreams = config.upstreams.iter().map(|(name, raw)| {
        let tls = raw.tls.as_ref().and_then(|raw| tls(name, raw, trust, faults));
        Arc::new(upstream(name, raw, tls, old(name)))
    });
    upstreams.collect()
}

fn upstream(name: &str, raw: &config::Upstream, tls: Option<Tls>, old: Option<&Arc<Upstream>>) -> Upstream {
    let weights: Vec<u32> = raw.endpoints.iter().map(|endpoint| endpoint.weight).collect();
    let timeouts = Timeouts { connect: raw.timeouts.connect, per_try: raw.timeouts.per_try, idle: raw.timeouts.idle };
    let protocol = match raw.protocol {
        config::UpstreamProtocol::Http1 => Protocol::Http1,
        config::UpstreamProtocol::Http2 => Protocol::Http2,
        config::UpstreamProtocol::Auto => Protocol::Auto,
    };
    let config::UpstreamLimits { connections, pending, requests, streams } = raw.limits;
    let limits = Limits { connections, pending, requests, streams };
    Upstream {
        name: name.into(),
        endpoints: raw
            .endpoints
            .iter()
            .map(|endpoint| Arc::new(Endpoint { host: endpoint.url.host.clone(), port: endpoint.url.port }))
            .collect(),
        balancer: Balancer::new(&weights),
        timeouts,
        transport: Transport::new(protocol, tls, timeouts, limits, old.map(|old| &old.transport)),
        retries: retries(raw),
        budget: old.map(|old| old.budget.clone()).unwrap_or_default(),
        mirrored: old.map(|old| old.mirrored.clone()).unwrap_or_default(),
    }
}

/// Hedging takes from the budget of retries: without rules for those, from a budget of the same size.
fn retries(raw: &config::Upstream) -> Option<Retries> {
    let hedge = raw.hedge.map(|hedge| Hedge { after: hedge.after, tries_max: hedge.max });
    let none = || config::Retries { attempts: 0, ..config::Retries::default() };
    let rules = match (&raw.retries, hedge) {
        (None, None) => return None,
        (rules, _) => rules.clone().unwrap_or_else(none),
    };
    let methods = rules.methods.iter().filter_map(|method| Method::from_bytes(method.as_bytes()).ok());
    let statuses = rules.when.statuses.iter().filter_map(|status| StatusCode::from_u16(*status).ok());
    Some(Retries {
        attempts: rules.attempts,
        on_connect_failure: rules.when.connect_failure,
        on_reset: rules.when.reset,
        on_timeout: rules.when.timeout,
        statuses: statuses.collect(),
        methods: methods.collect(),
        backoff: rules.backoff,
        body_bytes_max: rules.body.in_memory(),
        budget: rules.budget,
        hedge,
    })
}

fn tls(name: &str, raw: &config::UpstreamTls, trust: &Trust, faults: &mut Vec<Fault>) -> Option<Tls> {
    let upstreams = At::ROOT.key("upstreams");
    let upstream = upstreams.key(name);
    let at = upstream.key("tls");
    let mut read = |key: &'static str, path: &Path| {
        let bytes = std::fs::read(path);
        bytes.map_err(|error| faults.push(Fault::value(at.key(key), format!("cannot be read: {error}")))).ok()
    };
    let authorities = raw.ca.as_ref().map(|path| read("ca", path));
    let identity = raw.identity.as_ref().map(|(cert, key)| Some((read("cert", cert)?, read("key", key)?)));
    let terms = TlsTerms {
        authorities: authorities.map_or(Some(None), |bytes| bytes.map(Some))?,
        identity: identity.map_or(Some(None), |pair| pair.map(Some))?,
        verify: raw.verify,
    };
    let server_name = raw.server_name.clone().and_then(|name| ServerName::try_from(name).ok());
    let made = Tls::new(trust, terms, server_name);
    made.map_err(|error| faults.push(Fault::key(&at, format!("there can be no TLS to `{name}`: {error}")))).ok()
}
