//! The request path, top to bottom.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::account::Asked;
use super::forward::forward;
use super::grpc::Call;
use super::record::{Record, Served, Watched};
use super::respond::ProxyError;
use super::upgrade::Tunnel;
use super::worker::{Generation, Worker};
use super::{identity, receive, upgrade};
use crate::filter::{BrokenOff, Connection, Exchange, Origin, RequestEnd};
use crate::heap::boxed;
use crate::message::upgrade::Via;
use crate::message::{Body, strip_owned};
use crate::router;
use crate::snapshot::{Listener, Route, Target};
use crate::telemetry::Trace;

/// A response on its way.
pub type Answer = Pin<Box<dyn Future<Output = Answered>>>;

/// What the client is told, and what its connection becomes after that.
pub struct Answered {
    pub response: Response<Watched>,
    pub tunnel: Option<Box<Tunnel>>,
}

/// Serves one request. There is always a response: whatever failed is told by one.
///
/// All that needs no waiting is done at once, so that the future holds a pointer to the exchange and not the request.
pub fn serve(
    worker: &Worker,
    connection: &Rc<Connection>,
    accepted_by: &Arc<Listener>,
    request: Request<Incoming>,
) -> Answer {
    let arrival = Instant::now();
    // Once, here: all that follows sees this generation, whatever is swapped meanwhile.
    let generation = worker.generation();
    let (number, listener) = match generation.listener(&connection.listener) {
        Some((number, listener)) => (number, &**listener),
        None => (u16::MAX, &**accepted_by),
    };
    let (mut head, incoming) = request.into_parts();
    // Before anything can fail: whatever becomes of the request, it is told.
    let mut record = Record::begin(generation.table.clone(), connection.clone(), number, &head.method, arrival);
    let asked = Asked::note(&generation, &head);
    // Before anything reads the head: from here on it has one authority and a normal path.
    let checked = receive::check(&mut head, &listener.limits);
    // Also before the route: a refusal must cost less than what it spares.
    let checked = if worker.is_overloaded() { checked.and(Err(ProxyError::Overloaded)) } else { checked };
    let version = head.version;
    let call = Call::of(&head, arrival);
    let mut exchange = admit(&generation, listener, connection, head);
    let found = checked.and_then(|via| {
        direct(listener, &exchange, version)?;
        let place = find_route(&generation, number, &mut exchange).ok_or(ProxyError::NoRoute)?;
        upgrade::settle(&generation.snapshot.routes[place], &mut exchange, via, &incoming).map(|()| place)
    });
    begin_trace(&generation, listener, found.as_ref().ok().copied(), &mut exchange);
    record.tell(&generation, asked, &exchange);
    let place = match found {
        Ok(place) => place,
        Err(error) => {
            fail(&mut exchange, &error);
            // Whoever sends such a head may mean the next one otherwise than it is read here.
            if version != Version::HTTP_2 && error.is_of_head() {
                exchange.response.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            return Box::pin(std::future::ready(finish(Served::new(generation, exchange, record), None, call)));
        }
    };
    let route = &generation.snapshot.routes[place];
    exchange.deadline = arrival + route.timeout;
    let is_stream = call.is_some();
    exchange.request_body =
        Body::of_request(incoming, receive::body_limits(listener, route, is_stream), &generation.owned_headers);
    // What its client allows a call is less than all others may take, if anything.
    if let Some(call) = call {
        call.bound(&mut exchange);
    }
    record.routed(&generation, place, &mut exchange);
    let mut served = Served::new(generation, exchange, record);
    Box::into_pin(boxed(|| async move {
        let Served { generation, exchange, .. } = &mut served;
        let tunnel = pass(generation, &generation.snapshot.routes[place], exchange).await;
        finish(served, tunnel, call)
    }))
}

/// The exchange, as filters may trust it: what only filters may write is gone, who the client is stands fast.
fn admit(generation: &Generation, listener: &Listener, connection: &Rc<Connection>, head: Parts) -> Box<Exchange> {
    // Boxed: it is handed through every step, and moving it each time would cost more.
    let mut exchange =
        boxed(|| Exchange::new(connection.clone(), head, generation.lanes.clone(), generation.guest_time()));
    strip_owned(&mut exchange.headers, &generation.snapshot.owned_headers);
    if let Some(session) = &connection.tls {
        // After that: these are what nobody else may write.
        session.headers.iter().for_each(|(name, value)| drop(exchange.headers.insert(name, value.clone())));
    }
    identity::establish(&mut exchange, listener);
    exchange
}

/// A client may take a connection over HTTP/2 for other names than the one it was made for (RFC 9113 §9.1.1). Where there is another
/// certificate for such a name it has to come again, and learns so.
fn direct(listener: &Listener, exchange: &Exchange, version: Version) -> Result<(), ProxyError> {
    match (&listener.tls, &exchange.connection.tls) {
        (Some(tls), Some(session))
            if version == Version::HTTP_2 && tls.is_misdirected(session, host_of(exchange.authority())) =>
        {
            Err(ProxyError::Misdirected)
        }
        _ => Ok(()),
    }
}

/// Finds out where the request belongs, before any filter looks at what says so.
fn begin_trace(generation: &Generation, listener: &Listener, route: Option<usize>, exchange: &mut Exchange) {
    if let Some(tracer) = &generation.tracer {
        let sample = route.and_then(|place| generation.snapshot.routes[place].trace_sample);
        let peer = exchange.connection.peer;
        let is_trusted = || identity::is_trusted(listener, peer);
        exchange.trail.belongs(Trace::begin(&mut exchange.headers, tracer.rules(), sample, is_trusted));
    }
}

/// The route's place in the snapshot.
fn find_route(generation: &Generation, listener: u16, exchange: &mut Exchange) -> Option<usize> {
    let (place, params) = {
        let method = wanted_method(exchange);
        let found = generation.snapshot.router.find(&router::Request {
            listener,
            host: host_of(exchange.authority()),
            path: exchange.uri.path(),
            query: exchange.uri.query(),
            method: &method,
            headers: &exchange.headers,
        })?;
        // They borrow from the path, which filters may change.
        (found.route, found.params.iter().map(|(name, value)| (name.into(), value.into())).collect())
    };
    exchange.params = params;
    exchange.route = generation.snapshot.routes[place].name.clone();
    Some(place)
}

/// A CORS preflight asks about another request, and goes where that would (WHATWG Fetch, §4.8).
fn wanted_method(exchange: &Exchange) -> Cow<'_, Method> {
    if exchange.method == Method::OPTIONS
        && exchange.headers.contains_key(ORIGIN)
        && let Some(wanted) = exchange.headers.get(ACCESS_CONTROL_REQUEST_METHOD)
        && let Ok(wanted) = Method::from_bytes(wanted.as_bytes())
    {
        return Cow::Owned(wanted);
    }
    Cow::Borrowed(&exchange.method)
}

/// The chain down, the upstream or the route's own answer, the chain up.
async fn pass(generation: &Rc<Generation>, route: &Route, exchange: &mut Exchange) -> Option<Box<Tunnel>> {
    let mut tunnel = None;
    let ran = match route.chain.on_request(exchange).await {
        RequestEnd::Passed { ran } => {
            match &route.target {
                Target::Respond(reply) => reply.clone().install(exchange, Origin::Upstream),
                Target::Upstreams { .. } => match forward(generation, route, exchange).await {
                    Ok(opened) => tunnel = opened,
                    Err(error) => not_forwarded(exchange, error),
                },
            }
            ran
        }
        RequestEnd::Answered { reply, ran } => {
            reply.install(exchange, Origin::Filter);
            ran
        }
        RequestEnd::Failed { error, ran } => {
            fail(exchange, &ProxyError::Filter(error));
            ran
        }
    };
    // Also over answers that a filter or the gateway made: a filter that opened something must see its end.
    route
        .chain
        .on_response(exchange, ran, |exchange, answer| match answer {
            Ok(reply) => reply.install(exchange, Origin::Filter),
            Err(error) => fail(exchange, &ProxyError::Filter(error)),
        })
        .await;
    tunnel
}

/// A filter that broke the request's body off decides what the client hears; to the upstream it was a body that failed.
fn not_forwarded(exchange: &mut Exchange, error: ProxyError) {
    match exchange.take_broken_off() {
        Some(BrokenOff::Answered(reply)) => reply.install(exchange, Origin::Filter),
        Some(BrokenOff::Failed(error)) => fail(exchange, &ProxyError::Filter(error)),
        None => fail(exchange, &error),
    }
}

fn fail(exchange: &mut Exchange, error: &ProxyError) {
    if let Some(flag) = error.flag() {
        exchange.flags.insert(flag);
    }
    error.reply(&exchange.request_id, exchange.trail.trace_id()).install(exchange, Origin::Gateway);
}

fn finish(mut served: Served, tunnel: Option<Box<Tunnel>>, call: Option<Call>) -> Answered {
    let exchange = &mut *served.exchange;
    // A filter may have put another answer in the place of the upstream's.
    let mut tunnel = tunnel.filter(|_| exchange.response.status == StatusCode::SWITCHING_PROTOCOLS);
    let upgrade = exchange.upgrade.take();
    if upgrade.as_ref().is_some_and(|upgrade| upgrade.via == Via::Http2)
        && tunnel.is_none()
        && exchange.response.status.is_success()
    {
        // To an extended CONNECT, every success is a tunnel.
        fail(exchange, &ProxyError::NotSwitched);
    }
    // Last: until here everybody reads statuses.
    if let Some(call) = call {
        call.tell(exchange);
    }
    let (mut response, record) = served.finish();
    match &mut tunnel {
        // A request that became a tunnel is over when that is.
        Some(tunnel) => tunnel.record = record,
        None => response.body_mut().watch(record),
    }
    if let (Some(upgrade), Some(_)) = (&upgrade, &tunnel) {
        upgrade::tell(&mut response, upgrade);
    }
    Answered { response, tunnel }
}

/// The host of an authority, without the port; an IPv6 address keeps its brackets.
fn host_of(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    }
}
