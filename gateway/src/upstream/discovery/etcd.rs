//! Endpoints from etcd: the values of all keys with a prefix, read when a watch tells of a change.
//!
//! Over the JSON gateway of etcd's own server (`/v3/kv/range`, `/v3/watch`), so that no second gRPC stack is needed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::super::Endpoint;
use super::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, DiscoveryError, Found, endpoint};
use crate::outbound::etcd::{KeyValue, Keys, Range, Told, Watch};
use crate::outbound::{Caller, Trust};

pub(super) struct Etcd {
    caller: Caller,
    url: String,
    keys: Keys,
    refresh: Duration,
    has_asked: bool,
    watch: Option<Watch>,
}

/// A value that is not just `HOST:PORT`. `Addr` is what etcd's own gRPC resolver writes.
#[derive(Deserialize)]
struct Described {
    #[serde(alias = "Addr")]
    address: String,
    weight: Option<u16>,
}

impl Etcd {
    pub(super) fn new(url: &str, prefix: &str, refresh: Duration, trust: &Trust) -> Self {
        let (url, keys) = (url.to_owned(), Keys::beginning(prefix));
        Self { caller: trust.caller(), url, keys, refresh, has_asked: false, watch: None }
    }

    pub(super) async fn next(&mut self) -> Result<Found, DiscoveryError> {
        if std::mem::replace(&mut self.has_asked, true) {
            self.changed().await;
        }
        let found = self.read().await;
        if found.is_err() {
            // Whoever asks again then need not wait for a change.
            (self.has_asked, self.watch) = (false, None);
        }
        found
    }

    /// Waits until something has changed, or may have.
    async fn changed(&mut self) {
        let Some(watch) = &mut self.watch else {
            return tokio::time::sleep(self.refresh).await;
        };
        let change = async {
            loop {
                match watch.next().await {
                    Ok(Told::Nothing) => {}
                    told => return told,
                }
            }
        };
        match tokio::time::timeout(self.refresh, change).await {
            Ok(Ok(Told::Changed | Told::Nothing)) | Err(_) => {}
            Ok(Ok(Told::Canceled) | Err(_)) => self.watch = None,
        }
    }

    async fn read(&mut self) -> Result<Found, DiscoveryError> {
        let url = format!("{}/v3/kv/range", self.url);
        let asked = self.caller.post(&url, self.keys.question(None).into(), ANSWER_BYTES_MAX);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        let answer = answer.map_err(|_| DiscoveryError::Timeout(ANSWER_TIMEOUT))??;
        let range: Range =
            serde_json::from_slice(&answer).map_err(|error| DiscoveryError::Malformed(error.to_string()))?;
        if self.watch.is_none() {
            // Without it, only the refresh finds changes.
            self.watch = self.watch_after(range.revision()).await;
        }
        Ok(range.kvs.iter().filter_map(member).collect())
    }

    async fn watch_after(&self, revision: Option<u64>) -> Option<Watch> {
        let wish = self.keys.watch_from(revision?.checked_add(1)?);
        let url = format!("{}/v3/watch", self.url);
        let asked = self.caller.open(&url, wish.into());
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok()? {
            Ok(body) => Some(Watch::new(body, ANSWER_BYTES_MAX)),
            Err(error) => {
                tracing::debug!(%error, "etcd gives no watch");
                None
            }
        }
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
        let entry = KeyValue { key: BASE64.encode("k"), value: BASE64.encode(value) };
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
