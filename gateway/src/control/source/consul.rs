//! A prefix of keys in Consul's store, by blocking queries.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::SourceError;
use super::address::Address;
use super::remote::{Entries, RemoteError};
use crate::outbound::{AskError, CallError, Consul, Trust};

pub(super) struct Prefix {
    consul: Consul,
    /// An answer that came while it was waited for, and that nobody has taken yet.
    fresh: Mutex<Option<Bytes>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    /// None for a key that is a folder, or empty.
    value: Option<String>,
}

impl Prefix {
    pub(super) fn new(address: &Address, trust: &Trust) -> Result<Self, SourceError> {
        let prefix = address.prefix.trim_start_matches('/');
        let question = format!("/v1/kv/{}?recurse=true", utf8_percent_encode(prefix, &KEY));
        let token = address.credential.clone().or_else(Consul::token_of_environment);
        let consul = Consul::new(address.server(trust)?, token, question, WAIT);
        Ok(Self { consul, fresh: Mutex::default() })
    }

    /// What there is now.
    pub(super) async fn read(&self) -> Result<Entries, RemoteError> {
        entries(&self.consul.read().await.map_err(failure)?)
    }

    /// What the last wait brought, or else what there is now.
    pub(super) async fn take(&self) -> Result<Entries, RemoteError> {
        let fresh = self.fresh().take();
        match fresh {
            Some(answer) => entries(&answer),
            None => self.read().await,
        }
    }

    /// Comes when something may have changed since it was read.
    pub(super) async fn changed(&self) -> Result<(), RemoteError> {
        let answer = self.consul.change().await.map_err(failure)?;
        *self.fresh() = Some(answer);
        Ok(())
    }

    fn fresh(&self) -> std::sync::MutexGuard<'_, Option<Bytes>> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(error: AskError) -> RemoteError {
    match error {
        AskError::Call(CallError::Status(StatusCode::NOT_FOUND, _)) => RemoteError::Empty,
        error => error.into(),
    }
}

fn entries(answer: &[u8]) -> Result<Entries, RemoteError> {
    let malformed = |error: &dyn std::fmt::Display| AskError::Malformed(error.to_string());
    let mut entries: Vec<Entry> = serde_json::from_slice(answer).map_err(|error| malformed(&error))?;
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let filled = entries.into_iter().filter_map(|entry| Some((entry.key, entry.value?)));
    let decoded = filled.map(|(key, value)| match BASE64.decode(value) {
        Ok(value) => Ok((key, value)),
        Err(error) => Err(malformed(&format!("it is not base64: {error}")).into()),
    });
    decoded.collect()
}

/// What of a key must be escaped in a path.
const KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const WAIT: Duration = Duration::from_secs(300);
