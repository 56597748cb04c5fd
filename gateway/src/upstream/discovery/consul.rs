//! Endpoints from Consul: the instances of a service whose checks pass, by blocking queries (`?index=&wait=`).

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::super::Endpoint;
use super::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, DiscoveryError, Found};
use crate::outbound::consul::{longest, next_index};
use crate::outbound::{Caller, Trust};

pub(super) struct Consul {
    caller: Caller,
    /// All of the query but `index`.
    url: String,
    wait: Duration,
    /// Of the last answer; 0 is answered at once.
    index: u64,
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
    pub(super) fn new(url: &str, service: &str, tag: Option<&str>, refresh: Duration, trust: &Trust) -> Self {
        let wait = refresh.clamp(WAIT_MIN, WAIT_MAX);
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let tag = tag.map_or(String::new(), |tag| format!("&tag={}", encoded(tag)));
        let url = format!("{url}/v1/health/service/{}?passing=1{tag}&wait={}s", encoded(service), wait.as_secs());
        Self { caller: trust.caller(), url, wait, index: 0 }
    }

    pub(super) async fn next(&mut self) -> Result<Found, DiscoveryError> {
        let found = self.read().await;
        if found.is_err() {
            self.index = 0;
        }
        found
    }

    async fn read(&mut self) -> Result<Found, DiscoveryError> {
        let patience = longest(self.wait) + ANSWER_TIMEOUT;
        let patience = if self.index == 0 { ANSWER_TIMEOUT } else { patience };
        let url = format!("{}&index={}", self.url, self.index);
        let asked = self.caller.get(&url, ANSWER_BYTES_MAX);
        let (headers, body) =
            tokio::time::timeout(patience, asked).await.map_err(|_| DiscoveryError::Timeout(patience))??;
        self.index = next_index(self.index, &headers);
        let entries: Vec<Entry> =
            serde_json::from_slice(&body).map_err(|error| DiscoveryError::Malformed(error.to_string()))?;
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
