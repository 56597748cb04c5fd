//! Checks of how an upstream is reached: protocol, TLS, limits, retries, hedging. Whether files can be read is not asked here.

use std::path::PathBuf;

use super::super::fault::Fault;
use super::super::model::{Endpoint, Hedge, Retries, RetryWhen, UpstreamLimits, UpstreamProtocol, UpstreamTls};
use super::super::path::At;
use super::super::raw::{Items, RawHedge, RawRetries, RawUpstream, RawUpstreamLimits, RawUpstreamTls};
use super::super::scalar::{NumberOrWord, Share};
use super::{Check, items};

impl Check<'_> {
    pub(super) fn protocol(&mut self, at: &At<'_>, raw: Option<&String>) -> UpstreamProtocol {
        let known =
            [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2), ("auto", UpstreamProtocol::Auto)];
        raw.and_then(|word| self.word(at, word, &known)).unwrap_or_default()
    }

    /// TLS is on where the endpoints' URLs say so; all of them do, or none.
    pub(super) fn tls(&mut self, at: &At<'_>, raw: &RawUpstream, endpoints: &[Endpoint]) -> Option<UpstreamTls> {
        let tls = raw.tls.as_ref().map(|tls| self.tls_terms(&at.key("tls"), tls));
        let secure = endpoints.iter().filter(|endpoint| endpoint.url.is_tls()).count();
        if secure > 0 && secure < endpoints.len() {
            let fault = Fault::value(at.key("endpoints"), "some of these endpoints speak TLS and some do not");
            self.fault(fault.help("write `https://` everywhere, or make two upstreams of them"));
        }
        if tls.is_some() && secure == 0 && !endpoints.is_empty() {
            let fault = Fault::key(at.key("tls"), "`tls` is given, but no endpoint speaks it");
            self.fault(fault.help("write the endpoints' URLs with `https://`"));
        }
        // Endpoints that are found elsewhere have no scheme: there it is the key that says so.
        tls.or_else(|| (secure > 0).then(UpstreamTls::default))
    }

    fn tls_terms(&mut self, at: &At<'_>, raw: &RawUpstreamTls) -> UpstreamTls {
        let identity = self.identity(at, raw.cert.as_ref(), raw.key.as_ref());
        if let Some(name) = &raw.server_name
            && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            self.fault(Fault::value(at.key("server_name"), format!("`{name}` is not the name of a server")));
        }
        UpstreamTls {
            ca: raw.ca.as_ref().map(|path| self.path(&at.key("ca"), path)),
            identity,
            server_name: raw.server_name.clone(),
            verify: raw.verify.unwrap_or(true),
        }
    }

    /// A certificate of the gateway's own with its key.
    pub(super) fn identity(
        &mut self,
        at: &At<'_>,
        cert: Option<&String>,
        key: Option<&String>,
    ) -> Option<(PathBuf, PathBuf)> {
        match (cert, key) {
            (Some(cert), Some(key)) => Some((self.path(&at.key("cert"), cert), self.path(&at.key("key"), key))),
            (None, None) => None,
            (given, _) => {
                let (there, missing) = if given.is_some() { ("cert", "key") } else { ("key", "cert") };
                if !self.was_cut(&at.key(missing)) {
                    self.fault(Fault::key(at.key(there), format!("`{there}` is of no use without `{missing}`")));
                }
                None
            }
        }
    }

    pub(super) fn upstream_limits(&mut self, at: &At<'_>, raw: Option<&RawUpstreamLimits>) -> UpstreamLimits {
        let default = UpstreamLimits::default();
        let Some(raw) = raw else { return default };
        UpstreamLimits {
            connections: self.whole(&at.key("connections"), raw.connections, default.connections, 1..=u64::MAX),
            pending: self.whole(&at.key("pending"), raw.pending, default.pending, 1..=u64::MAX),
            requests: self.whole(&at.key("requests"), raw.requests, default.requests, 1..=u64::MAX),
            streams: self.whole(&at.key("streams"), raw.streams, default.streams, 1..=STREAMS_MAX),
        }
    }

    pub(super) fn retries(&mut self, at: &At<'_>, raw: &RawRetries) -> Retries {
        let default = Retries::default();
        let when = raw.when.as_ref().map(|words| self.retry_when(&at.key("when"), words));
        let methods = raw.methods.as_ref().map(|methods| self.methods(&at.key("methods"), Some(methods)));
        Retries {
            attempts: self.whole(&at.key("attempts"), raw.attempts, default.attempts, 1..=ATTEMPTS_MAX),
            when: when.unwrap_or(default.when),
            budget: raw.budget.map_or(default.budget, |budget| self.budget(&at.key("budget"), budget)),
            backoff: self.duration(&at.key("backoff"), raw.backoff, default.backoff),
            methods: methods.unwrap_or(default.methods),
            body: self.size(&at.key("body"), raw.body, default.body, 0),
        }
    }

    fn budget(&mut self, at: &At<'_>, Share(percent): Share) -> f64 {
        if percent > 100.0 {
            self.fault(Fault::value(at, "a budget is at most 100%: one retry for each request"));
        }
        percent / 100.0
    }

    fn retry_when(&mut self, at: &At<'_>, raw: &Items<NumberOrWord>) -> RetryWhen {
        let mut when = RetryWhen::default();
        for (index, NumberOrWord(word)) in items(Some(raw)) {
            match (word.as_str(), word.parse()) {
                ("connect-failure", _) => when.connect_failure = true,
                ("reset", _) => when.reset = true,
                ("timeout", _) => when.timeout = true,
                (_, Ok(status @ 400..=599)) => when.statuses.push(status),
                _ => {
                    let fault = Fault::value(at.item(index), format!("nothing that is tried again is called `{word}`"));
                    self.fault(fault.help("write `connect-failure`, `reset`, `timeout` or a status from 400 to 599"));
                }
            }
        }
        when
    }

    pub(super) fn hedge(&mut self, at: &At<'_>, raw: &RawHedge) -> Hedge {
        let default = Hedge::default();
        Hedge {
            after: self.duration(&at.key("after"), raw.after, default.after),
            max: self.whole(&at.key("max"), raw.max, default.max, 1..=ATTEMPTS_MAX),
        }
    }
}

/// Tries of one request beyond which a figure is taken for a mistake.
const ATTEMPTS_MAX: u64 = 16;

/// HTTP/2 numbers its streams by 31 bits (RFC 9113 §5.1.1).
const STREAMS_MAX: u64 = 1 << 30;
