//! The strict scan of an HTTP/1 request's head (RFC 9112 §2-§5): line by line, once over the bytes, nothing kept but the framing.
//!
//! It is here for what hyper lets pass and others downstream of it may read in another way. What a head means (its host, its path)
//! is for `proxy/receive`, which sees HTTP/2, too.

use super::bytes::{CR, LF, first_control, target_end, token_end, trim};
use super::fault::Fault;
use crate::proxy::RequestLine;

/// What a listener allows of a head.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    pub bytes: usize,
    pub target_bytes: usize,
    pub fields: usize,
}

/// A head that is being read, and in the end what it says of the bytes behind it.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Whole lines of it, which need no second look.
    pub(super) scanned: usize,
    /// One empty line before the request line is let pass (RFC 9112 §2.2), a second is not.
    blank: bool,
    in_fields: bool,
    fields: usize,
    is_http_10: bool,
    content_length: Option<u64>,
    is_chunked: bool,
    /// The client asks for another protocol behind this request, by `Upgrade` or CONNECT.
    pub(super) asks_upgrade: bool,
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Length(u64),
    Chunked,
}

impl Head {
    /// Goes on with `bytes`, which begin where the head does. `None` while it is not over.
    pub(super) fn scan(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<Content>, Fault> {
        loop {
            let rest = &bytes[self.scanned..];
            let line = if self.in_fields { self.field(rest)? } else { self.request_line(rest, limits)? };
            let Some(line) = line else {
                return if bytes.len() > limits.bytes { Err(self.too_large()) } else { Ok(None) };
            };
            self.scanned += line.bytes;
            if self.scanned > limits.bytes {
                return Err(self.too_large());
            }
            if self.fields > limits.fields {
                return Err(Fault::HeadTooLarge("the request has more header fields than this listener allows"));
            }
            if line.is_last {
                return self.content().map(Some);
            }
        }
    }

    /// RFC 9112 §6.3, without its leniencies.
    fn content(&self) -> Result<Content, Fault> {
        match (self.content_length, self.is_chunked) {
            (Some(_), true) => {
                Err(Fault::Malformed("the request has both Content-Length and Transfer-Encoding (RFC 9112 §6.3)"))
            }
            (None, true) if self.is_http_10 => {
                Err(Fault::Malformed("a request of HTTP/1.0 has no Transfer-Encoding (RFC 9112 §6.1)"))
            }
            (None, true) => Ok(Content::Chunked),
            (length, false) => Ok(Content::Length(length.unwrap_or(0))),
        }
    }

    fn too_large(&self) -> Fault {
        if self.in_fields {
            Fault::HeadTooLarge("the request's head is larger than this listener allows")
        } else {
            Fault::TargetTooLong
        }
    }

    fn request_line(&mut self, rest: &[u8], limits: &HeadLimits) -> Result<Option<Line>, Fault> {
        if let [CR, after @ ..] = rest {
            return match after {
                [] => Ok(None),
                [LF, ..] if !std::mem::replace(&mut self.blank, true) => Ok(Some(Line { bytes: 2, is_last: false })),
                [LF, ..] => {
                    Err(Fault::Malformed("there is more than one empty line before the request (RFC 9112 §2.2)"))
                }
                _ => Err(BARE_CR),
            };
        }
        let method_end = token_end(rest, 0);
        let target_start = method_end + 1;
        match rest.get(method_end) {
            _ if method_end > METHOD_BYTES_MAX => return Err(Fault::Malformed("the method is too long")),
            None => return Ok(None),
            Some(b' ') if method_end > 0 => {}
            Some(_) => {
                return Err(Fault::Malformed("the request line begins with no method and one space (RFC 9112 §3)"));
            }
        }
        let target_end = target_end(rest, target_start);
        if target_end - target_start > limits.target_bytes {
            return Err(Fault::TargetTooLong);
        }
        match rest.get(target_end) {
            None => return Ok(None),
            Some(b' ') if target_end > target_start => {}
            Some(byte) => return Err(bad_target(*byte, target_end == target_start)),
        }
        let Some(version) = version(&rest[target_end + 1..])? else { return Ok(None) };
        self.is_http_10 = version == Version::Http10;
        self.asks_upgrade = &rest[..method_end] == b"CONNECT";
        if !has_form(&rest[target_start..target_end], self.asks_upgrade) {
            return Err(Fault::Malformed("the target has none of the four forms (RFC 9112 §3.2)"));
        }
        self.in_fields = true;
        Ok(Some(Line { bytes: target_end + 1 + VERSION_LINE_BYTES, is_last: false }))
    }

    fn field(&mut self, rest: &[u8]) -> Result<Option<Line>, Fault> {
        let name_end = token_end(rest, 0);
        match rest.get(name_end) {
            _ if name_end > FIELD_NAME_BYTES_MAX => {
                return Err(Fault::HeadTooLarge("the name of a header field is too long"));
            }
            None => return Ok(None),
            Some(b':') if name_end > 0 => {}
            Some(&CR) if name_end == 0 => {
                return match rest.get(1) {
                    None => Ok(None),
                    Some(&LF) => Ok(Some(Line { bytes: 2, is_last: true })),
                    Some(_) => Err(BARE_CR),
                };
            }
            Some(byte) => return Err(bad_name(*byte, name_end == 0)),
        }
        let value_end = value_end(rest, name_end + 1);
        match rest[value_end..] {
            [] | [CR] => return Ok(None),
            [CR, LF, ..] => {}
            [byte, ..] => return Err(bad_value(byte)),
        }
        self.note(&rest[..name_end], &rest[name_end + 1..value_end])?;
        self.fields += 1;
        Ok(Some(Line { bytes: value_end + 2, is_last: false }))
    }

    /// Fields that tell where the message ends. Most names have another length, and cost no more than that.
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        match name.len() {
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.asks_upgrade = true,
            14 if is_name(name, b"content-length") => {
                if name[7] == b'_' {
                    return Err(UNDERSCORE);
                }
                let length = content_length(trim(value))?;
                if self.content_length.replace(length).is_some() {
                    return Err(Fault::Malformed("the request has more than one Content-Length (RFC 9112 §6.3)"));
                }
            }
            17 if is_name(name, b"transfer-encoding") => {
                if name[8] == b'_' {
                    return Err(UNDERSCORE);
                }
                if !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Fault::Malformed("the Transfer-Encoding is not `chunked` (RFC 9112 §6.1)"));
                }
                if std::mem::replace(&mut self.is_chunked, true) {
                    return Err(Fault::Malformed("the request has more than one Transfer-Encoding (RFC 9112 §6.1)"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The request line of a head that is refused, unless that is what is wrong with it.
pub(super) fn line_of<'b>(head: &'b [u8], limits: &HeadLimits) -> Option<RequestLine<'b>> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let mut scan = Head::default();
    scan.request_line(head, limits).ok()??;
    let method_end = token_end(head, 0);
    let target = &head[method_end + 1..target_end(head, method_end + 1)];
    let version = if scan.is_http_10 { http::Version::HTTP_10 } else { http::Version::HTTP_11 };
    Some(RequestLine {
        method: str::from_utf8(&head[..method_end]).ok()?,
        target: str::from_utf8(target).ok()?,
        version,
    })
}

/// A whole line, with its end.
struct Line {
    bytes: usize,
    /// The empty one behind the fields.
    is_last: bool,
}

#[derive(PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The rest of a request line behind the target. `None` when it is not all there and may become right.
fn version(rest: &[u8]) -> Result<Option<Version>, Fault> {
    let line = &rest[..rest.len().min(VERSION_LINE_BYTES)];
    match line {
        b"HTTP/1.1\r\n" => return Ok(Some(Version::Http11)),
        b"HTTP/1.0\r\n" => return Ok(Some(Version::Http10)),
        _ => {}
    }
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    match line.iter().zip(b"HTTP/0.0\r\n").all(fits) {
        true if line.len() == VERSION_LINE_BYTES => Err(Fault::Version),
        true => Ok(None),
        false => Err(Fault::Malformed(
            "behind the target there is not one space, `HTTP/1.1` or `HTTP/1.0`, and CRLF (RFC 9112 §3)",
        )),
    }
}

/// Whether a target has one of the four forms (RFC 9112 §3.2). More of it is looked at where it is taken apart.
fn has_form(target: &[u8], is_connect: bool) -> bool {
    match target {
        [b'/', ..] | b"*" => true,
        [b'a'..=b'z' | b'A'..=b'Z', ..] => {
            is_connect || target.windows(3).take(SCHEME_BYTES_MAX).any(|part| part == b"://")
        }
        _ => is_connect,
    }
}

/// RFC 9110 §8.6: digits, and nothing else; 19 of them fit into 64 bits.
fn content_length(value: &[u8]) -> Result<u64, Fault> {
    const WRONG: Fault = Fault::Malformed("the Content-Length is not one number (RFC 9110 §8.6)");
    if value.is_empty() || value.len() > 19 {
        return Err(WRONG);
    }
    value.iter().try_fold(0, |length: u64, digit| match digit {
        b'0'..=b'9' => Ok(length * 10 + u64::from(digit - b'0')),
        _ => Err(WRONG),
    })
}

/// A field's name, whatever its case, and with `_` for `-`: some servers take one for the other.
fn is_name(name: &[u8], known: &[u8]) -> bool {
    name.iter().zip(known).all(|(&byte, &known)| byte.to_ascii_lowercase() == known || (byte == b'_' && known == b'-'))
}

/// Where a field's value ends: at the first control byte that is no tab.
pub(super) fn value_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    loop {
        at = first_control(bytes, at);
        if bytes.get(at) != Some(&b'\t') {
            return at;
        }
        at += 1;
    }
}

fn bad_target(byte: u8, is_first: bool) -> Fault {
    Fault::Malformed(match byte {
        b' ' if is_first => "there is more than one space before the target (RFC 9112 §3)",
        b'#' => "the target has a fragment (RFC 9110 §7.1)",
        CR | LF => "the request line has no protocol version (RFC 9112 §3)",
        0x80.. => "the target has bytes that are not ASCII (RFC 3986 §2)",
        _ => "the target has a control byte (RFC 3986 §2)",
    })
}

pub(super) fn bad_name(byte: u8, is_first: bool) -> Fault {
    match byte {
        b' ' | b'\t' if is_first => {
            Fault::Malformed("a line of the head begins with white space, which folds it (RFC 9112 §5.2)")
        }
        b' ' | b'\t' => Fault::Malformed("there is white space in or behind a field's name (RFC 9112 §5.1)"),
        b':' => Fault::Malformed("a header field has no name (RFC 9110 §5.1)"),
        CR | LF => Fault::Malformed("a line of the head is no field (RFC 9112 §5)"),
        _ => Fault::Malformed("a field's name has a byte that no name has (RFC 9110 §5.1)"),
    }
}

pub(super) fn bad_value(byte: u8) -> Fault {
    match byte {
        CR => BARE_CR,
        LF => Fault::Malformed("a line ends in LF without CR (RFC 9112 §2.2)"),
        _ => Fault::Malformed("a field's value has a control byte (RFC 9110 §5.5)"),
    }
}

const BARE_CR: Fault = Fault::Malformed("there is a CR without LF (RFC 9112 §2.2)");
const UNDERSCORE: Fault = Fault::Malformed("a field's name is one of framing with `_` for `-`");
const VERSION_LINE_BYTES: usize = b"HTTP/1.1\r\n".len();
/// The longest registered one has 17 (RFC 9110 §16.1).
const METHOD_BYTES_MAX: usize = 32;
const FIELD_NAME_BYTES_MAX: usize = 256;
/// `https` has five.
const SCHEME_BYTES_MAX: usize = 16;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes: 1024, target_bytes: 64, fields: 8 };

    fn scan(bytes: &[u8]) -> Result<Option<Content>, Fault> {
        Head::default().scan(bytes, &LIMITS)
    }

    #[test]
    fn heads_that_are_right_tell_what_follows() {
        for (head, content) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Content::Length(0)),
            ("\r\nGET / HTTP/1.0\r\n\r\n", Content::Length(0)),
            ("POST /a?b=c HTTP/1.1\r\nContent-Length:12\r\n\r\n", Content::Length(12)),
            (
                "POST / HTTP/1.1\r\nX:\r\ncontent-LENGTH: \t 9999999999999999999 \t\r\n\r\n",
                Content::Length(9_999_999_999_999_999_999),
            ),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nX: \u{e9}\t!\r\n\r\n", Content::Chunked),
        ] {
            assert_eq!(scan(head.as_bytes()), Ok(Some(content)), "{head:?}");
            // However it arrives, and whatever follows.
            for cut in 0..head.len() {
                let mut split = Head::default();
                assert_eq!(split.scan(&head.as_bytes()[..cut], &LIMITS), Ok(None), "{head:?} up to {cut}");
                assert_eq!(split.scan(&[head, "GET"].concat().into_bytes(), &LIMITS), Ok(Some(content)));
                assert_eq!(split.scanned, head.len());
            }
        }
    }

    #[test]
    fn limits_hold_at_their_figures() {
        let long = |bytes: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(bytes - 1));
        assert!(scan(long(64).as_bytes()).unwrap().is_some());
        assert_eq!(scan(long(65).as_bytes()), Err(Fault::TargetTooLong));
        assert_eq!(scan(&long(2000).as_bytes()[..80]), Err(Fault::TargetTooLong), "told before its end");
        let fields = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(scan(fields(8).as_bytes()).unwrap().is_some());
        assert!(matches!(scan(fields(9).as_bytes()), Err(Fault::HeadTooLarge(_))));
        let value = |bytes: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(bytes - 23));
        assert!(scan(value(1024).as_bytes()).unwrap().is_some());
        assert!(matches!(scan(value(1025).as_bytes()), Err(Fault::HeadTooLarge(_))));
        assert!(matches!(scan(&value(3000).as_bytes()[..1025]), Err(Fault::HeadTooLarge(_))), "told before its end");
        let name = |bytes: usize| format!("GET / HTTP/1.1\r\n{}: a\r\n\r\n", "x".repeat(bytes));
        assert!(scan(name(256).as_bytes()).unwrap().is_some());
        assert!(matches!(scan(name(257).as_bytes()), Err(Fault::HeadTooLarge(_))));
    }
}
