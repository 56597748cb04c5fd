//! A request and its response while they pass the chain: what filters read and change.

use std::any::Any;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::problem;
use super::report::{BodyReport, BrokenOff};
use super::shadow::Kept;
use super::trail::Trail;
use crate::message::upgrade::Upgrade;
use crate::message::{self, Body, RequestKey};
use crate::plugin::{GuestTime, Lane, Parked};
use crate::telemetry::Flags;
use crate::tls::Session;

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
    pub attributes: Vec<(Arc<str>, Arc<str>)>,
    pub forwarding: Forwarding,
    /// On its way to the upstream; a filter may wrap it, or put another in its place.
    pub request_body: Body,

    pub response: ResponseHead,
    /// On its way to the client, as `request_body`.
    pub response_body: Body,

    /// What the connection is to become, when that is what the request is for.
    pub upgrade: Option<Box<Upgrade>>,
    /// Copies of the request to be made when it is forwarded.
    pub mirrors: Vec<Arc<Mirroring>>,
    /// Why it ended as it did.
    pub flags: Flags,
    pub trail: Trail,

    /// When the response's head is due, and every body that is collected before it.
    pub deadline: Instant,

    /// This worker's plugin instances, by the snapshot's order of plugins.
    pub lanes: Rc<[Lane]>,
    /// CPU time that is left to the plugins of this request.
    pub guest_time: GuestTime,
    /// Where in the chain the running filter stands; the chain sets it.
    pub(super) position: usize,
    kept: Vec<(usize, Vec<u8>)>,
    /// For each plugin with a canary whether it serves this exchange, once that is chosen.
    chosen: SmallVec<[(usize, bool); 1]>,
    /// Instances that this exchange has for itself, by the positions of their filters.
    held: Vec<(usize, Parked)>,
    pub(super) shadow_kept: Vec<(usize, Kept)>,
    /// There once a filter watches the request's body.
    report: Option<BodyReport>,
    /// What request hooks of native filters left for their response hooks, by the filters' positions.
    stashed: SmallVec<[(usize, Box<dyn Any>); 2]>,
}

/// Everything of a request that a filter may change.
pub(super) struct RequestState {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    attributes: Vec<(Arc<str>, Arc<str>)>,
    forwarding: Forwarding,
    kept: Vec<(usize, Vec<u8>)>,
}

/// Everything of a response's head that a filter may change.
pub(super) struct ResponseState {
    status: StatusCode,
    headers: HeaderMap,
    attributes: Vec<(Arc<str>, Arc<str>)>,
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
    /// There where the scheme is `https`.
    pub tls: Option<Session>,
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
        Self { listener, peer, peer_text, scheme, tls: None, forwarded: forwarded.into() }
    }

    /// The same over TLS.
    pub fn over_tls(listener: Arc<str>, peer: IpAddr, session: Session) -> Self {
        Self { tls: Some(session), ..Self::new(listener, peer, "https") }
    }
}

/// Where the request goes when the chain lets it pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forwarding {
    /// As the route says.
    Route,
    /// To this one of the route's upstreams.
    Upstream(Box<str>),
    /// To the upstream at this place in the snapshot, which need not be one of the route's.
    Place(usize),
}

/// A copy of the request to be made, once it is forwarded.
#[derive(Debug)]
pub struct Mirroring {
    /// A name of the configuration.
    pub upstream: Arc<str>,
    /// A longer body is not copied.
    pub body_bytes_max: usize,
    /// Copies under way to that upstream beyond which none is made.
    pub in_flight_max: usize,
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
    /// An error by a filter, as problem details.
    pub fn problem(status: StatusCode, detail: &str, request_id: &HeaderValue) -> Self {
        let (headers, body) = message::problem(status, detail, request_id);
        Self { status, headers, body }
    }

    /// Puts the reply in the place of the response.
    pub fn install(mut self, exchange: &mut Exchange, origin: Origin) {
        // Problems of the gateway's own have the request's id already.
        if origin == Origin::Filter || origin == Origin::Gateway && exchange.trail.trace().is_some() {
            problem::identify(&mut self, &exchange.request_id, exchange.trail.trace_id());
        }
        exchange.response = ResponseHead { status: self.status, headers: self.headers, origin };
        exchange.response_body = Body::Full(self.body);
    }
}

impl Exchange {
    pub fn new(
        connection: Rc<Connection>,
        request: http::request::Parts,
        lanes: Rc<[Lane]>,
        guest_time: GuestTime,
    ) -> Self {
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
            upgrade: None,
            mirrors: Vec::new(),
            flags: Flags::default(),
            trail: Trail::default(),
            deadline: Instant::now(),
            lanes,
            guest_time,
            position: 0,
            kept: Vec::new(),
            chosen: SmallVec::new(),
            held: Vec::new(),
            shadow_kept: Vec::new(),
            report: None,
            stashed: SmallVec::new(),
        }
    }

    /// Host and port that the client asked for, as it wrote them; empty when it named none (HTTP/1.0).
    pub fn authority(&self) -> &str {
        self.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
    }

    /// What a filter set, or what the connection says of its TLS: `tls.version`, `tls.client.subject` and so on.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let set = self.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value);
        set.or_else(|| self.connection.tls.as_ref()?.attribute(name))
    }

    pub fn set_attribute(&mut self, name: Arc<str>, value: Arc<str>) {
        match self.attributes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name, value)),
        }
    }

    /// A number for the part of the request that `key` names, see [`RequestKey::hash`].
    pub fn hash_by(&self, key: &RequestKey) -> Option<u64> {
        key.hash(&self.headers, &self.uri, self.client)
    }

    /// Stores what the running filter's request hook hands to its response hook.
    pub(super) fn keep(&mut self, bytes: Vec<u8>) {
        let position = self.position;
        self.kept.retain(|(at, _)| *at != position);
        self.kept.push((position, bytes));
    }

    /// Keeps what the running filter's request hook knows for its response hook.
    pub(super) fn stash(&mut self, what: impl Any) {
        self.stashed.push((self.position, Box::new(what)));
    }

    /// What the request hook stashed, if it is of this type.
    pub(super) fn unstash<T: Any>(&mut self) -> Option<Box<T>> {
        let position = self.position;
        let at = self.stashed.iter().position(|(at, what)| *at == position && what.is::<T>())?;
        self.stashed.swap_remove(at).1.downcast().ok()
    }

    /// One of `places`, a power of two: requests of different workers seldom get the same.
    pub(super) fn spread(&self, places: usize) -> usize {
        // Workers do not share connections, and memory that is taken by one thread lies together.
        let address = Rc::as_ptr(&self.connection).addr() >> 6;
        (address ^ (address >> 14)) & (places - 1)
    }

    pub(super) fn kept(&self) -> Option<&[u8]> {
        self.kept.iter().find(|(at, _)| *at == self.position).map(|(_, bytes)| bytes.as_slice())
    }

    pub(super) fn chosen(&self, place: usize) -> Option<bool> {
        self.chosen.iter().find(|(at, _)| *at == place).map(|(_, chosen)| *chosen)
    }

    pub(super) fn choose(&mut self, place: usize, chosen: bool) {
        self.chosen.push((place, chosen));
    }

    /// Keeps an instance for the running filter's next hook.
    pub(super) fn hold(&mut self, instance: Parked) {
        self.held.push((self.position, instance));
    }

    pub(super) fn take_held(&mut self) -> Option<Parked> {
        let at = self.held.iter().position(|(at, _)| *at == self.position)?;
        Some(self.held.swap_remove(at).1)
    }

    pub(super) fn request_state(&self) -> RequestState {
        RequestState {
            method: self.method.clone(),
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            attributes: self.attributes.clone(),
            forwarding: self.forwarding.clone(),
            kept: self.kept.clone(),
        }
    }

    pub(super) fn restore_request(&mut self, state: RequestState) {
        let RequestState { method, uri, headers, attributes, forwarding, kept } = state;
        (self.method, self.uri, self.headers) = (method, uri, headers);
        (self.attributes, self.forwarding, self.kept) = (attributes, forwarding, kept);
    }

    pub(super) fn response_state(&self) -> ResponseState {
        ResponseState {
            status: self.response.status,
            headers: self.response.headers.clone(),
            attributes: self.attributes.clone(),
        }
    }

    pub(super) fn restore_response(&mut self, state: ResponseState) {
        let ResponseState { status, headers, attributes } = state;
        (self.response.status, self.response.headers, self.attributes) = (status, headers, attributes);
    }

    /// Where a filter of the request's body tells what it comes to know.
    pub(super) fn body_report(&mut self) -> BodyReport {
        self.report.get_or_insert_default().clone()
    }

    /// Takes up what filters of the request's body have handed to their response hooks so far.
    pub(super) fn take_up_report(&mut self) {
        let Some(report) = &self.report else { return };
        for (position, bytes) in report.take_kept() {
            self.kept.retain(|(at, _)| *at != position);
            self.kept.push((position, bytes));
        }
    }

    /// Why the request's body was broken off, if a filter did it. To everybody else it is only a body that failed.
    pub fn take_broken_off(&mut self) -> Option<BrokenOff> {
        self.report.as_ref()?.take_broken_off()
    }
}
