//! A document by URL, for the control plane: bounded in size and time, only if it changed, resumed when it breaks off.
//!
//! Conditions are those of RFC 9110 §13, ranges those of §14, redirects those of §15.4. Any address may be reached: the
//! operator named the URL.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE, USER_AGENT};
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rustls::ClientConfig;

use super::address::Reach;
use super::connections::{Connections, connections, in_full};

/// Fetches documents. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    connections: Connections,
}

/// What is asked for, and what it may take.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'f> {
    /// Absolute; `http` or `https`.
    pub url: &'f Uri,
    /// The entity tag of what the caller has: it wants only something else.
    pub known: Option<&'f HeaderValue>,
    pub bytes_max: u64,
    /// Over all tries and redirects. A connection that stands still is given up after 10 s.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// What the caller has is still the newest.
    Unchanged,
    /// The document, with the tag to ask again by.
    Document { body: Bytes, tag: Option<HeaderValue> },
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("not done within {0:?}")]
    Timeout(Duration),
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("the server answered {0}")]
    Status(StatusCode),
    #[error("the server redirects {0}")]
    Redirect(String),
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the transfer broke off {0} times, the last time because {1}")]
    BrokenOff(u32, String),
}

/// A document that is on its way.
#[derive(Default)]
struct Transfer {
    url: Uri,
    body: BytesMut,
    tag: Option<HeaderValue>,
    redirects: usize,
    breaks: u32,
}

/// What one request brought.
enum Progress {
    Unchanged,
    Whole,
    Redirected,
    BrokenOff(String),
}

impl Fetcher {
    pub(super) fn new(tls: &ClientConfig) -> Self {
        Self { connections: connections(tls, Reach::Anywhere) }
    }

    /// Fetches a document. What breaks off is taken up where it did, if the server lets it (a strong entity tag), else begun again.
    ///
    /// # Errors
    /// Any [`FetchError`]. Only broken transfers are tried again here; the rest is the caller's to repeat.
    pub async fn fetch(&self, fetch: Fetch<'_>) -> Result<Fetched, FetchError> {
        tokio::time::timeout(fetch.timeout, self.transfer(fetch))
            .await
            .map_err(|_| FetchError::Timeout(fetch.timeout))?
    }

    async fn transfer(&self, fetch: Fetch<'_>) -> Result<Fetched, FetchError> {
        let mut transfer = Transfer { url: fetch.url.clone(), ..Transfer::default() };
        loop {
            match self.step(&mut transfer, fetch).await? {
                Progress::Unchanged => return Ok(Fetched::Unchanged),
                Progress::Whole => {
                    return Ok(Fetched::Document { body: transfer.body.freeze(), tag: transfer.tag });
                }
                Progress::Redirected => {}
                Progress::BrokenOff(why) => {
                    transfer.breaks += 1;
                    if transfer.breaks > RESUMES_MAX {
                        return Err(FetchError::BrokenOff(transfer.breaks, why));
                    }
                    tokio::time::sleep(RESUME_PAUSE * transfer.breaks).await;
                }
            }
        }
    }

    async fn step(&self, transfer: &mut Transfer, fetch: Fetch<'_>) -> Result<Progress, FetchError> {
        let request = transfer.request(fetch.known);
        let response = match tokio::time::timeout(STALL_TIMEOUT, self.connections.request(request)).await {
            Ok(Ok(response)) => response,
            failed => {
                let why = failed.map_or_else(
                    |_| "nothing came".to_owned(),
                    |result| match result {
                        Ok(_) => String::new(),
                        Err(error) => in_full(&error),
                    },
                );
                // The first try tells whether the server is there at all.
                let resuming = transfer.breaks > 0;
                return if resuming { Ok(Progress::BrokenOff(why)) } else { Err(FetchError::Unreachable(why)) };
            }
        };
        match response.status() {
            StatusCode::NOT_MODIFIED if fetch.known.is_some() => Ok(Progress::Unchanged),
            StatusCode::OK => {
                transfer.begin(response.headers());
                transfer.read(response, fetch.bytes_max).await
            }
            StatusCode::PARTIAL_CONTENT if transfer.is_continued_by(response.headers()) => {
                transfer.read(response, fetch.bytes_max).await
            }
            // A server that mistakes what is left starts from nothing.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if !transfer.body.is_empty() => {
                transfer.body.clear();
                Ok(Progress::BrokenOff("the server sent another part than asked for".to_owned()))
            }
            status if REDIRECTS.contains(&status) => transfer.redirect(response.headers()),
            status => Err(FetchError::Status(status)),
        }
    }
}

impl Transfer {
    fn request(&self, known: Option<&HeaderValue>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("witgate/", env!("CARGO_PKG_VERSION"))));
        match (&self.tag, known) {
            (Some(tag), _) if !self.body.is_empty() => {
                let range = format!("bytes={}-", self.body.len());
                headers.insert(RANGE, range.parse().expect("digits are a value"));
                headers.insert(IF_RANGE, tag.clone());
            }
            (_, Some(known)) => drop(headers.insert(IF_NONE_MATCH, known.clone())),
            _ => {}
        }
        request
    }

    fn begin(&mut self, headers: &HeaderMap) {
        self.body.clear();
        self.tag = headers.get(ETAG).cloned();
    }

    /// Whether a part begins where the body ends, and is of the same document.
    fn is_continued_by(&self, headers: &HeaderMap) -> bool {
        let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok());
        let same = headers.get(ETAG).is_none_or(|tag| Some(tag) == self.tag.as_ref());
        !self.body.is_empty() && start == Some(self.body.len()) && same
    }

    async fn read(&mut self, response: Response<Incoming>, bytes_max: u64) -> Result<Progress, FetchError> {
        let mut incoming = response.into_body();
        let broken = loop {
            match tokio::time::timeout(STALL_TIMEOUT, incoming.frame()).await {
                Ok(None) => return Ok(Progress::Whole),
                Ok(Some(Ok(frame))) => {
                    let Some(data) = frame.data_ref() else { continue };
                    if (self.body.len() + data.len()) as u64 > bytes_max {
                        return Err(FetchError::TooLarge(bytes_max));
                    }
                    self.body.extend_from_slice(data);
                }
                Ok(Some(Err(error))) => break in_full(&error),
                Err(_) => break "nothing came".to_owned(),
            }
        };
        // By a weak tag, or none, nobody can tell whether the rest belongs to what is here (RFC 9110 §13.1.5).
        if self.tag.as_ref().is_none_or(|tag| tag.as_bytes().starts_with(b"W/")) {
            self.body.clear();
        }
        Ok(Progress::BrokenOff(broken))
    }

    fn redirect(&mut self, headers: &HeaderMap) -> Result<Progress, FetchError> {
        self.redirects += 1;
        if self.redirects > REDIRECTS_MAX {
            return Err(FetchError::Redirect(format!("more than {REDIRECTS_MAX} times")));
        }
        let target = headers.get(LOCATION).and_then(|target| target.to_str().ok()).unwrap_or_default();
        let next = resolve(&self.url, target).ok_or_else(|| FetchError::Redirect(format!("to `{target}`")))?;
        if self.url.scheme() == Some(&Scheme::HTTPS) && next.scheme() != Some(&Scheme::HTTPS) {
            return Err(FetchError::Redirect(format!("away from https, to `{next}`")));
        }
        // What is here came from elsewhere.
        self.body.clear();
        self.tag = None;
        self.url = next;
        Ok(Progress::Redirected)
    }
}

/// The target of a redirect: an absolute URL or an absolute path. Other relative references are not in use for this.
fn resolve(base: &Uri, target: &str) -> Option<Uri> {
    let target = target.split('#').next().unwrap_or_default();
    if target.starts_with('/') && !target.starts_with("//") {
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(target.parse().ok()?);
        return Uri::from_parts(parts).ok();
    }
    let uri: Uri = target.parse().ok()?;
    (uri.host().is_some() && [Some("http"), Some("https")].contains(&uri.scheme_str())).then_some(uri)
}

/// How long a server may send nothing, before its head and amid its body.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
const REDIRECTS: [StatusCode; 5] = [
    StatusCode::MOVED_PERMANENTLY,
    StatusCode::FOUND,
    StatusCode::SEE_OTHER,
    StatusCode::TEMPORARY_REDIRECT,
    StatusCode::PERMANENT_REDIRECT,
];
const RESUMES_MAX: u32 = 5;
/// Times the number of breaks so far.
const RESUME_PAUSE: Duration = Duration::from_millis(100);
