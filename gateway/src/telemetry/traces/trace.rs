//! One request's place in its trace.

use http::{HeaderMap, HeaderValue};
use opentelemetry::{SpanId, TraceId};

use super::call::OpenSpan;
use super::context::{TRACEPARENT, TRACESTATE, TraceParent, clean, digits, is_within, new_span, new_trace};
use super::rules::{ParentTrust, TracingRules};

/// The trace that a request belongs to, and the span that stands for it there.
#[derive(Debug)]
pub struct Trace {
    pub(super) id: TraceId,
    pub(super) span: SpanId,
    /// The span of whoever sent the request, where it said so.
    pub(super) parent: Option<SpanId>,
    /// Where it belongs by the word of somebody who is not believed.
    pub(super) link: Option<TraceParent>,
    pub(super) state: Option<HeaderValue>,
    is_sampled: bool,
    digits: [u8; 32],
}

/// The id of a span for a try at an upstream.
#[derive(Debug, Clone, Copy)]
pub struct TrySpanId(pub(super) SpanId);

impl Trace {
    /// Finds out where a request belongs, and writes into its fields what the next one is to know. Who is believed decides whether
    /// the trace is sampled; otherwise `sample` is the share, or else that of `rules`. `is_trusted` tells of the peer.
    pub fn begin(
        headers: &mut HeaderMap,
        rules: &TracingRules,
        sample: Option<f64>,
        is_trusted: impl FnOnce() -> bool,
    ) -> Box<Self> {
        let told = TraceParent::read(headers);
        let parent = told.filter(|_| rules.trust != ParentTrust::None);
        clean(headers, parent.is_some());
        let id = parent.map_or_else(new_trace, |parent| parent.trace);
        let share = sample.unwrap_or(rules.sample);
        let is_sampled = match parent {
            Some(parent) if rules.heeds_parents && (rules.trust == ParentTrust::All || is_trusted()) => {
                parent.is_sampled
            }
            // By lot: an id that a stranger chose may have been chosen to be within any share.
            Some(_) => fastrand::f64() < share,
            None => is_within(id, share),
        };
        let span = new_span();
        headers.insert(TRACEPARENT, TraceParent { trace: id, span, is_sampled }.value());
        let state = if is_sampled { headers.get(TRACESTATE).cloned() } else { None };
        let link = told.filter(|_| parent.is_none());
        let parent = parent.map(|parent| parent.span);
        Box::new(Self { id, span, parent, link, state, is_sampled, digits: digits(id) })
    }

    /// Whether its spans are told whatever becomes of it.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Its id, in hex digits.
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.digits).unwrap_or_default()
    }

    pub fn digits(&self) -> [u8; 32] {
        self.digits
    }

    /// The span that a plugin's call runs under.
    pub fn open_span(&self) -> OpenSpan {
        if self.is_sampled { OpenSpan::sampled(self.id) } else { OpenSpan::unsampled(self.id, self.span) }
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

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";

    fn begun(flags: &str, trust: ParentTrust, is_trusted: bool, sample: f64) -> (Box<Trace>, HeaderMap) {
        let mut headers = headers(&format!("{PARENT}{flags}"));
        let rules = TracingRules { sample, trust, ..TracingRules::default() };
        let trace = Trace::begin(&mut headers, &rules, None, || is_trusted);
        let told = TraceParent::read(&headers).expect("it is passed on");
        assert_eq!((told.trace, told.span, told.is_sampled), (trace.id, trace.span, trace.is_sampled()));
        assert_ne!(Some(told.span), trace.parent, "the next one is a child of this one");
        (trace, headers)
    }

    #[test]
    fn who_is_believed_decides_whether_a_trace_is_sampled() {
        for (trust, is_trusted, is_believed) in [
            (ParentTrust::TrustedProxies, true, true),
            (ParentTrust::TrustedProxies, false, false),
            (ParentTrust::All, false, true),
        ] {
            for (flags, sample, told) in [("01", 0.0, true), ("00", 1.0, false)] {
                let (trace, headers) = begun(flags, trust, is_trusted, sample);
                let expected = if is_believed { told } else { sample > 0.0 };
                assert_eq!((trace.is_sampled(), trace.id()), (expected, &PARENT[3..35]), "{trust:?}");
                assert!(trace.parent.is_some() && trace.link.is_none() && headers.contains_key(TRACESTATE));
            }
        }
    }

    #[test]
    fn a_sampler_that_is_not_parent_based_believes_nobody() {
        for (sampler, expected) in [("always_on", true), ("always_off", false)] {
            let rules = TracingRules { trust: ParentTrust::All, ..TracingRules::default() };
            let rules = rules.sampled_as(sampler, None).expect("it is known");
            let flags = if expected { "00" } else { "01" };
            let trace = Trace::begin(&mut headers(&format!("{PARENT}{flags}")), &rules, None, || true);
            assert_eq!((trace.is_sampled(), trace.id()), (expected, &PARENT[3..35]), "{sampler}");
        }
    }

    #[test]
    fn an_id_that_a_stranger_chose_is_not_within_every_share() {
        let chosen = || {
            let mut headers = headers("00-0af7651916cd43dd0000000000000000-b7ad6b7169203331-01");
            let rules = TracingRules { sample: 0.05, ..TracingRules::default() };
            Trace::begin(&mut headers, &rules, None, || false).is_sampled()
        };
        let sampled = (0..10_000).filter(|_| chosen()).count();
        assert!((300..700).contains(&sampled), "{sampled}");
    }

    #[test]
    fn who_believes_nobody_begins_a_trace_and_remembers_what_it_was_told() {
        let (trace, headers) = begun("01", ParentTrust::None, true, 1.0);
        assert!(trace.id() != &PARENT[3..35] && trace.parent.is_none() && !headers.contains_key(TRACESTATE));
        let link = trace.link.expect("it was told");
        assert_eq!(link.value(), format!("{PARENT}01"));
    }

    #[test]
    fn what_cannot_be_read_begins_a_trace_of_its_own() {
        let mut headers = headers("00-zz");
        let trace = Trace::begin(&mut headers, &TracingRules::default(), Some(0.0), || true);
        assert!(!trace.is_sampled() && trace.parent.is_none() && !headers.contains_key(TRACESTATE));
        assert!(TraceParent::read(&headers).is_some_and(|told| told.trace == trace.id));
    }
}
