//! Endpoints from Consul: the instances of a service whose checks pass, by blocking queries.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::super::Endpoint;
use super::{DiscoveryError, Found};
use crate::outbound::{self, AskError, Credential, Server};

pub(super) struct Consul {
    consul: outbound::Consul,
    /// Whether there was an answer, and none that failed since.
    has_answered: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    node: Node,
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    /// Empty where it is that of the node.
    #[serde(default)]
    address: String,
    port: u16,
    #[serde(default)]
    weights: Option<Weights>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
}

impl Consul {
    pub(super) fn new(
        server: Server,
        token: Option<Credential>,
        service: &str,
        tag: Option<&str>,
        refresh: Duration,
    ) -> Self {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let tag = tag.map_or(String::new(), |tag| format!("&tag={}", encoded(tag)));
        let question = format!("/v1/health/service/{}?passing=1{tag}", encoded(service));
        let wait = refresh.clamp(WAIT_MIN, WAIT_MAX);
        Self { consul: outbound::Consul::new(server, token, question, wait), has_answered: false }
    }

    pub(super) async fn next(&mut self) -> Result<Found, DiscoveryError> {
        let answer =
            if std::mem::take(&mut self.has_answered) { self.consul.change().await } else { self.consul.read().await };
        let entries: Vec<Entry> =
            serde_json::from_slice(&answer?).map_err(|error| AskError::Malformed(error.to_string()))?;
        self.has_answered = true;
        Ok(entries.into_iter().filter_map(member).collect())
    }
}

fn member(entry: Entry) -> Option<(Endpoint, u32)> {
    let Entry { node, service } = entry;
    let host = if service.address.is_empty() { node.address } else { service.address };
    let weight = service.weights.map_or(1, |weights| u32::from(weights.passing));
    (service.port > 0 && !host.is_empty()).then_some((Endpoint::Tcp { host, port: service.port }, weight))
}

const WAIT_MIN: Duration = Duration::from_secs(1);
/// Consul waits no longer.
const WAIT_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_an_address_of_their_own_or_their_nodes() {
        let entries = r#"[
            { "Node": { "Address": "10.0.0.1" }, "Service": { "Address": "", "Port": 80, "Tags": [] } },
            { "Node": { "Address": "10.0.0.1" }, "Service": { "Address": "10.1.0.1", "Port": 81, "Weights": { "Passing": 3, "Warning": 1 } } },
            { "Node": { "Address": "10.0.0.2" }, "Service": { "Address": "", "Port": 0 } }
        ]"#;
        let entries: Vec<Entry> = serde_json::from_str(entries).expect("as Consul writes it");
        let found: Found = entries.into_iter().filter_map(member).collect();
        let endpoint = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        assert_eq!(found, [(endpoint("10.0.0.1", 80), 1), (endpoint("10.1.0.1", 81), 3)]);
    }
}
