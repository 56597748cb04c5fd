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
use crate::outbound::{AskError, Credential, Login, Server, Standing, TlsFileError, TlsFiles, Trust};
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
    /// The value of every key that begins so.
    Etcd { server: Access, user: Option<String>, prefix: String },
    /// The instances whose checks pass.
    Consul { server: Access, service: String, tag: Option<String> },
}

/// A server, and what it takes to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub origin: String,
    /// The password of the user, or the token.
    pub credential: Option<Credential>,
    pub files: TlsFiles,
}

impl Source {
    /// Whether both have the same endpoints, however they are asked for them.
    pub fn is_same_place(&self, other: &Self) -> bool {
        let anyhow = |source: &Self| {
            let mut source = source.clone();
            if let Self::Etcd { server, .. } | Self::Consul { server, .. } = &mut source {
                (server.credential, server.files) = (None, TlsFiles::default());
            }
            if let Self::Etcd { user, .. } = &mut source {
                *user = None;
            }
            source
        };
        anyhow(self) == anyhow(other)
    }
}

/// Endpoints with their weights: in order, each once, at least one.
pub type Found = Vec<(Endpoint, u32)>;

/// Why a source has nothing good to tell.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    #[error("the name is not resolved: {0}")]
    Dns(Box<hickory_resolver::net::NetError>),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    #[error("there are no endpoints in the answer")]
    Empty,
    #[error("there are more than {ENDPOINTS_MAX} endpoints in the answer")]
    TooMany,
}

/// Asks a source again and again.
pub struct Seeker {
    discovery: Discovery,
    trust: Trust,
    /// Made when it is first needed, because its files may not be there yet.
    asking: Option<Asking>,
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
        let pause_max = discovery.refresh.max(PAUSE_MIN);
        let (discovery, trust) = (discovery.clone(), trust.clone());
        Self { discovery, trust, asking: None, pause: Duration::ZERO, pause_max }
    }

    /// The first time what there is; after that what there is once it has changed, or may have. Begins with a pause that
    /// grows while a source fails, so that it may be called at once again.
    ///
    /// # Errors
    /// Any [`DiscoveryError`].
    pub async fn next(&mut self) -> Result<Found, DiscoveryError> {
        tokio::time::sleep(self.pause.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        let found = self.ask().await;
        let found = found.and_then(good);
        self.pause = if found.is_ok() { PAUSE_MIN } else { (self.pause * 2).clamp(PAUSE_MIN, self.pause_max) };
        found
    }

    async fn ask(&mut self) -> Result<Found, DiscoveryError> {
        let asking = match &mut self.asking {
            Some(asking) => asking,
            none => none.insert(Asking::of(&self.discovery, &self.trust)?),
        };
        match asking {
            Asking::Dns(dns) => dns.next().await,
            Asking::Etcd(etcd) => etcd.next().await,
            Asking::Consul(consul) => consul.next().await,
        }
    }
}

impl Asking {
    fn of(discovery: &Discovery, trust: &Trust) -> Result<Self, TlsFileError> {
        let refresh = discovery.refresh;
        let open = |server: &Access| {
            let (origins, files) = (vec![server.origin.clone()], server.files.clone());
            let standing = Standing { origins, files, patience: ANSWER_TIMEOUT, bytes_max: ANSWER_BYTES_MAX };
            Server::new(standing, trust)
        };
        Ok(match &discovery.source {
            Source::Dns { host, port, resolver } => Self::Dns(Dns::of_addresses(host, *port, *resolver, refresh)),
            Source::Srv { name, resolver } => Self::Dns(Dns::of_services(name, *resolver, refresh)),
            Source::Etcd { server, user, prefix } => {
                let password = server.credential.clone();
                let login = user.clone().map(|user| Login { user, password });
                Self::Etcd(Etcd::new(open(server)?, login, prefix, refresh))
            }
            Source::Consul { server, service, tag } => {
                let token = server.credential.clone();
                Self::Consul(Consul::new(open(server)?, token, service, tag.as_deref(), refresh))
            }
        })
    }
}

impl DiscoveryError {
    /// What of it people need to be told apart: a reason that changes within a kind is no news.
    pub fn kind(&self) -> String {
        match self {
            Self::Dns(error) => error.to_string(),
            Self::Ask(error) => error.kind().to_owned(),
            Self::Tls(_) => "tls".to_owned(),
            Self::Empty => "empty".to_owned(),
            Self::TooMany => "too large".to_owned(),
        }
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
