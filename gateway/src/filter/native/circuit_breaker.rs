//! `circuit-breaker`: spares an upstream that fails, and the clients that would wait for it.
//!
//! What counts is the whole response, with its body: an upstream that breaks off amid a body has failed. A client that went away has
//! not been failed by the upstream, nor has one that a filter or the gateway itself refused.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use super::circuit::{Call, Circuit, Thresholds};
use crate::config::scalar::{Share, Span, Whole};
use crate::filter::{Exchange, Filter, Flag, Forwarding, Origin, Reply, Step, Verdict};
use crate::message::{Body, BodyError};

/// When the circuit of a route opens, and what clients get while it is open.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CircuitBreaker")]
pub(super) struct Options {
    /// Share of failed calls that opens it: 5xx, no response, a body that broke off. Default: 50%.
    error_rate: Option<Share>,
    /// Share of slow calls that opens it. Default: 100%, where `slow_call` is there.
    slow_rate: Option<Share>,
    /// A call is slow whose response's head takes so long. Default: no call is.
    slow_call: Option<Span>,
    /// Fewer calls in the window open nothing. Default: 20.
    min_requests: Option<Whole>,
    /// How far back calls count. Default: 10s.
    window: Option<Span>,
    /// How long it stays open before it is probed. Default: 15s.
    open_for: Option<Span>,
    /// Requests that may pass as probes; all must go well to close it. Default: 3.
    half_open_requests: Option<Whole>,
    /// What clients get in the place of 503 while it is open.
    fallback: Option<FallbackOptions>,
}

/// Either an answer (`status`, `body`, `content_type`) or `upstream`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CircuitFallback")]
struct FallbackOptions {
    /// 200 to 599. Default: 200.
    status: Option<Whole>,
    /// The answer's body.
    body: Option<String>,
    /// Default: text/plain.
    content_type: Option<String>,
    /// The name of an upstream that gets the request instead.
    upstream: Option<String>,
}

/// The filter.
struct CircuitBreaker {
    circuit: Arc<Circuit>,
    fallback: Option<Fallback>,
}

enum Fallback {
    Reply(Reply),
    Upstream(usize),
}

impl super::Options for Options {
    fn build(self, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let error_percent = percent("error_rate", self.error_rate, 50.0)?;
        let slow_percent = percent("slow_rate", self.slow_rate, 100.0)?;
        let slow_call = self.slow_call.map(|slow| duration("slow_call", Some(slow), Duration::ZERO)).transpose()?;
        if self.slow_rate.is_some() && slow_call.is_none() {
            return Err("slow_rate: nothing says what is slow: add `slow_call`".to_owned());
        }
        let thresholds = Thresholds {
            error_percent,
            slow: slow_call.map(|slow_call| (slow_percent, slow_call)),
            min_requests: count("min_requests", self.min_requests, 20)?,
            window: duration("window", self.window, Duration::from_secs(10))?,
            open_for: duration("open_for", self.open_for, Duration::from_secs(15))?,
            probes: count("half_open_requests", self.half_open_requests, 3)?,
        };
        let fallback = self.fallback.map(|fallback| fallback.build(context)).transpose()?;
        // What is answered meanwhile changes nothing about the circuit.
        let identity = format!("{thresholds:?}");
        let route = context.route.clone();
        let circuit = context.states.circuit(context.route, identity, |flips| Circuit::new(route, thresholds, flips));
        Ok(Arc::new(CircuitBreaker { circuit, fallback }))
    }
}

impl FallbackOptions {
    fn build(self, context: &Context<'_>) -> Result<Fallback, String> {
        if let Some(upstream) = self.upstream {
            if self.status.is_some() || self.body.is_some() || self.content_type.is_some() {
                return Err("fallback.upstream: a fallback is an upstream or an answer".to_owned());
            }
            return context.upstream("fallback.upstream", &upstream).map(Fallback::Upstream);
        }
        let Whole(status) = self.status.unwrap_or(Whole(200));
        let status = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
        let status = status.ok_or("fallback.status: the status of an answer lies between 200 and 599")?;
        let content_type = self.content_type.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned());
        let content_type = HeaderValue::try_from(content_type)
            .map_err(|_| "fallback.content_type: it has characters that no header may carry")?;
        Ok(Fallback::Reply(Reply {
            status: StatusCode::from_u16(status).expect("within its bounds"),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            body: self.body.unwrap_or_default().into(),
        }))
    }
}

impl Filter for CircuitBreaker {
    fn name(&self) -> &'static str {
        "circuit-breaker"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let wait = match self.circuit.admit(Instant::now()) {
            Ok(call) => {
                exchange.stash(call);
                return Step::Done(Verdict::Next);
            }
            Err(wait) => wait,
        };
        exchange.flags.insert(Flag::BreakerOpen);
        Step::Done(match &self.fallback {
            None => {
                let detail = "the upstream of this route is given time to recover";
                let mut reply = Reply::problem(StatusCode::SERVICE_UNAVAILABLE, detail, &exchange.request_id);
                let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
                reply.headers.insert(RETRY_AFTER, seconds.max(1).into());
                Verdict::Respond(Box::new(reply))
            }
            Some(Fallback::Reply(reply)) => Verdict::Respond(Box::new(reply.clone())),
            Some(Fallback::Upstream(place)) => {
                exchange.forwarding = Forwarding::Place(*place);
                Verdict::Next
            }
        })
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if let Some(mut call) = exchange.unstash::<Call>() {
            call.head_came(Instant::now());
            match verdict(exchange) {
                Some(true) => call.ended(true),
                Some(false) if exchange.response_body.is_end_stream() => call.ended(false),
                Some(false) => watch(exchange, call),
                None => {}
            }
        }
        Step::Done(Verdict::Next)
    }
}

/// Whether the upstream failed, as far as its head tells; `None` where it had no part in the answer.
fn verdict(exchange: &Exchange) -> Option<bool> {
    let response = &exchange.response;
    match response.origin {
        Origin::Upstream => Some(response.status.is_server_error()),
        // No connection, no response, no response in time. 503 is the gateway's own refusal to try.
        Origin::Gateway => {
            matches!(response.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT).then_some(true)
        }
        Origin::Filter => None,
    }
}

fn watch(exchange: &mut Exchange, call: Box<Call>) {
    let body = std::mem::take(&mut exchange.response_body);
    exchange.response_body = match body {
        // It is all here.
        Body::Empty | Body::Full(_) => {
            let mut call = call;
            call.ended(false);
            body
        }
        body => Body::Filtered(Box::pin(Watched { body, call })),
    };
}

/// A body whose end decides how the call went.
struct Watched {
    body: Body,
    call: Box<Call>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let watched = self.get_mut();
        let frame = ready!(Pin::new(&mut watched.body).poll_frame(context));
        match &frame {
            Some(Err(BodyError::Connection(_) | BodyError::Idle(_))) => watched.call.ended(true),
            // A filter's or the gateway's own doing.
            Some(Err(_)) => {}
            None => watched.call.ended(false),
            // A reader that knows the length may stop asking at the last frame.
            Some(Ok(_)) if watched.body.is_end_stream() => watched.call.ended(false),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn percent(at: &str, share: Option<Share>, default: f64) -> Result<f64, String> {
    let percent = share.map_or(default, |Share(percent)| percent);
    if percent > 0.0 && percent <= 100.0 {
        Ok(percent)
    } else {
        Err(format!("{at}: a share of calls is more than 0% and at most 100%"))
    }
}

fn duration(at: &str, span: Option<Span>, default: Duration) -> Result<Duration, String> {
    match span {
        None => Ok(default),
        Some(Span(span)) if span.is_zero() => Err(format!("{at}: a duration of zero makes no sense here")),
        Some(Span(span)) => Ok(span),
    }
}

fn count(at: &str, whole: Option<Whole>, default: u32) -> Result<u32, String> {
    let Some(Whole(count)) = whole else { return Ok(default) };
    u32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| format!("{at}: at least 1 is needed"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    /// Sends one request through the filter, which an upstream answers with this status and body.
    fn ask(filter: &dyn Filter, status: u16, body: Body) -> Result<Exchange, Box<Reply>> {
        let mut exchange = exchange("GET", "/", &[]);
        match filter.on_request(&mut exchange) {
            Step::Done(Verdict::Respond(reply)) => return Err(reply),
            Step::Done(Verdict::Next) => {}
            _ => panic!("decided at once"),
        }
        exchange.response.origin = Origin::Upstream;
        exchange.response.status = StatusCode::from_u16(status).expect("a status");
        exchange.response_body = body;
        assert!(matches!(filter.on_response(&mut exchange), Step::Done(Verdict::Next)));
        Ok(exchange)
    }

    fn status(outcome: Result<Exchange, Box<Reply>>) -> u16 {
        outcome.map_or_else(|reply| reply.status.as_u16(), |exchange| exchange.response.status.as_u16())
    }

    #[test]
    fn failures_open_the_circuit_and_clients_are_told_when_to_come_back() {
        let filter = filter("circuit-breaker", json!({"min_requests": 2, "open_for": "1h"}));
        assert_eq!(status(ask(&*filter, 500, Body::Empty)), 500);
        assert_eq!(status(ask(&*filter, 404, Body::Empty)), 404);
        assert_eq!(status(ask(&*filter, 503, Body::Empty)), 503);
        let Err(reply) = ask(&*filter, 200, Body::Empty) else { panic!("it is open") };
        assert_eq!((reply.status.as_u16(), &reply.headers["retry-after"]), (503, &HeaderValue::from(3600)));
    }

    #[test]
    fn an_answer_stands_in_while_it_is_open() {
        let fallback = json!({"status": 203, "body": "{}", "content_type": "application/json"});
        let filter = filter("circuit-breaker", json!({"min_requests": 1, "fallback": fallback}));
        assert_eq!(status(ask(&*filter, 500, Body::Empty)), 500);
        let Err(reply) = ask(&*filter, 200, Body::Empty) else { panic!("it is open") };
        assert_eq!((reply.status.as_u16(), &*reply.body), (203, &b"{}"[..]));
        assert_eq!(reply.headers[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn what_a_filter_or_the_gateway_refused_is_not_the_upstreams_fault() {
        let filter = filter("circuit-breaker", json!({"min_requests": 1}));
        for (origin, status) in [(Origin::Filter, 500), (Origin::Gateway, 503), (Origin::Gateway, 400)] {
            let mut exchange = exchange("GET", "/", &[]);
            assert!(matches!(filter.on_request(&mut exchange), Step::Done(Verdict::Next)), "{origin:?}");
            exchange.response.origin = origin;
            exchange.response.status = StatusCode::from_u16(status).expect("a status");
            assert!(matches!(filter.on_response(&mut exchange), Step::Done(Verdict::Next)));
        }
        assert_eq!(status(ask(&*filter, 200, Body::Empty)), 200);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({"error_rate": "0%"}), "error_rate: a share"),
            (json!({"error_rate": "101%"}), "error_rate: a share"),
            (json!({"slow_rate": "50%"}), "slow_rate: nothing says what is slow"),
            (json!({"min_requests": 0}), "min_requests: at least 1"),
            (json!({"window": "0s"}), "window: a duration of zero"),
            (json!({"fallback": {"status": 100}}), "fallback.status"),
            (json!({"fallback": {"status": 200, "upstream": "x"}}), "fallback.upstream: a fallback is"),
            (json!({"fallback": {"upstream": "x"}}), "fallback.upstream: there is no upstream `x`"),
            (json!({"window": "10"}), "does not match"),
        ] {
            let error = faults("circuit-breaker", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
