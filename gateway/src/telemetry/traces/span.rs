//! A request and its parts as spans, in the words of OpenTelemetry's semantic conventions for HTTP.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tokio::time::Instant;

use super::context::SpanId;
use super::trace::{Trace, TrySpanId};
use crate::telemetry::access_log::{Entry, Redact};
use crate::telemetry::requests::METHODS;

/// A request that is over, with its parts.
pub struct RequestSpans<'e> {
    pub entry: &'e Entry<'e>,
    pub trace: &'e Trace,
    /// The same moment as the entry's beginning.
    pub arrival: Instant,
    /// The path pattern of its route; none where no route matched.
    pub http_route: Option<&'e str>,
    pub user_agent: Option<&'e HeaderValue>,
    pub tries: &'e [TrySpan<'e>],
    /// Those of plugins.
    pub calls: &'e [CallSpan<'e>],
}

/// A try at an upstream.
pub struct TrySpan<'e> {
    pub span: TrySpanId,
    pub began: Instant,
    pub ended: Instant,
    pub upstream: &'e str,
    pub is_tls: bool,
    /// A name or an address, or, without a port, the path of a socket file.
    pub host: &'e str,
    pub port: Option<u16>,
    /// The status of its response, or a short word for why there was none.
    pub outcome: Result<u16, &'static str>,
}

/// A call of a plugin's hook.
pub struct CallSpan<'e> {
    pub plugin: &'e str,
    pub version: [u8; 12],
    pub hook: &'static str,
    pub began: Instant,
    pub took: Duration,
    pub outcome: &'static str,
}

impl RequestSpans<'_> {
    /// How many spans these are.
    pub(super) fn count(&self) -> usize {
        1 + self.tries.len() + self.calls.len()
    }

    /// Makes them.
    pub(super) fn write(&self, scope: &InstrumentationScope, redact: &Redact, spans: &mut Vec<SpanData>) {
        spans.push(self.server(scope, redact));
        for (number, attempt) in self.tries.iter().enumerate() {
            spans.push(self.client(scope, redact, number, attempt));
        }
        spans.extend(self.calls.iter().map(|call| self.internal(scope, call)));
    }

    fn server(&self, scope: &InstrumentationScope, redact: &Redact) -> SpanData {
        let entry = self.entry;
        let (host, port) = split_port(entry.host);
        let mut attributes = Vec::with_capacity(20);
        method_attributes(entry.method, &mut attributes);
        attributes.extend([
            KeyValue::new("url.scheme", entry.scheme),
            KeyValue::new("url.path", entry.path.to_owned()),
            KeyValue::new("client.address", entry.client.to_string()),
            KeyValue::new("network.protocol.version", protocol_version(entry.protocol())),
            KeyValue::new("http.response.status_code", i64::from(entry.status)),
            KeyValue::new("http.request.body.size", whole(entry.bytes_in)),
            KeyValue::new("http.response.body.size", whole(entry.bytes_out)),
            KeyValue::new("witgate.request_id", String::from_utf8_lossy(entry.request_id).into_owned()),
            KeyValue::new("witgate.listener", entry.listener.to_owned()),
            KeyValue::new("witgate.generation", whole(entry.generation)),
        ]);
        if let Some(query) = entry.query {
            attributes.push(KeyValue::new("url.query", redact.query(query).into_owned()));
        }
        if !host.is_empty() {
            attributes.push(KeyValue::new("server.address", host));
        }
        if let Some(port) = port {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        if let Some(agent) = self.user_agent {
            attributes
                .push(KeyValue::new("user_agent.original", String::from_utf8_lossy(agent.as_bytes()).into_owned()));
        }
        if let Some(route) = self.http_route {
            attributes.push(KeyValue::new("http.route", route.to_owned()));
            attributes.push(KeyValue::new("witgate.route", entry.route.to_owned()));
        }
        if !entry.flags.is_empty() {
            attributes.push(KeyValue::new("witgate.flags", entry.flags.to_owned()));
        }
        let has_failed = entry.status >= 500;
        if has_failed {
            attributes.push(KeyValue::new("error.type", entry.status.to_string()));
        }
        let method = known_method(entry.method).unwrap_or("HTTP");
        let name = self.http_route.map_or_else(|| method.into(), |route| format!("{method} {route}").into());
        let times = (entry.began, entry.began + entry.duration);
        let span = self.span(self.trace.span, scope, (SpanKind::Server, name), times, attributes);
        SpanData {
            parent_span_id: self.trace.parent.map_or(opentelemetry::SpanId::INVALID, id),
            parent_span_is_remote: self.trace.parent.is_some(),
            status: status(has_failed),
            ..span
        }
    }

    fn client(&self, scope: &InstrumentationScope, redact: &Redact, number: usize, attempt: &TrySpan<'_>) -> SpanData {
        let entry = self.entry;
        let scheme = if attempt.is_tls { "https" } else { "http" };
        let authority = attempt.port.map_or_else(|| "localhost".to_owned(), |port| format!("{}:{port}", attempt.host));
        let mut url = format!("{scheme}://{authority}{}", entry.path);
        if let Some(query) = entry.query {
            url.push('?');
            url.push_str(&redact.query(query));
        }
        let mut attributes = Vec::with_capacity(10);
        method_attributes(entry.method, &mut attributes);
        attributes.extend([
            KeyValue::new("url.full", url),
            KeyValue::new("server.address", attempt.host.to_owned()),
            KeyValue::new("witgate.upstream", attempt.upstream.to_owned()),
        ]);
        attributes.extend(attempt.port.map(|port| KeyValue::new("server.port", i64::from(port))));
        if number > 0 {
            attributes.push(KeyValue::new("http.request.resend_count", whole(number as u64)));
        }
        let error = match attempt.outcome {
            Ok(status) => {
                attributes.push(KeyValue::new("http.response.status_code", i64::from(status)));
                (status >= 400).then(|| status.to_string().into())
            }
            Err(word) => Some(Value::from(word)),
        };
        let has_failed = error.is_some();
        attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
        let name = known_method(entry.method).unwrap_or("HTTP").into();
        let times = (self.time(attempt.began), self.time(attempt.ended));
        let span = self.span(attempt.span.0, scope, (SpanKind::Client, name), times, attributes);
        SpanData { status: status(has_failed), ..span }
    }

    fn internal(&self, scope: &InstrumentationScope, call: &CallSpan<'_>) -> SpanData {
        let has_failed = !matches!(call.outcome, "ok" | "respond");
        let mut attributes = vec![
            KeyValue::new("witgate.plugin", call.plugin.to_owned()),
            KeyValue::new("witgate.plugin.version", String::from_utf8_lossy(&call.version).into_owned()),
            KeyValue::new("witgate.hook", call.hook),
            KeyValue::new("witgate.outcome", call.outcome),
        ];
        if has_failed {
            attributes.push(KeyValue::new("error.type", call.outcome));
        }
        let name = format!("plugin {}", call.plugin).into();
        let began = self.time(call.began);
        let times = (began, began + call.took);
        let span = self.span(SpanId::random(), scope, (SpanKind::Internal, name), times, attributes);
        SpanData { status: status(has_failed), ..span }
    }

    /// A child of the request's own span, unless the caller says otherwise.
    fn span(
        &self,
        span: SpanId,
        scope: &InstrumentationScope,
        (span_kind, name): (SpanKind, std::borrow::Cow<'static, str>),
        (start_time, end_time): (SystemTime, SystemTime),
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        let state = self.trace.state.as_ref().and_then(|state| state.to_str().ok()?.parse().ok());
        let trace_id = opentelemetry::TraceId::from_bytes(self.trace.id.bytes());
        let state: TraceState = state.unwrap_or_default();
        SpanData {
            span_context: SpanContext::new(trace_id, id(span), TraceFlags::SAMPLED, false, state),
            parent_span_id: id(self.trace.span),
            parent_span_is_remote: false,
            span_kind,
            name,
            start_time,
            end_time,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: scope.clone(),
        }
    }

    /// The time of the day at a moment of this request.
    fn time(&self, moment: Instant) -> SystemTime {
        self.entry.began + moment.saturating_duration_since(self.arrival)
    }
}

fn id(span: SpanId) -> opentelemetry::SpanId {
    opentelemetry::SpanId::from_bytes(span.bytes())
}

fn status(has_failed: bool) -> Status {
    if has_failed { Status::error("") } else { Status::Unset }
}

/// Methods that nobody knows are `_OTHER`, so that there are few of them.
fn method_attributes(method: &str, attributes: &mut Vec<KeyValue>) {
    match known_method(method) {
        Some(known) => attributes.push(KeyValue::new("http.request.method", known)),
        None => {
            attributes.push(KeyValue::new("http.request.method", "_OTHER"));
            attributes.push(KeyValue::new("http.request.method_original", method.to_owned()));
        }
    }
}

fn known_method(method: &str) -> Option<&'static str> {
    let [known @ .., _] = &METHODS;
    known.iter().copied().find(|known| *known == method)
}

fn protocol_version(protocol: &'static str) -> &'static str {
    match protocol {
        "HTTP/2.0" => "2",
        "HTTP/1.0" => "1.0",
        _ => "1.1",
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The host of an authority, without the brackets of an IPv6 address, and its port.
fn split_port(authority: &[u8]) -> (String, Option<u16>) {
    let authority = String::from_utf8_lossy(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
        _ => (&*authority, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_has_a_host_and_perhaps_a_port() {
        for (authority, host, port) in [
            ("a.example", "a.example", None),
            ("a.example:8080", "a.example", Some(8080)),
            ("[::1]:80", "::1", Some(80)),
            ("[::1]", "::1", None),
            ("", "", None),
        ] {
            assert_eq!(split_port(authority.as_bytes()), (host.to_owned(), port), "{authority}");
        }
    }

    #[test]
    fn methods_that_nobody_knows_are_one() {
        let mut attributes = Vec::new();
        method_attributes("PURGE", &mut attributes);
        assert_eq!(attributes[0], KeyValue::new("http.request.method", "_OTHER"));
        assert_eq!(attributes[1], KeyValue::new("http.request.method_original", "PURGE"));
        assert_eq!((known_method("other"), known_method("PATCH")), (None, Some("PATCH")));
    }
}
