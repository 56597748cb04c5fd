//! Where a request carries a credential: found there, and taken out again before the upstream sees it.

mod keyring;

use std::borrow::Cow;

use serde::de::{self, Deserialize, Deserializer};

pub use self::keyring::Keyring;
use crate::config::HeaderName;
use crate::query_rules::decode;
use crate::{Part, Request, RequestHeader, Setup};

/// A place of a request that may carry a credential, as configurations name it: `header` (`Authorization: Bearer …`, RFC 6750 §2.1),
/// `header:NAME`, `cookie:NAME` or `query:NAME`.
///
/// ```
/// use witgate_plugin::credential::Place;
///
/// let places: Vec<Place> = serde_json::from_str(r#"["header", "cookie:session"]"#)?;
/// assert_eq!(places, [Place::Bearer, Place::Cookie("session".to_owned())]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The header `authorization`, after the scheme `Bearer`.
    Bearer,
    /// The whole value of a header.
    Header(HeaderName),
    /// A cookie (RFC 6265 §4.2).
    Cookie(String),
    /// A parameter of the query.
    Query(String),
}

/// What a request carries.
///
/// ```
/// use witgate_plugin::{Reply, credential::Found};
///
/// fn token(found: Found<'_>) -> Result<Vec<u8>, Reply> {
///     match found {
///         Found::One(token) => Ok(token.into_owned()),
///         Found::Nothing => Err(Reply::problem(401, "log in first")),
///         Found::Several => Err(Reply::problem(400, "which of them is it?")),
///     }
/// }
/// assert_eq!(token(Found::One(b"a".into())), Ok(b"a".to_vec()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// No credential at any place.
    Nothing,
    /// One, as it came; it need not be UTF-8.
    One(Cow<'a, [u8]>),
    /// Two that differ: who checked one of them would let the upstream believe the other.
    Several,
}

/// The places where one attachment looks for a credential.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin};
/// use witgate_plugin::credential::{Credentials, Found, Place};
///
/// # #[derive(serde::Deserialize)]
/// struct Config {
///     from: Vec<Place>,
/// }
///
/// struct Session(Credentials);
///
/// impl Plugin for Session {
///     type Config = Config;
///
///     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
///         Ok(Session(Credentials::at(config.from, setup)))
///     }
///
///     fn on_request(&self, request: &mut Request) -> Verdict {
///         match self.0.find(request) {
///             Found::One(session) if *session == *b"s3cret" => {
///                 self.0.remove(request);
///                 Verdict::Next
///             }
///             _ => Reply::problem(401, "log in first").into(),
///         }
///     }
/// }
/// # export_plugin!(Session: request);
/// # use witgate_plugin::test::{Harness, TestRequest, json};
/// # let mut plugin = Harness::<Session>::new(json!({ "from": ["cookie:session"] }))?;
/// # let outcome = plugin.request(TestRequest::get("/").header("cookie", "theme=dark; session=s3cret"));
/// # assert_eq!(outcome.passed().value("cookie"), Some("theme=dark"));
/// # assert_eq!(plugin.request(TestRequest::get("/")).reply().status(), 401);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Credentials(Vec<Wanted>);

/// A place, and the key under which its part of the request arrives.
#[derive(Debug)]
enum Wanted {
    Bearer(RequestHeader),
    Header(String, RequestHeader),
    Cookie(String, RequestHeader),
    Query(String, Part),
}

impl Credentials {
    /// Ask for what these places need.
    pub fn at(places: Vec<Place>, setup: &mut Setup) -> Self {
        let wanted = places.into_iter().map(|place| match place {
            Place::Bearer => Wanted::Bearer(setup.want_request_header("authorization")),
            Place::Header(name) => Wanted::Header(name.to_string(), setup.want_request_header(&name)),
            Place::Cookie(name) => Wanted::Cookie(name, setup.want_request_header("cookie")),
            Place::Query(name) => Wanted::Query(name, setup.want_path()),
        });
        Credentials(wanted.collect())
    }

    /// The credential of a request, whichever place it is at.
    pub fn find<'a>(&self, request: &Request<'a>) -> Found<'a> {
        let mut found = Found::Nothing;
        for wanted in &self.0 {
            found = match wanted {
                Wanted::Bearer(key) => request.headers(*key).fold(found, |found, value| match bearer(value) {
                    Some(token) => found.and(token.into()),
                    // Another scheme is no token; but beside one, somebody else might take it for the credential.
                    None if request.headers(*key).count() > 1 => Found::Several,
                    None => found,
                }),
                Wanted::Header(_, key) => request.headers(*key).fold(found, |found, value| found.and(value.into())),
                Wanted::Cookie(name, key) => cookies(request, *key)
                    .filter(|(known, _)| *known == name.as_bytes())
                    .fold(found, |found, (_, value)| found.and(value.into())),
                Wanted::Query(name, key) => parameters(request, *key)
                    .filter(|(known, _)| decode(known) == *name)
                    .fold(found, |found, (_, value)| found.and(bytes(decode(value)))),
            };
        }
        found
    }

    /// Take the credential out of the request, wherever it may be.
    pub fn remove(&self, request: &mut Request<'_>) {
        for wanted in &self.0 {
            match wanted {
                Wanted::Bearer(_) => request.remove_header("authorization"),
                Wanted::Header(name, _) => request.remove_header(name),
                Wanted::Cookie(name, key) => {
                    let others = cookies(request, *key).filter(|(known, _)| *known != name.as_bytes());
                    let pairs: Vec<_> = others.map(|(name, value)| [name, b"=", value].concat()).collect();
                    match pairs.is_empty() {
                        true => request.remove_header("cookie"),
                        false => request.set_header("cookie", pairs.join(&b"; "[..])),
                    }
                }
                Wanted::Query(name, key) => {
                    let others = parameters(request, *key).filter(|(known, _)| decode(known) != *name);
                    let pairs: Vec<_> = others.map(|(name, value)| format!("{name}={value}")).collect();
                    if parameters(request, *key).count() != pairs.len() {
                        request.set_query(pairs.join("&"));
                    }
                }
            }
        }
    }
}

impl<'a> Found<'a> {
    fn and(self, another: Cow<'a, [u8]>) -> Self {
        match self {
            Found::Nothing => Found::One(another),
            Found::One(one) if one == another => Found::One(one),
            Found::One(_) | Found::Several => Found::Several,
        }
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (kind, name) = text.split_once(':').unwrap_or((&text, ""));
        match kind {
            "header" if name.is_empty() && !text.contains(':') => Ok(Place::Bearer),
            "header" => HeaderName::try_from(name.to_owned()).map(Place::Header).map_err(de::Error::custom),
            "cookie" if !name.is_empty() => Ok(Place::Cookie(name.to_owned())),
            "query" if !name.is_empty() => Ok(Place::Query(name.to_owned())),
            _ => Err(de::Error::custom(format_args!(
                "{text:?} is no place for a credential: write `header`, `header:NAME`, `cookie:NAME` or `query:NAME`"
            ))),
        }
    }
}

/// What follows the scheme, which is case-insensitive (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii_start())
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

fn cookies<'a>(request: &Request<'a>, key: RequestHeader) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
    let pairs = request.headers(key).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    })
}

fn parameters<'a>(request: &Request<'a>, key: Part) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let pairs = request.query(key).into_iter().flat_map(|query| query.split('&'));
    pairs.filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_is_case_insensitive_and_ends_with_a_space() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bEARER   abc"), Some(&b"abc"[..]));
        for other in [&b"Bearer"[..], b"Bearerabc", b"Basic abc", b""] {
            assert_eq!(bearer(other), None);
        }
    }
}
