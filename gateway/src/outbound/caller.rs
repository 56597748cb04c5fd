//! Requests of the control plane to servers that the configuration names: an answer as a whole, or piece by piece.

use std::error::Error;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use rustls::ClientConfig;

use super::address::Reach;
use super::connections::{Connections, connections, in_full};

/// Sends requests to any address. How long one may take is for whoever awaits it to say.
pub struct Caller(Connections);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Unavailable(String),
    #[error("the server answered {0}")]
    Status(StatusCode),
}

impl Caller {
    pub(super) fn new(tls: &ClientConfig) -> Self {
        Self(connections(tls, Reach::Anywhere))
    }

    /// `GET`: the fields of a 200, and all of its body.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get(&self, url: &str, bytes_max: usize) -> Result<(HeaderMap, Bytes), CallError> {
        let (headers, body) = self.send(Method::GET, url, Bytes::new()).await?;
        Ok((headers, whole(body, bytes_max).await?))
    }

    /// A request as it is: the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`CallError::Unavailable`].
    pub async fn exchange(&self, request: Request<Bytes>, bytes_max: usize) -> Result<Response<Bytes>, CallError> {
        let response = self.0.request(request.map(Full::new)).await.map_err(|error| unavailable(&error))?;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, whole(body, bytes_max).await?))
    }

    /// `POST` of JSON: all of the body of a 200.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn post(&self, url: &str, json: Bytes, bytes_max: usize) -> Result<Bytes, CallError> {
        whole(self.open(url, json).await?, bytes_max).await
    }

    /// `POST` of JSON: the body of a 200 as it comes.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn open(&self, url: &str, json: Bytes) -> Result<Incoming, CallError> {
        self.send(Method::POST, url, json).await.map(|(_, body)| body)
    }

    async fn send(&self, method: Method, url: &str, json: Bytes) -> Result<(HeaderMap, Incoming), CallError> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(json))
            .map_err(|error| unavailable(&error))?;
        let response = self.0.request(request).await.map_err(|error| unavailable(&error))?;
        let (head, body) = response.into_parts();
        if head.status == StatusCode::OK { Ok((head.headers, body)) } else { Err(CallError::Status(head.status)) }
    }
}

async fn whole(body: Incoming, bytes_max: usize) -> Result<Bytes, CallError> {
    let collected = Limited::new(body, bytes_max).collect().await;
    Ok(collected.map_err(|error| unavailable(&*error))?.to_bytes())
}

fn unavailable(error: &(dyn Error + 'static)) -> CallError {
    CallError::Unavailable(in_full(error))
}

const AGENT: &str = concat!("witgate/", env!("CARGO_PKG_VERSION"));
