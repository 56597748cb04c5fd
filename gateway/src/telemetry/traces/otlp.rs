//! Spans as OTLP carries them: messages of `opentelemetry/proto/trace/v1` and `common/v1`, version 1.9, in protobuf.
//!
//! Each span is written where its request ends, into the buffer that is sent, and nothing is allocated for it: what the SDK does instead,
//! owned values that become messages that become bytes, took three times as long as the rest of tracing.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::SpanKind;
use opentelemetry::{SpanId, TraceId};

use super::context::TraceParent;

/// Encoded spans, one behind the other, as they stand in a message of `ScopeSpans`.
#[derive(Debug, Default)]
pub struct Spans {
    bytes: Vec<u8>,
    count: usize,
}

/// A span without its attributes.
pub(super) struct Head<'s> {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) parent_is_remote: bool,
    /// The value of `tracestate`.
    pub(super) state: &'s str,
    pub(super) kind: SpanKind,
    /// Its parts, taken together.
    pub(super) name: &'s [&'s str],
    pub(super) began: SystemTime,
    pub(super) took: Duration,
    pub(super) has_failed: bool,
    /// Where else it belongs.
    pub(super) link: Option<TraceParent>,
    /// How many there would have been beside those that it has.
    pub(super) dropped_attributes: u32,
}

/// Attributes of what is being written.
pub(super) struct Attributes<'b> {
    to: &'b mut Vec<u8>,
    /// The field that holds them.
    field: u32,
}

impl Spans {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// None yet, with room for as many as these.
    pub(super) fn like(other: &Self) -> Self {
        Self { bytes: Vec::with_capacity(other.bytes.len()), count: 0 }
    }

    /// Takes the other's in.
    pub fn append(&mut self, other: &Self) {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
    }

    /// Writes a span.
    pub(super) fn push(&mut self, head: &Head<'_>, attributes: impl FnOnce(&mut Attributes<'_>)) {
        self.count += 1;
        message(&mut self.bytes, SCOPE_SPANS_SPANS, |to| {
            bytes(to, SPAN_TRACE_ID, &head.trace.to_bytes());
            bytes(to, SPAN_SPAN_ID, &head.span.to_bytes());
            if !head.state.is_empty() {
                bytes(to, SPAN_TRACE_STATE, head.state.as_bytes());
            }
            if let Some(parent) = head.parent {
                bytes(to, SPAN_PARENT_SPAN_ID, &parent.to_bytes());
            }
            joined(to, SPAN_NAME, head.name);
            number(to, SPAN_KIND, kind(&head.kind));
            let began = head.began.duration_since(UNIX_EPOCH).unwrap_or_default();
            fixed64(to, SPAN_START_TIME, nanoseconds(began));
            fixed64(to, SPAN_END_TIME, nanoseconds(began + head.took));
            attributes(&mut Attributes { to, field: SPAN_ATTRIBUTES });
            if head.dropped_attributes > 0 {
                number(to, SPAN_DROPPED_ATTRIBUTES, head.dropped_attributes.into());
            }
            if let Some(link) = &head.link {
                message(to, SPAN_LINKS, |to| {
                    bytes(to, LINK_TRACE_ID, &link.trace.to_bytes());
                    bytes(to, LINK_SPAN_ID, &link.span.to_bytes());
                    let sampled = if link.is_sampled { FLAG_SAMPLED } else { 0 };
                    fixed32(to, LINK_FLAGS, sampled | FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE);
                });
            }
            if head.has_failed {
                message(to, SPAN_STATUS, |to| number(to, STATUS_CODE, STATUS_CODE_ERROR));
            }
            let remote = if head.parent_is_remote { FLAG_IS_REMOTE } else { 0 };
            fixed32(to, SPAN_FLAGS, FLAG_SAMPLED | FLAG_HAS_IS_REMOTE | remote);
        });
    }

    /// The whole message of an export (`ExportTraceServiceRequest`), with the attributes of whoever these spans are from.
    pub fn request<'a>(&self, resource: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
        let mut request = Vec::with_capacity(self.bytes.len() + FRAME_BYTES);
        message(&mut request, REQUEST_RESOURCE_SPANS, |to| {
            message(to, RESOURCE_SPANS_RESOURCE, |to| {
                let mut attributes = Attributes { to, field: RESOURCE_ATTRIBUTES };
                resource.into_iter().for_each(|(key, value)| attributes.text(key, value));
            });
            message(to, RESOURCE_SPANS_SCOPE_SPANS, |to| {
                message(to, SCOPE_SPANS_SCOPE, |to| {
                    bytes(to, SCOPE_NAME, b"witgate");
                    bytes(to, SCOPE_VERSION, env!("CARGO_PKG_VERSION").as_bytes());
                });
                to.extend_from_slice(&self.bytes);
            });
        });
        request
    }
}

impl Attributes<'_> {
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.texts(key, &[value]);
    }

    /// A text in parts.
    pub(super) fn texts(&mut self, key: &str, parts: &[&str]) {
        let text = parts.iter().map(|part| part.len()).sum();
        self.value(key, field_bytes(text), |to| joined(to, ANY_STRING, parts));
    }

    /// Bytes that should be text; what is none is replaced.
    pub(super) fn lossy(&mut self, key: &str, value: &[u8]) {
        let value: Cow<'_, str> = String::from_utf8_lossy(value);
        self.text(key, &value);
    }

    pub(super) fn whole(&mut self, key: &str, value: u64) {
        // The protocol knows signed ones alone.
        let value = value.min(i64::MAX.unsigned_abs());
        self.value(key, 1 + varint_bytes(value), |to| number(to, ANY_INT, value));
    }

    pub(super) fn signed(&mut self, key: &str, value: i64) {
        // As the protocol has it: negative ones take ten bytes.
        let value = value.cast_unsigned();
        self.value(key, 1 + varint_bytes(value), |to| number(to, ANY_INT, value));
    }

    pub(super) fn fraction(&mut self, key: &str, value: f64) {
        self.value(key, 1 + size_of::<f64>(), |to| fixed64(to, ANY_DOUBLE, value.to_bits()));
    }

    pub(super) fn truth(&mut self, key: &str, value: bool) {
        self.value(key, 2, |to| number(to, ANY_BOOL, value.into()));
    }

    /// A key with a value of so many bytes.
    fn value(&mut self, key: &str, value_bytes: usize, value: impl FnOnce(&mut Vec<u8>)) {
        tag(self.to, self.field, WIRE_BYTES);
        varint(self.to, (field_bytes(key.len()) + field_bytes(value_bytes)) as u64);
        bytes(self.to, KEY_VALUE_KEY, key.as_bytes());
        tag(self.to, KEY_VALUE_VALUE, WIRE_BYTES);
        varint(self.to, value_bytes as u64);
        value(self.to);
    }
}

/// A message within another. Its length stands before it and is known after it.
fn message(to: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    tag(to, field, WIRE_BYTES);
    let length_at = to.len();
    // Most are of a length that takes two bytes.
    to.extend_from_slice(&[0; 2]);
    let begin = to.len();
    write(to);
    let length = (to.len() - begin) as u64;
    if varint_bytes(length) == 2 {
        to[length_at] = length as u8 | 0x80;
        to[length_at + 1] = (length >> 7) as u8;
    } else {
        let mut bytes = Vec::with_capacity(varint_bytes(length));
        varint(&mut bytes, length);
        to.splice(length_at..begin, bytes);
    }
}

fn joined(to: &mut Vec<u8>, field: u32, parts: &[&str]) {
    tag(to, field, WIRE_BYTES);
    varint(to, parts.iter().map(|part| part.len() as u64).sum());
    parts.iter().for_each(|part| to.extend_from_slice(part.as_bytes()));
}

fn bytes(to: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(to, field, WIRE_BYTES);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

fn number(to: &mut Vec<u8>, field: u32, value: u64) {
    tag(to, field, WIRE_VARINT);
    varint(to, value);
}

fn fixed64(to: &mut Vec<u8>, field: u32, value: u64) {
    tag(to, field, WIRE_FIXED64);
    to.extend_from_slice(&value.to_le_bytes());
}

fn fixed32(to: &mut Vec<u8>, field: u32, value: u32) {
    tag(to, field, WIRE_FIXED32);
    to.extend_from_slice(&value.to_le_bytes());
}

fn tag(to: &mut Vec<u8>, field: u32, wire: u32) {
    varint(to, u64::from(field << 3 | wire));
}

/// Seven bits to a byte, the low ones first; all but the last byte have their highest bit set.
fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// The bytes of a field, of a number below 16, that holds so many bytes.
fn field_bytes(value: usize) -> usize {
    1 + varint_bytes(value as u64) + value
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000_000).saturating_add(time.subsec_nanos().into())
}

fn kind(kind: &SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

const WIRE_VARINT: u32 = 0;
const WIRE_FIXED64: u32 = 1;
const WIRE_BYTES: u32 = 2;
const WIRE_FIXED32: u32 = 5;

const REQUEST_RESOURCE_SPANS: u32 = 1;
const RESOURCE_SPANS_RESOURCE: u32 = 1;
const RESOURCE_SPANS_SCOPE_SPANS: u32 = 2;
const RESOURCE_ATTRIBUTES: u32 = 1;
const SCOPE_SPANS_SCOPE: u32 = 1;
const SCOPE_SPANS_SPANS: u32 = 2;
const SCOPE_NAME: u32 = 1;
const SCOPE_VERSION: u32 = 2;
const SPAN_TRACE_ID: u32 = 1;
const SPAN_SPAN_ID: u32 = 2;
const SPAN_TRACE_STATE: u32 = 3;
const SPAN_PARENT_SPAN_ID: u32 = 4;
const SPAN_NAME: u32 = 5;
const SPAN_KIND: u32 = 6;
const SPAN_START_TIME: u32 = 7;
const SPAN_END_TIME: u32 = 8;
const SPAN_ATTRIBUTES: u32 = 9;
const SPAN_DROPPED_ATTRIBUTES: u32 = 10;
const SPAN_LINKS: u32 = 13;
const SPAN_STATUS: u32 = 15;
const SPAN_FLAGS: u32 = 16;
const LINK_TRACE_ID: u32 = 1;
const LINK_SPAN_ID: u32 = 2;
const LINK_FLAGS: u32 = 6;
const STATUS_CODE: u32 = 3;
const STATUS_CODE_ERROR: u64 = 2;
const KEY_VALUE_KEY: u32 = 1;
const KEY_VALUE_VALUE: u32 = 2;
const ANY_STRING: u32 = 1;
const ANY_BOOL: u32 = 2;
const ANY_INT: u32 = 3;
const ANY_DOUBLE: u32 = 4;
const FLAG_SAMPLED: u32 = 1;
/// Whether the parent is of another process is known, and what is known.
const FLAG_HAS_IS_REMOTE: u32 = 0x100;
const FLAG_IS_REMOTE: u32 = 0x200;
/// What a request has beside its spans, about.
const FRAME_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::Link;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
    use prost::Message as _;

    use super::*;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
    }

    fn head(length: usize) -> Head<'static> {
        Head {
            trace: TraceId::from_bytes([7; 16]),
            span: SpanId::from_bytes([8; 8]),
            parent: Some(SpanId::from_bytes([9; 8])),
            parent_is_remote: true,
            state: "a=1",
            kind: SpanKind::Server,
            name: &["GET", " ", "/users/{id}"],
            began: UNIX_EPOCH + Duration::from_nanos(1_796_020_081_042_000_007),
            took: Duration::from_micros(1500),
            has_failed: length % 2 == 1,
            link: length.is_multiple_of(2).then(|| TraceParent {
                trace: TraceId::from_bytes([5; 16]),
                span: SpanId::from_bytes([6; 8]),
                is_sampled: true,
            }),
            dropped_attributes: length as u32,
        }
    }

    /// The same in the protocol's own message.
    fn span(length: usize, text: String) -> Span {
        let link = Link { trace_id: vec![5; 16], span_id: vec![6; 8], flags: 0x301, ..Link::default() };
        Span {
            trace_id: vec![7; 16],
            span_id: vec![8; 8],
            trace_state: "a=1".to_owned(),
            parent_span_id: vec![9; 8],
            flags: 0x301,
            name: "GET /users/{id}".to_owned(),
            kind: 2,
            start_time_unix_nano: 1_796_020_081_042_000_007,
            end_time_unix_nano: 1_796_020_081_043_500_007,
            attributes: vec![
                attribute("text", Value::StringValue(text)),
                attribute("number", Value::IntValue(length.try_into().expect("it is small"))),
                attribute("largest", Value::IntValue(i64::MAX)),
                attribute("bytes", Value::StringValue("a\u{fffd}b".to_owned())),
                attribute("signed", Value::IntValue(-7)),
                attribute("fraction", Value::DoubleValue(0.25)),
                attribute("truth", Value::BoolValue(true)),
                attribute("untruth", Value::BoolValue(false)),
            ],
            dropped_attributes_count: length as u32,
            links: if length.is_multiple_of(2) { vec![link] } else { Vec::new() },
            status: (length % 2 == 1).then(|| Status { code: 2, ..Status::default() }),
            ..Span::default()
        }
    }

    fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let resource = Resource {
            attributes: vec![attribute("service.name", Value::StringValue("gate".to_owned()))],
            ..Resource::default()
        };
        let scope = InstrumentationScope {
            name: "witgate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() }];
        let spans = ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() };
        ExportTraceServiceRequest { resource_spans: vec![spans] }
    }

    /// The protocol's own messages, encoded by a library, are the measure.
    #[test]
    fn a_request_is_what_the_protocols_messages_are() {
        // Lengths around those at which a length takes another byte.
        for length in [0, 1, 20, 60, 100, 127, 128, 300, 16_000, 16_383, 20_000] {
            let text = "x".repeat(length);
            let mut spans = Spans::default();
            spans.push(&head(length), |attributes| {
                attributes.texts("text", &["", &text]);
                attributes.whole("number", length as u64);
                attributes.whole("largest", u64::MAX);
                attributes.lossy("bytes", b"a\xffb");
                attributes.signed("signed", -7);
                attributes.fraction("fraction", 0.25);
                attributes.truth("truth", true);
                attributes.truth("untruth", false);
            });
            let mut both = Spans::default();
            both.append(&spans);
            both.append(&spans);
            let expected = request(vec![span(length, text.clone()), span(length, text)]);
            let request = both.request([("service.name", "gate")]);
            assert_eq!(ExportTraceServiceRequest::decode(&*request).ok().as_ref(), Some(&expected), "{length}");
            assert_eq!((both.len(), request.len()), (2, expected.encoded_len()), "no length takes more than it has to");
        }
    }
}
