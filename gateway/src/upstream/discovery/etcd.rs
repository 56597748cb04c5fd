//! Endpoints from etcd: the values of all keys with a prefix, read when a watch tells of a change.
//!
//! Over the JSON gateway of etcd's own server (`/v3/kv/range`, `/v3/watch`), so that no second gRPC stack is needed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::super::Endpoint;
use super::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, DiscoveryError, Found, endpoint};
use crate::outbound::{Caller, Trust};

pub(super) struct Etcd {
    caller: Caller,
    url: String,
    /// The first key, and the first behind all of them.
    range: [String; 2],
    refresh: Duration,
    has_asked: bool,
    watch: Option<Watch>,
}

/// A stream of changes, one JSON object a line.
struct Watch {
    body: Incoming,
    line: BytesMut,
}

#[derive(Deserialize)]
struct Range {
    header: Header,
    #[serde(default)]
    kvs: Vec<KeyValue>,
}

/// Numbers of 64 bits are text in the JSON of Protocol Buffers.
#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    key: String,
    #[serde(default)]
    value: String,
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
        let range = [BASE64.encode(prefix), BASE64.encode(behind(prefix.as_bytes()))];
        let url = url.to_owned();
        Self { caller: trust.caller(), url, range, refresh, has_asked: false, watch: None }
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
        match tokio::time::timeout(self.refresh, watch.changed()).await {
            Ok(true) | Err(_) => {}
            Ok(false) => self.watch = None,
        }
    }

    async fn read(&mut self) -> Result<Found, DiscoveryError> {
        let [key, range_end] = &self.range;
        let question = json!({ "key": key, "range_end": range_end }).to_string();
        let url = format!("{}/v3/kv/range", self.url);
        let asked = self.caller.post(&url, question.into(), ANSWER_BYTES_MAX);
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, asked).await;
        let answer = answer.map_err(|_| DiscoveryError::Timeout(ANSWER_TIMEOUT))??;
        let range: Range =
            serde_json::from_slice(&answer).map_err(|error| DiscoveryError::Malformed(error.to_string()))?;
        if self.watch.is_none() {
            // Without it, only the refresh finds changes.
            self.watch = self.watch_after(&range.header.revision).await;
        }
        Ok(range.kvs.iter().filter_map(member).collect())
    }

    async fn watch_after(&self, revision: &str) -> Option<Watch> {
        let [key, range_end] = &self.range;
        let from = revision.parse::<u64>().ok()?.checked_add(1)?.to_string();
        let wish = json!({ "create_request": { "key": key, "range_end": range_end, "start_revision": from } });
        let url = format!("{}/v3/watch", self.url);
        let asked = self.caller.open(&url, wish.to_string().into());
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await.ok()? {
            Ok(body) => Some(Watch { body, line: BytesMut::new() }),
            Err(error) => {
                tracing::debug!(%error, "etcd gives no watch");
                None
            }
        }
    }
}

impl Watch {
    /// Whether there was a change; `false` when the stream is over.
    async fn changed(&mut self) -> bool {
        loop {
            while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line = self.line.split_to(end + 1);
                match serde_json::from_slice::<serde_json::Value>(&line) {
                    // The first line only says that the watch is there.
                    Ok(told) if told["result"]["canceled"] == true || told.get("error").is_some() => return false,
                    Ok(told) if told["result"]["events"].is_array() => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
            let Some(Ok(frame)) = self.body.frame().await else { return false };
            let data = frame.into_data().unwrap_or_default();
            if self.line.len() + data.len() > ANSWER_BYTES_MAX {
                return false;
            }
            self.line.extend_from_slice(&data);
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

/// The first key that does not begin so: `/a` and `/b`, as etcd wants the end of a range.
fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Every key from the prefix on.
    vec![0]
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

    #[test]
    fn a_range_ends_behind_its_prefix() {
        assert_eq!(behind(b"/users/"), b"/users0");
        assert_eq!(behind(&[b'a', 0xff, 0xff]), b"b");
        assert_eq!(behind(&[0xff]), [0]);
    }
}
