//! gRPC: how long a call may take, and errors that are not the upstream's in the form that its clients read.
//!
//! All else of a call passes as any HTTP/2 does: its messages as they come, either way, its trailers, its end by either side.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{StatusCode, Version};
use http_body::Frame;
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::filter::{Exchange, Flag, Origin};
use crate::message::{Body, BodyError};

/// A request that is a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// When the client gives up, as far as it said so.
    deadline: Option<Instant>,
}

impl Call {
    /// gRPC is spoken over HTTP/2 only. gRPC-Web, whose name begins the same, is another protocol.
    pub(super) fn of(head: &Parts, arrival: Instant) -> Option<Self> {
        if head.version != Version::HTTP_2 || !is_grpc(&head.headers) {
            return None;
        }
        let timeout = head.headers.get(GRPC_TIMEOUT).and_then(timeout);
        Some(Self { deadline: timeout.and_then(|timeout| arrival.checked_add(timeout)) })
    }

    /// Bounds what the client sends, and when the head of the response is due.
    pub(super) fn bound(self, exchange: &mut Exchange) {
        let Some(deadline) = self.deadline else { return };
        exchange.deadline = exchange.deadline.min(deadline);
        let body = std::mem::take(&mut exchange.request_body);
        exchange.request_body = Bounded::wrap(body, deadline, AtDeadline::Fail);
    }

    /// Puts the answer into the form of a gRPC response, where it has none, and bounds what streams.
    pub(super) fn tell(self, exchange: &mut Exchange) {
        let response = &exchange.response;
        let is_http_error = response.origin != Origin::Upstream
            && !response.status.is_success()
            && !response.headers.contains_key(GRPC_STATUS);
        if is_http_error {
            trailers_only(exchange);
        } else if let Some(deadline) = self.deadline
            && !response.headers.contains_key(CONTENT_LENGTH)
        {
            let body = std::mem::take(&mut exchange.response_body);
            exchange.response_body = Bounded::wrap(body, deadline, AtDeadline::Trailers);
        }
    }
}

/// Whether a head is of a gRPC message.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(rest) = headers.get(CONTENT_TYPE).and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
    else {
        return false;
    };
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// Up to eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (digits, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// A response without messages: status 200, and what went wrong in the head. Further fields stay, such as those that say when to
/// come again.
fn trailers_only(exchange: &mut Exchange) {
    let is_late = exchange.flags.contains(Flag::UpstreamTimeout);
    let code = code(exchange.response.status, is_late);
    let message = message(exchange);
    let headers = &mut exchange.response.headers;
    for name in [CONTENT_LENGTH, CONTENT_ENCODING] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(code));
    headers.insert(GRPC_MESSAGE, message);
    exchange.response.status = StatusCode::OK;
    exchange.response_body = Body::Empty;
}

/// The code of a status ("HTTP to gRPC Status Code Mapping"), and of some that it leaves out.
fn code(status: StatusCode, is_late: bool) -> u16 {
    match status {
        StatusCode::GATEWAY_TIMEOUT if is_late => DEADLINE_EXCEEDED,
        StatusCode::REQUEST_TIMEOUT => DEADLINE_EXCEEDED,
        StatusCode::BAD_REQUEST => INTERNAL,
        StatusCode::UNAUTHORIZED => UNAUTHENTICATED,
        StatusCode::FORBIDDEN => PERMISSION_DENIED,
        StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED => UNIMPLEMENTED,
        StatusCode::PAYLOAD_TOO_LARGE => RESOURCE_EXHAUSTED,
        StatusCode::INTERNAL_SERVER_ERROR => INTERNAL,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

/// What the answer says of itself, if it is a problem (RFC 9457); else what its status says.
fn message(exchange: &Exchange) -> HeaderValue {
    let problem = match &exchange.response_body {
        Body::Full(bytes) => serde_json::from_slice::<serde_json::Value>(bytes).ok(),
        _ => None,
    };
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    let text = detail.or_else(|| exchange.response.status.canonical_reason()).unwrap_or("refused by the gateway");
    let end = text.floor_char_boundary(MESSAGE_BYTES_MAX);
    HeaderValue::from_str(&percent_encode(&text.as_bytes()[..end], NOT_IN_MESSAGES).to_string())
        .expect("what is no visible ASCII is encoded")
}

/// A body that ends when a call's time is over.
struct Bounded {
    body: Body,
    deadline: Instant,
    at_deadline: AtDeadline,
    /// Made at the first wait.
    alarm: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtDeadline {
    /// Whoever reads it is told of a failure.
    Fail,
    /// The client is told the status of the call.
    Trailers,
}

impl Bounded {
    fn wrap(body: Body, deadline: Instant, at_deadline: AtDeadline) -> Body {
        match body {
            body @ (Body::Empty | Body::Full(_)) => body,
            body => Body::Filtered(Box::pin(Self { body, deadline, at_deadline, alarm: None })),
        }
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let bounded = self.get_mut();
        let frame = Pin::new(&mut bounded.body).poll_frame(context);
        if frame.is_ready() && Instant::now() < bounded.deadline {
            return frame;
        }
        if frame.is_pending() {
            let deadline = bounded.deadline;
            let alarm = bounded.alarm.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            ready!(alarm.as_mut().poll(context));
        }
        if matches!(bounded.body, Body::Empty) {
            return Poll::Ready(None);
        }
        // With it goes the upstream's stream, at once.
        bounded.body = Body::Empty;
        Poll::Ready(Some(match bounded.at_deadline {
            AtDeadline::Fail => Err(BodyError::Late),
            AtDeadline::Trailers => Ok(Frame::trailers(HeaderMap::from_iter([
                (GRPC_STATUS, HeaderValue::from(DEADLINE_EXCEEDED)),
                (GRPC_MESSAGE, HeaderValue::from_static("the call took longer than its client wants to wait")),
            ]))),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const MESSAGE_BYTES_MAX: usize = 1024;
/// A message is visible ASCII and spaces, and `%` for all else (gRPC over HTTP/2, "Status-Message").
const NOT_IN_MESSAGES: &AsciiSet = &CONTROLS.add(b'%');

const UNKNOWN: u16 = 2;
const DEADLINE_EXCEEDED: u16 = 4;
const PERMISSION_DENIED: u16 = 7;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNIMPLEMENTED: u16 = 12;
const INTERNAL: u16 = 13;
const UNAVAILABLE: u16 = 14;
const UNAUTHENTICATED: u16 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        let read = |text| timeout(&HeaderValue::from_static(text));
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("40m", Some(Duration::from_millis(40))),
            ("50u", Some(Duration::from_micros(50))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("0m", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("999999999n", None),
            ("+1S", None),
            ("1s", None),
            ("S", None),
            ("1", None),
            ("", None),
            ("1 S", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(timeout(&HeaderValue::from_bytes(b"1\xc3\xa9").expect("a value")), None);
    }

    #[test]
    fn grpc_is_not_all_that_begins_so() {
        let is = |text| is_grpc(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(text))]));
        assert!(is("application/grpc") && is("application/grpc+proto") && is("application/grpc;x=y"));
        assert!(!is("application/grpc-web") && !is("application/grpc-web+proto") && !is("application/json"));
        assert!(!is_grpc(&HeaderMap::new()));
    }

    #[test]
    fn statuses_have_codes() {
        for (status, expected) in [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (502, 14), (503, 14), (418, 2)]
        {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(code(status, false), expected, "{status}");
        }
        assert_eq!(code(StatusCode::GATEWAY_TIMEOUT, true), 4);
        assert_eq!(code(StatusCode::GATEWAY_TIMEOUT, false), 14, "no connection in time");
    }
}
