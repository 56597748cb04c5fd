//! Endpoints from etcd: the values of all keys with a prefix, read when a watch tells of a change.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::super::Endpoint;
use super::{DiscoveryError, Found, endpoint};
use crate::outbound::{self, KeyValue, Login, Mark, Server};

pub(super) struct Etcd {
    etcd: outbound::Etcd,
    refresh: Duration,
    /// Of what was read last; none when that failed.
    mark: Option<Mark>,
}

/// A value that is not just `HOST:PORT`. `Addr` is what etcd's own gRPC resolver writes.
#[derive(Deserialize)]
struct Described {
    #[serde(alias = "Addr")]
    address: String,
    weight: Option<u16>,
}

impl Etcd {
    pub(super) fn new(server: Server, login: Option<Login>, prefix: &str, refresh: Duration) -> Self {
        Self { etcd: outbound::Etcd::new(server, login, prefix), refresh, mark: None }
    }

    pub(super) async fn next(&mut self) -> Result<Found, DiscoveryError> {
        if let Some(mark) = self.mark.take() {
            let changed = tokio::time::timeout(self.refresh, self.etcd.changed(mark));
            // After so long it is read in any case.
            changed.await.unwrap_or(Ok(()))?;
        }
        let range = self.etcd.read(None).await?;
        self.mark = Some(range.mark());
        Ok(range.kvs.iter().filter_map(member).collect())
    }
}

/// What is no endpoint is left out, so that one bad key does not hold up the others.
fn member(entry: &KeyValue) -> Option<(Endpoint, u32)> {
    let value = BASE64.decode(&entry.value).ok().and_then(|value| String::from_utf8(value).ok());
    let found = value.as_deref().map(str::trim).and_then(|text| match serde_json::from_str::<Described>(text) {
        Ok(described) => Some((endpoint(&described.address)?, described.weight.map_or(1, u32::from))),
        Err(_) => Some((endpoint(text.strip_prefix("http://").unwrap_or(text))?, 1)),
    });
    if found.is_none() {
        let key = BASE64.decode(&entry.key).unwrap_or_default();
        tracing::warn!(key = %String::from_utf8_lossy(&key), "the value of a key in etcd is not an endpoint");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: Option<(&str, u16, u32)>) {
        let entry = format!(r#"{{ "key": "{}", "value": "{}" }}"#, BASE64.encode("k"), BASE64.encode(value));
        let entry: KeyValue = serde_json::from_str(&entry).expect("as etcd writes it");
        let expected = expected.map(|(host, port, weight)| (Endpoint::Tcp { host: host.to_owned(), port }, weight));
        assert_eq!(member(&entry), expected, "{value}");
    }

    #[test]
    fn values_are_addresses_plain_or_described() {
        check("10.0.0.5:8080", Some(("10.0.0.5", 8080, 1)));
        check("http://users:80\n", Some(("users", 80, 1)));
        check("[::1]:80", Some(("::1", 80, 1)));
        check(r#"{"address": "10.0.0.5:80", "weight": 3}"#, Some(("10.0.0.5", 80, 3)));
        check(r#"{"Op": 0, "Addr": "10.0.0.5:80", "Metadata": null}"#, Some(("10.0.0.5", 80, 1)));
        for refused in ["", "users", ":80", "users:0", "users:http", "a/b:80", "{}", r#"{"address": "users"}"#] {
            check(refused, None);
        }
    }
}
