//! Endpoints from the DNS: the addresses of a name, or the targets of SRV records, asked again when their TTL is over.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;

use super::super::Endpoint;
use super::{DiscoveryError, Found};

pub(super) struct Dns {
    name: String,
    /// `None`: SRV records say it.
    port: Option<u16>,
    server: Option<SocketAddr>,
    resolver: Option<TokioResolver>,
    refresh: Duration,
    /// When the last answer is too old.
    due: Option<Instant>,
}

impl Dns {
    pub(super) fn of_addresses(host: &str, port: u16, server: Option<SocketAddr>, refresh: Duration) -> Self {
        Self { name: host.to_owned(), port: Some(port), server, resolver: None, refresh, due: None }
    }

    pub(super) fn of_services(name: &str, server: Option<SocketAddr>, refresh: Duration) -> Self {
        Self { name: name.to_owned(), port: None, server, resolver: None, refresh, due: None }
    }

    pub(super) async fn next(&mut self) -> Result<Found, DiscoveryError> {
        if let Some(due) = self.due.take() {
            tokio::time::sleep_until(due.into()).await;
        }
        let (found, valid_until) = match self.port {
            Some(port) => self.addresses(port).await?,
            None => self.services().await?,
        };
        let now = Instant::now();
        self.due = Some(valid_until.clamp(now + AGE_MIN.min(self.refresh), now + self.refresh));
        Ok(found)
    }

    async fn addresses(&mut self, port: u16) -> Result<(Found, Instant), DiscoveryError> {
        let answer = self.look_up(&self.name.clone()).await?;
        let found = answer.iter().map(|address| (Endpoint::Tcp { host: address.to_string(), port }, 1)).collect();
        Ok((found, answer.valid_until()))
    }

    /// A weight of 0 is the least there is (RFC 2782), and not none.
    async fn services(&mut self) -> Result<(Found, Instant), DiscoveryError> {
        let name = self.name.clone();
        let answer = self.resolver()?.srv_lookup(name).await.map_err(failed)?;
        let records = answer.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(service) => Some(service),
            _ => None,
        });
        let first = records.clone().map(|service| service.priority).min();
        let mut valid_until = answer.valid_until();
        let mut found = Found::new();
        let wanted: Vec<_> = records.filter(|service| Some(service.priority) == first).cloned().collect();
        for service in wanted.into_iter().filter(|service| !service.target.is_root()) {
            let addresses = self.look_up(&service.target.to_utf8()).await?;
            valid_until = valid_until.min(addresses.valid_until());
            let weight = u32::from(service.weight.max(1));
            found.extend(
                addresses
                    .iter()
                    .map(|address| (Endpoint::Tcp { host: address.to_string(), port: service.port }, weight)),
            );
        }
        Ok((found, valid_until))
    }

    async fn look_up(&mut self, name: &str) -> Result<LookupIp, DiscoveryError> {
        self.resolver()?.lookup_ip(name).await.map_err(failed)
    }

    /// Made when it is first needed, because it reads the system's configuration.
    fn resolver(&mut self) -> Result<&TokioResolver, DiscoveryError> {
        if self.resolver.is_none() {
            let mut builder = match self.server {
                None => TokioResolver::builder_tokio().map_err(failed)?,
                Some(server) => TokioResolver::builder_with_config(asking(server), TokioRuntimeProvider::default()),
            };
            let options: &mut ResolverOpts = builder.options_mut();
            // What is asked again shall not come from memory.
            options.cache_size = 0;
            options.timeout = TRY_TIMEOUT;
            self.resolver = Some(builder.build().map_err(failed)?);
        }
        Ok(self.resolver.as_ref().expect("it was made above"))
    }
}

fn asking(server: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = server.port();
        connection
    });
    ResolverConfig::from_name_servers(vec![NameServerConfig::new(server.ip(), true, connections.into())])
}

fn failed(error: NetError) -> DiscoveryError {
    DiscoveryError::Dns(Box::new(error))
}

/// However short a TTL is.
const AGE_MIN: Duration = Duration::from_secs(1);
/// For one of the tries of a question.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
