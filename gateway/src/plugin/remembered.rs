//! Edits that a guest has remembered, to make them again and again: checked once, and made at no cost but a few counted references.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::bindings::witgate::plugin::types::{Header, RequestEdit, ResponseEdit};
use super::failure::Failure;
use crate::message::is_framing;

/// An edit that was remembered, of a request ([`RequestEdit`]) or a response ([`ResponseEdit`]).
#[derive(Debug, PartialEq)]
pub enum Remembered<E> {
    SetHeader(Field),
    AppendHeader(Field),
    RemoveHeader(HeaderName),
    SetAttribute(Arc<str>, Arc<str>),
    /// As it was said, and checked when it is made.
    Other(E),
}

/// A header field that was checked.
pub type Field = (HeaderName, HeaderValue);

/// Lists of edits that a call repeats, in this order, before it makes its own.
pub type Repeated<E> = SmallVec<[Arc<[Remembered<E>]>; 2]>;

/// The two kinds of edits have these four in common, in types of their own.
macro_rules! remembered {
    ($Edit:ident) => {
        impl TryFrom<$Edit> for Remembered<$Edit> {
            type Error = Failure;

            fn try_from(edit: $Edit) -> Result<Self, Failure> {
                Ok(match edit {
                    $Edit::SetHeader(header) => Self::SetHeader(field(header)?),
                    $Edit::AppendHeader(header) => Self::AppendHeader(field(header)?),
                    $Edit::RemoveHeader(name) => Self::RemoveHeader(field_name(&name)?),
                    $Edit::SetAttribute((name, value)) => Self::SetAttribute(name.into(), value.into()),
                    other => Self::Other(other),
                })
            }
        }

        /// As it would have been said.
        impl From<&Remembered<$Edit>> for $Edit {
            fn from(edit: &Remembered<$Edit>) -> Self {
                match edit {
                    Remembered::SetHeader(field) => Self::SetHeader(said(field)),
                    Remembered::AppendHeader(field) => Self::AppendHeader(said(field)),
                    Remembered::RemoveHeader(name) => Self::RemoveHeader(name.to_string()),
                    Remembered::SetAttribute(name, value) => Self::SetAttribute((name.to_string(), value.to_string())),
                    Remembered::Other(edit) => edit.clone(),
                }
            }
        }
    };
}

remembered!(RequestEdit);
remembered!(ResponseEdit);

/// A header field as a guest said it.
///
/// # Errors
/// [`Failure::Verdict`] for one that is malformed or not a guest's to write, [`Failure::Limit`] for one that is too large.
pub fn field((name, value): Header) -> Result<Field, Failure> {
    let name = field_name(&name)?;
    Failure::at_most("bytes of a header field", name.as_str().len() + value.len(), FIELD_BYTES_MAX)?;
    let value = HeaderValue::from_maybe_shared(Bytes::from(value))
        .map_err(|_| Failure::Verdict(format!("the value of `{name}` has bytes that no header may carry")))?;
    Ok((name, value))
}

/// The name of a header field as a guest said it.
///
/// # Errors
/// As [`field`].
pub fn field_name(name: &str) -> Result<HeaderName, Failure> {
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|error| Failure::invalid("header name", name, &error))?;
    if is_framing(&parsed) {
        return Err(Failure::Verdict(format!("`{parsed}` frames or routes the message and is the gateway's to write")));
    }
    Ok(parsed)
}

fn said((name, value): &Field) -> Header {
    (name.to_string(), value.as_bytes().to_vec())
}

/// As large as a listener lets the whole head of a request be, unless it says otherwise.
const FIELD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn header(name: &str, value: &[u8]) -> Header {
        (name.to_owned(), value.to_vec())
    }

    #[test]
    fn what_is_remembered_is_what_was_said() {
        let edits = [
            RequestEdit::SetHeader(header("x-a", b"\xff")),
            RequestEdit::AppendHeader(header("accept", b"")),
            RequestEdit::RemoveHeader("cookie".to_owned()),
            RequestEdit::SetAttribute(("user".to_owned(), "ada".to_owned())),
            RequestEdit::SetPath("/a".to_owned()),
        ];
        for edit in edits {
            assert_eq!(RequestEdit::from(&Remembered::try_from(edit.clone()).unwrap()), edit);
        }
        let status = ResponseEdit::SetStatus(204);
        assert_eq!(ResponseEdit::from(&Remembered::try_from(status.clone()).unwrap()), status);
    }

    #[test]
    fn header_fields_are_checked() {
        let refusals = [
            (RequestEdit::SetHeader(header("x a", b"1")), "invalid header name `x a`"),
            (RequestEdit::AppendHeader(header("x-a", b"1\r\n")), "`x-a` has bytes"),
            (RequestEdit::RemoveHeader("host".to_owned()), "the gateway's to write"),
            (RequestEdit::SetHeader(header("x-a", &[b'1'; FIELD_BYTES_MAX])), "exceeded bytes of a header field"),
        ];
        for (edit, words) in refusals {
            let failure = Remembered::try_from(edit).unwrap_err().to_string();
            assert!(failure.contains(words), "{failure}");
        }
    }
}
