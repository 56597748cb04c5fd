//! `http`: a guest's own requests, to granted origins. While an answer is on its way, the call waits and the worker does not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

use super::{Phase, State};
use crate::message::{is_framing, strip_hop_by_hop};
use crate::outbound::{Client, SendError, Terms};
use crate::plugin::bindings::witgate::plugin::http::{Host, HttpError, OutboundRequest, OutboundResponse};
use crate::plugin::declaration::Limits;
use crate::plugin::failure::Failure;
use crate::telemetry::TRACEPARENT;

/// An instance's way out, and what its running call has used of it.
pub(super) struct HttpPort {
    client: Client,
    sent: u32,
    sent_max: u32,
    body_bytes_max: usize,
    /// When the running call has to be done.
    ends: Instant,
}

impl HttpPort {
    pub(super) fn new(client: Client, limits: &Limits) -> Self {
        let (sent_max, body_bytes_max) = (limits.outbound_calls, limits.body_bytes);
        Self { client, sent: 0, sent_max, body_bytes_max, ends: Instant::now() }
    }

    pub(super) fn begin(&mut self, timeout: Duration) {
        self.sent = 0;
        self.ends = Instant::now() + timeout;
    }

    fn count(&mut self) -> wasmtime::Result<()> {
        self.sent += 1;
        if self.sent <= self.sent_max {
            return Ok(());
        }
        let detail = format!("the guest sent more than {} requests in one call", self.sent_max);
        Err(wasmtime::Error::new(Failure::Limit { limit: "limits.outbound_calls", detail }))
    }
}

impl Host for State {
    async fn send(&mut self, request: OutboundRequest) -> wasmtime::Result<Result<OutboundResponse, HttpError>> {
        self.host_call()?;
        if matches!(self.phase, Phase::Configure(_)) {
            return Err(wasmtime::Error::msg("`http` may not be used in `configure`"));
        }
        let (Some(grant), Some(port)) = (&self.grants.http, &mut self.http) else { return Ok(Err(HttpError::Denied)) };
        port.count()?;
        let left = port.ends.saturating_duration_since(Instant::now());
        let asked = request.timeout_ms.map(|timeout| Duration::from_millis(timeout.into()));
        let Some(mut request) = read(request) else { return Ok(Err(HttpError::Invalid)) };
        if !request.headers().contains_key(TRACEPARENT) {
            request.headers_mut().extend(self.trace.fields());
        }
        if !grant.admits(request.uri()) {
            return Ok(Err(HttpError::Denied));
        }
        let Some(_under_way) = grant.begin() else { return Ok(Err(HttpError::Busy)) };
        let timeout = asked.map_or(left, |asked| asked.min(left));
        let terms = Terms { reach: grant.reach, timeout, body_bytes_max: port.body_bytes_max };
        let answer = self.budget.host_wait(port.client.send(request, terms)).await;
        Ok(answer.map(write).map_err(|error| {
            // The guest learns a word of it; this is for who operates it.
            tracing::debug!(plugin = &*self.plugin, %error, "a plugin's request failed");
            match error {
                SendError::OutOfReach => HttpError::Denied,
                SendError::Timeout(_) => HttpError::Timeout,
                SendError::TooLarge(_) => HttpError::TooLarge,
                SendError::Unavailable(_) => HttpError::Unavailable,
            }
        }))
    }
}

/// The request as one that can be sent; `None` when it is none.
fn read(request: OutboundRequest) -> Option<Request<Bytes>> {
    let url: Uri = request.url.parse().ok()?;
    let authority = url.authority()?;
    // `user@host` reads as one host to some and as another to others (RFC 9110 §4.2.4), and a port that is none as the scheme's own.
    let has_port = authority.as_str().len() > authority.host().len();
    if url.scheme().is_none() || authority.as_str().contains('@') || has_port && authority.port_u16().is_none() {
        return None;
    }
    let method = Method::from_bytes(request.method.as_bytes()).ok().filter(|method| *method != Method::CONNECT)?;
    if request.headers.len() > FIELDS_MAX {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for (name, value) in request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        // `host` is the URL's, and nobody waits here for the `100` that an expectation asks for.
        if is_framing(&name) || name == EXPECT {
            return None;
        }
        headers.try_append(name, HeaderValue::from_maybe_shared(Bytes::from(value)).ok()?).ok()?;
    }
    let mut outgoing = Request::new(Bytes::from(request.body));
    (*outgoing.method_mut(), *outgoing.uri_mut(), *outgoing.headers_mut()) = (method, url, headers);
    Some(outgoing)
}

/// Fields of the connection are not for the guest.
fn write(response: Response<Bytes>) -> OutboundResponse {
    let (mut head, body) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    let fields = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()));
    OutboundResponse { status: head.status.as_u16(), headers: fields.collect(), body: body.into() }
}

const FIELDS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn request() -> OutboundRequest {
        OutboundRequest {
            method: "GET".to_owned(),
            url: "https://a.example/x?y=1".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    #[test]
    fn a_request_is_sent_as_the_guest_wrote_it() {
        let headers = vec![("X-A".to_owned(), b"1".to_vec()), ("x-a".to_owned(), b"\xff".to_vec())];
        let read =
            read(OutboundRequest { method: "PATCH".to_owned(), headers, body: b"b".to_vec(), ..request() }).unwrap();
        assert_eq!((read.method().as_str(), read.uri().to_string().as_str()), ("PATCH", "https://a.example/x?y=1"));
        let values: Vec<&[u8]> = read.headers().get_all("x-a").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((values, &read.body()[..]), (vec![&b"1"[..], b"\xff"], &b"b"[..]));
    }

    #[test]
    fn a_guest_cannot_write_what_frames_or_routes_the_request() {
        for (name, value) in [
            ("Host", "b.example"),
            ("content-length", "0"),
            ("transfer-encoding", "chunked"),
            ("connection", "close"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
            ("x a", "1"),
            ("", "1"),
            ("x-a\r\nx-b", "1"),
            ("x-a", "1\r\nx-b: 2"),
            ("x-a", "1\n2"),
            ("x-a", "\0"),
        ] {
            let headers = vec![(name.to_owned(), value.as_bytes().to_vec())];
            assert!(read(OutboundRequest { headers, ..request() }).is_none(), "{name}: {value}");
        }
        let many = |count| OutboundRequest { headers: vec![("x".to_owned(), b"1".to_vec()); count], ..request() };
        assert!(read(many(128)).is_some());
        assert!(read(many(129)).is_none());
    }

    #[test]
    fn what_is_no_request_is_not_sent() {
        for url in [
            "",
            "/x",
            "a.example",
            "https:///x",
            "https://user@a.example/",
            "https://a.example:@b.example/",
            "https://a.example:/",
            "https://a.example/ x",
            "https://a.example/\r\nx: y",
            "https://a.example:99999/",
        ] {
            assert!(read(OutboundRequest { url: url.to_owned(), ..request() }).is_none(), "{url}");
        }
        for method in ["", "GET x", "G\r\nET", "CONNECT"] {
            assert!(read(OutboundRequest { method: method.to_owned(), ..request() }).is_none(), "{method}");
        }
    }
}
