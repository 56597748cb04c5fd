//! A prefix of keys in Consul's store, by blocking queries (`?index=&wait=`): the server answers when something has changed, or when it has
//! waited long enough.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::SourceError;
use super::remote::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, Address, Credential, RemoteError, in_time, pause};
use crate::config::Text;
use crate::outbound::consul::{longest, next_index};
use crate::outbound::{CallError, Caller, Trust};

pub(super) struct Consul {
    address: Address,
    caller: Caller,
    /// All of the query but `index` and `wait`.
    url: String,
    state: Mutex<State>,
}

/// What is known of the last answer.
#[derive(Default)]
struct State {
    /// 0 is answered at once.
    index: u64,
    /// Failures in a row.
    failures: u32,
    /// An answer that came while it was waited for, and that nobody has taken yet.
    fresh: Option<Result<Vec<Text>, RemoteError>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    key: String,
    /// None for a key that is a folder, or empty.
    value: Option<String>,
}

impl Consul {
    pub(super) fn new(address: Address, trust: &Trust) -> Result<Self, SourceError> {
        let prefix = address.prefix.trim_start_matches('/');
        let url = format!("{}/v1/kv/{}?recurse=true", address.origin, utf8_percent_encode(prefix, &KEY));
        Ok(Self { caller: address.caller(trust)?, address, url, state: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.address.name
    }

    /// All of it: what the last wait brought, or what there is now.
    pub(super) async fn read(&self) -> Result<Vec<Text>, RemoteError> {
        if let Some(fresh) = self.state().fresh.take() {
            return fresh;
        }
        self.ask(0).await
    }

    /// Comes when something may have changed since it was read.
    pub(super) async fn changed(&self) {
        let (index, failures) = {
            let state = self.state();
            (state.index, state.failures)
        };
        if failures > 0 {
            return tokio::time::sleep(pause(failures)).await;
        }
        if index == 0 {
            // A question without one is answered at once: not to be asked without end.
            tokio::time::sleep(pause(1)).await;
        }
        let fresh = self.ask(index).await;
        self.state().fresh = Some(fresh);
    }

    async fn ask(&self, index: u64) -> Result<Vec<Text>, RemoteError> {
        let answer = self.query(index).await;
        let mut state = self.state();
        match answer {
            Ok((headers, texts)) => {
                (state.index, state.failures) = (next_index(index, &headers), 0);
                Ok(texts)
            }
            Err(error) => {
                // Then the next question is answered at once.
                (state.index, state.failures) = (0, state.failures.saturating_add(1));
                Err(error)
            }
        }
    }

    async fn query(&self, index: u64) -> Result<(HeaderMap, Vec<Text>), RemoteError> {
        let mut fields = HeaderMap::new();
        if let Some(token) = self.token()? {
            let mut value = HeaderValue::try_from(token).map_err(|_| {
                RemoteError::Malformed("the token has characters that a header cannot carry".to_owned())
            })?;
            value.set_sensitive(true);
            fields.insert(HeaderName::from_static("x-consul-token"), value);
        }
        let (url, patience) = if index == 0 {
            (self.url.clone(), ANSWER_TIMEOUT)
        } else {
            let url = format!("{}&index={index}&wait={}s", self.url, WAIT.as_secs());
            (url, longest(WAIT) + ANSWER_TIMEOUT)
        };
        let asked = in_time(patience, self.caller.get_with(&url, fields, ANSWER_BYTES_MAX)).await;
        let (headers, body) = match asked {
            Err(RemoteError::Call(CallError::Status(StatusCode::NOT_FOUND))) => return Err(RemoteError::Empty),
            answer => answer?,
        };
        let entries: Vec<Entry> =
            serde_json::from_slice(&body).map_err(|error| RemoteError::Malformed(error.to_string()))?;
        Ok((headers, self.texts(entries)?))
    }

    fn texts(&self, mut entries: Vec<Entry>) -> Result<Vec<Text>, RemoteError> {
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        let filled = entries.into_iter().filter_map(|entry| Some((entry.key, entry.value?)));
        let entry = |(key, value): (String, String)| {
            let value = BASE64.decode(value).map_err(|error| RemoteError::Malformed(error.to_string()))?;
            Ok((key, value))
        };
        self.address.texts(filled.map(entry))
    }

    /// As the address says, or as Consul's own tools find it.
    fn token(&self) -> Result<Option<String>, RemoteError> {
        match &self.address.credential {
            Some(credential) => credential.read().map(Some),
            None => Ok(Credential::Env(TOKEN_VARIABLE.to_owned()).read().ok().filter(|token| !token.is_empty())),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of a key must be escaped in a path.
const KEY: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const WAIT: Duration = Duration::from_secs(300);
const TOKEN_VARIABLE: &str = "CONSUL_HTTP_TOKEN";
