//! `request-limits`: how large requests to a route may be, below what the listener allows anyway.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http::uri::PathAndQuery;
use http_body::{Body as _, Frame, SizeHint};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use crate::config::scalar::{Size, Whole};
use crate::filter::{Exchange, Filter, Reply, Step, Verdict};
use crate::message::{Body, BodyError};

/// Limits of requests. What is left out is not limited here.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RequestLimits")]
pub(super) struct Options {
    /// The body. Beyond: 413.
    body: Option<Size>,
    /// Path and query together. Beyond: 414.
    uri: Option<Size>,
    /// How many fields the head may have. Beyond: 431.
    header_fields: Option<Whole>,
    /// Name and value of one field. Beyond: 431.
    header_bytes: Option<Size>,
}

/// The filter.
struct RequestLimits {
    body_bytes: Option<u64>,
    uri_bytes: usize,
    header_fields: usize,
    header_bytes: usize,
}

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let size = |size: Option<Size>| size.map_or(usize::MAX, |Size(size)| size.in_memory());
        let fields = self.header_fields.map(|Whole(fields)| {
            usize::try_from(fields)
                .map_err(|_| "header_fields: this number is too small: at least 0 is needed".to_owned())
        });
        Ok(Arc::new(RequestLimits {
            body_bytes: self.body.map(|Size(body)| body.0),
            uri_bytes: size(self.uri),
            header_fields: fields.transpose()?.unwrap_or(usize::MAX),
            header_bytes: size(self.header_bytes),
        }))
    }
}

impl Filter for RequestLimits {
    fn name(&self) -> &'static str {
        "request-limits"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if let Some((status, detail)) = self.beyond(exchange) {
            return Step::Done(Verdict::Respond(Box::new(Reply::problem(status, detail, &exchange.request_id))));
        }
        if let Some(left) = self.body_bytes
            && !exchange.request_body.is_end_stream()
        {
            let body = std::mem::take(&mut exchange.request_body);
            exchange.request_body = Body::Filtered(Box::pin(Bounded { body, left }));
        }
        Step::Done(Verdict::Next)
    }
}

impl RequestLimits {
    fn beyond(&self, exchange: &Exchange) -> Option<(StatusCode, &'static str)> {
        let headers = &exchange.headers;
        if exchange.uri.path_and_query().map_or(0, |uri| PathAndQuery::as_str(uri).len()) > self.uri_bytes {
            return Some((StatusCode::URI_TOO_LONG, "the request's path and query are longer than this route allows"));
        }
        if headers.len() > self.header_fields {
            let detail = "the request has more header fields than this route allows";
            return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
        }
        if headers.iter().any(|(name, value)| name.as_str().len() + value.len() > self.header_bytes) {
            let detail = "a header field of the request is larger than this route allows";
            return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail));
        }
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if length.zip(self.body_bytes).is_some_and(|(length, most)| length > most) {
            return Some((StatusCode::PAYLOAD_TOO_LARGE, "the request's body is larger than this route allows"));
        }
        None
    }
}

/// A body that fails beyond so many bytes.
struct Bounded {
    body: Body,
    left: u64,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let bounded = self.get_mut();
        let frame = ready!(Pin::new(&mut bounded.body).poll_frame(context));
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => 0,
        };
        match bounded.left.checked_sub(bytes) {
            Some(left) => {
                bounded.left = left;
                Poll::Ready(frame)
            }
            None => Poll::Ready(Some(Err(BodyError::TooLarge))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    fn status(config: serde_json::Value, uri: &str, fields: &[(&str, &str)]) -> Option<u16> {
        match filter("request-limits", config).on_request(&mut exchange("POST", uri, fields)) {
            Step::Done(Verdict::Next) => None,
            Step::Done(Verdict::Respond(reply)) => Some(reply.status.as_u16()),
            _ => panic!("decided at once"),
        }
    }

    #[test]
    fn each_limit_holds_at_its_value_and_not_beyond() {
        assert_eq!(status(json!({"uri": "6B"}), "/a?b=c", &[]), None);
        assert_eq!(status(json!({"uri": "5B"}), "/a?b=c", &[]), Some(414));
        let fields = [("a", "1"), ("a", "23")];
        assert_eq!(status(json!({"header_fields": 2, "header_bytes": "3B"}), "/", &fields), None);
        assert_eq!(status(json!({"header_fields": 1}), "/", &fields), Some(431));
        assert_eq!(status(json!({"header_bytes": "2B"}), "/", &fields), Some(431));
        assert_eq!(status(json!({"body": "10B"}), "/", &[("content-length", "10")]), None);
        assert_eq!(status(json!({"body": "10B"}), "/", &[("content-length", "11")]), Some(413));
        assert_eq!(status(json!({}), "/", &[("content-length", "11")]), None);
    }

    #[tokio::test]
    async fn a_body_of_no_known_length_breaks_off_at_its_limit() {
        for (limit, expected) in [("3B", true), ("2B", false)] {
            let filter = filter("request-limits", json!({"body": limit}));
            let mut exchange = exchange("POST", "/", &[]);
            exchange.request_body = Body::Full("abc".into());
            assert!(matches!(filter.on_request(&mut exchange), Step::Done(Verdict::Next)));
            let outcome = std::mem::take(&mut exchange.request_body).collect().await;
            assert_eq!(outcome.is_ok(), expected, "{limit}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(faults("request-limits", json!({"header_fields": -1})).contains("header_fields: this number"));
        assert!(faults("request-limits", json!({"boddy": "1B"})).contains("unknown key `boddy`"));
    }
}
