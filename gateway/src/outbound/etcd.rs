//! What the JSON gateway of etcd's own server is asked and says (`/v3/kv/range`, `/v3/watch`): the keys that begin so, and a stream that
//! tells when one of them has changed. Keys and values are in base64, as they come.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

/// All keys with one beginning.
pub struct Keys {
    /// The first key, and the first behind all of them.
    range: [String; 2],
}

/// They and their values, at one revision.
#[derive(Deserialize)]
pub struct Range {
    header: Header,
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
}

/// Numbers of 64 bits are text in the JSON of Protocol Buffers.
#[derive(Deserialize)]
struct Header {
    revision: String,
}

#[derive(Deserialize)]
pub struct KeyValue {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
}

/// A stream of changes, one JSON object a line.
pub struct Watch {
    body: Incoming,
    line: BytesMut,
    line_bytes_max: usize,
}

/// What a line of a watch tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Changed,
    /// There will be no more: what was watched from is gone, by a compaction mostly.
    Canceled,
    /// The first line only says that the watch is there.
    Nothing,
}

/// A watch that tells no more.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("the stream ended")]
    Ended,
    #[error("a line of the stream has no end")]
    LineTooLong,
    #[error("the server gave the watch up")]
    GivenUp,
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

impl Keys {
    pub fn beginning(prefix: &str) -> Self {
        Self { range: [BASE64.encode(prefix), BASE64.encode(behind(prefix.as_bytes()))] }
    }

    /// The body that asks for them, and for no more than `limit` where there is one.
    pub fn question(&self, limit: Option<usize>) -> String {
        let [key, range_end] = &self.range;
        let mut question = json!({ "key": key, "range_end": range_end });
        if let Some(limit) = limit {
            question["limit"] = limit.into();
        }
        question.to_string()
    }

    /// The body that asks to be told of what changes from this revision on.
    pub fn watch_from(&self, revision: u64) -> String {
        let [key, range_end] = &self.range;
        let from = revision.to_string();
        json!({ "create_request": { "key": key, "range_end": range_end, "start_revision": from } }).to_string()
    }
}

impl Range {
    /// `None` where the server gives no number.
    pub fn revision(&self) -> Option<u64> {
        self.header.revision.parse().ok()
    }
}

impl Watch {
    /// `body` is the server's answer; a line that is longer than `line_bytes_max` ends the watch.
    pub fn new(body: Incoming, line_bytes_max: usize) -> Self {
        Self { body, line: BytesMut::new(), line_bytes_max }
    }

    /// What the next line tells. May be dropped while it waits, and called again.
    ///
    /// # Errors
    /// Any [`WatchError`]; then the watch is of no more use.
    pub async fn next(&mut self) -> Result<Told, WatchError> {
        let line = loop {
            if let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                break self.line.split_to(end + 1);
            }
            let Some(Ok(frame)) = self.body.frame().await else { return Err(WatchError::Ended) };
            let data = frame.into_data().unwrap_or_default();
            if self.line.len() + data.len() > self.line_bytes_max {
                return Err(WatchError::LineTooLong);
            }
            self.line.extend_from_slice(&data);
        };
        let told: serde_json::Value = serde_json::from_slice(&line)?;
        if told.get("error").is_some() {
            return Err(WatchError::GivenUp);
        }
        Ok(match &told["result"] {
            result if result["canceled"] == true => Told::Canceled,
            result if result["events"].is_array() => Told::Changed,
            _ => Told::Nothing,
        })
    }
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

    #[test]
    fn a_range_ends_behind_its_prefix() {
        assert_eq!(behind(b"/users/"), b"/users0");
        assert_eq!(behind(&[b'a', 0xff, 0xff]), b"b");
        assert_eq!(behind(&[0xff]), [0]);
    }
}
