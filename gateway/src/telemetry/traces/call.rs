//! The span of a plugin's call while it runs: its ids, for whoever asks, and what the plugin says of the call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use opentelemetry::{SpanId, TraceId};

use super::context::{TraceParent, new_span};

/// The span that a call runs under: its own where the trace is sampled, that of the request otherwise.
#[derive(Debug, Clone)]
pub struct OpenSpan {
    trace: TraceId,
    pub(super) span: SpanId,
    is_sampled: bool,
    /// Where it is told; nowhere if nobody will hear of it. Shared by the guest's side and the request's, on one thread.
    notes: Option<Arc<Mutex<Notes>>>,
}

/// What a plugin said of one call.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) attributes: Vec<(Box<str>, AttributeValue)>,
    /// How many it said in vain.
    pub(super) dropped: u32,
}

/// The value of an attribute that a plugin sets.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Truth(bool),
}

impl AttributeValue {
    /// What it takes beyond a number's few.
    fn bytes(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { 0 }
    }
}

impl OpenSpan {
    /// One of its own, of a trace that is sampled.
    pub(super) fn sampled(trace: TraceId) -> Self {
        Self { trace, span: new_span(), is_sampled: true, notes: Some(Arc::default()) }
    }

    /// That of a request whose trace is not sampled.
    pub(super) fn unsampled(trace: TraceId, span: SpanId) -> Self {
        Self { trace, span, is_sampled: false, notes: None }
    }

    /// The same for a call whose words nobody is to hear.
    pub fn muted(self) -> Self {
        Self { notes: None, ..self }
    }

    /// In hex digits.
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    /// In hex digits.
    pub fn span_id(&self) -> String {
        self.span.to_string()
    }

    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// What requests that the call sends say of their place, as `traceparent` does.
    pub fn parent(&self) -> HeaderValue {
        TraceParent { trace: self.trace, span: self.span, is_sampled: self.is_sampled }.value()
    }

    /// Notes an attribute, `count_max` of them at most; a later one of the same name takes the place of the earlier. Tells
    /// whether it is one that may be: a malformed or reserved name, one too many, and one too large beside the others are given up and
    /// counted.
    pub fn say(&self, name: &str, value: AttributeValue, count_max: usize) -> bool {
        let Some(mut notes) = self.notes() else { return true };
        let notes = &mut *notes;
        let value = bounded(value);
        let others = notes.attributes.iter().filter(|(known, _)| **known != *name);
        let bytes: usize = others.map(|(name, value)| name.len() + value.bytes()).sum();
        let has_room = bytes + name.len() + value.bytes() <= ALL_BYTES_MAX;
        let count = notes.attributes.len();
        let known = notes.attributes.iter_mut().find(|(known, _)| **known == *name);
        match known {
            Some((_, known)) if has_room => *known = value,
            None if has_room && count < count_max && is_name(name) => {
                notes.attributes.push((name.into(), value));
            }
            _ => {
                notes.dropped = notes.dropped.saturating_add(1);
                return false;
            }
        }
        true
    }

    /// What was said, to be told.
    pub(super) fn take_notes(&self) -> Notes {
        self.notes().map(|mut notes| std::mem::take(&mut *notes)).unwrap_or_default()
    }

    fn notes(&self) -> Option<MutexGuard<'_, Notes>> {
        self.notes.as_ref().map(|notes| notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether a plugin may use the name: in the form of the conventions, and not one that the gateway itself writes or means.
fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_plain)
        && !RESERVED.iter().any(|prefix| name.starts_with(prefix))
}

/// A text without control characters, and no longer than it may be.
fn bounded(value: AttributeValue) -> AttributeValue {
    let AttributeValue::Text(text) = &value else { return value };
    if text.len() <= VALUE_BYTES_MAX && !text.contains(char::is_control) {
        return value;
    }
    let mut shown = String::new();
    for c in text.chars().take(VALUE_BYTES_MAX) {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown.truncate(shown.floor_char_boundary(VALUE_BYTES_MAX));
    AttributeValue::Text(shown)
}

/// Namespaces of what the gateway says itself, and of what OpenTelemetry keeps for its own.
const RESERVED: [&str; 12] = [
    "witgate.",
    "http.",
    "url.",
    "server.",
    "client.",
    "network.",
    "user_agent.",
    "error.",
    "otel.",
    "service.",
    "telemetry.",
    "exception.",
];
const NAME_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 1024;
/// Of one call, names and texts together: what waits for the collector is counted by spans.
const ALL_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::traces::context::new_trace;

    fn said(span: &OpenSpan) -> Vec<(String, String)> {
        let notes = span.notes().expect("it is sampled");
        let shown = |value: &AttributeValue| {
            if let AttributeValue::Text(text) = value { text.clone() } else { format!("{value:?}") }
        };
        notes.attributes.iter().map(|(name, value)| (name.to_string(), shown(value))).collect()
    }

    fn text(text: &str) -> AttributeValue {
        AttributeValue::Text(text.to_owned())
    }

    const ONE: AttributeValue = AttributeValue::Whole(1);

    #[test]
    fn so_many_attributes_have_room_and_a_later_value_replaces_an_earlier_one() {
        let span = OpenSpan::sampled(new_trace());
        assert!(
            span.say("cache.hit", AttributeValue::Truth(true), 2)
                && span.say("tenant", text("a"), 2)
                && span.say("tenant", text("b"), 2)
        );
        assert!(!span.say("one_more", ONE, 2));
        assert_eq!(said(&span), [("cache.hit".into(), "Truth(true)".into()), ("tenant".into(), "b".into())]);
        assert_eq!(span.notes().expect("it is sampled").dropped, 1);
    }

    #[test]
    fn names_are_plain_and_not_the_gateways_own() {
        let longest = "n".repeat(NAME_BYTES_MAX);
        for name in ["a", "app.cart-size_2", "https.x", "errors", &longest] {
            assert!(OpenSpan::sampled(new_trace()).say(name, ONE, 8), "{name}");
        }
        let too_long = "n".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "",
            ".a",
            "1a",
            "A",
            "a b",
            "a\n",
            "a\0",
            "caf\u{e9}",
            "witgate.plugin",
            "http.route",
            "error.type",
            "service.name",
            &too_long,
        ] {
            assert!(!OpenSpan::sampled(new_trace()).say(name, ONE, 8), "{name}");
        }
    }

    #[test]
    fn texts_are_cut_off_and_have_no_control_characters() {
        let longest = "v".repeat(VALUE_BYTES_MAX);
        for (value, shown) in [
            ("plain \u{e9}", "plain \u{e9}".to_owned()),
            ("a\r\n\0b\u{1b}[31m", "a\\r\\n\\u{0}b\\u{1b}[31m".to_owned()),
            (&longest, longest.clone()),
            (&format!("{longest}v"), longest.clone()),
            (&"\u{e9}".repeat(VALUE_BYTES_MAX), "\u{e9}".repeat(VALUE_BYTES_MAX / 2)),
            (&"\n".repeat(VALUE_BYTES_MAX), "\\n".repeat(VALUE_BYTES_MAX / 2)),
        ] {
            let span = OpenSpan::sampled(new_trace());
            assert!(span.say("text", text(value), 1));
            assert_eq!(said(&span), [("text".to_owned(), shown)]);
        }
    }

    #[test]
    fn all_together_have_a_bound_as_well() {
        let span = OpenSpan::sampled(new_trace());
        let value = text(&"v".repeat(VALUE_BYTES_MAX - 1));
        assert!(["a", "b", "c", "d"].iter().all(|name| span.say(name, value.clone(), 32)));
        assert!(!span.say("e", ONE, 32) && !span.say("d", text(&"v".repeat(VALUE_BYTES_MAX)), 32));
        assert!(span.say("d", text("short"), 32) && span.say("e", ONE, 32));
        assert_eq!(span.take_notes().dropped, 2);
    }

    #[test]
    fn what_nobody_will_hear_is_not_noted() {
        let trace = new_trace();
        for span in [OpenSpan::unsampled(trace, new_span()), OpenSpan::sampled(trace).muted()] {
            assert!(span.say("A bad name", ONE, 0) && span.notes().is_none());
        }
    }
}
