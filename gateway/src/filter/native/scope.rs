//! Which part of a request a limit is about: `client-ip`, `header:NAME`, `cookie:NAME`, `query:NAME`, `attribute:NAME`.

use std::net::IpAddr;

use http::HeaderName;
use smallvec::SmallVec;

use crate::filter::Exchange;
use crate::message::{cookie, parameter};

/// The bytes of a key; most fit without an allocation.
pub(super) type KeyBytes = SmallVec<[u8; 64]>;

/// One part, or several together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    ClientIp,
    Header(HeaderName),
    Cookie(Box<str>),
    Query(Box<str>),
    Attribute(Box<str>),
}

impl Scope {
    /// # Errors
    /// The place among the texts of one that is wrong, and why.
    pub(super) fn parse(texts: &[String]) -> Result<Self, (usize, String)> {
        let part = |(at, text): (usize, &String)| Part::parse(text).map_err(|why| (at, why));
        texts.iter().enumerate().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// What the request has there. A part that it does not have is empty, so that leaving it out is no way around a limit.
    pub(super) fn key(&self, exchange: &Exchange) -> KeyBytes {
        let mut key = KeyBytes::new();
        match &*self.0 {
            [only] => only.write(exchange, &mut key),
            several => {
                for part in several {
                    let before = key.len();
                    part.write(exchange, &mut key);
                    // The length, so that no two lists of parts make the same key.
                    let length = u32::try_from(key.len() - before).unwrap_or(u32::MAX);
                    key.extend_from_slice(&length.to_be_bytes());
                }
            }
        }
        key
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        let name = |name: &str| {
            if name.is_empty() { Err(format!("`{text}` names nothing")) } else { Ok(Box::from(name)) }
        };
        match text.split_once(':') {
            None if text == "client-ip" => Ok(Self::ClientIp),
            Some(("header", header)) => {
                let parsed = HeaderName::from_bytes(header.as_bytes());
                parsed.map(Self::Header).map_err(|_| format!("`{header}` is not a header name"))
            }
            Some(("cookie", cookie)) => name(cookie).map(Self::Cookie),
            Some(("query", parameter)) => name(parameter).map(Self::Query),
            Some(("attribute", attribute)) => name(attribute).map(Self::Attribute),
            _ => Err(format!(
                "`{text}` is no part of a request: write `client-ip`, `header:NAME`, `cookie:NAME`, `query:NAME` or `attribute:NAME`"
            )),
        }
    }

    fn write(&self, exchange: &Exchange, key: &mut KeyBytes) {
        match self {
            Self::ClientIp => match exchange.client {
                IpAddr::V4(address) => key.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => key.extend_from_slice(&address.octets()),
            },
            Self::Header(name) => {
                let value = exchange.headers.get(name).map(http::HeaderValue::as_bytes);
                key.extend_from_slice(value.unwrap_or_default());
            }
            Self::Cookie(name) => key.extend_from_slice(cookie(&exchange.headers, name).unwrap_or_default().as_bytes()),
            Self::Query(name) => {
                let value = exchange.uri.query().and_then(|query| parameter(query, name));
                key.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
            Self::Attribute(name) => key.extend_from_slice(exchange.attribute(name).unwrap_or_default().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::filter::native::tests::exchange;

    fn key(parts: &[&str], exchange: &Exchange) -> Vec<u8> {
        let texts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
        Scope::parse(&texts).unwrap().key(exchange).to_vec()
    }

    #[test]
    fn a_key_is_what_the_request_has_there() {
        let mut exchange =
            exchange("GET", "/?a=1&b=2&a=3", &[("x-user", "ada"), ("cookie", "x=1; sid=abc"), ("cookie", "sid=z")]);
        exchange.set_attribute("user".into(), "bob".into());
        for (part, expected) in [
            ("client-ip", &[127, 0, 0, 1][..]),
            ("header:X-User", b"ada"),
            ("header:none", b""),
            ("cookie:sid", b"abc"),
            ("query:a", b"1"),
            ("query:c", b""),
            ("attribute:user", b"bob"),
        ] {
            assert_eq!(key(&[part], &exchange), expected, "{part}");
        }
    }

    #[test]
    fn no_two_lists_of_values_make_one_key() {
        let of = |a, b| key(&["header:a", "header:b"], &exchange("GET", "/", &[("a", a), ("b", b)]));
        assert_ne!(of("x", "yz"), of("xy", "z"));
        assert_ne!(of("", "x"), of("x", ""));
        assert_eq!(of("x", "y"), of("x", "y"));
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "client", "client-ip:x", "header:", "header:a b", "query:", "body:x"] {
            assert!(Scope::parse(&["client-ip".to_owned(), text.to_owned()]).unwrap_err().0 == 1, "{text}");
        }
    }
}
