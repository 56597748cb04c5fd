//! Problem details (RFC 9457): the one form of an error that the gateway or a filter of it tells a client.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::json;

/// Fields and body of an error. `detail` is for the client: it tells no names of servers.
pub fn problem(status: StatusCode, detail: &str, request_id: &HeaderValue) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_REQUEST_ID, request_id.clone());
    let body = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "request_id": request_id.to_str().unwrap_or_default(),
    });
    (headers, Bytes::from(body.to_string()))
}

/// The id by which logs know a request.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
