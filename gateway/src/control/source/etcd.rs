//! A prefix of keys in etcd, over the JSON gateway of its own server: read at one revision, and watched from there on.
//!
//! A watch only tells that something has changed; then all is read again, which is right also after a compaction, a restart of the server
//! or a stream that broke off.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::SourceError;
use super::remote::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, Address, KEYS_MAX, RemoteError, in_time, pause};
use crate::config::Text;
use crate::outbound::etcd::{KeyValue, Keys, Range, Told, Watch};
use crate::outbound::{CallError, Caller, Trust};

pub(super) struct Etcd {
    address: Address,
    caller: Caller,
    keys: Keys,
    /// Of what was read last; 0 before that.
    revision: AtomicU64,
    /// Failures in a row.
    failures: AtomicU32,
    /// What the server gave for user and password.
    token: Mutex<Option<String>>,
}

#[derive(Deserialize)]
struct Authenticated {
    token: String,
}

impl Etcd {
    pub(super) fn new(address: Address, trust: &Trust) -> Result<Self, SourceError> {
        Ok(Self {
            caller: address.caller(trust)?,
            keys: Keys::beginning(&address.prefix),
            address,
            revision: AtomicU64::new(0),
            failures: AtomicU32::new(0),
            token: Mutex::default(),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.address.name
    }

    /// All of it, as it is at one revision.
    pub(super) async fn read(&self) -> Result<Vec<Text>, RemoteError> {
        let read = self.range().await;
        match &read {
            Ok(_) => self.failures.store(0, Relaxed),
            Err(_) => drop(self.failures.fetch_add(1, Relaxed)),
        }
        read
    }

    /// Comes when something may have changed since it was read.
    pub(super) async fn changed(&self) {
        let failures = self.failures.load(Relaxed);
        if failures > 0 {
            return tokio::time::sleep(pause(failures)).await;
        }
        match self.watch().await {
            Ok(()) => tokio::time::sleep(DEBOUNCE).await,
            Err(error) => {
                tracing::debug!(source = self.name(), %error, "the watch ended");
                tokio::time::sleep(pause(1)).await;
            }
        }
    }

    async fn range(&self) -> Result<Vec<Text>, RemoteError> {
        // One more than may be tells that there are too many.
        let answer = self.ask("/v3/kv/range", &self.keys.question(Some(KEYS_MAX + 1))).await?;
        let range: Range =
            serde_json::from_slice(&answer).map_err(|error| RemoteError::Malformed(error.to_string()))?;
        let revision = range.revision().ok_or_else(|| RemoteError::Malformed("no revision".to_owned()))?;
        let texts = self.texts(range.kvs)?;
        self.revision.store(revision, Relaxed);
        Ok(texts)
    }

    fn texts(&self, entries: Vec<KeyValue>) -> Result<Vec<Text>, RemoteError> {
        // Also where some are not below the prefix: there may be more behind them.
        if entries.len() > KEYS_MAX {
            return Err(RemoteError::TooManyKeys);
        }
        let decoded = |text: &str| BASE64.decode(text).map_err(|error| RemoteError::Malformed(error.to_string()));
        let entry = |entry: KeyValue| {
            let key = String::from_utf8_lossy(&decoded(&entry.key)?).into_owned();
            Ok((key, decoded(&entry.value)?))
        };
        self.address.texts(entries.into_iter().map(entry))
    }

    /// Comes back well when there was a change.
    async fn watch(&self) -> Result<(), RemoteError> {
        let wish = self.keys.watch_from(self.revision.load(Relaxed) + 1);
        let token = self.token().await?;
        let url = format!("{}/v3/watch", self.address.origin);
        let opened = self.caller.open_as(&url, wish.into(), token.as_deref());
        let mut watch = Watch::new(in_time(ANSWER_TIMEOUT, opened).await?, ANSWER_BYTES_MAX);
        loop {
            match tokio::time::timeout(WATCH_MAX, watch.next()).await {
                // A stream on which nothing came for so long may be dead without anybody knowing.
                Err(_) => return Ok(()),
                Ok(Ok(Told::Nothing)) => {}
                // After a compaction the revision to go on from is no more: then all is read again, which gives a new one.
                Ok(Ok(Told::Changed | Told::Canceled)) => return Ok(()),
                Ok(Err(error)) => return Err(RemoteError::Malformed(error.to_string())),
            }
        }
    }

    /// Asks, and where the server has forgotten the token, asks once more with a new one.
    async fn ask(&self, path: &str, question: &str) -> Result<bytes::Bytes, RemoteError> {
        let url = format!("{}{path}", self.address.origin);
        for is_last in [false, true] {
            let token = self.token().await?;
            let asked = self.caller.post_as(&url, question.to_owned().into(), token.as_deref(), ANSWER_BYTES_MAX);
            match in_time(ANSWER_TIMEOUT, asked).await {
                Err(RemoteError::Call(CallError::Status(StatusCode::UNAUTHORIZED))) if !is_last && token.is_some() => {
                    *self.held() = None;
                }
                answer => return answer,
            }
        }
        Err(RemoteError::Call(CallError::Status(StatusCode::UNAUTHORIZED)))
    }

    fn held(&self) -> MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What shows who asks; none where the address names no user.
    async fn token(&self) -> Result<Option<String>, RemoteError> {
        let Some(user) = &self.address.user else { return Ok(None) };
        if let Some(token) = &*self.held() {
            return Ok(Some(token.clone()));
        }
        let password = self.address.credential.as_ref().map(super::remote::Credential::read).transpose()?;
        let question = json!({ "name": user, "password": password.unwrap_or_default() }).to_string();
        let url = format!("{}/v3/auth/authenticate", self.address.origin);
        let asked = self.caller.post(&url, question.into(), ANSWER_BYTES_MAX);
        let answer = in_time(ANSWER_TIMEOUT, asked).await?;
        let answer: Authenticated =
            serde_json::from_slice(&answer).map_err(|error| RemoteError::Malformed(error.to_string()))?;
        *self.held() = Some(answer.token.clone());
        Ok(Some(answer.token))
    }
}

/// Several keys are often written one after the other.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// After so long in silence, all is read again.
const WATCH_MAX: Duration = Duration::from_secs(300);
