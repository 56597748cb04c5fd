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
use crate::snapshot::{Listener, ListenerLimits, Route};

/// Brings the head into the form that every later step relies on: `host` holds the authority, the URI holds nothing but
/// the normalised path and the query.
/// Tells also whether, and how, it asks for an upgrade.
pub(super) fn check(head: &mut Parts, limits: &ListenerLimits) -> Result<Option<Via>, ProxyError> {
    if head.version == Version::HTTP_2 {
        check_http2(head, limits)?;
    }
    let via = upgrade::asked(head)?;
    settle_authority(head)?;
    head.uri = normal_uri(&head.uri, &head.method)?;
    match content_length(&head.headers) {
        Some(bytes) if bytes > limits.body_bytes => return Err(ProxyError::BodyTooLarge),
        // Who reads a number with leading zeros as an octal one must not see them.
        Some(bytes) if head.headers[CONTENT_LENGTH].as_bytes().starts_with(b"0") => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
        }
        _ => {}
    }
    Ok(via)
}

/// How large a request's body may be, how long it may stand still, and how slowly it may arrive: a call of gRPC may be silent for as
/// long as streams may here.
pub(super) fn body_limits(listener: &Listener, route: &Route, is_stream: bool) -> BodyLimits {
    let ListenerLimits { body_bytes: bytes_max, idle_timeout, body_bytes_per_second_min, .. } = listener.limits;
    let idle = if is_stream { idle_timeout.max(route.stream_idle_timeout) } else { idle_timeout };
    let bytes_per_second_min = if is_stream { 0 } else { body_bytes_per_second_min };
    BodyLimits { bytes_max, idle, bytes_per_second_min }
}

/// What the wire has checked in a head of HTTP/1.
fn check_http2(head: &mut Parts, limits: &ListenerLimits) -> Result<(), ProxyError> {
    if head.headers.len() > limits.header_count {
        return Err(ProxyError::HeadTooLarge("the request has more header fields than this listener allows"));
    }
    let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target.len() > limits.target_bytes {
        return Err(ProxyError::TargetTooLong);
    }
    if !target.is_ascii() {
        return Err(ProxyError::BadRequest("the target has bytes that are not ASCII (RFC 3986 §2)"));
    }
    let has_white_end = |value: &HeaderValue| matches!(value.as_bytes(), [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if head.headers.values().any(has_white_end) {
        return Err(ProxyError::BadRequest("a field's value begins or ends with white space (RFC 9113 §8.2.1)"));
    }
    join_cookies(&mut head.headers);
    Ok(())
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

/// Exactly one authority: where the target and `Host` each have one, they are the same (RFC 9112 §3.2.2, RFC 9113 §8.3.1).
fn settle_authority(head: &mut Parts) -> Result<(), ProxyError> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::BadRequest("the request has more than one Host field (RFC 9112 §3.2)"));
    }
    if let Some(authority) = head.uri.authority() {
        let default_port = match head.uri.scheme_str() {
            Some("http") => ":80",
            Some("https") => ":443",
            Some(_) => {
                return Err(ProxyError::BadRequest("the target's scheme is neither http nor https (RFC 9110 §4.2)"));
            }
            None => return Err(ProxyError::BadRequest("an authority alone is a target for CONNECT (RFC 9112 §3.2.3)")),
        };
        if authority.as_str().contains('@') {
            return Err(ProxyError::BadRequest("the target names a user (RFC 9110 §4.2.4)"));
        }
        match host {
            Some(host) if !is_same(host.as_bytes(), authority.as_str().as_bytes(), default_port.as_bytes()) => {
                return Err(ProxyError::BadRequest(
                    "the target's authority and the Host field differ (RFC 9112 §3.2.2)",
                ));
            }
            None if head.version == Version::HTTP_11 => return Err(NO_HOST),
            _ => {}
        }
        let value = HeaderValue::from_str(authority.as_str()).ok().filter(is_authority).ok_or(
            ProxyError::BadRequest("the target's authority is not a host with an optional port (RFC 9110 §4.2)"),
        )?;
        head.headers.insert(HOST, value);
        return Ok(());
    }
    match host {
        // An empty one is allowed (RFC 9112 §3.2): the target has no authority.
        Some(host) if host.is_empty() => Ok(()),
        Some(host) if is_authority(host) => Ok(()),
        Some(_) => Err(ProxyError::BadRequest("the Host field is not a host with an optional port (RFC 9110 §7.2)")),
        None if head.version == Version::HTTP_10 => Ok(()),
        None => Err(NO_HOST),
    }
}

/// Names know no case, and the scheme's own port may be left out (RFC 9110 §4.2.3).
fn is_same(host: &[u8], authority: &[u8], default_port: &[u8]) -> bool {
    let host = host.strip_suffix(default_port).unwrap_or(host);
    host.eq_ignore_ascii_case(authority.strip_suffix(default_port).unwrap_or(authority))
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
    host.to_str().is_ok_and(|host| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        let port_is_right = port.contains(']') || port.bytes().all(|byte| byte.is_ascii_digit());
        port_is_right && !host.contains(['@', '"', '\\']) && host.parse::<Authority>().is_ok()
    })
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

const NO_HOST: ProxyError = ProxyError::BadRequest("the request has no Host field (RFC 9112 §3.2)");

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
