//! One request's place in its trace.

use http::{HeaderMap, HeaderValue};
use opentelemetry::{SpanId, TraceId};

use super::context::{TRACEPARENT, TRACESTATE, TraceParent, clean, digits, is_within, new_span, new_trace};
use super::rules::TracingRules;

/// The trace that a request belongs to, and the span that stands for it there.
#[derive(Debug)]
pub struct Trace {
    pub(super) id: TraceId,
    pub(super) span: SpanId,
    /// The span of whoever sent the request, where it said so.
    pub(super) parent: Option<SpanId>,
    pub(super) state: Option<HeaderValue>,
    is_sampled: bool,
    digits: [u8; 32],
}

/// The id of a span for a try at an upstream.
#[derive(Debug, Clone, Copy)]
pub struct TrySpanId(pub(super) SpanId);

impl Trace {
    /// Finds out where a request belongs, and writes into its fields what the next one is to know. Whoever began the trace
    /// has decided whether it is sampled; for those that begin here `sample` is their share, or else that of `rules`.
    pub fn begin(headers: &mut HeaderMap, rules: &TracingRules, sample: Option<f64>) -> Box<Self> {
        let parent = TraceParent::read(headers);
        clean(headers, parent.is_some());
        let id = parent.map_or_else(new_trace, |parent| parent.trace);
        let is_sampled = match parent {
            Some(parent) => parent.is_sampled,
            None => is_within(id, sample.unwrap_or(rules.sample)),
        };
        let span = new_span();
        headers.insert(TRACEPARENT, TraceParent { trace: id, span, is_sampled }.value());
        let state = if is_sampled { headers.get(TRACESTATE).cloned() } else { None };
        Box::new(Self { id, span, parent: parent.map(|parent| parent.span), state, is_sampled, digits: digits(id) })
    }

    /// Whether its spans are told whatever becomes of it.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Its id, in hex digits.
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.digits).unwrap_or_default()
    }

    /// A span for a try, and what the upstream is to know of it.
    pub fn begin_try(&self) -> (TrySpanId, HeaderValue) {
        let span = new_span();
        (TrySpanId(span), TraceParent { trace: self.id, span, is_sampled: self.is_sampled }.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(parent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(parent).expect("visible"));
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        headers
    }

    #[test]
    fn who_began_a_trace_decides_whether_it_is_sampled() {
        for (flags, sample, expected) in [("01", 0.0, true), ("00", 1.0, false)] {
            let mut headers = headers(&format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}"));
            let trace = Trace::begin(&mut headers, &TracingRules { sample, ..TracingRules::default() }, None);
            assert_eq!((trace.is_sampled(), trace.id()), (expected, "0af7651916cd43dd8448eb211c80319c"));
            let told = TraceParent::read(&headers).expect("it is passed on");
            assert_eq!((told.trace, told.span, told.is_sampled), (trace.id, trace.span, expected));
            assert_ne!(Some(told.span), trace.parent, "the next one is a child of this one");
            assert!(headers.contains_key(TRACESTATE));
        }
    }

    #[test]
    fn what_cannot_be_read_begins_a_trace_of_its_own() {
        let mut headers = headers("00-zz");
        let trace = Trace::begin(&mut headers, &TracingRules::default(), Some(0.0));
        assert!(!trace.is_sampled() && trace.parent.is_none() && !headers.contains_key(TRACESTATE));
        assert!(TraceParent::read(&headers).is_some_and(|told| told.trace == trace.id));
    }
}
