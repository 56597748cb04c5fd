//! Forwarding: from a request that passed its filters to the head of the upstream's response.
//!
//! Here a request is tried once. What goes on after a failure, where the upstream has rules for that, stands in `persist`.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_TYPE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::affinity::Place;
use super::grpc::is_grpc;
use super::respond::ProxyError;
use super::upgrade::Tunnel;
use super::worker::Generation;
use super::{mirror, persist, upgrade};
use crate::filter::{Exchange, Forwarding, Origin, ResponseHead};
use crate::message::{Body, BodyLimits, has_token, strip_hop_by_hop};
use crate::snapshot::{Route, Target};
use crate::telemetry::{TRACEPARENT, Table};
use crate::upstream::{Client, Failed, Loss, On, Outcome, Pick, Protocol, SendError, Sent, Upstream};

/// Sends the exchange's request, and fills in its response: the head, and the body as it arrives; in the body's place a tunnel, when the
/// upstream agreed on one.
pub(super) async fn forward(
    generation: &Rc<Generation>,
    route: &Route,
    exchange: &mut Exchange,
) -> Result<Option<Box<Tunnel>>, ProxyError> {
    let place = choose(generation, route, exchange)?;
    let upstream = &generation.snapshot.upstreams[place];
    let belongs = Place::of(upstream, exchange);
    let way =
        Way { upstream, place, clients: &generation.clients[place], hash: belongs.hash, table: &generation.table };
    // After the choice, so that copies are made only of what is sent at all; before sending, because a copy is made on the way.
    if !exchange.mirrors.is_empty() && exchange.upgrade.is_none() {
        mirror::attach(generation, exchange);
    }
    let mut sent = match &way.upstream.retries {
        None => once(&way, route, exchange).await?,
        // Boxed: few upstreams have such rules, and all requests would have the room for them.
        Some(rules) => Box::pin(persist::persist(&way, rules, exchange)).await?,
    };
    let tunnel = if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let switched = upgrade::switched(route, exchange, &mut sent);
        Some(switched.map_err(|fault| ProxyError::BadSwitch { upstream: upstream.name.to_string(), fault })?)
    } else {
        None
    };
    receive(upstream, route, exchange, sent);
    belongs.tell(exchange);
    Ok(tunnel)
}

fn choose(generation: &Generation, route: &Route, exchange: &Exchange) -> Result<usize, ProxyError> {
    let Target::Upstreams { places, turns, sticky } = &route.target else {
        return Err(ProxyError::NoEndpoint);
    };
    match &exchange.forwarding {
        Forwarding::Route => {
            // A client that does not say who it is gets its turn like anybody.
            let hash = sticky.as_ref().and_then(|key| exchange.hash_by(key));
            let turn = hash.map_or_else(|| turns.next(), |hash| turns.of(hash));
            turn.map(|turn| places[turn]).ok_or(ProxyError::NoEndpoint)
        }
        Forwarding::Place(place) => Ok(*place),
        Forwarding::Upstream(name) => {
            let upstreams = &generation.snapshot.upstreams;
            let named = places.iter().copied().find(|place| *upstreams[*place].name == **name);
            named.ok_or_else(|| ProxyError::NotOfThisRoute { upstream: name.to_string() })
        }
    }
}

async fn once(way: &Way<'_>, route: &Route, exchange: &mut Exchange) -> Result<Sent, ProxyError> {
    let endpoint = way.pick(&[]).ok_or(ProxyError::NoEndpoint)?;
    let body = std::mem::take(&mut exchange.request_body);
    let has_body = !body.is_end_stream();
    let headers = if has_body && route.chain.is_empty() {
        // Nobody will ask for them again: no response hook, no second try.
        std::mem::take(&mut exchange.headers)
    } else {
        exchange.headers.clone()
    };
    let request = upstream_request(way.upstream, exchange, headers, body);
    let again = || (!has_body).then(|| upstream_request(way.upstream, exchange, exchange.headers.clone(), Body::Empty));
    way.attempt(endpoint, request, again, exchange).await.map_err(|lost| lost.error)
}

/// An upstream, and this worker's connections to its endpoints.
pub(super) struct Way<'g> {
    pub(super) upstream: &'g Upstream,
    /// Its place among the snapshot's.
    place: usize,
    pub(super) clients: &'g [Rc<Client>],
    /// What requests that stay together have in common.
    pub(super) hash: Option<u64>,
    table: &'g Table,
}

/// A try that brought no response.
pub(super) struct Lost {
    pub(super) error: ProxyError,
    pub(super) cause: Cause,
    /// The request, when none of it was sent.
    pub(super) unsent: Option<Box<Request<Body>>>,
}

/// What became of it, as far as trying again goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The upstream never heard of the request.
    ConnectFailure,
    /// The upstream says that it did not begin with it.
    Unprocessed,
    Reset,
    Timeout,
    /// Nothing that another try could mend.
    Final,
}

impl Cause {
    /// As traces tell it.
    fn word(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::Unprocessed => "unprocessed",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Final => "failed",
        }
    }
}

impl Way<'_> {
    /// The endpoint for the next try, one that was not tried if there is one.
    pub(super) fn pick(&self, tried: &[usize]) -> Option<usize> {
        self.upstream.pick(&Pick { hash: self.hash, avoid: tried })
    }

    /// One try at one endpoint. When a kept connection turns out to be dead, or the upstream says that it did not begin with
    /// the request, it is sent once more on a new connection: if `again` can say it again.
    pub(super) async fn attempt(
        &self,
        endpoint: usize,
        mut request: Request<Body>,
        again: impl FnOnce() -> Option<Request<Body>>,
        exchange: &Exchange,
    ) -> Result<Sent, Box<Lost>> {
        let transport = &self.upstream.transport;
        let client = &self.clients[endpoint];
        let permit = match transport.load.admit(&transport.limits) {
            Ok(permit) => permit,
            Err(full) => return Err(self.lost(endpoint, Failed { error: full.into(), unsent: None })),
        };
        // It would be lost for the others, and only a new one is sure to be there.
        let on = if request.headers().contains_key(UPGRADE) { On::Upgrade } else { On::Any };
        let (began, deadline) = (Instant::now(), exchange.deadline);
        let try_deadline = deadline.min(began + self.upstream.transport.timeouts.per_try);
        let mark = exchange.trail.try_begins((self.place, endpoint), began);
        let tell = |request: &mut Request<Body>| {
            if let Some(mark) = &mark {
                request.headers_mut().insert(TRACEPARENT, mark.parent.clone());
            }
        };
        tell(&mut request);
        let tried = {
            // Pinned where it is: moved into the timeout, it would be copied.
            let tries = pin!(async {
                let failed = match client.send(request, on, (permit, self.upstream.begin(endpoint))).await {
                    Ok(sent) => return Ok(sent),
                    Err(failed) => failed,
                };
                let may_repeat = match &failed.error {
                    SendError::Connection { loss: Loss::Unprocessed, .. } => true,
                    SendError::Connection { loss: Loss::Stale, .. } => is_idempotent(&exchange.method),
                    _ => false,
                };
                match (may_repeat.then(again).flatten(), transport.load.admit(&transport.limits)) {
                    (Some(mut request), Ok(permit)) => {
                        tell(&mut request);
                        Box::pin(client.send(request, on.anew(), (permit, self.upstream.begin(endpoint)))).await
                    }
                    _ => Err(failed),
                }
            });
            timeout_at(try_deadline, tries).await
        };
        let tried = match tried {
            Ok(outcome) => outcome.map_err(|failed| self.lost(endpoint, failed)),
            Err(_) => Err(self.timed_out(endpoint, try_deadline < deadline)),
        };
        let ended = Instant::now();
        let took = ended - began;
        let told = tried.as_ref().map(|sent| sent.response.status().as_u16()).map_err(|lost| lost.cause.word());
        exchange.trail.try_ends(mark, ended, told);
        self.table.tried(self.place, took);
        if let Some(outcome) = outcome(&tried, took) {
            self.upstream.report(endpoint, outcome);
        }
        tried
    }

    fn lost(&self, endpoint: usize, failed: Failed) -> Box<Lost> {
        let Failed { error, unsent } = failed;
        let cause = match &error {
            error if error.is_connect_failure() => Cause::ConnectFailure,
            SendError::Connection { loss: Loss::Unprocessed, .. } => Cause::Unprocessed,
            SendError::Connection { .. } | SendError::Framing => Cause::Reset,
            _ => Cause::Final,
        };
        let (upstream, endpoint) = self.names(endpoint);
        Box::new(Lost { error: ProxyError::Upstream { upstream, endpoint, error }, cause, unsent })
    }

    fn timed_out(&self, endpoint: usize, is_of_try: bool) -> Box<Lost> {
        let (upstream, endpoint) = self.names(endpoint);
        let seconds = self.upstream.transport.timeouts.per_try.as_secs_f64();
        let (error, cause) = if is_of_try {
            (ProxyError::TryTimeout { upstream, endpoint, seconds }, Cause::Timeout)
        } else {
            (ProxyError::RouteTimeout { upstream, endpoint }, Cause::Final)
        };
        Box::new(Lost { error, cause, unsent: None })
    }

    fn names(&self, endpoint: usize) -> (String, String) {
        let endpoint = self.clients[endpoint].endpoint();
        (self.upstream.name.to_string(), endpoint.to_string())
    }
}

/// How a try went, as far as the endpoint had part in it.
fn outcome(tried: &Result<Sent, Box<Lost>>, latency: Duration) -> Option<Outcome> {
    match tried {
        Ok(sent) => Some(Outcome::Answered { status: sent.response.status(), latency }),
        Err(lost) => match (&lost.error, lost.cause) {
            (ProxyError::TryTimeout { .. } | ProxyError::RouteTimeout { .. }, _) => Some(Outcome::TimedOut),
            (_, Cause::ConnectFailure) => Some(Outcome::ConnectFailed),
            (_, Cause::Unprocessed | Cause::Reset) => Some(Outcome::Broken),
            (_, Cause::Timeout | Cause::Final) => None,
        },
    }
}

/// The exchange's request in the form the upstream's connection takes.
pub(super) fn upstream_request(
    upstream: &Upstream,
    exchange: &Exchange,
    headers: HeaderMap,
    body: Body,
) -> Request<Body> {
    let may_have_body = !body.is_end_stream();
    let mut request = Request::new(body);
    *request.method_mut() = exchange.method.clone();
    *request.uri_mut() = exchange.uri.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    // The one thing of the client's connection that is said again on the upstream's, where HTTP/2 may carry it.
    let may_tell = upstream.transport.protocol != Protocol::Http1 && exchange.upgrade.is_none();
    let wants_trailers = may_tell && has_token(request.headers(), &TE, "trailers");
    strip_hop_by_hop(request.headers_mut());
    if wants_trailers {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
        // Where it turns out to be HTTP/1.1, it is said to be of this hop (RFC 9110 §10.1.4).
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("te"));
    }
    if let Some(upgrade) = &exchange.upgrade {
        upgrade::ask(request.headers_mut(), upgrade);
    }
    // hyper takes a GET to have no body unless its head says otherwise.
    if may_have_body && request.body().size_hint().exact().is_none() && !has_length(&request) {
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    request
}

fn has_length(request: &Request<Body>) -> bool {
    request.headers().contains_key(http::header::CONTENT_LENGTH)
}

fn receive(upstream: &Upstream, route: &Route, exchange: &mut Exchange, sent: Sent) {
    let Sent { response, give_back } = sent;
    let (mut head, incoming): (_, Incoming) = response.into_parts();
    strip_hop_by_hop(&mut head.headers);
    let idle = upstream.transport.timeouts.idle;
    let idle = if is_event_stream(&head.headers) || is_grpc(&head.headers) {
        idle.max(route.stream_idle_timeout)
    } else {
        idle
    };
    let limits = BodyLimits { bytes_max: u64::MAX, idle, bytes_per_second_min: 0 };
    exchange.response = ResponseHead { status: head.status, headers: head.headers, origin: Origin::Upstream };
    exchange.response_body = Body::stream(incoming, limits, Some(give_back));
}

/// Server-sent events (WHATWG HTML, §9.2): nobody knows when the next one comes.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    media_type.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}

/// Methods that may be said twice with the effect of once (RFC 9110 §9.2.2).
fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || *method == Method::PUT || *method == Method::DELETE
}
