//! A request and its response while they pass the chain: what filters read and change.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};

use tokio::time::Instant;

use super::FilterError;
use crate::message::Body;
use crate::plugin::Pool;

/// One request with its response.
pub struct Exchange {
    pub connection: Rc<Connection>,
    /// The client, after trusted proxies.
    pub client: IpAddr,
    pub route: Arc<str>,
    pub request_id: HeaderValue,

    pub method: Method,
    /// Normalised path and query; nothing else.
    pub uri: Uri,
    /// `host` holds the authority.
    pub headers: HeaderMap,
    /// What the route's path captured.
    pub params: Vec<(Arc<str>, Box<str>)>,
    /// What filters told each other: name, and text or JSON.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    pub forwarding: Forwarding,
    /// On its way to the upstream; a filter may wrap it, or put another in its place.
    pub request_body: Body,

    pub response: ResponseHead,
    /// On its way to the client, as `request_body`.
    pub response_body: Body,

    /// When the response's head is due, and every body that is collected before it.
    pub deadline: Instant,

    /// This worker's plugin instances, by the snapshot's order of declarations.
    pub pools: Rc<[Rc<Pool>]>,
    /// Where in the chain the running filter stands; the chain sets it.
    pub(super) position: usize,
    kept: Vec<(usize, Vec<u8>)>,
    /// There once a filter watches the request's body.
    report: Option<BodyReport>,
}

/// What filters of the request's body tell while it is on its way: by then it has left the exchange.
#[derive(Clone, Default)]
pub(super) struct BodyReport(Rc<RefCell<Report>>);

#[derive(Default)]
struct Report {
    kept: Vec<(usize, Vec<u8>)>,
    broken_off: Option<BrokenOff>,
}

/// Why a filter broke the request's body off.
#[derive(Debug)]
pub enum BrokenOff {
    /// To give this answer.
    Answered(Reply),
    /// It failed.
    Failed(FilterError),
}

/// What all requests of a connection share.
#[derive(Debug)]
pub struct Connection {
    pub listener: Arc<str>,
    pub peer: IpAddr,
    /// The peer's address as header fields carry it.
    pub peer_text: HeaderValue,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The part of a `Forwarded` element that is the same for every request (RFC 7239 §4).
    pub forwarded: Box<str>,
}

impl Connection {
    /// `peer` is connected to `listener`.
    pub fn new(listener: Arc<str>, peer: IpAddr, scheme: &'static str) -> Self {
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        let peer = peer.to_canonical();
        let forwarded = match peer {
            IpAddr::V4(address) => format!("for={address};proto={scheme}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\";proto={scheme}"),
        };
        let peer_text = HeaderValue::from_str(&peer.to_string()).expect("an address is ASCII");
        Self { listener, peer, peer_text, scheme, forwarded: forwarded.into() }
    }
}

/// Where the request goes when the chain lets it pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarding {
    /// As the route says.
    Route,
    /// To this one of the route's upstreams.
    Upstream(Box<str>),
}

/// Status and fields of a response, and who made it.
#[derive(Debug)]
pub struct ResponseHead {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The upstream answered, or the route's own `respond`.
    Upstream,
    /// A filter answered in the upstream's place.
    Filter,
    /// The gateway made it, because something failed.
    Gateway,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// Puts the reply in the place of the response.
    pub fn install(self, exchange: &mut Exchange, origin: Origin) {
        exchange.response = ResponseHead { status: self.status, headers: self.headers, origin };
        exchange.response_body = Body::Full(self.body);
    }
}

impl Exchange {
    pub fn new(connection: Rc<Connection>, request: http::request::Parts, pools: Rc<[Rc<Pool>]>) -> Self {
        Self {
            client: connection.peer,
            connection,
            route: Arc::default(),
            request_id: HeaderValue::from_static(""),
            method: request.method,
            uri: request.uri,
            headers: request.headers,
            params: Vec::new(),
            attributes: Vec::new(),
            forwarding: Forwarding::Route,
            request_body: Body::Empty,
            response: ResponseHead { status: StatusCode::OK, headers: HeaderMap::new(), origin: Origin::Gateway },
            response_body: Body::Empty,
            deadline: Instant::now(),
            pools,
            position: 0,
            kept: Vec::new(),
            report: None,
        }
    }

    /// Host and port that the client asked for, as it wrote them; empty when it named none (HTTP/1.0).
    pub fn authority(&self) -> &str {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }

    pub fn set_attribute(&mut self, name: Box<str>, value: Box<str>) {
        match self.attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name, value)),
        }
    }

    /// Stores what the running filter's request hook hands to its response hook.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) {
        let position = self.position;
        self.kept.retain(|(at, _)| *at != position);
        self.kept.push((position, bytes));
    }

    pub(super) fn kept(&self) -> Option<&[u8]> {
        self.kept.iter().find(|(at, _)| *at == self.position).map(|(_, bytes)| bytes.as_slice())
    }

    /// Where a filter of the request's body tells what it comes to know.
    pub(super) fn body_report(&mut self) -> BodyReport {
        self.report.get_or_insert_default().clone()
    }

    /// Takes up what filters of the request's body have handed to their response hooks so far.
    pub(super) fn take_up_report(&mut self) {
        let Some(report) = &self.report else { return };
        let kept = std::mem::take(&mut report.0.borrow_mut().kept);
        for (position, bytes) in kept {
            self.kept.retain(|(at, _)| *at != position);
            self.kept.push((position, bytes));
        }
    }

    /// Why the request's body was broken off, if a filter did it. To everybody else it is only a body that failed.
    pub fn take_broken_off(&mut self) -> Option<BrokenOff> {
        self.report.as_ref()?.0.borrow_mut().broken_off.take()
    }
}

impl BodyReport {
    /// As [`Exchange::keep`], for the filter at `position`.
    pub(super) fn keep(&self, position: usize, bytes: Vec<u8>) {
        self.0.borrow_mut().kept.push((position, bytes));
    }

    pub(super) fn break_off(&self, why: BrokenOff) {
        self.0.borrow_mut().broken_off = Some(why);
    }
}
