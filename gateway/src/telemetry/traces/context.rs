//! Trace context in header fields (W3C Trace Context, Baggage): read with care, written for whoever is next.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{SpanId, TraceId};

/// What `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) is_sampled: bool,
}

/// An id that no other trace has.
pub(super) fn new_trace() -> TraceId {
    TraceId::from_bytes((fastrand::u128(..) | 1).to_be_bytes())
}

/// An id that no other span has.
pub(super) fn new_span() -> SpanId {
    SpanId::from_bytes((fastrand::u64(..) | 1).to_be_bytes())
}

/// Whether a trace belongs to a share of all traces: the same answer wherever it is asked.
pub(super) fn is_within(trace: TraceId, share: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = trace.to_bytes();
    let low = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    #[allow(clippy::cast_precision_loss, reason = "a share needs no more precision than f64 has")]
    let place = low as f64 / (1u64 << 63) as f64;
    place < share
}

/// The hex digits of a trace's id.
pub(super) fn digits(trace: TraceId) -> [u8; 32] {
    let mut digits = [0; 32];
    write_hex(&trace.to_bytes(), &mut digits);
    digits
}

impl TraceParent {
    /// What the fields of a request say, if they say it as the standard wants it (§3.2): version 00, or a later one that begins as it does.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            _ => None,
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (head, rest) = text.split_at_checked(TEXT_BYTES)?;
        let [version @ .., _] = head.get(..3)? else { return None };
        let version = hex::<1>(version)?[0];
        // Only later versions may have more fields.
        let has_more = version != 0 && rest.first() == Some(&b'-');
        if version == 0xff || !(rest.is_empty() || has_more) || [2, 35, 52].iter().any(|at| head[*at] != b'-') {
            return None;
        }
        let (trace, span, flags) = (hex::<16>(&head[3..35])?, hex::<8>(&head[36..52])?, hex::<1>(&head[53..55])?);
        let (trace, span) = (TraceId::from_bytes(trace), SpanId::from_bytes(span));
        let is_valid = trace != TraceId::INVALID && span != SpanId::INVALID;
        is_valid.then_some(Self { trace, span, is_sampled: flags[0] & SAMPLED != 0 })
    }

    /// As the field's value, in version 00.
    pub(super) fn value(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(&self.trace.to_bytes(), &mut text[3..35]);
        write_hex(&self.span.to_bytes(), &mut text[36..52]);
        if self.is_sampled {
            text[54] = b'1';
        }
        HeaderValue::from_bytes(&text).expect("digits and dashes are visible ASCII")
    }
}

/// Takes out what must not be passed on: `tracestate` where there is no valid `traceparent` (§3.3), or where it is none
/// itself, and a `baggage` beyond the size that the standard speaks of (Baggage §3.3.2).
pub(super) fn clean(headers: &mut HeaderMap, has_parent: bool) {
    if headers.contains_key(TRACESTATE) && !(has_parent && is_tracestate(headers)) {
        headers.remove(TRACESTATE);
    }
    if headers.contains_key(BAGGAGE) {
        let values = || headers.get_all(BAGGAGE).iter();
        let bytes: usize = values().map(HeaderValue::len).sum();
        if bytes > BAGGAGE_BYTES_MAX || values().any(|value| value.to_str().is_err()) {
            headers.remove(BAGGAGE);
        }
    }
}

/// At most 32 members, each a key and a value, in visible ASCII (§3.3.1).
fn is_tracestate(headers: &HeaderMap) -> bool {
    let values = headers.get_all(TRACESTATE).iter();
    let mut members = 0;
    for value in values {
        let Ok(text) = value.to_str() else { return false };
        for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            members += 1;
            let is_key = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
            let Some((key, value)) = member.split_once('=') else { return false };
            let is_member = (1..=256).contains(&key.len())
                && key.bytes().all(is_key)
                && (1..=256).contains(&value.len())
                && value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=');
            if !is_member || members > MEMBERS_MAX {
                return false;
            }
        }
    }
    true
}

/// Lower case alone is hex here (§3.2.2).
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

fn write_hex(bytes: &[u8], to: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, pair) in bytes.iter().zip(to.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// The field that tells where in a trace a request belongs.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// The field for what tracing systems tell each other beside that.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");
const SAMPLED: u8 = 1;
const TEXT_BYTES: usize = 55;
const MEMBERS_MAX: usize = 32;
const BAGGAGE_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_parent_is_read_and_written_as_the_standard_has_it() {
        let parent = TraceParent::parse(PARENT.as_bytes()).expect("it is the standard's own example");
        assert!(parent.is_sampled);
        assert_eq!(parent.value(), PARENT);
        assert_eq!(&digits(parent.trace), b"0af7651916cd43dd8448eb211c80319c");
        let later = PARENT.replacen("00", "cc", 1);
        assert_eq!(TraceParent::parse(later.as_bytes()), Some(parent), "a later version begins the same");
        assert_eq!(TraceParent::parse(format!("{later}-what-else").as_bytes()), Some(parent));
        let unsampled = PARENT.replace("-01", "-fe");
        assert!(TraceParent::parse(unsampled.as_bytes()).is_some_and(|parent| !parent.is_sampled));
    }

    #[test]
    fn what_is_no_parent_is_none() {
        for text in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0af7651916cd43dd8448eb211c8031\u{fc}-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceParent::parse(text.as_bytes()), None, "{text}");
        }
        let mut twice = HeaderMap::new();
        twice.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert!(TraceParent::read(&twice).is_some());
        twice.append(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(TraceParent::read(&twice), None);
    }

    #[test]
    fn what_is_malformed_goes_no_further() {
        let many = |count| (0..count).map(|key| format!("k{key}=v")).collect::<Vec<_>>().join(",");
        let member = |key: usize, value: usize| format!("{}={}", "k".repeat(key), "v".repeat(value));
        let (most, too_many) = (many(MEMBERS_MAX), many(MEMBERS_MAX + 1));
        let (longest, long_key, long_value) = (member(256, 256), member(257, 1), member(1, 257));
        for (state, has_parent, stays) in [
            ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", true, true),
            ("rojo=1", false, false),
            ("rojo", true, false),
            ("Rojo=1", true, false),
            ("rojo=a=b", true, false),
            (&most, true, true),
            (&too_many, true, false),
            (&longest, true, true),
            (&long_key, true, false),
            (&long_value, true, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(TRACESTATE, HeaderValue::from_str(state).expect("visible"));
            clean(&mut headers, has_parent);
            assert_eq!(headers.contains_key(TRACESTATE), stays, "{state}");
        }
        for (bytes, stays) in [(BAGGAGE_BYTES_MAX, true), (BAGGAGE_BYTES_MAX + 1, false)] {
            let mut headers = HeaderMap::new();
            headers.insert(BAGGAGE, HeaderValue::from_str(&"b".repeat(bytes)).expect("visible"));
            clean(&mut headers, false);
            assert_eq!(headers.contains_key(BAGGAGE), stays, "{bytes}");
        }
    }

    #[test]
    fn a_share_of_the_traces_is_sampled() {
        let sampled = (0..10_000).filter(|_| is_within(new_trace(), 0.05)).count();
        assert!((300..700).contains(&sampled), "{sampled}");
        assert!((0..100).all(|_| is_within(new_trace(), 1.0) && !is_within(new_trace(), 0.0)));
    }
}
