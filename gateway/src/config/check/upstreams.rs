//! Checks of `upstreams`: endpoints, their URLs and weights, times and limits.

use super::super::fault::Fault;
use super::super::model::{Endpoint, EndpointUrl, Upstream, UpstreamTimeouts};
use super::super::path::At;
use super::super::raw::{Entries, Items, RawEndpoint, RawUpstream, RawUpstreamTimeouts};
use super::urls::Url;
use super::{Check, entries, items};
use std::collections::BTreeMap;

/// Balancers count endpoints in few bits, and some keep tables that grow with them.
const ENDPOINTS_MAX: usize = 4096;

/// The largest weight, so that sums of weights stay within 32 bits.
pub(super) const WEIGHT_MAX: u64 = 65_535;

impl Check<'_> {
    pub(super) fn upstreams(&mut self, at: &At<'_>, raw: Option<&Entries<RawUpstream>>) -> BTreeMap<String, Upstream> {
        let mut upstreams = BTreeMap::new();
        for (name, raw) in entries(raw) {
            let at = at.key(name);
            self.name(|message| Fault::key(at, message), name);
            upstreams.insert(name.to_owned(), self.upstream(&at, raw));
        }
        upstreams
    }

    fn upstream(&mut self, at: &At<'_>, raw: &RawUpstream) -> Upstream {
        let endpoints = match &raw.discovery {
            None => self.required(at, "endpoints", raw.endpoints.as_ref()),
            Some(_) => raw.endpoints.as_ref(),
        };
        if raw.discovery.is_some() && raw.endpoints.is_some() {
            let fault =
                Fault::key(at.key("discovery"), "an upstream has `endpoints` or `discovery`, and this one has both");
            self.fault(fault.help("remove one of them"));
        }
        let endpoints = self.endpoints(&at.key("endpoints"), endpoints);
        let (balance, hash_on) = self.balance(at, raw);
        let slow_start_at = at.key("slow_start");
        Upstream {
            timeouts: self.upstream_timeouts(&at.key("timeouts"), raw.timeouts.as_ref()),
            balance,
            hash_on,
            affinity: raw.affinity.as_ref().and_then(|raw| self.affinity(&at.key("affinity"), raw)),
            slow_start: raw.slow_start.map(|span| self.duration(&slow_start_at, Some(span), span.0)),
            health_check: raw.health_check.as_ref().and_then(|raw| self.health_check(&at.key("health_check"), raw)),
            outlier_ejection: raw
                .outlier_ejection
                .as_ref()
                .map(|raw| self.outlier_ejection(&at.key("outlier_ejection"), raw)),
            panic_threshold: self.share_of_all(&at.key("panic_threshold"), raw.panic_threshold, 50.0),
            discovery: raw.discovery.as_ref().and_then(|raw| self.discovery(&at.key("discovery"), raw)),
            limits: self.upstream_limits(&at.key("limits"), raw.limits.as_ref()),
            protocol: self.protocol(&at.key("protocol"), raw.protocol.as_ref()),
            tls: self.tls(at, raw, &endpoints),
            retries: raw.retries.as_ref().map(|raw| self.retries(&at.key("retries"), raw)),
            hedge: raw.hedge.as_ref().map(|raw| self.hedge(&at.key("hedge"), raw)),
            endpoints,
        }
    }

    fn endpoints(&mut self, at: &At<'_>, raw: Option<&Items<RawEndpoint>>) -> Vec<Endpoint> {
        if raw.is_some_and(Vec::is_empty) {
            self.fault(Fault::value(at, "an upstream needs at least one endpoint"));
        }
        if raw.is_some_and(|list| list.len() > ENDPOINTS_MAX) {
            self.fault(Fault::value(at, format!("an upstream has at most {ENDPOINTS_MAX} endpoints")));
        }
        let mut endpoints = Vec::new();
        let mut all_zero = raw.is_some_and(|list| !list.is_empty() && list.iter().all(Option::is_some));
        for (index, raw) in items(raw) {
            let at = at.item(index);
            let weight = self.whole(&at.key("weight"), raw.weight, 1, 0..=WEIGHT_MAX);
            all_zero &= weight == 0;
            let url = self.required(&at, "url", raw.url.as_ref());
            let url = url.and_then(|url| self.url(&at.key("url"), url));
            endpoints.extend(url.map(|url| Endpoint { url, weight }));
        }
        if all_zero {
            self.fault(Fault::key(at, "every endpoint has weight 0, so that none would be used"));
        }
        endpoints
    }

    fn url(&mut self, at: &At<'_>, text: &str) -> Option<EndpointUrl> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Some(EndpointUrl::Unix(self.path(at, path)));
        }
        match parse_url(text) {
            Ok(url) => Some(url),
            Err(help) => {
                let fault = Fault::value(at, format!("`{text}` is not the URL of an endpoint"));
                self.fault(fault.help(help));
                None
            }
        }
    }

    fn upstream_timeouts(&mut self, at: &At<'_>, raw: Option<&RawUpstreamTimeouts>) -> UpstreamTimeouts {
        let default = UpstreamTimeouts::default();
        let Some(raw) = raw else { return default };
        UpstreamTimeouts {
            connect: self.duration(&at.key("connect"), raw.connect, default.connect),
            per_try: self.duration(&at.key("per_try"), raw.per_try, default.per_try),
            idle: self.duration(&at.key("idle"), raw.idle, default.idle),
        }
    }
}

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`, the origin form of RFC 6454 §6.2; what to do about it where it is not.
fn parse_url(text: &str) -> Result<EndpointUrl, String> {
    const FORM: &str = "write `http://HOST:PORT`, `https://HOST:PORT` or `unix:PATH`";
    let url = Url::parse(text).map_err(|why| format!("{why}: {FORM}"))?;
    let is_tls = match url.scheme {
        "http" => false,
        "https" => true,
        _ => return Err(format!("the scheme is not one that endpoints have: {FORM}")),
    };
    if !url.rest.is_empty() {
        return Err(format!("an endpoint has no path, query or fragment: {FORM}"));
    }
    if url.user.is_some() {
        return Err(format!("an endpoint has no user or password: {FORM}"));
    }
    let port = url.port.unwrap_or(if is_tls { 443 } else { 80 });
    Ok(EndpointUrl::Tcp { host: url.host.to_owned(), port, is_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, host: &str, port: u16) {
        let host = host.to_owned();
        let is_tls = text.starts_with("https");
        assert_eq!(parse_url(text), Ok(EndpointUrl::Tcp { host, port, is_tls }), "{text}");
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        check("http://users", "users", 80);
        check("http://users.internal.:8080", "users.internal.", 8080);
        check("http://10.0.0.5:1", "10.0.0.5", 1);
        check("http://[::1]:65535", "::1", 65535);
        check("http://[2001:db8::1]", "2001:db8::1", 80);
        check("https://users", "users", 443);
        check("https://users:80", "users", 80);
    }

    #[test]
    fn urls_are_displayed_as_they_are_written() {
        for text in ["http://users:8080", "http://[::1]:80", "https://users:443"] {
            assert_eq!(parse_url(text).map(|url| url.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn whatever_is_no_origin_is_refused() {
        let refused = [
            "",
            "unix:",
            "users:80",
            "http://",
            "http://:80",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+80",
            "http://a/",
            "http://a?b",
            "http://u@a",
            "http://[::1",
            "http://[::1]80",
            "http://::1",
            "http://a..b",
            "http://a b",
            "ftp://a",
            "HTTP://a",
        ];
        for text in refused {
            assert!(parse_url(text).is_err(), "{text}");
        }
    }
}
