//! Query parameters, read only as far as a predicate asks: `application/x-www-form-urlencoded`, as the URL standard parses it.

use std::borrow::Cow;

/// The decoded values that `name` has in `query`, in order. A parameter without `=` has the empty value.
///
/// Decoded values are bytes: an escape can make what is no UTF-8.
pub(super) fn values<'q>(query: &'q str, name: &'q str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    query
        .split('&')
        // Between two `&` there is no parameter, not one with an empty name.
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(key, _)| Decoded(key.as_bytes()).eq(name.bytes()))
        .map(|(_, value)| decode(value.as_bytes()))
}

/// Borrowed when there is nothing to decode.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        Cow::Owned(Decoded(text).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Decodes byte by byte, so that names are compared without a copy.
struct Decoded<'q>(&'q [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        match first {
            b'+' => Some(b' '),
            b'%' => {
                // A percent sign without two digits stands for itself.
                let Some(byte) = rest.first_chunk().and_then(escaped) else {
                    return Some(first);
                };
                self.0 = &rest[2..];
                Some(byte)
            }
            _ => Some(first),
        }
    }
}

fn escaped([high, low]: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::values;

    #[track_caller]
    fn check(query: &str, name: &str, expected: &[&[u8]]) {
        let found: Vec<_> = values(query, name).collect();
        assert_eq!(found, expected, "of {name:?} in {query:?}");
    }

    #[test]
    fn values_are_found_by_name() {
        check("a=1&b=2&a=3", "a", &[b"1", b"3"]);
        check("a=1&b=2", "c", &[]);
        check("", "", &[]);
        check("&&a=1&", "a", &[b"1"]);
        check("ab=1&A=2", "a", &[]);
    }

    #[test]
    fn a_value_may_be_missing_or_hold_equals_signs() {
        check("a", "a", &[b""]);
        check("a=", "a", &[b""]);
        check("a=b=c", "a", &[b"b=c"]);
        check("=x", "", &[b"x"]);
    }

    #[test]
    fn names_and_values_are_decoded() {
        check("a+b=c+d", "a b", &[b"c d"]);
        check("%61=%2B%20", "a", &[b"+ "]);
        check("%C3%a9=x", "é", &[b"x"]);
        check("a%3Db=1", "a=b", &[b"1"]);
        check("a=%ff", "a", &[b"\xff"]);
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        check("a=%", "a", &[b"%"]);
        check("a=%4", "a", &[b"%4"]);
        check("a=%zz%41", "a", &[b"%zzA"]);
        check("%=1", "%", &[b"1"]);
    }
}
