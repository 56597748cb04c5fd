//! Forwarding: from a request that passed its filters to the head of the upstream's response.

use std::rc::Rc;
use std::time::Duration;

use http::header::TRANSFER_ENCODING;
use http::{HeaderValue, Method, Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::affinity::Place;
use super::respond::ProxyError;
use super::worker::Generation;
use crate::filter::{Exchange, Forwarding, Origin, ResponseHead};
use crate::message::{Body, BodyLimits, strip_hop_by_hop};
use crate::snapshot::{Route, Target};
use crate::upstream::{Client, InFlight, Outcome, Pick, SendError, Sent, Upstream};

/// Sends the exchange's request, and fills in its response: the head, and the body as it arrives.
pub(super) async fn forward(generation: &Generation, route: &Route, exchange: &mut Exchange) -> Result<(), ProxyError> {
    let Target::Upstreams { places, turns, sticky } = &route.target else {
        return Err(ProxyError::NoEndpoint);
    };
    let upstreams = &generation.snapshot.upstreams;
    let place = match &exchange.forwarding {
        Forwarding::Route => {
            // A client that does not say who it is gets its turn like anybody.
            let hash = sticky.as_ref().and_then(|key| exchange.hash_by(key));
            places[hash.map_or_else(|| turns.next(), |hash| turns.of(hash)).ok_or(ProxyError::NoEndpoint)?]
        }
        Forwarding::Place(place) => *place,
        Forwarding::Upstream(name) => {
            let named = places.iter().copied().find(|place| *upstreams[*place].name == **name);
            named.ok_or_else(|| ProxyError::NotOfThisRoute { upstream: name.to_string() })?
        }
    };
    let upstream = &upstreams[place];
    let belongs = Place::of(upstream, exchange);
    let endpoint = upstream.pick(&Pick { hash: belongs.hash, avoid: &[] }).ok_or(ProxyError::NoEndpoint)?;
    let client = &generation.clients[place][endpoint];

    let in_flight = upstream.begin(endpoint);
    let began = Instant::now();
    let sent = attempt(upstream, client, exchange).await;
    if let Some(outcome) = outcome(&sent, began.elapsed()) {
        upstream.report(endpoint, outcome);
    }
    receive(upstream, exchange, sent?, in_flight);
    belongs.tell(exchange);
    Ok(())
}

/// How a try went, as far as the upstream had part in it.
fn outcome(sent: &Result<Sent, ProxyError>, latency: Duration) -> Option<Outcome> {
    match sent {
        Ok(sent) => Some(Outcome::Answered { status: sent.response.status(), latency }),
        Err(ProxyError::TryTimeout { .. } | ProxyError::RouteTimeout { .. }) => Some(Outcome::TimedOut),
        Err(ProxyError::Upstream { error, .. }) => match error {
            SendError::Connect(_) | SendError::ConnectTimeout(_) => Some(Outcome::ConnectFailed),
            SendError::Connection { .. } => Some(Outcome::Broken),
            SendError::RequestBody(_) => None,
        },
        Err(_) => None,
    }
}

/// One try, and a second on a new connection when a kept one turned out to be dead before it said a word.
async fn attempt(upstream: &Upstream, client: &Rc<Client>, exchange: &mut Exchange) -> Result<Sent, ProxyError> {
    let deadline = exchange.deadline;
    let try_deadline = deadline.min(Instant::now() + upstream.timeouts.per_try);
    let body = std::mem::take(&mut exchange.request_body);
    // Only what can be said twice is: an idempotent request without a body (RFC 9110 §9.2.2).
    let may_repeat = body.is_end_stream() && is_idempotent(&exchange.method);
    let request = upstream_request(exchange, body);
    let tries = async {
        match client.send(request).await {
            Err(SendError::Connection { stale: true, .. }) if may_repeat => {
                Box::pin(client.send_fresh(upstream_request(exchange, Body::Empty))).await
            }
            outcome => outcome,
        }
    };
    let name = || upstream.name.to_string();
    let endpoint = || format!("{}:{}", client.endpoint().host, client.endpoint().port);
    match timeout_at(try_deadline, tries).await {
        Ok(Ok(sent)) => Ok(sent),
        Ok(Err(error)) => Err(ProxyError::Upstream { upstream: name(), endpoint: endpoint(), error }),
        Err(_) if try_deadline < deadline => Err(ProxyError::TryTimeout {
            upstream: name(),
            endpoint: endpoint(),
            seconds: upstream.timeouts.per_try.as_secs_f64(),
        }),
        Err(_) => Err(ProxyError::RouteTimeout { upstream: name(), endpoint: endpoint() }),
    }
}

/// The exchange's request in the form the upstream's connection takes.
///
/// The exchange keeps its own copy: response hooks and a second try want it.
fn upstream_request(exchange: &Exchange, body: Body) -> Request<Body> {
    let may_have_body = !body.is_end_stream();
    let mut request = Request::new(body);
    *request.method_mut() = exchange.method.clone();
    *request.uri_mut() = exchange.uri.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = exchange.headers.clone();
    strip_hop_by_hop(request.headers_mut());
    // hyper takes a GET to have no body unless its head says otherwise.
    if may_have_body && request.body().size_hint().exact().is_none() && !has_length(&request) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request
}

fn has_length(request: &Request<Body>) -> bool {
    request.headers().contains_key(http::header::CONTENT_LENGTH)
}

fn receive(upstream: &Upstream, exchange: &mut Exchange, sent: Sent, in_flight: InFlight) {
    let Sent { response, give_back } = sent;
    let (mut head, incoming): (_, Incoming) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    exchange.response = ResponseHead { status: head.status, headers: head.headers, origin: Origin::Upstream };
    let limits = BodyLimits { bytes_max: u64::MAX, idle: upstream.timeouts.idle };
    // The try is under way until its body has passed, or was given up.
    let end = Box::new(move || {
        drop(in_flight);
        give_back();
    });
    exchange.response_body = Body::stream(incoming, limits, Some(end));
}

/// Methods that may be said twice with the effect of once (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || *method == Method::PUT || *method == Method::DELETE
}
