//! Header fields that belong to one connection, and fields that only the gateway's own filters may write.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use smallvec::SmallVec;

/// Removes the fields of the connection the message came over: those RFC 9110 §7.6.1 lists, and those `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // One walk over the few fields that are there costs less than a look-up for each that might be.
    let present: SmallVec<[HeaderName; 2]> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if present.contains(&CONNECTION) {
        strip_named(headers);
    }
    for name in present {
        headers.remove(name);
    }
}

/// Removes every field in `owned` that a client sent. `_` counts as `-`: some upstreams read them as the same.
pub fn strip_owned(headers: &mut HeaderMap, owned: &[HeaderName]) {
    if owned.is_empty() {
        return;
    }
    for name in owned {
        headers.remove(name);
    }
    let disguised: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_'))
        .filter(|name| owned.iter().any(|own| own.as_str() == name.as_str().replace('_', "-")))
        .cloned()
        .collect();
    for name in disguised {
        headers.remove(name);
    }
}

/// Removes from a request's trailers what may not be there, and every field in `owned`: an upstream may take them for headers.
pub fn strip_trailers(trailers: &mut HeaderMap, owned: &[HeaderName]) {
    for name in FORBIDDEN_TRAILERS {
        trailers.remove(name);
    }
    strip_owned(trailers, owned);
}

/// Whether a field frames or routes the message, and so is the gateway's to write: two opinions on where a message ends
/// are how requests are smuggled (RFC 9112 §11.2).
pub fn is_framing(name: &HeaderName) -> bool {
    *name == CONTENT_LENGTH || *name == HOST || is_hop_by_hop(name)
}

/// Whether an answer says once and clearly where it ends. hyper goes by one of two framings and leaves the other in its head.
pub fn has_one_framing(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return true };
    coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        && codings.next().is_none()
        && !headers.contains_key(CONTENT_LENGTH)
}

/// Whether a field that is a list of tokens has this one (RFC 9110 §5.6.1), in whatever case.
pub fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

/// What frames, routes, authenticates or describes a message must be known before its content (RFC 9110 §6.5.1).
pub const FORBIDDEN_TRAILERS: [&str; 20] = [
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name)
}

fn strip_named(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        // What nearly every message says, and no field's name that is not removed anyway.
        .filter(|name| !name.eq_ignore_ascii_case("keep-alive") && !name.eq_ignore_ascii_case("close"))
        .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
        // A client must not have the gateway drop the fields by which others know it.
        .filter(|name| !is_end_to_end(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Fields that a `Connection` header may not name away: framing, routing, and what the gateway itself vouches for.
fn is_end_to_end(name: &HeaderName) -> bool {
    *name == HOST || *name == CONTENT_LENGTH || name.as_str().starts_with("x-forwarded-") || *name == "forwarded"
}

const HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn fields_of_the_connection_go() {
        let mut map = headers(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("host", "a"),
            ("x-stays", "1"),
        ]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("host", "a"), ("x-stays", "1")]));
    }

    #[test]
    fn connection_cannot_name_away_what_the_gateway_vouches_for() {
        let mut map =
            headers(&[("connection", "host, x-forwarded-for"), ("host", "a"), ("x-forwarded-for", "1.2.3.4")]);
        strip_hop_by_hop(&mut map);
        assert_eq!(map, headers(&[("host", "a"), ("x-forwarded-for", "1.2.3.4")]));
    }

    #[test]
    fn owned_fields_go_in_every_spelling() {
        let mut map = headers(&[("X-User-Id", "1"), ("x_user-id", "2"), ("x-user", "3")]);
        strip_owned(&mut map, &[HeaderName::from_static("x-user-id")]);
        assert_eq!(map, headers(&[("x-user", "3")]));
    }
}
