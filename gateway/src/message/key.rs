//! What requests are told apart by, where some of them have to stay together: a header, a cookie, the client, the target.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, Uri};
use sha2::{Digest, Sha256};

/// A part of a request. Written as `header:NAME`, `cookie:NAME`, `client-ip`, `query:NAME` or `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestKey {
    /// The first value of a header.
    Header(HeaderName),
    Cookie(Box<str>),
    /// The client's address, after trusted proxies.
    ClientIp,
    /// The first value of a parameter of the query, as it is written.
    Query(Box<str>),
    /// The normalised path.
    Path,
}

/// The text is none of the forms of a [`RequestKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is written as `header:NAME`, `cookie:NAME`, `query:NAME`, `client-ip` or `path`")]
pub struct NoRequestKey;

impl RequestKey {
    /// A number that is the same for the same value in every worker, gateway and release; `None` when the request has none.
    pub fn hash(&self, headers: &HeaderMap, uri: &Uri, client: IpAddr) -> Option<u64> {
        match self {
            Self::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            Self::Cookie(name) => cookie(headers, name).map(|value| hash(value.as_bytes())),
            Self::ClientIp => Some(hash(client.to_string().as_bytes())),
            Self::Query(name) => parameter(uri.query()?, name).map(|value| hash(value.as_bytes())),
            Self::Path => Some(hash(uri.path().as_bytes())),
        }
    }
}

impl FromStr for RequestKey {
    type Err = NoRequestKey;

    fn from_str(text: &str) -> Result<Self, NoRequestKey> {
        let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name)));
        match (kind, name) {
            ("client-ip", None) => Ok(Self::ClientIp),
            ("path", None) => Ok(Self::Path),
            ("header", Some(name)) => {
                HeaderName::from_bytes(name.as_bytes()).map(Self::Header).map_err(|_| NoRequestKey)
            }
            // The names of cookies are tokens as those of headers are (RFC 6265 §4.1.1), but capitals matter in them.
            ("cookie", Some(name)) if HeaderName::from_bytes(name.as_bytes()).is_ok() => Ok(Self::Cookie(name.into())),
            ("query", Some(name)) if !name.is_empty() && !name.contains(['&', '=', '#']) => {
                Ok(Self::Query(name.into()))
            }
            _ => Err(NoRequestKey),
        }
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::ClientIp => f.write_str("client-ip"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path => f.write_str("path"),
        }
    }
}

/// A cookie's value (RFC 6265 §4.2.1).
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Evenly spread, also over keys that somebody chose.
pub fn hash(bytes: &[u8]) -> u64 {
    Sha256::digest(bytes).iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The first value of a parameter of a query, as it is written.
pub fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_in_five_forms() {
        for text in ["header:x-user", "cookie:Session", "query:id", "client-ip", "path"] {
            assert_eq!(text.parse::<RequestKey>().map(|key| key.to_string()).as_deref(), Ok(text));
        }
        for refused in
            ["", "header", "header:", "header:a b", "cookie:", "query:", "query:a=b", "path:/", "client-ip:", "user"]
        {
            assert_eq!(refused.parse::<RequestKey>(), Err(NoRequestKey), "{refused}");
        }
    }

    #[test]
    fn equal_parts_have_equal_hashes_and_missing_parts_have_none() {
        let mut headers = HeaderMap::new();
        headers.insert("x-user", "7".parse().expect("a value"));
        headers.append(COOKIE, "a=1; s=7".parse().expect("a value"));
        headers.append(COOKIE, "s=8".parse().expect("a value"));
        let uri: Uri = "/7?id=7&id=8&empty".parse().expect("a target");
        let client = "10.0.0.1".parse().expect("an address");
        let hash_by = |key: &str| key.parse::<RequestKey>().expect("a key").hash(&headers, &uri, client);
        for same in ["header:x-user", "cookie:s", "query:id"] {
            assert_eq!(hash_by(same), Some(hash(b"7")), "{same}");
        }
        assert_eq!(hash_by("path"), Some(hash(b"/7")));
        assert_eq!(hash_by("client-ip"), Some(hash(b"10.0.0.1")));
        assert_eq!(hash_by("query:empty"), Some(hash(b"")));
        for missing in ["header:x-other", "cookie:S", "query:other"] {
            assert_eq!(hash_by(missing), None, "{missing}");
        }
    }
}
