//! How the upstreams of a snapshot are reached, and what is tried again: from the configuration, and the files that it names.

use std::path::Path;
use std::sync::Arc;

use http::{Method, StatusCode};
use rustls::pki_types::ServerName;

use crate::config::model as config;
use crate::config::{At, Fault};
use crate::outbound::{TlsTerms, Trust};
use crate::upstream::{Hedge, Limits, Protocol, Retries, Timeouts, Tls, Transport, Upstream};

/// The transport of one upstream: that of the upstream before it where nothing has changed, files included. Notes what keeps
/// TLS from being set up.
pub(super) fn transport(
    name: &str,
    raw: &config::Upstream,
    old: Option<&Upstream>,
    trust: &Trust,
    faults: &mut Vec<Fault>,
) -> Arc<Transport> {
    let protocol = match raw.protocol {
        config::UpstreamProtocol::Http1 => Protocol::Http1,
        config::UpstreamProtocol::Http2 => Protocol::Http2,
        config::UpstreamProtocol::Auto => Protocol::Auto,
    };
    let host = raw.discovery.as_ref().and_then(|discovery| match &discovery.source {
        config::DiscoverySource::Dns { host, .. } => Some(host.as_str()),
        _ => None,
    });
    let tls = raw.tls.as_ref().and_then(|raw| tls(name, raw, host, trust, faults));
    let config::UpstreamLimits { connections, pending, requests, streams } = raw.limits;
    let limits = Limits { connections, pending, requests, streams };
    Transport::new(protocol, tls, timeouts(raw), limits, old.map(|old| &old.transport))
}

fn timeouts(raw: &config::Upstream) -> Timeouts {
    Timeouts { connect: raw.timeouts.connect, per_try: raw.timeouts.per_try, idle: raw.timeouts.idle }
}

/// Hedging takes from the budget of retries: without rules for those, from a budget of the same size.
pub(super) fn retries(raw: &config::Upstream) -> Option<Retries> {
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

/// `host` is what the endpoints' addresses are found by: their certificates are for that name.
fn tls(
    name: &str,
    raw: &config::UpstreamTls,
    host: Option<&str>,
    trust: &Trust,
    faults: &mut Vec<Fault>,
) -> Option<Tls> {
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
    let server_name = raw.server_name.as_deref().or(host).and_then(|name| ServerName::try_from(name.to_owned()).ok());
    let made = Tls::new(trust, terms, server_name);
    made.map_err(|error| faults.push(Fault::key(at, format!("there can be no TLS to `{name}`: {error}")))).ok()
}
