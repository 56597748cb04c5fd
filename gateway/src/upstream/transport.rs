//! How the endpoints of an upstream are reached: protocol, TLS, times, limits.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::{IpAddr, ServerName};

use super::{Endpoint, Limits, Load, Timeouts};
use crate::outbound::{TlsError, TlsTerms, Trust};

/// Shared by all workers, and by snapshots between which nothing of it changed.
#[derive(Debug)]
pub struct Transport {
    pub protocol: Protocol,
    pub tls: Option<Tls>,
    pub timeouts: Timeouts,
    pub limits: Limits,
    /// Outlives the rest, as long as the upstream has its name.
    pub load: Arc<Load>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// With prior knowledge (RFC 9113 §3.3), or by ALPN where there is TLS.
    Http2,
    /// What the endpoint chooses by ALPN; HTTP/1.1 without TLS.
    Auto,
}

/// TLS as all endpoints of an upstream are spoken to.
pub struct Tls {
    terms: TlsTerms,
    /// `None`: each endpoint's host.
    server_name: Option<ServerName<'static>>,
    pub(super) config: ClientConfig,
}

impl Tls {
    /// Reads the system's authorities where they count: not for the request path.
    ///
    /// # Errors
    /// Any [`TlsError`].
    pub fn new(trust: &Trust, terms: TlsTerms, server_name: Option<ServerName<'static>>) -> Result<Self, TlsError> {
        let config = trust.tls_on(&terms)?;
        Ok(Self { terms, server_name, config })
    }

    /// Whose certificate an endpoint has to show; `None` when its host is nothing that a certificate could be for.
    pub(super) fn name_of(&self, endpoint: &Endpoint) -> Option<ServerName<'static>> {
        if let Some(name) = &self.server_name {
            return Some(name.clone());
        }
        let host = endpoint.host()?;
        match host.parse::<std::net::IpAddr>() {
            Ok(address) => Some(ServerName::IpAddress(IpAddr::from(address))),
            // The dot of the root is no part of the name in a certificate.
            Err(_) => ServerName::try_from(host.trim_end_matches('.').to_owned()).ok(),
        }
    }
}

impl Transport {
    /// `previous`, when it is the same, so that connections stay; else a new one with the load of the previous.
    pub fn new(
        protocol: Protocol,
        tls: Option<Tls>,
        timeouts: Timeouts,
        limits: Limits,
        previous: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let same = previous.filter(|previous| {
            previous.protocol == protocol
                && previous.tls == tls
                && previous.timeouts == timeouts
                && previous.limits == limits
        });
        same.cloned().unwrap_or_else(|| {
            let load = previous.map(|previous| previous.load.clone()).unwrap_or_default();
            Arc::new(Self { protocol, tls, timeouts, limits, load })
        })
    }
}

impl Protocol {
    /// What is offered by ALPN (RFC 7301), the preferred one first.
    pub(super) fn offers(self) -> Vec<Vec<u8>> {
        let names: &[&[u8]] = match self {
            Self::Http1 => &[HTTP1],
            Self::Http2 => &[HTTP2],
            Self::Auto => &[HTTP2, HTTP1],
        };
        names.iter().map(|name| name.to_vec()).collect()
    }
}

impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms && self.server_name == other.server_name
    }
}

/// Without the key.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

const HTTP1: &[u8] = b"http/1.1";
pub(super) const HTTP2: &[u8] = b"h2";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_transport_stays_while_nothing_changes_and_its_load_in_any_case() {
        let second = Duration::from_secs(1);
        let timeouts = Timeouts { connect: second, per_try: second, idle: second };
        let limits = Limits { connections: 1, pending: 1, requests: 1, streams: 1 };
        let first = Transport::new(Protocol::Http1, None, timeouts, limits, None);
        let same = Transport::new(Protocol::Http1, None, timeouts, limits, Some(&first));
        assert!(Arc::ptr_eq(&first, &same));
        let changed = [
            Transport::new(Protocol::Auto, None, timeouts, limits, Some(&first)),
            Transport::new(Protocol::Http1, None, Timeouts { idle: second * 2, ..timeouts }, limits, Some(&first)),
            Transport::new(Protocol::Http1, None, timeouts, Limits { streams: 2, ..limits }, Some(&first)),
            Transport::new(Protocol::Http1, tls(None), timeouts, limits, Some(&first)),
        ];
        for other in &changed {
            assert!(!Arc::ptr_eq(&first, other) && Arc::ptr_eq(&first.load, &other.load), "{other:?}");
        }
        let secure = &changed[3];
        assert!(Arc::ptr_eq(secure, &Transport::new(Protocol::Http1, tls(None), timeouts, limits, Some(secure))));
        let renamed = Transport::new(Protocol::Http1, tls(Some("a")), timeouts, limits, Some(secure));
        assert!(!Arc::ptr_eq(secure, &renamed));
    }

    fn tls(name: Option<&str>) -> Option<Tls> {
        let terms = TlsTerms { verify: false, ..TlsTerms::default() };
        let name = name.map(|name| ServerName::try_from(name.to_owned()).expect("a name"));
        Tls::new(&Trust::default(), terms, name).ok()
    }
}
