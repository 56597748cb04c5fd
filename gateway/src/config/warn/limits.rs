//! Limits that contradict each other: one of them never comes to bear.

use std::collections::HashSet;
use std::time::Duration;

use super::super::fault::Fault;
use super::super::model::{Config, Route, Target, Upstream, UpstreamTimeouts};
use super::super::path::At;

pub(super) fn find(config: &Config, warnings: &mut Vec<Fault>) {
    listeners(config, warnings);
    plugins(config, warnings);
    for (name, upstream) in &config.upstreams {
        let at = At::ROOT.key("upstreams");
        let at = at.key(name);
        self::upstream(&at, upstream, warnings);
    }
    routes(config, warnings);
}

fn listeners(config: &Config, warnings: &mut Vec<Fault>) {
    for (index, listener) in config.listeners.iter().enumerate() {
        let limits = &listener.limits;
        if limits.header_timeout > limits.idle_timeout {
            let at = At::ROOT.key("listeners");
            let at = at.item(index).key("limits").key("header_timeout").to_string();
            let (header, idle) = (shown(limits.header_timeout), shown(limits.idle_timeout));
            let message = format!("a head may take {header}, but a connection that stands still ends after {idle}");
            warnings.push(Fault::value(at, message).help("let `idle_timeout` be the longer one"));
        }
    }
}

fn plugins(config: &Config, warnings: &mut Vec<Fault>) {
    for (name, plugin) in &config.plugins {
        let at = At::ROOT.key("plugins");
        let at = at.key(name);
        let at = at.key("limits");
        let limits = &plugin.limits;
        if limits.deadline > limits.timeout {
            let (deadline, timeout) = (shown(limits.deadline), shown(limits.timeout));
            let message = format!("a call may compute for {deadline}, but ends after {timeout} in any case");
            warnings.push(Fault::value(at.key("deadline"), message).help("let `timeout` be the longer one"));
        }
        let whole = config.runtime.request_deadline;
        if limits.deadline > whole {
            let (deadline, whole) = (shown(limits.deadline), shown(whole));
            let message =
                format!("a call may compute for {deadline}, but all plugins of a request for {whole} together");
            let fault = Fault::value(at.key("deadline"), message);
            warnings.push(fault.help("raise `runtime.request_deadline`, or lower this one"));
        }
    }
}

fn upstream(at: &At<'_>, upstream: &Upstream, warnings: &mut Vec<Fault>) {
    let per_try = upstream.timeouts.per_try;
    if upstream.timeouts.connect > per_try {
        let (connect, per_try) = (shown(upstream.timeouts.connect), shown(per_try));
        let message = format!("connecting may take {connect}, but a whole try ends after {per_try}");
        warnings.push(Fault::value(at.key("timeouts").key("connect"), message).help("let `per_try` be the longer one"));
    }
    if let Some(hedge) = &upstream.hedge
        && hedge.after >= per_try
    {
        let (after, per_try) = (shown(hedge.after), shown(per_try));
        let message = format!("a second try begins after {after}, but the first one ends after {per_try}");
        warnings.push(Fault::value(at.key("hedge").key("after"), message).help("let `after` be the shorter one"));
    }
    if let Some(check) = &upstream.health_check
        && check.timeout > check.interval
    {
        let (timeout, interval) = (shown(check.timeout), shown(check.interval));
        let message = format!("a check may take {timeout}, but the next one is due after {interval}");
        let fault = Fault::value(at.key("health_check").key("timeout"), message);
        warnings.push(fault.help("let `interval` be the longer one"));
    }
    if upstream.limits.connections > upstream.limits.requests {
        let (connections, requests) = (upstream.limits.connections, upstream.limits.requests);
        let message = format!("{connections} connections may be open for {requests} requests at a time");
        let fault = Fault::value(at.key("limits").key("connections"), message);
        warnings.push(fault.help("let `requests` be the larger one"));
    }
    let mut seen = HashSet::new();
    for (index, endpoint) in upstream.endpoints.iter().enumerate() {
        if !seen.insert(endpoint.url.to_string()) {
            let fault = Fault::value(at.key("endpoints").item(index).key("url"), "this endpoint is here twice");
            warnings.push(fault.help("for a larger share, give it a `weight`"));
        }
    }
}

fn routes(config: &Config, warnings: &mut Vec<Fault>) {
    // One that many routes lead to is told of once.
    let mut told = HashSet::new();
    for (index, route) in config.routes.iter().enumerate() {
        let Target::Upstream(choices) = &route.target else { continue };
        for (name, _) in choices {
            let Some(upstream) = config.upstreams.get(name) else { continue };
            let at = At::ROOT.key("routes");
            let at = at.item(index);
            let timeout = route.timeout.unwrap_or(config.defaults.timeout);
            let per_try = upstream.timeouts.per_try;
            // The default of 15s is not meant for anybody in particular.
            if per_try > timeout && per_try != UpstreamTimeouts::default().per_try && told.insert((name, "per_try")) {
                let (whole, per_try) = (shown(timeout), shown(per_try));
                let message =
                    format!("one try of the upstream `{name}` may take {per_try}, but a whole request {whole}");
                let place =
                    if route.timeout.is_some() { at.key("timeout").to_string() } else { "defaults.timeout".to_owned() };
                let (ups, help) = (At::ROOT.key("upstreams"), "let the request's `timeout` be the longer one");
                let tried = ups.key(name).key("timeouts").key("per_try").to_string();
                warnings.push(Fault::value(place, message).related(tried, "longer").help(help));
            }
            repeats(&at, route, (name, upstream), &mut told, warnings);
        }
    }
}

/// Retries of what does something else when it is said twice.
fn repeats<'c>(
    at: &At<'_>,
    route: &Route,
    (name, upstream): (&'c String, &Upstream),
    told: &mut HashSet<(&'c String, &'static str)>,
    warnings: &mut Vec<Fault>,
) {
    let Some(retries) = &upstream.retries else { return };
    for method in ["POST", "PATCH"] {
        let repeats = retries.methods.iter().any(|one| one == method);
        let takes = route.matches.methods.is_empty() || route.matches.methods.iter().any(|one| one == method);
        if repeats && takes && told.insert((name, method)) {
            let ups = At::ROOT.key("upstreams");
            let place = ups.key(name).key("retries").key("methods").to_string();
            let message = format!("a {method} that the upstream `{name}` may have carried out is sent again");
            let fault = Fault::value(place, message).related(at.key("name"), "this route takes it");
            warnings.push(fault.help(format!(
                "leave {method} out, unless the upstream tells the same request by a key of its own, as by `Idempotency-Key`"
            )));
        }
    }
}

/// As the configuration writes it.
fn shown(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        ms if ms % 1000 != 0 => format!("{ms}ms"),
        ms if ms % 60_000 != 0 => format!("{}s", ms / 1000),
        ms if ms % 3_600_000 != 0 => format!("{}m", ms / 60_000),
        ms => format!("{}h", ms / 3_600_000),
    }
}
