//! A server that the control plane asks again and again, for as long as the gateway lives: etcd or Consul. Here is what both have in common:
//! where it is, the files of TLS, where a secret is, how long an answer may take, and what can go wrong.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use hyper::body::Incoming;
use secrecy::{ExposeSecret as _, SecretString};

use super::caller::{CallError, Caller, whole};
use super::terms::TlsTerms;
use super::trust::Trust;

/// A server, or several that answer for each other, and the connections to them.
pub struct Server {
    origins: Vec<String>,
    /// Which of them is asked.
    turn: AtomicUsize,
    files: TlsFiles,
    patience: Duration,
    bytes_max: usize,
    trust: Trust,
    line: Mutex<Line>,
}

/// What is known of a server before it is asked.
pub struct Standing {
    /// `http://HOST:PORT`, or `https://`; one at least. The next one is asked where one cannot be reached or fails.
    pub origins: Vec<String>,
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
    /// Whether it was told that newer files cannot be read.
    is_told: bool,
}

/// What a server is asked.
pub(super) struct Question {
    method: Method,
    path: String,
    fields: HeaderMap,
    json: Bytes,
}

impl Server {
    /// Reads the files of TLS.
    ///
    /// # Errors
    /// One of them cannot be read, or holds nothing of use.
    pub fn new(standing: Standing, trust: &Trust) -> Result<Self, TlsFileError> {
        let Standing { origins, files, patience, bytes_max } = standing;
        let line = Mutex::new(Line::open(files.read()?, &files, trust)?);
        Ok(Self { origins, turn: AtomicUsize::new(0), files, patience, bytes_max, trust: trust.clone(), line })
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Which of several is asked; another number after one has failed.
    pub(super) fn turn(&self) -> usize {
        self.turn.load(Relaxed)
    }

    /// The answer's fields, and all of its body; `wait` is how much longer it may take because it was asked to.
    pub(super) async fn ask(&self, question: Question, wait: Duration) -> Result<(HeaderMap, Bytes), AskError> {
        let (headers, body) = self.open(question, wait).await?;
        Ok((headers, self.whole(body).await?))
    }

    pub(super) async fn whole(&self, body: Incoming) -> Result<Bytes, AskError> {
        let turn = self.turn();
        let answer = self.in_time(Duration::ZERO, whole(body, self.bytes_max)).await;
        answer.inspect_err(|error| self.pass_on(turn, error))
    }

    /// The answer's fields, and its body as it comes.
    pub(super) async fn open(&self, question: Question, wait: Duration) -> Result<(HeaderMap, Incoming), AskError> {
        let mut tried = 1;
        loop {
            let turn = self.turn();
            let request = question.to(&self.origins[turn % self.origins.len()])?;
            let caller = self.line().caller.clone();
            let opened = self.in_time(wait, caller.open(request)).await;
            let Err(error) = opened else { return opened };
            if matches!(error, AskError::Call(CallError::Unavailable(_))) {
                self.renew();
            }
            if tried == self.origins.len() || !error.may_be_of_one() {
                return Err(error);
            }
            self.pass_on(turn, &error);
            tried += 1;
        }
    }

    /// The next one is asked from now on, unless somebody else has seen to that.
    fn pass_on(&self, turn: usize, error: &AskError) {
        if self.origins.len() > 1 && error.may_be_of_one() {
            tracing::debug!(%error, server = self.origins[turn % self.origins.len()], "another server is asked");
            let _ = self.turn.compare_exchange(turn, turn.wrapping_add(1), Relaxed, Relaxed);
        }
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
            // As long as the server cannot be reached, this is tried again and again.
            Err(error) if !self.line().is_told => {
                self.line().is_told = true;
                tracing::warn!(%error, server = self.origins[0], "files of TLS cannot be read again");
            }
            Err(_) => {}
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
        Ok(Self { terms, caller, is_told: false })
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
    pub(super) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), fields: HeaderMap::new(), json: Bytes::new() }
    }

    pub(super) fn post(path: &str, json: String) -> Self {
        let fields = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Self { method: Method::POST, path: path.to_owned(), fields, json: json.into() }
    }

    fn to(&self, origin: &str) -> Result<Request<Bytes>, AskError> {
        let request = Request::builder().method(&self.method).uri(format!("{origin}{}", self.path));
        let request = request.body(self.json.clone());
        let mut request = request.map_err(|error| CallError::Unavailable(error.to_string()))?;
        request.headers_mut().clone_from(&self.fields);
        Ok(request)
    }

    /// With a field that nobody may see.
    pub(super) fn showing(mut self, name: HeaderName, secret: Option<&str>) -> Result<Self, AskError> {
        if let Some(secret) = secret {
            let mut value = HeaderValue::try_from(secret).map_err(|_| AskError::Credential {
                what: "the token".to_owned(),
                why: "it has characters that a header cannot carry".to_owned(),
            })?;
            value.set_sensitive(true);
            self.fields.insert(name, value);
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

    /// Whether another server may do better.
    fn may_be_of_one(&self) -> bool {
        match self {
            Self::Call(CallError::Unavailable(_)) | Self::Timeout(_) => true,
            Self::Call(CallError::Status(status, _)) => status.is_server_error(),
            Self::Call(CallError::TooLarge { .. }) | Self::Malformed(_) | Self::Credential { .. } => false,
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
