//! An etcd server, asked over its own JSON gateway (`/v3/kv/range`, `/v3/watch`): the keys that begin so, and word of when one of them has
//! changed. Keys and values are in base64, as they come.
//!
//! A watch tells of changes at once. It does not tell that nothing can reach it any more, so a quiet one is checked by a small question: is the
//! server there, and are the newest change and the number of keys those that are known?

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::CallError;
use super::standing::{AskError, Credential, Question, Server, pause};

/// A server, and the keys with one beginning.
pub struct Etcd {
    server: Server,
    login: Option<Login>,
    keys: Keys,
    /// What the server gave for user and password.
    token: Mutex<Option<String>>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: Option<Credential>,
}

/// All keys with one beginning: the first of them, and the first behind them.
struct Keys([String; 2]);

/// They and their values, at one revision.
#[derive(Deserialize)]
pub struct Range {
    header: Header,
    #[serde(default)]
    pub kvs: Vec<KeyValue>,
    #[serde(default)]
    count: Number,
}

#[derive(Deserialize)]
struct Header {
    revision: Number,
}

#[derive(Deserialize)]
pub struct KeyValue {
    #[serde(default)]
    pub key: String,
    #[serde(default)]
    pub value: String,
    #[serde(default)]
    mod_revision: Number,
}

/// Numbers of 64 bits are text in the JSON of Protocol Buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
struct Number(u64);

/// What keys were like when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    revision: u64,
    /// The revision of the newest change that is still to be seen.
    newest: Number,
    count: Number,
}

#[derive(Deserialize)]
struct Authenticated {
    token: String,
}

impl Etcd {
    pub fn new(server: Server, login: Option<Login>, prefix: &str) -> Self {
        Self { server, login, keys: Keys::beginning(prefix), token: Mutex::default() }
    }

    /// The keys, no more than `limit` of them where there is one.
    ///
    /// # Errors
    /// Any [`AskError`].
    pub async fn read(&self, limit: Option<usize>) -> Result<Range, AskError> {
        self.range(self.keys.question(limit)).await
    }

    /// Comes when keys have changed since, or may have: after a compaction nobody knows.
    ///
    /// # Errors
    /// Any [`AskError`]: the server cannot be asked.
    pub async fn changed(&self, since: Mark) -> Result<(), AskError> {
        // How often in a row there was no watch, or one that broke off at once.
        let mut failures = 0;
        loop {
            let is_changed = match self.watch(since).await {
                Ok(mut watch) => self.listen(&mut watch, &mut failures, since).await?,
                Err(error) => {
                    tracing::debug!(%error, "etcd gives no watch");
                    failures += 1;
                    false
                }
            };
            // Where there is no watch, this question alone finds changes.
            if is_changed || self.is_other(since).await? {
                return Ok(());
            }
            tokio::time::sleep(pause(failures)).await;
        }
    }

    /// Whether the watch told of a change before it ended.
    async fn listen(&self, watch: &mut Watch, failures: &mut u32, since: Mark) -> Result<bool, AskError> {
        let turn = self.server.turn();
        loop {
            match tokio::time::timeout(self.server.patience(), watch.next()).await {
                Ok(Ok(Told::Changed)) => return Ok(true),
                Ok(Ok(Told::Canceled)) => {
                    tracing::debug!(revision = since.revision, "what was watched from is compacted");
                    return Ok(true);
                }
                Ok(Ok(Told::Nothing)) => *failures = 0,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a watch of etcd ended");
                    *failures += 1;
                    return Ok(false);
                }
                Err(_) if self.is_other(since).await? => return Ok(true),
                // Another server has answered in the place of the one that is listened to.
                Err(_) if turn != self.server.turn() => return Ok(false),
                Err(_) => {}
            }
        }
    }

    async fn is_other(&self, since: Mark) -> Result<bool, AskError> {
        let now = self.range(self.keys.newest()).await?.mark();
        Ok((now.newest, now.count) != (since.newest, since.count))
    }

    async fn watch(&self, since: Mark) -> Result<Watch, AskError> {
        let (_, body) = self.open("/v3/watch", &self.keys.watch_from(since.revision + 1)).await?;
        Ok(Watch { body, line: BytesMut::new(), searched: 0, line_bytes_max: self.server.bytes_max() })
    }

    async fn range(&self, question: String) -> Result<Range, AskError> {
        let (_, body) = self.open("/v3/kv/range", &question).await?;
        let answer = self.server.whole(body).await?;
        serde_json::from_slice(&answer).map_err(|error| AskError::malformed(&error))
    }

    /// Asks, and where the server does not know the token any more, once more with a new one.
    async fn open(&self, path: &str, question: &str) -> Result<(HeaderMap, Incoming), AskError> {
        let token = self.token().await?;
        let asked = |token: Option<&str>| Question::post(path, question.to_owned()).showing(AUTHORIZATION, token);
        match self.server.open(asked(token.as_deref())?, Duration::ZERO).await {
            // A token that is too old for what users may do by now is a bad request to etcd.
            Err(AskError::Call(CallError::Status(StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST, _)))
                if token.is_some() =>
            {
                *self.held() = None;
                let token = self.token().await?;
                self.server.open(asked(token.as_deref())?, Duration::ZERO).await
            }
            answer => answer,
        }
    }

    /// What shows who asks; none where nobody is named.
    async fn token(&self) -> Result<Option<String>, AskError> {
        let Some(Login { user, password }) = &self.login else { return Ok(None) };
        if let Some(token) = &*self.held() {
            return Ok(Some(token.clone()));
        }
        let password = password.as_ref().map(Credential::read).transpose()?.unwrap_or_default();
        let login = json!({ "name": user, "password": password }).to_string();
        let asked = Question::post("/v3/auth/authenticate", login);
        let (_, answer) = self.server.ask(asked, Duration::ZERO).await?;
        let answer: Authenticated = serde_json::from_slice(&answer).map_err(|error| AskError::malformed(&error))?;
        *self.held() = Some(answer.token.clone());
        Ok(Some(answer.token))
    }

    fn held(&self) -> MutexGuard<'_, Option<String>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn beginning(prefix: &str) -> Self {
        Self([BASE64.encode(prefix), BASE64.encode(behind(prefix.as_bytes()))])
    }

    fn wish(&self, more: Value) -> Value {
        let [key, range_end] = &self.0;
        let mut wish = json!({ "key": key, "range_end": range_end });
        if let (Value::Object(wish), Value::Object(more)) = (&mut wish, more) {
            wish.extend(more);
        }
        wish
    }

    fn question(&self, limit: Option<usize>) -> String {
        self.wish(limit.map_or(Value::Null, |limit| json!({ "limit": limit }))).to_string()
    }

    /// The one that was changed last, without its value.
    fn newest(&self) -> String {
        self.wish(json!({ "limit": 1, "keys_only": true, "sort_order": "DESCEND", "sort_target": "MOD" })).to_string()
    }

    fn watch_from(&self, revision: u64) -> String {
        json!({ "create_request": self.wish(json!({ "start_revision": revision.to_string() })) }).to_string()
    }
}

impl Range {
    /// What the keys are like.
    pub fn mark(&self) -> Mark {
        let newest = self.kvs.iter().map(|entry| entry.mod_revision).max().unwrap_or_default();
        Mark { revision: self.header.revision.0, newest, count: self.count }
    }
}

impl TryFrom<String> for Number {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// A stream of changes, one JSON object a line.
struct Watch {
    body: Incoming,
    line: BytesMut,
    /// So much of it has no end of a line.
    searched: usize,
    line_bytes_max: usize,
}

/// What a line of a watch tells.
enum Told {
    Changed,
    /// There will be no more: what was watched from is gone, by a compaction mostly.
    Canceled,
    /// The first line only says that the watch is there.
    Nothing,
}

/// A watch that tells no more.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error("the stream ended")]
    Ended,
    #[error("a line of the stream has no end")]
    LineTooLong,
    #[error("the server gave the watch up")]
    GivenUp,
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

impl Watch {
    /// What the next line tells. May be dropped while it waits, and called again. After an error it is of no more use.
    async fn next(&mut self) -> Result<Told, WatchError> {
        let told: Value = serde_json::from_slice(&self.next_line().await?)?;
        if told.get("error").is_some() {
            return Err(WatchError::GivenUp);
        }
        Ok(match &told["result"] {
            result if result["canceled"] == true => Told::Canceled,
            result if result["events"].is_array() => Told::Changed,
            _ => Told::Nothing,
        })
    }

    async fn next_line(&mut self) -> Result<Bytes, WatchError> {
        loop {
            // A line that comes in many pieces is looked through once.
            if let Some(end) = self.line[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.line.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.line.len();
            let Some(Ok(frame)) = self.body.frame().await else { return Err(WatchError::Ended) };
            let data = frame.into_data().unwrap_or_default();
            if self.line.len() + data.len() > self.line_bytes_max {
                return Err(WatchError::LineTooLong);
            }
            self.line.extend_from_slice(&data);
        }
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

    #[test]
    fn a_mark_is_the_newest_change_and_how_many_there_are() {
        let range = r#"{"header":{"member_id":"1","revision":"9"},"kvs":[{"key":"YQ==","mod_revision":"4","value":"Yg=="},{"key":"Yg==","mod_revision":"7"}],"count":"2"}"#;
        let range: Range = serde_json::from_str(range).expect("as etcd writes it");
        assert_eq!(range.mark(), Mark { revision: 9, newest: Number(7), count: Number(2) });
        assert!(serde_json::from_str::<Range>(r#"{"header":{"revision":"x"}}"#).is_err());
        assert!(serde_json::from_str::<Range>("{}").is_err());
    }
}
