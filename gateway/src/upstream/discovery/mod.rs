//! Discovery: endpoints that a name server, etcd or Consul tells.
//!
//! A source is followed by a task of the control plane. An answer that is empty, too large or none at all changes nothing:
//! the last good one stays in force.

mod dns;
mod etcd;
mod consul;

use std::net::SocketAddr;
use std::time::Duration;

use super::{ENDPOINTS_MAX, Endpoint};
use crate::outbound::{CallError, Trust};
use consul::Consul;
use dns::Dns;
use etcd::Etcd;

/// Where the endpoints of an upstream come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub source: Source,
    /// After so long the source is asked again at the latest, also where it would tell by itself.
    pub refresh: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Every address of a name. `None` asks whom the system asks.
    Dns { host: String, port: u16, resolver: Option<SocketAddr> },
    /// The targets of SRV records (RFC 2782), as far as they have the lowest priority.
    Srv { name: String, resolver: Option<SocketAddr> },
    /// The value of every key that begins so; `url` is an origin.
    Etcd { url: String, prefix: String },
    /// The instances whose checks pass; `url` is an origin.
    Consul { url: String, service: String, tag: Option<String> },
}

/// Endpoints with their weights: in order, each once, at least one.
pub type Found = Vec<(Endpoint, u32)>;

/// Why a source has nothing good to tell.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("the name is not resolved: {0}")]
    Dns(Box<hickory_resolver::net::NetError>),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("there are no endpoints in the answer")]
    Empty,
    #[error("there are more than {ENDPOINTS_MAX} endpoints in the answer")]
    TooMany,
}

/// Asks a source again and again.
pub struct Seeker {
    source: Asking,
    /// Before it asks again; none before the first time.
    pause: Duration,
    pause_max: Duration,
}

enum Asking {
    Dns(Dns),
    Etcd(Etcd),
    Consul(Consul),
}

impl Seeker {
    pub fn new(discovery: &Discovery, trust: &Trust) -> Self {
        let refresh = discovery.refresh;
        let source = match &discovery.source {
            Source::Dns { host, port, resolver } => Asking::Dns(Dns::of_addresses(host, *port, *resolver, refresh)),
            Source::Srv { name, resolver } => Asking::Dns(Dns::of_services(name, *resolver, refresh)),
            Source::Etcd { url, prefix } => Asking::Etcd(Etcd::new(url, prefix, refresh, trust)),
            Source::Consul { url, service, tag } => {
                Asking::Consul(Consul::new(url, service, tag.as_deref(), refresh, trust))
            }
        };
        Self { source, pause: Duration::ZERO, pause_max: refresh.max(PAUSE_MIN) }
    }

    /// The first time what there is; after that what there is once it has changed, or may have. Begins with a pause that
    /// grows while a source fails, so that it may be called at once again.
    ///
    /// # Errors
    /// Any [`DiscoveryError`].
    pub async fn next(&mut self) -> Result<Found, DiscoveryError> {
        tokio::time::sleep(self.pause.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        let found = match &mut self.source {
            Asking::Dns(dns) => dns.next().await,
            Asking::Etcd(etcd) => etcd.next().await,
            Asking::Consul(consul) => consul.next().await,
        };
        let found = found.and_then(good);
        self.pause = if found.is_ok() { PAUSE_MIN } else { (self.pause * 2).clamp(PAUSE_MIN, self.pause_max) };
        found
    }
}

fn good(mut found: Found) -> Result<Found, DiscoveryError> {
    found.sort_unstable();
    found.dedup_by(|(later, _), (earlier, _)| later == earlier);
    match found.len() {
        0 => Err(DiscoveryError::Empty),
        1..=ENDPOINTS_MAX => Ok(found),
        _ => Err(DiscoveryError::TooMany),
    }
}

/// `HOST:PORT`, where an IPv6 address stands in brackets.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', '[', ']']);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    is_host.then(|| Endpoint::Tcp { host: host.to_owned(), port })
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Of an answer over HTTP.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// For an answer that is not meant to wait for a change.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
