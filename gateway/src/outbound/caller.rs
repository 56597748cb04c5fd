//! Requests of the control plane to servers that the configuration names: an answer as a whole, or piece by piece.

use std::error::Error;

use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use rustls::ClientConfig;

use super::address::Reach;
use super::connections::{Connections, connections, in_full};

/// Sends requests to any address. How long one may take is for whoever awaits it to say. Every clone has the same connections.
#[derive(Clone)]
pub struct Caller(Connections);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Unavailable(String),
    /// With the beginning of what the server says to it.
    #[error("the server answered {0}{1}")]
    Status(StatusCode, String),
    #[error("the answer is larger than {}", shown(*.bytes_max))]
    TooLarge { bytes_max: usize },
}

impl Caller {
    pub(super) fn new(tls: &ClientConfig) -> Self {
        Self(connections(tls, Reach::Anywhere))
    }

    /// A request as it is: the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`CallError::Unavailable`], [`CallError::TooLarge`].
    pub async fn exchange(&self, request: Request<Bytes>, bytes_max: usize) -> Result<Response<Bytes>, CallError> {
        let response = self.0.request(request.map(Full::new)).await.map_err(|error| unavailable(&error))?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, whole(body, bytes_max).await?))
    }

    /// The fields of a 200, and its body as it comes.
    pub(super) async fn open(&self, mut request: Request<Bytes>) -> Result<(HeaderMap, Incoming), CallError> {
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let response = self.0.request(request.map(Full::new)).await.map_err(|error| unavailable(&error))?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK {
            Ok((head.headers, body))
        } else {
            Err(CallError::Status(head.status, words(body).await))
        }
    }
}

/// The beginning of a body, as it may stand behind a status in one line.
async fn words(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        bytes.extend_from_slice(&frame.into_data().unwrap_or_default());
        if bytes.len() >= WORDS_BYTES_MAX {
            bytes.truncate(WORDS_BYTES_MAX);
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace(char::is_control, " ");
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}

/// All of a body. One that says beforehand that it is too large is not read at all.
pub(super) async fn whole(body: Incoming, bytes_max: usize) -> Result<Bytes, CallError> {
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(CallError::TooLarge { bytes_max });
    }
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(CallError::TooLarge { bytes_max }),
        Err(error) => Err(unavailable(&*error)),
    }
}

fn shown(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn unavailable(error: &(dyn Error + 'static)) -> CallError {
    CallError::Unavailable(in_full(error))
}

/// Of what a server says to a status.
const WORDS_BYTES_MAX: usize = 256;
pub(super) const AGENT: &str = concat!("witgate/", env!("CARGO_PKG_VERSION"));
