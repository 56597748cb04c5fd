//! A request on its way out: its body, which tells when the connection is done with it, and its head in the form of a protocol.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT, HOST, HeaderValue, TE, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, StatusCode, Uri, Version};
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::message::{Body, BodyError};

/// A request's body, which says when the connection is done with it.
pub(super) struct Outgoing {
    body: Body,
    /// `None` for a body that was at its end from the beginning.
    has_ended: Option<Ended>,
    /// What it waits for before any of it is sent, or even asked for.
    awaits: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// Whether the connection has let go of a body.
pub(super) type Ended = Rc<Cell<bool>>;

impl Outgoing {
    pub(super) fn new(body: Body) -> Self {
        let has_ended = (!body.is_end_stream()).then(Rc::default);
        Self { body, has_ended, awaits: None }
    }

    pub(super) fn has_ended(&self) -> Option<Ended> {
        self.has_ended.clone()
    }

    /// The body back, of a request that was never sent.
    pub(super) fn into_body(mut self) -> Body {
        std::mem::take(&mut self.body)
    }
}

/// Holds a body back whose client wants to know first whether anybody wants it (RFC 9110 §10.1.1): until the upstream says so, or has had time
/// enough to do it. A client that hears nothing of it has sent nothing in vain when the upstream refuses.
pub(super) fn await_continue(request: &mut Request<Outgoing>) {
    if request.body().has_ended.is_none()
        || !request.headers().get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return;
    }
    let told = Arc::new(Notify::new());
    let waiting = told.clone();
    request.body_mut().awaits = Some(Box::pin(async move {
        // Silence is consent: it may not know of this.
        let _ = timeout(CONTINUE_WITHIN, waiting.notified()).await;
    }));
    hyper::ext::on_informational(request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            told.notify_one();
        }
    });
}

/// The connection lets go of a body once it has sent the last of it, even where it knew the length and asked for no end.
impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(has_ended) = &self.has_ended {
            has_ended.set(true);
        }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let outgoing = self.get_mut();
        if let Some(awaits) = &mut outgoing.awaits {
            ready!(awaits.as_mut().poll(context));
            outgoing.awaits = None;
        }
        Pin::new(&mut outgoing.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The head in the form of HTTP/2 (RFC 9113 §8.3.1): the authority in the target. `fallback` serves a client that named none.
pub(super) fn into_http2<B>(request: &mut Request<B>, is_tls: bool, fallback: impl FnOnce() -> String) {
    if request.uri().authority().is_none() {
        let host = request.headers_mut().remove(HOST);
        let named = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let authority = named.or_else(|| fallback().parse().ok());
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
        parts.scheme = Some(if is_tls { Scheme::HTTPS } else { Scheme::HTTP });
        parts.authority = authority;
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
    request.headers_mut().remove(TRANSFER_ENCODING);
    request.headers_mut().remove(CONNECTION);
    *request.version_mut() = Version::HTTP_2;
}

/// The head in the form of HTTP/1.1: the authority in `Host`. Undoes [`into_http2`] where the next connection is another.
pub(super) fn into_http1(request: &mut Request<Outgoing>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = None;
    if let Some(host) = parts.authority.take().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *request.version_mut() = Version::HTTP_11;
    if request.headers().contains_key(TE) {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if request.body().has_ended.is_some()
        && request.body().size_hint().exact().is_none()
        && !request.headers().contains_key(http::header::CONTENT_LENGTH)
    {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// How long an upstream may take to say that it wants a body.
const CONTINUE_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_goes_into_either_form_and_back() {
        let request = Request::get("/a?b").header("host", "api.example.com:81");
        let request = request.header("te", "trailers").header("connection", "te");
        let mut request = request.body(Outgoing::new(Body::Empty)).expect("a request");
        into_http2(&mut request, true, String::new);
        assert_eq!(request.uri(), "https://api.example.com:81/a?b");
        assert_eq!(request.headers().len(), 1, "only `te` is left");
        into_http2(&mut request, true, || unreachable!("it is there already"));
        into_http1(&mut request);
        assert_eq!((request.uri(), request.version()), (&Uri::from_static("/a?b"), Version::HTTP_11));
        assert_eq!(
            (&request.headers()[HOST], &request.headers()[CONNECTION]),
            (&"api.example.com:81".parse().expect("a value"), &"te".parse().expect("a value"))
        );
        assert_eq!(request.headers().len(), 3);
    }

    #[test]
    fn a_client_that_names_no_authority_gets_the_endpoints() {
        let mut request = Request::get("/").body(()).expect("a request");
        into_http2(&mut request, false, || "10.0.0.1:80".to_owned());
        assert_eq!(request.uri(), "http://10.0.0.1:80/");
    }
}
