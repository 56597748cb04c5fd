//! Why a request got no response, and what that says about trying again.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::Request;

use super::super::Full;
use super::outgoing::Outgoing;
use crate::message::{Body, BodyError, BodyFault};

/// A request that got no response.
#[derive(Debug)]
pub struct Failed {
    pub error: SendError,
    /// The request, when none of it was sent: it may go elsewhere as it is.
    pub unsent: Option<Box<Request<Body>>>,
}

/// Why a request got no response. The upstream's fault, except [`SendError::RequestBody`] and [`SendError::Full`].
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no connection within {0:?}")]
    ConnectTimeout(Duration),
    #[error("no TLS: {0}")]
    Tls(Box<rustls::Error>),
    #[error("it does not speak HTTP/2")]
    NotHttp2,
    #[error("its protocol is `http2`, and an upgrade takes HTTP/1.1")]
    NoUpgrade,
    #[error("the framing of its answer is in doubt (RFC 9112 §6.3)")]
    Framing,
    #[error("the connection failed: {error}")]
    Connection { error: hyper::Error, loss: Loss },
    #[error("the request's body failed: {0}")]
    RequestBody(BodyFault),
    #[error(transparent)]
    Full(#[from] Full),
}

/// What is known of a request whose connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It was on a kept connection, which had most likely died before: it was not answered by a single byte.
    Stale,
    /// It never left, or the upstream says that it did not begin with it (RFC 9113 §8.7).
    Unprocessed,
    /// The answer was none that can be read.
    Garbled,
    /// Anything may have become of it.
    Unknown,
}

impl Failed {
    pub(super) fn unsent(error: SendError, request: Request<Outgoing>) -> Self {
        Self { error, unsent: Some(Box::new(request.map(Outgoing::into_body))) }
    }

    /// An answer came, and where it ends is in doubt.
    pub(super) fn framing() -> Self {
        Self { error: SendError::Framing, unsent: None }
    }

    /// The connection failed while the request was on it.
    pub(super) fn on_connection(error: hyper::Error, was_kept: bool, unsent: Option<Request<Outgoing>>) -> Self {
        if let Some(request) = unsent {
            return Self::unsent(SendError::Connection { error, loss: Loss::Unprocessed }, request);
        }
        if let Some(body) = cause::<BodyError>(&error) {
            return Self { error: SendError::RequestBody(body.fault()), unsent: None };
        }
        let loss = match cause::<h2::Error>(&error) {
            Some(h2) if is_unprocessed(h2) => Loss::Unprocessed,
            Some(h2) if h2.is_library() => Loss::Garbled,
            None if error.is_parse() => Loss::Garbled,
            None if was_kept => Loss::Stale,
            _ => Loss::Unknown,
        };
        Self { error: SendError::Connection { error, loss }, unsent: None }
    }
}

impl SendError {
    /// No connection came about, so that the upstream knows nothing of the request.
    pub fn is_connect_failure(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::ConnectTimeout(_) | Self::Tls(_) | Self::NotHttp2)
    }
}

/// A failed handshake, or what else kept a connection from coming about.
impl From<io::Error> for SendError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(Box::new(tls.clone())),
            None => Self::Connect(error),
        }
    }
}

/// Refused outright, or numbered above what the upstream says it looked at before it goes away.
fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn cause<E: Error + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
