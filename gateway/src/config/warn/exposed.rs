//! What others could read or change on the way.

use std::net::IpAddr;

use super::super::fault::Fault;
use super::super::lists::each_filter;
use super::super::model::{Config, DiscoverySource, ListenAddress, Listener};
use super::super::path::At;
use super::order::is_auth;

pub(super) fn find(config: &Config, warnings: &mut Vec<Fault>) {
    credentials(config, warnings);
    if let Some(admin) = &config.admin
        && is_reached_from_elsewhere(&admin.address)
    {
        let message = "tokens and configuration cross this address in the clear";
        let help = "listen on `unix:PATH` or `127.0.0.1:PORT`, and reach it through SSH or a proxy with TLS";
        warnings.push(Fault::value("admin.address", message).help(help));
    }
    for (name, upstream) in &config.upstreams {
        if let Some(DiscoverySource::Etcd { server, .. } | DiscoverySource::Consul { server, .. }) =
            upstream.discovery.as_ref().map(|discovery| &discovery.source)
            && server.secret.is_some()
            && server.url.starts_with("http:")
            && !is_here(&server.url)
        {
            let at = At::ROOT.key("upstreams");
            let at = at.key(name).key("discovery").to_string();
            let message =
                format!("the secret that the upstream `{name}` is discovered with crosses the network in the clear");
            warnings.push(Fault::value(at, message).help("write the server's URL with `https://`"));
        }
        if upstream.tls.as_ref().is_some_and(|tls| !tls.verify) {
            let at = At::ROOT.key("upstreams");
            let at = at.key(name).key("tls").key("verify").to_string();
            let message = format!("anybody on the way to the upstream `{name}` could pose as it");
            warnings.push(Fault::value(at, message).help("name the authority of its certificate: `ca: FILE`"));
        }
    }
}

/// Filters that find out who asks, on routes that can be reached over a listener without TLS: one warning for each listener.
fn credentials(config: &Config, warnings: &mut Vec<Fault>) {
    let mut by_listener: Vec<Option<(usize, String)>> = vec![None; config.listeners.len()];
    let mut counts = vec![0_usize; config.listeners.len()];
    let open: Vec<usize> =
        (0..config.listeners.len()).filter(|place| is_in_the_clear(&config.listeners[*place])).collect();
    if open.is_empty() {
        return;
    }
    for (index, route) in config.routes.iter().enumerate() {
        let mut auth = None;
        each_filter(config, index, &mut |filter, at| {
            if auth.is_none() && is_auth(config, filter.name) {
                auth = Some(at.to_string());
            }
        });
        let Some(auth) = auth else { continue };
        for place in &open {
            let name = &config.listeners[*place].name;
            if route.matches.listeners.is_empty() || route.matches.listeners.contains(name) {
                counts[*place] += 1;
                by_listener[*place].get_or_insert_with(|| (index, auth.clone()));
            }
        }
    }
    for place in open {
        let Some((index, auth)) = &by_listener[place] else { continue };
        let others = match counts[place] - 1 {
            0 => String::new(),
            1 => " and of another one".to_owned(),
            count => format!(" and of {count} others"),
        };
        let (route, at) = (&config.routes[*index].name, At::ROOT.key("listeners"));
        let message = format!("the credentials for the route `{route}`{others} cross this listener in the clear");
        let fault = Fault::value(at.item(place).key("address"), message).related(auth, "this filter asks for them");
        warnings.push(
            fault.help("give the listener `tls`, or let such routes name others: `match: { listeners: [NAME] }`"),
        );
    }
}

/// Whether others than this machine reach it, without TLS.
fn is_in_the_clear(listener: &Listener) -> bool {
    listener.tls.is_none() && is_reached_from_elsewhere(&listener.address)
}

/// Whether a URL is one of this machine.
fn is_here(url: &str) -> bool {
    let url: Option<http::Uri> = url.parse().ok();
    let host = url.as_ref().and_then(|url| url.host()).map(|host| host.trim_matches(['[', ']']));
    host.is_some_and(|host| host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback()))
}

fn is_reached_from_elsewhere(address: &ListenAddress) -> bool {
    matches!(address, ListenAddress::Tcp(address) if !address.ip().is_loopback())
}
