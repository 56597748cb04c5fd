//! Requests of the control plane to servers that the configuration names: an answer as a whole, or piece by piece.

use std::error::Error;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
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
        self.get_with(url, HeaderMap::new(), bytes_max).await
    }

    /// The same with more fields.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn get_with(
        &self,
        url: &str,
        fields: HeaderMap,
        bytes_max: usize,
    ) -> Result<(HeaderMap, Bytes), CallError> {
        let (headers, body) = self.send(Method::GET, url, Bytes::new(), fields).await?;
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
        self.post_as(url, json, None, bytes_max).await
    }

    /// The same with a token, if there is one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn post_as(
        &self,
        url: &str,
        json: Bytes,
        token: Option<&str>,
        bytes_max: usize,
    ) -> Result<Bytes, CallError> {
        whole(self.open_as(url, json, token).await?, bytes_max).await
    }

    /// `POST` of JSON: the body of a 200 as it comes.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn open(&self, url: &str, json: Bytes) -> Result<Incoming, CallError> {
        self.open_as(url, json, None).await
    }

    /// The same with a token, if there is one.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn open_as(&self, url: &str, json: Bytes, token: Option<&str>) -> Result<Incoming, CallError> {
        let mut fields = HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::try_from(token).map_err(|error| unavailable(&error))?;
            value.set_sensitive(true);
            fields.insert(AUTHORIZATION, value);
        }
        self.send(Method::POST, url, json, fields).await.map(|(_, body)| body)
    }

    async fn send(
        &self,
        method: Method,
        url: &str,
        json: Bytes,
        fields: HeaderMap,
    ) -> Result<(HeaderMap, Incoming), CallError> {
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(json))
            .map_err(|error| unavailable(&error))?;
        request.headers_mut().extend(fields);
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

pub(super) const AGENT: &str = concat!("witgate/", env!("CARGO_PKG_VERSION"));
