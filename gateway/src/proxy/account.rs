//! The account of a request for the access log and for traces: noted while it can be, told when the request is over.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::worker::Generation;
use crate::filter::{Attempt, Call, Exchange, Flags, Phase, Trail};
use crate::telemetry::{CallSpan, Entry, FilterCall, Pen, RequestSpans, Trace, Tracer, TrySpan};
use crate::upstream::Endpoint;

/// What is known of a request beyond what is counted.
pub(super) struct Account {
    /// What writes its line, if it has one.
    pen: Option<Rc<Pen>>,
    /// What makes its spans, if it may have some.
    tracer: Option<Rc<Tracer>>,
    asked: Asked,
    method: Method,
    host: HeaderValue,
    request_headers: Fields,
    user_agent: Option<HeaderValue>,
    pattern: Option<Arc<str>>,
    /// Grows while the request's body arrives; `None` where it has none.
    bytes_in: Option<Rc<Cell<u64>>>,
    generation: u64,
    answer: Option<Answered>,
}

/// The request's line, before anything was made of it.
pub(super) struct Asked {
    uri: Uri,
    version: Version,
    /// Whether chance has given it a line.
    is_logged: bool,
}

/// What is taken out of an exchange once it has its answer.
struct Answered {
    client: IpAddr,
    request_id: HeaderValue,
    route: Arc<str>,
    attributes: Vec<(Arc<str>, Arc<str>)>,
    trail: Trail,
    upstream: Option<(Arc<str>, Arc<Endpoint>)>,
    response_headers: Fields,
    attempts: Vec<Attempted>,
}

/// A try, with the names at its places.
struct Attempted {
    attempt: Attempt,
    upstream: Arc<str>,
    is_tls: bool,
    endpoint: Arc<Endpoint>,
    ended: Instant,
}

/// How a request ended.
pub(super) struct End<'e> {
    pub(super) arrival: Instant,
    pub(super) listener: &'e str,
    pub(super) scheme: &'static str,
    pub(super) status: StatusCode,
    pub(super) flags: Flags,
    pub(super) bytes_out: u64,
    pub(super) duration: Duration,
    pub(super) overhead: Duration,
}

/// Values of the fields that a line shows.
type Fields = SmallVec<[Option<HeaderValue>; 2]>;

impl Asked {
    /// Notes the line of a request, if somebody may want it.
    pub(super) fn note(generation: &Generation, head: &http::request::Parts) -> Option<Self> {
        let is_logged = generation.pen.as_ref().is_some_and(|pen| pen.log().is_sampled());
        let is_wanted = is_logged || generation.tracer.is_some();
        is_wanted.then(|| Self { uri: head.uri.clone(), version: head.version, is_logged })
    }
}

impl Account {
    /// Begins with a request that no filter has seen; nothing when nobody will hear of it.
    pub(super) fn begin(generation: &Generation, asked: Asked, exchange: &Exchange) -> Option<Box<Self>> {
        let pen = generation.pen.as_ref().filter(|_| asked.is_logged).cloned();
        let is_traced = |tracer: &Tracer| tracer.rules().errors || is_sampled(&exchange.trail);
        let tracer = generation.tracer.as_ref().filter(|tracer| is_traced(tracer)).cloned();
        if pen.is_none() && tracer.is_none() {
            return None;
        }
        let named = || asked.uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
        let host = exchange.headers.get(HOST).cloned().or_else(named);
        Some(Box::new(Self {
            request_headers: pen
                .as_ref()
                .map_or_else(Fields::new, |pen| fields(&exchange.headers, pen.log().request_headers())),
            user_agent: tracer.as_ref().and_then(|_| exchange.headers.get(USER_AGENT).cloned()),
            pen,
            tracer,
            asked,
            method: exchange.method.clone(),
            host: host.unwrap_or_else(|| HeaderValue::from_static("")),
            pattern: None,
            bytes_in: None,
            generation: generation.snapshot.generation,
            answer: None,
        }))
    }

    /// Its route is found, and its body may begin to arrive.
    pub(super) fn routed(&mut self, generation: &Generation, route: usize, exchange: &mut Exchange) {
        let route = &generation.snapshot.routes[route];
        self.bytes_in = exchange.request_body.counted();
        let is_told = self.pen.as_ref().is_some_and(|pen| pen.log().tells_filters());
        if !route.chain.is_empty() && (is_told || self.tracer.is_some() && is_sampled(&exchange.trail)) {
            exchange.trail.watch_calls(&route.chain);
        }
        self.pattern = self.tracer.as_ref().map(|_| route.pattern.clone());
    }

    /// Its connection became a tunnel, through which so many bytes came from the client so far.
    pub(super) fn tunnelled(&mut self, up: u64) {
        self.bytes_in.get_or_insert_default().set(up);
    }

    /// The answer is there, and nobody needs the exchange any more.
    pub(super) fn answered(&mut self, generation: &Generation, exchange: &mut Exchange, now: Instant) {
        let trail = std::mem::take(&mut exchange.trail);
        let named = |(place, endpoint): (usize, usize)| {
            let upstream = &generation.snapshot.upstreams[place];
            (upstream, generation.clients[place][endpoint].endpoint().clone())
        };
        let attempted = |attempt: Attempt| {
            let (upstream, endpoint) = named(attempt.place);
            let (name, is_tls) = (upstream.name.clone(), upstream.transport.tls.is_some());
            Attempted { attempt, upstream: name, is_tls, endpoint, ended: attempt.ended.unwrap_or(now) }
        };
        let response_headers =
            self.pen.as_ref().map(|pen| fields(&exchange.response.headers, pen.log().response_headers()));
        self.answer = Some(Answered {
            client: exchange.client,
            request_id: exchange.request_id.clone(),
            route: exchange.route.clone(),
            attributes: std::mem::take(&mut exchange.attributes),
            upstream: trail.tries().place.map(named).map(|(upstream, endpoint)| (upstream.name.clone(), endpoint)),
            attempts: trail.attempts().into_iter().map(attempted).collect(),
            response_headers: response_headers.unwrap_or_default(),
            trail,
        });
    }

    /// The id of its trace in hex digits, if that is sampled.
    pub(super) fn sampled_trace(&self) -> Option<[u8; 32]> {
        let trace = self.answer.as_ref()?.trail.trace()?;
        trace.is_sampled().then(|| trace.digits())
    }

    /// Tells of it, where and if that is wanted.
    pub(super) fn close(&self, end: &End<'_>) {
        let Some(answer) = &self.answer else { return };
        let status = end.status.as_u16();
        let admits =
            |pen: &Pen| pen.log().only.as_ref().is_none_or(|only| only.admits(status, end.duration, end.flags));
        let pen = self.pen.as_ref().filter(|pen| admits(pen));
        let is_traced = |tracer: &Tracer| is_sampled(&answer.trail) || tracer.rules().errors && status >= 500;
        let tracer = self.tracer.as_ref().filter(|tracer| is_traced(tracer));
        if pen.is_none() && tracer.is_none() {
            return;
        }
        let filters = filter_calls(&answer.trail);
        let flags = if end.flags == Flags::default() { String::new() } else { end.flags.to_string() };
        let entry = self.entry(answer, end, &filters, &flags);
        if let Some(pen) = pen {
            pen.write(&entry);
        }
        if let Some(tracer) = tracer {
            self.trace(tracer, answer, end, &entry);
        }
    }

    fn entry<'e>(
        &'e self,
        answer: &'e Answered,
        end: &'e End<'_>,
        filters: &'e [FilterCall<'e>],
        flags: &'e str,
    ) -> Entry<'e> {
        let now = SystemTime::now();
        Entry {
            began: now.checked_sub(end.duration).unwrap_or(now),
            request_id: answer.request_id.as_bytes(),
            trace_id: answer.trail.trace().map(Trace::id),
            client: answer.client,
            scheme: end.scheme,
            method: self.method.as_str(),
            host: self.host.as_bytes(),
            path: self.asked.uri.path(),
            query: self.asked.uri.query(),
            version: self.asked.version,
            status: end.status.as_u16(),
            bytes_in: self.bytes_in.as_ref().map_or(0, |bytes| bytes.get()),
            bytes_out: end.bytes_out,
            duration: end.duration,
            overhead: end.overhead,
            listener: end.listener,
            route: &answer.route,
            generation: self.generation,
            upstream: answer.upstream.as_ref().map(|(name, _)| &**name),
            endpoint: answer.upstream.as_ref().map(|(_, endpoint)| address(endpoint)),
            attempts: answer.trail.tries().count,
            filters,
            flags,
            attributes: &answer.attributes,
            request_headers: &self.request_headers,
            response_headers: &answer.response_headers,
        }
    }

    fn trace(&self, tracer: &Tracer, answer: &Answered, end: &End<'_>, entry: &Entry<'_>) {
        let Some(trace) = answer.trail.trace() else { return };
        let tries: SmallVec<[TrySpan<'_>; 2]> = answer.attempts.iter().map(Attempted::span).collect();
        let calls: SmallVec<[CallSpan<'_>; 4]> =
            if trace.is_sampled() { answer.trail.calls().filter_map(call_span).collect() } else { SmallVec::new() };
        tracer.write(&RequestSpans {
            entry,
            trace,
            arrival: end.arrival,
            http_route: self.pattern.as_deref(),
            user_agent: self.user_agent.as_ref(),
            tries: &tries,
            calls: &calls,
        });
    }
}

impl Attempted {
    fn span(&self) -> TrySpan<'_> {
        let (host, port) = address(&self.endpoint);
        TrySpan {
            span: self.attempt.span,
            began: self.attempt.began,
            ended: self.ended,
            upstream: &self.upstream,
            is_tls: self.is_tls,
            host,
            port,
            outcome: self.attempt.outcome,
        }
    }
}

/// Host and port, or the path of a socket file.
fn address(endpoint: &Endpoint) -> (&str, Option<u16>) {
    match endpoint {
        Endpoint::Tcp { host, port } => (host, Some(*port)),
        Endpoint::Unix(path) => (path.to_str().unwrap_or_default(), None),
    }
}

/// Plugins have spans; native filters do not.
fn call_span<'c>((name, call): (&'c str, &'c Call)) -> Option<CallSpan<'c>> {
    let hook = match call.phase {
        Phase::Request => "request",
        Phase::Response => "response",
    };
    let version = call.version?.short();
    let (began, took, outcome, span) = (call.began, call.took, call.outcome, call.span.as_deref());
    Some(CallSpan { plugin: name, version, hook, began, took, outcome, span })
}

fn is_sampled(trail: &Trail) -> bool {
    trail.trace().is_some_and(Trace::is_sampled)
}

fn fields(headers: &HeaderMap, names: &[HeaderName]) -> Fields {
    names.iter().map(|name| headers.get(name).cloned()).collect()
}

/// The calls of each filter taken together, in the order of the first ones. What went wrong is what is told.
fn filter_calls(trail: &Trail) -> SmallVec<[FilterCall<'_>; 4]> {
    let mut filters: SmallVec<[FilterCall<'_>; 4]> = SmallVec::new();
    let mut positions: SmallVec<[usize; 8]> = SmallVec::new();
    for (name, call) in trail.calls() {
        match positions.iter().position(|known| *known == call.position) {
            Some(at) => {
                let filter = &mut filters[at];
                filter.took += call.took;
                if filter.outcome == "ok" {
                    filter.outcome = call.outcome;
                }
            }
            None => {
                positions.push(call.position);
                let version = call.version.map(|digest| digest.short());
                filters.push(FilterCall { name, version, took: call.took, outcome: call.outcome });
            }
        }
    }
    filters
}
