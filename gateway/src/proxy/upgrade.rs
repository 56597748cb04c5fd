//! Upgrades: a request that asks to turn its connection into something else, checked, sent on, and its answer believed or not.
//!
//! However a client asks, from here on it is a GET with `Upgrade` as over HTTP/1.1; the answer is put back into the client's form at
//! the end. Nothing becomes a tunnel but by a 101 that answers this very request: an upstream that only pretends, or that was never asked,
//! is a 502, and its connection is closed.

use std::time::Duration;

use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use super::record::Closing;
use super::respond::ProxyError;
use crate::filter::Exchange;
use crate::message::has_token;
use crate::message::upgrade::{Upgrade, Via, WEBSOCKET, accepts_websocket, is_websocket_key, websocket_key};
use crate::snapshot::Route;
use crate::upstream::Sent;

/// An upstream's end of a tunnel, from the moment when both sides have agreed on it.
pub struct Tunnel {
    pub upstream: OnUpgrade,
    pub is_websocket: bool,
    /// How long it may stand still.
    pub idle_timeout: Duration,
    /// What the request has of the upstream's limits, until the tunnel ends. It is dropped and not called: the connection cannot be
    /// given back.
    _held: Box<dyn FnOnce()>,
    /// Of the request that it was, closed with it.
    pub(super) record: Option<Closing>,
}

impl Tunnel {
    /// So many bytes have passed to the upstream and to the client so far.
    pub fn passed(&mut self, up: u64, down: u64) {
        if let Some(record) = &mut self.record {
            record.tunnelled(up, down);
        }
    }
}

/// Whether and how a head asks for an upgrade. An extended CONNECT is told as the GET that asks for the same over HTTP/1.1, as RFC 8441 §5
/// has it the other way round.
pub(super) fn asked(head: &mut Parts) -> Result<Option<Via>, ProxyError> {
    if head.method == Method::CONNECT {
        let protocol = head.extensions.remove::<Protocol>();
        let protocol = protocol.ok_or(ProxyError::BadRequest("this gateway opens no tunnels (CONNECT)"))?;
        let protocol = HeaderValue::from_str(&protocol.as_str().to_ascii_lowercase())
            .map_err(|_| ProxyError::BadRequest("`:protocol` is not the name of a protocol (RFC 8441 §4)"))?;
        head.method = Method::GET;
        if protocol == WEBSOCKET {
            head.headers.insert(SEC_WEBSOCKET_KEY, websocket_key());
        }
        head.headers.insert(UPGRADE, protocol);
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        return Ok(Some(Via::Http2));
    }
    // HTTP/1.0 knows none (RFC 9110 §7.8), and HTTP/2 has no such field.
    let asks = head.version == Version::HTTP_11
        && head.headers.contains_key(UPGRADE)
        && has_token(&head.headers, &CONNECTION, "upgrade");
    Ok(asks.then_some(Via::Http1))
}

/// Decides on the protocol: the first that the client asks for and the route allows. What else a client asks for by `Upgrade` is passed
/// over (RFC 9110 §7.8), but for WebSocket: without it, there is nothing that such a request could mean.
pub(super) fn settle(
    route: &Route,
    exchange: &mut Exchange,
    via: Option<Via>,
    body: &Incoming,
) -> Result<(), ProxyError> {
    let Some(via) = via else { return Ok(()) };
    let asked: Vec<String> = tokens(&exchange.headers).map(str::to_ascii_lowercase).collect();
    let is_allowed = |token: &&String| route.upgrades.iter().any(|allowed| *allowed == ***token);
    let Some(protocol) = asked.iter().find(is_allowed) else {
        return match asked.iter().find(|token| via == Via::Http2 || *token == WEBSOCKET) {
            Some(token) => Err(ProxyError::UpgradeRefused { protocol: token.clone() }),
            None => Ok(()),
        };
    };
    if !body.is_end_stream() {
        return Err(ProxyError::BadRequest("a request for an upgrade has no body here"));
    }
    if protocol == WEBSOCKET {
        check_websocket(exchange)?;
    }
    let protocol = HeaderValue::from_str(protocol).map_err(|_| ProxyError::BadRequest("`Upgrade` is malformed"))?;
    exchange.upgrade = Some(Box::new(Upgrade { protocol, via }));
    Ok(())
}

/// The client's part of the handshake (RFC 6455 §4.2.1).
fn check_websocket(exchange: &Exchange) -> Result<(), ProxyError> {
    let mut keys = exchange.headers.get_all(SEC_WEBSOCKET_KEY).iter();
    if exchange.method != Method::GET {
        return Err(ProxyError::BadRequest("a WebSocket is asked for by GET (RFC 6455 §4.1)"));
    }
    if exchange.headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != WEBSOCKET_VERSION) {
        return Err(ProxyError::WebSocketVersion);
    }
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_websocket_key(key) => Ok(()),
        _ => Err(ProxyError::BadRequest("Sec-WebSocket-Key is not one value of 16 bytes in base64 (RFC 6455 §4.1)")),
    }
}

/// The fields that ask the upstream, which were the client's connection's own and are said again on this one.
pub(super) fn ask(headers: &mut HeaderMap, upgrade: &Upgrade) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, upgrade.protocol.clone());
}

/// What an upstream's 101 leads to, or why nobody should believe it.
pub(super) fn switched(route: &Route, exchange: &Exchange, sent: &mut Sent) -> Result<Box<Tunnel>, &'static str> {
    let upgrade = exchange.upgrade.as_deref().ok_or("it switches protocols without being asked")?;
    let headers = sent.response.headers();
    if !tokens(headers).any(|token| token.as_bytes().eq_ignore_ascii_case(upgrade.protocol.as_bytes())) {
        return Err("it switches to another protocol");
    }
    if upgrade.is_websocket() && !accepts_websocket(&exchange.headers, headers) {
        return Err("its Sec-WebSocket-Accept answers another key");
    }
    Ok(Box::new(Tunnel {
        upstream: hyper::upgrade::on::<&mut Response<Incoming>>(&mut sent.response),
        is_websocket: upgrade.is_websocket(),
        idle_timeout: route.stream_idle_timeout,
        _held: std::mem::replace(&mut sent.give_back, Box::new(|| {})),
        record: None,
    }))
}

/// Puts the answer into the form in which the client asked.
pub(super) fn tell<B>(response: &mut Response<B>, upgrade: &Upgrade) {
    let headers = response.headers_mut();
    match upgrade.via {
        Via::Http1 => ask(headers, upgrade),
        Via::Http2 => {
            // The stream proves what the key does over HTTP/1.1 (RFC 8441 §5).
            headers.remove(SEC_WEBSOCKET_ACCEPT);
            *response.status_mut() = StatusCode::OK;
        }
    }
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

pub(super) const WEBSOCKET_VERSION: &str = "13";
