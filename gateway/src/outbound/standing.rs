//! A server that the control plane asks again and again, for as long as the gateway lives: etcd or Consul. Here is what both have in common:
//! where it is, the files of TLS, where a secret is, how long an answer may take, and what can go wrong.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::Incoming;
use secrecy::{ExposeSecret as _, SecretString};

use super::caller::{CallError, Caller, whole};
use super::terms::TlsTerms;
use super::trust::Trust;

/// A server, and the connections to it.
pub struct Server {
    origin: String,
    files: TlsFiles,
    patience: Duration,
    bytes_max: usize,
    trust: Trust,
    line: Mutex<Line>,
}

/// What is known of a server before it is asked.
pub struct Standing {
    /// `http://HOST:PORT`, or `https://`.
    pub origin: String,
    pub files: TlsFiles,
    /// For an answer that is not meant to wait for a change. One that waits is asked for a sign of life as often.
    pub patience: Duration,
    /// Of an answer.
    pub bytes_max: usize,
}

/// Files of TLS, in PEM: read at first, and again when the server cannot be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities in the place of those that all outbound requests believe.
    pub ca: Option<PathBuf>,
    /// The gateway's own certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why files of TLS are of no use.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct TlsFileError {
    pub path: PathBuf,
    pub why: String,
}

/// Where a password or a token is: read each time it is needed, so that a new one takes effect by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Env(String),
    File(PathBuf),
    /// One that somebody else reads, and gives anew when it changes.
    Held(Held),
}

/// A password or token that `Debug` does not show.
#[derive(Debug, Clone)]
pub struct Held(SecretString);

/// Why a server has not said what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("the answer cannot be understood: {0}")]
    Malformed(String),
    #[error("{what} cannot be read: {why}")]
    Credential { what: String, why: String },
}

struct Line {
    terms: TlsTerms,
    caller: Caller,
}

/// What a server is asked.
pub(super) struct Question {
    request: http::request::Builder,
    json: Bytes,
}

impl Server {
    /// Reads the files of TLS.
    ///
    /// # Errors
    /// One of them cannot be read, or holds nothing of use.
    pub fn new(standing: Standing, trust: &Trust) -> Result<Self, TlsFileError> {
        let Standing { origin, files, patience, bytes_max } = standing;
        let line = Line::open(files.read()?, &files, trust)?;
        Ok(Self { origin, files, patience, bytes_max, trust: trust.clone(), line: Mutex::new(line) })
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn get(&self, path: &str) -> Question {
        Question { request: Request::get(format!("{}{path}", self.origin)), json: Bytes::new() }
    }

    pub(super) fn post(&self, path: &str, json: String) -> Question {
        let request = Request::post(format!("{}{path}", self.origin)).header(CONTENT_TYPE, "application/json");
        Question { request, json: json.into() }
    }

    /// The answer's fields, and all of its body; `wait` is how much longer it may take because it was asked to.
    pub(super) async fn ask(&self, question: Question, wait: Duration) -> Result<(HeaderMap, Bytes), AskError> {
        let (headers, body) = self.open(question, wait).await?;
        Ok((headers, self.whole(body).await?))
    }

    pub(super) async fn whole(&self, body: Incoming) -> Result<Bytes, AskError> {
        self.in_time(Duration::ZERO, whole(body, self.bytes_max)).await
    }

    /// The answer's fields, and its body as it comes.
    pub(super) async fn open(&self, question: Question, wait: Duration) -> Result<(HeaderMap, Incoming), AskError> {
        let request = question.request.body(question.json);
        let request = request.map_err(|error| CallError::Unavailable(error.to_string()))?;
        let caller = self.line().caller.clone();
        let opened = self.in_time(wait, caller.open(request)).await;
        if matches!(opened, Err(AskError::Call(CallError::Unavailable(_)))) {
            self.renew();
        }
        opened
    }

    async fn in_time<T>(
        &self,
        wait: Duration,
        asking: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, AskError> {
        let patience = wait + self.patience;
        let answer = tokio::time::timeout(patience, asking).await;
        Ok(answer.map_err(|_| AskError::Timeout(patience))??)
    }

    /// Certificates that are short-lived have other files by now.
    fn renew(&self) {
        let read = self.files.read().and_then(|terms| {
            let is_news = self.line().terms != terms;
            is_news.then(|| Line::open(terms, &self.files, &self.trust)).transpose()
        });
        match read {
            Ok(Some(line)) => *self.line() = line,
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, server = self.origin, "files of TLS cannot be read again"),
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn open(terms: TlsTerms, files: &TlsFiles, trust: &Trust) -> Result<Self, TlsFileError> {
        let caller = trust.caller_on(&terms).map_err(|error| {
            let path = files.ca.as_ref().or(files.identity.as_ref().map(|(cert, _)| cert));
            TlsFileError { path: path.cloned().unwrap_or_default(), why: error.to_string() }
        })?;
        Ok(Self { terms, caller })
    }
}

impl TlsFiles {
    fn read(&self) -> Result<TlsTerms, TlsFileError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| TlsFileError { path: path.to_owned(), why: error.to_string() })
        };
        Ok(TlsTerms {
            authorities: self.ca.as_deref().map(read).transpose()?,
            identity: self.identity.as_ref().map(|(cert, key)| Ok((read(cert)?, read(key)?))).transpose()?,
            verify: true,
        })
    }
}

impl Question {
    /// With a field that nobody may see.
    pub(super) fn showing(mut self, name: HeaderName, secret: Option<&str>) -> Result<Self, AskError> {
        if let Some(secret) = secret {
            let mut value = HeaderValue::try_from(secret).map_err(|_| AskError::Credential {
                what: "the token".to_owned(),
                why: "it has characters that a header cannot carry".to_owned(),
            })?;
            value.set_sensitive(true);
            self.request = self.request.header(name, value);
        }
        Ok(self)
    }
}

impl Held {
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Eq for Held {}

impl Credential {
    /// Reads `env:VARIABLE` or `file:PATH`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() => Some(Self::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(Self::File(path.into())),
            _ => None,
        }
    }

    /// What it is now.
    ///
    /// # Errors
    /// [`AskError::Credential`].
    pub fn read(&self) -> Result<String, AskError> {
        match self {
            Self::Held(held) => Ok(held.0.expose_secret().to_owned()),
            Self::Env(name) => std::env::var(name).map_err(|error| AskError::Credential {
                what: format!("the environment variable `{name}`"),
                why: error.to_string(),
            }),
            Self::File(path) => {
                let read = std::fs::read_to_string(path).map_err(|error| AskError::Credential {
                    what: path.display().to_string(),
                    why: error.to_string(),
                })?;
                Ok(read.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }
}

impl AskError {
    /// What of it people need to be told apart: a reason that changes within a kind is no news.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Call(CallError::Unavailable(_)) | Self::Timeout(_) => "unreachable",
            Self::Call(CallError::Status(..)) => "refused",
            Self::Call(CallError::TooLarge { .. }) => "too large",
            Self::Malformed(_) => "malformed",
            Self::Credential { .. } => "credential",
        }
    }

    pub(super) fn malformed(error: &serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// How long to wait after so many failures in a row: longer each time, and not the same for every gateway.
pub fn pause(failures: u32) -> Duration {
    let longest = PAUSE_MIN.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(PAUSE_MAX);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit() {
        for (failures, most) in [(1, 250), (2, 500), (3, 1000), (60, 30_000)] {
            let paused = pause(failures).as_millis();
            assert!(paused <= most && paused >= most / 2, "{failures}: {paused}");
        }
    }
}
