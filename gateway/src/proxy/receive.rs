//! Checking a request's head before anything believes it: one authority, a normal path, a body within bounds.

use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{Method, Uri, Version};
use std::borrow::Cow;

use super::respond::ProxyError;
use super::upgrade;
use crate::message::upgrade::Via;
use crate::message::{BodyLimits, path};
use crate::snapshot::{Listener, Route};

/// Brings the head into the form that every later step relies on: `host` holds the authority, the URI holds nothing but
/// the normalised path and the query.
/// Tells also whether, and how, it asks for an upgrade.
pub(super) fn check(head: &mut Parts, body_bytes_max: u64) -> Result<Option<Via>, ProxyError> {
    let via = upgrade::asked(head)?;
    settle_authority(head)?;
    head.uri = normal_uri(&head.uri, &head.method)?;
    if head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    if content_length(&head.headers).is_some_and(|bytes| bytes > body_bytes_max) {
        return Err(ProxyError::BodyTooLarge);
    }
    Ok(via)
}

/// How large a request's body may be, and how long it may stand still: a call of gRPC may for as long as streams may here.
pub(super) fn body_limits(listener: &Listener, route: &Route, is_stream: bool) -> BodyLimits {
    let idle = listener.limits.idle_timeout;
    let idle = if is_stream { idle.max(route.stream_idle_timeout) } else { idle };
    BodyLimits { bytes_max: listener.limits.body_bytes, idle }
}

/// HTTP/2 may send a cookie in crumbs; HTTP/1.1 knows one field only (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(COOKIE, cookie);
        }
    }
}

/// Exactly one authority. The target's wins over `Host` (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
fn settle_authority(head: &mut Parts) -> Result<(), ProxyError> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::BadRequest("the request has more than one Host field (RFC 9112 §3.2)"));
    }
    if let Some(authority) = head.uri.authority() {
        if authority.as_str().contains('@') {
            return Err(ProxyError::BadRequest("the target names a user (RFC 9110 §4.2.4)"));
        }
        let value = HeaderValue::from_str(authority.as_str())
            .map_err(|_| ProxyError::BadRequest("the target's authority is invalid"))?;
        head.headers.insert(HOST, value);
        return Ok(());
    }
    match host {
        // An empty one is allowed (RFC 9112 §3.2): the target has no authority.
        Some(host) if host.is_empty() => Ok(()),
        Some(host) if is_authority(host) => Ok(()),
        Some(_) => Err(ProxyError::BadRequest("the Host field is not a host with an optional port (RFC 9110 §7.2)")),
        None if head.version == Version::HTTP_10 => Ok(()),
        None => Err(ProxyError::BadRequest("the request has no Host field (RFC 9112 §3.2)")),
    }
}

/// The common case, a plain name or IPv4 address with or without a port, is told without parsing.
fn is_authority(host: &HeaderValue) -> bool {
    let bytes = host.as_bytes();
    let name_end = bytes.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(bytes.len());
    let port_is_plain = match &bytes[name_end..] {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if name_end > 0 && port_is_plain {
        return true;
    }
    host.to_str().is_ok_and(|host| !host.contains(['@', '"', '\\']) && host.parse::<Authority>().is_ok())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

fn normal_uri(uri: &Uri, method: &Method) -> Result<Uri, ProxyError> {
    let raw = uri.path();
    if raw == "*" {
        // The one target without a path (RFC 9110 §7.1): about the server, here the gateway's routes for `/`.
        return if *method == Method::OPTIONS {
            Ok(Uri::from_static("/"))
        } else {
            Err(ProxyError::BadRequest("`*` is a target for OPTIONS alone (RFC 9112 §3.2.4)"))
        };
    }
    let normal = path::normalise(raw).map_err(ProxyError::Path)?;
    let text = match (normal, uri.query()) {
        (Cow::Borrowed(_), _) if uri.authority().is_none() && uri.scheme().is_none() => return Ok(uri.clone()),
        (path, None) => path.into_owned(),
        (path, Some(query)) => format!("{path}?{query}"),
    };
    PathAndQuery::from_maybe_shared(text)
        .map(Uri::from)
        .map_err(|_| ProxyError::BadRequest("the target's path is invalid (RFC 3986 §3.3)"))
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
