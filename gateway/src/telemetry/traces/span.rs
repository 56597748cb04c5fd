//! A request and its parts as spans, in the words of OpenTelemetry's semantic conventions for HTTP.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
use opentelemetry::SpanId;
use opentelemetry::trace::SpanKind;
use tokio::time::Instant;

use super::call::{AttributeValue, OpenSpan};
use super::context::new_span;
use super::otlp::{Attributes, Head, Spans};
use super::trace::{Trace, TrySpanId};
use crate::telemetry::access_log::{Entry, IpText, Redact};
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
    /// The span that it ran under, where the plugin could know.
    pub span: Option<&'e OpenSpan>,
}

impl RequestSpans<'_> {
    /// Writes them.
    pub(super) fn write(&self, redact: &Redact, spans: &mut Spans) {
        self.server(redact, spans);
        for (number, attempt) in self.tries.iter().enumerate() {
            self.client(redact, number, attempt, spans);
        }
        self.calls.iter().for_each(|call| self.internal(call, spans));
    }

    fn server(&self, redact: &Redact, spans: &mut Spans) {
        let entry = self.entry;
        let has_failed = entry.status >= 500;
        let method = known_method(entry.method).unwrap_or("HTTP");
        let name = self.http_route.map_or([method, "", ""], |route| [method, " ", route]);
        let head = Head {
            parent: self.trace.parent,
            parent_is_remote: self.trace.parent.is_some(),
            link: self.trace.link,
            has_failed,
            ..self.child(self.trace.span, SpanKind::Server, &name, entry.began, entry.duration)
        };
        spans.push(&head, |attributes| {
            method_attributes(entry.method, attributes);
            attributes.text("url.scheme", entry.scheme);
            attributes.text("url.path", entry.path);
            if let Some(query) = entry.query {
                attributes.text("url.query", &redact.query(query));
            }
            attributes.text("client.address", IpText::of(entry.client).as_str());
            attributes.text("network.protocol.version", protocol_version(entry.protocol()));
            attributes.whole("http.response.status_code", entry.status.into());
            attributes.whole("http.request.body.size", entry.bytes_in);
            attributes.whole("http.response.body.size", entry.bytes_out);
            let (host, port) = split_port(entry.host);
            if !host.is_empty() {
                attributes.lossy("server.address", host);
            }
            if let Some(port) = port {
                attributes.whole("server.port", port.into());
            }
            if let Some(agent) = self.user_agent {
                attributes.lossy("user_agent.original", agent.as_bytes());
            }
            if let Some(route) = self.http_route {
                attributes.text("http.route", route);
                attributes.text("witgate.route", entry.route);
            }
            attributes.lossy("witgate.request_id", entry.request_id);
            attributes.text("witgate.listener", entry.listener);
            attributes.whole("witgate.generation", entry.generation);
            if !entry.flags.is_empty() {
                attributes.text("witgate.flags", entry.flags);
            }
            if has_failed {
                error_of_status(entry.status, attributes);
            }
        });
    }

    fn client(&self, redact: &Redact, number: usize, attempt: &TrySpan<'_>, spans: &mut Spans) {
        let entry = self.entry;
        let has_failed = !matches!(attempt.outcome, Ok(..400));
        let name = [known_method(entry.method).unwrap_or("HTTP")];
        let began = self.time(attempt.began);
        let took = attempt.ended.saturating_duration_since(attempt.began);
        let head = Head { has_failed, ..self.child(attempt.span.0, SpanKind::Client, &name, began, took) };
        spans.push(&head, |attributes| {
            method_attributes(entry.method, attributes);
            let scheme = if attempt.is_tls { "https://" } else { "http://" };
            let port = attempt.port.map(|port| (port, port.to_string()));
            let authority = port.as_ref().map_or(["localhost", "", ""], |(_, port)| [attempt.host, ":", port]);
            let query = entry.query.map(|query| redact.query(query));
            let query = query.as_ref().map_or(["", ""], |query| ["?", query]);
            let [host, colon, digits] = authority;
            let [mark, query] = query;
            attributes.texts("url.full", &[scheme, host, colon, digits, entry.path, mark, query]);
            attributes.text("server.address", attempt.host);
            if let Some((port, _)) = port {
                attributes.whole("server.port", port.into());
            }
            attributes.text("witgate.upstream", attempt.upstream);
            if number > 0 {
                attributes.whole("http.request.resend_count", number as u64);
            }
            match attempt.outcome {
                Ok(status) => {
                    attributes.whole("http.response.status_code", status.into());
                    if has_failed {
                        error_of_status(status, attributes);
                    }
                }
                Err(word) => attributes.text("error.type", word),
            }
        });
    }

    fn internal(&self, call: &CallSpan<'_>, spans: &mut Spans) {
        let has_failed = !matches!(call.outcome, "ok" | "respond");
        let name = ["plugin ", call.plugin];
        let span = call.span.map_or_else(new_span, |open| open.span);
        let notes = call.span.map(OpenSpan::take_notes).unwrap_or_default();
        let head = Head {
            has_failed,
            dropped_attributes: notes.dropped,
            ..self.child(span, SpanKind::Internal, &name, self.time(call.began), call.took)
        };
        spans.push(&head, |attributes| {
            attributes.text("witgate.plugin", call.plugin);
            attributes.lossy("witgate.plugin.version", &call.version);
            attributes.text("witgate.hook", call.hook);
            attributes.text("witgate.outcome", call.outcome);
            if has_failed {
                attributes.text("error.type", call.outcome);
            }
            for (name, value) in &notes.attributes {
                match value {
                    AttributeValue::Text(text) => attributes.text(name, text),
                    AttributeValue::Whole(number) => attributes.signed(name, *number),
                    AttributeValue::Fraction(number) => attributes.fraction(name, *number),
                    AttributeValue::Truth(truth) => attributes.truth(name, *truth),
                }
            }
        });
    }

    /// A part of the request, in which nothing failed.
    fn child<'s>(
        &'s self,
        span: SpanId,
        kind: SpanKind,
        name: &'s [&'s str],
        began: SystemTime,
        took: Duration,
    ) -> Head<'s> {
        Head {
            trace: self.trace.id,
            span,
            parent: Some(self.trace.span),
            parent_is_remote: false,
            state: self.trace.state.as_ref().and_then(|state| state.to_str().ok()).unwrap_or_default(),
            kind,
            name,
            began,
            took,
            has_failed: false,
            link: None,
            dropped_attributes: 0,
        }
    }

    /// The time of the day at a moment of this request.
    fn time(&self, moment: Instant) -> SystemTime {
        self.entry.began + moment.saturating_duration_since(self.arrival)
    }
}

/// Methods that nobody knows are `_OTHER`, so that there are few of them.
fn method_attributes(method: &str, attributes: &mut Attributes<'_>) {
    match known_method(method) {
        Some(known) => attributes.text("http.request.method", known),
        None => {
            attributes.text("http.request.method", "_OTHER");
            attributes.text("http.request.method_original", method);
        }
    }
}

/// A status is an error by its digits.
fn error_of_status(status: u16, attributes: &mut Attributes<'_>) {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    attributes.text("error.type", status.as_str());
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

/// The host of an authority, without the brackets of an IPv6 address, and its port.
fn split_port(authority: &[u8]) -> (&[u8], Option<u16>) {
    let port = |digits: &[u8]| std::str::from_utf8(digits).ok()?.parse().ok();
    let (host, port) = match authority.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !authority[colon..].contains(&b']') => (&authority[..colon], port(&authority[colon + 1..])),
        _ => (authority, None),
    };
    (host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host), port)
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
            assert_eq!(split_port(authority.as_bytes()), (host.as_bytes(), port), "{authority}");
        }
    }

    #[test]
    fn methods_that_nobody_knows_are_one() {
        assert_eq!((known_method("other"), known_method("PURGE"), known_method("PATCH")), (None, None, Some("PATCH")));
    }
}
