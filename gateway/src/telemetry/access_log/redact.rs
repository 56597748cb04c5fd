//! What no line may show: credentials, wherever clients put them.

use std::borrow::Cow;

use http::HeaderName;
use percent_encoding::percent_decode_str;

/// Header fields and query parameters whose values are not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redact {
    headers: Vec<HeaderName>,
    /// In lower case.
    query: Vec<String>,
}

impl Redact {
    /// Those that usually carry credentials, and these.
    pub fn with(headers: &[HeaderName], query: &[String]) -> Self {
        let usual = HEADERS.iter().map(|name| HeaderName::from_static(name));
        let query = query.iter().map(|name| name.to_ascii_lowercase());
        Self {
            headers: usual.chain(headers.iter().cloned()).collect(),
            query: QUERY.iter().map(|name| (*name).to_owned()).chain(query).collect(),
        }
    }

    pub(super) fn hides_header(&self, name: &HeaderName) -> bool {
        self.headers.contains(name)
    }

    /// A query with what must not be seen replaced.
    pub(crate) fn query<'q>(&self, query: &'q str) -> Cow<'q, str> {
        if !query.split('&').any(|pair| self.hides(pair)) {
            return Cow::Borrowed(query);
        }
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if self.hides(pair) => Cow::Owned(format!("{name}={REDACTED}")),
            _ => Cow::Borrowed(pair),
        });
        Cow::Owned(pairs.collect::<Vec<_>>().join("&"))
    }

    /// A URL, such as `Referer` has, with the same done to its query.
    pub(super) fn url<'u>(&self, url: &'u [u8]) -> Cow<'u, [u8]> {
        let Some(mark) = url.iter().position(|byte| *byte == b'?') else { return Cow::Borrowed(url) };
        let (before, query) = url.split_at(mark + 1);
        match String::from_utf8_lossy(query) {
            Cow::Borrowed(query) => match self.query(query) {
                Cow::Borrowed(_) => Cow::Borrowed(url),
                Cow::Owned(query) => Cow::Owned([before, query.as_bytes()].concat()),
            },
            // Whoever writes such a query has no need to see it again.
            Cow::Owned(_) => Cow::Owned([before, REDACTED.as_bytes()].concat()),
        }
    }

    /// Whether a pair's name is one of ours, in whatever way it is written.
    fn hides(&self, pair: &str) -> bool {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let decoded =
            if name.contains('%') { percent_decode_str(name).decode_utf8_lossy() } else { Cow::Borrowed(name) };
        self.query.iter().any(|hidden| hidden.eq_ignore_ascii_case(&decoded))
    }
}

impl Default for Redact {
    fn default() -> Self {
        Self::with(&[], &[])
    }
}

/// What stands in the place of a value.
pub(super) const REDACTED: &str = "[redacted]";

/// Header fields that carry credentials.
const HEADERS: [&str; 7] = [
    "authorization",
    "cookie",
    "set-cookie",
    "proxy-authorization",
    "x-api-key",
    "x-auth-token",
    "x-amz-security-token",
];

/// Query parameters that carry credentials.
const QUERY: [&str; 11] = [
    "access_token",
    "refresh_token",
    "id_token",
    "token",
    "api_key",
    "apikey",
    "key",
    "password",
    "client_secret",
    "signature",
    "x-amz-signature",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_of_a_query_are_hidden_however_their_names_are_written() {
        let redact = Redact::with(&[], &["Session".to_owned()]);
        for (query, shown) in [
            ("a=1&b=2", "a=1&b=2"),
            ("a=1&access_token=s3cret&b=2", "a=1&access_token=[redacted]&b=2"),
            ("%61ccess_token=s3cret", "%61ccess_token=[redacted]"),
            ("TOKEN=s3cret&token=s3cret=", "TOKEN=[redacted]&token=[redacted]"),
            ("session=s3cret", "session=[redacted]"),
            ("token", "token"),
            ("tokens=1", "tokens=1"),
        ] {
            assert_eq!(redact.query(query), shown);
        }
        assert_eq!(&*redact.url(b"https://a/b?token=s3cret"), b"https://a/b?token=[redacted]");
        assert_eq!(&*redact.url(b"https://a/b?\xfftoken=s3cret"), b"https://a/b?[redacted]");
        assert_eq!(&*redact.url(b"https://a/b"), b"https://a/b");
    }
}
