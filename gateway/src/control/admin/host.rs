//! Host and Origin: a request that a web page made in an operator's browser must not pass for one of the operator.
//!
//! A page whose name resolves to this address (DNS rebinding) shows itself by its `Host`; a page that sends requests across
//! sites shows itself by its `Origin` (RFC 6454). Neither has a business here.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderName, StatusCode};

use super::problem::Problem;
use super::socket::Peer;

/// Refuses what was not meant for this server.
pub(super) fn check(head: &Parts, peer: &Peer, allowed: &[String]) -> Result<(), Problem> {
    // Nothing but a program of this user reaches a socket file; what it writes there as a host means nothing.
    let Peer::Tcp { server, .. } = peer else { return no_origin(head, None) };
    let field = one(head, &HOST)?;
    // A target in absolute form is the host, whatever the field says (RFC 9112 §3.2.2).
    let authority = head.uri.authority().map_or(field, |authority| Some(authority.as_str()));
    let Some(authority) = authority else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the request has no `Host`"));
    };
    let Some(host) = host_of(authority) else {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "the request's `Host` is malformed"));
    };
    if !is_ours(&host, server.ip().to_canonical()) && !allowed.contains(&host) {
        let detail = "this host is not served here; `admin.allowed_hosts` names those besides the address itself";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    no_origin(head, Some(authority))
}

/// Refuses requests of web pages, unless the page came from this server itself.
fn no_origin(head: &Parts, authority: Option<&str>) -> Result<(), Problem> {
    let Some(origin) = one(head, &ORIGIN)? else { return Ok(()) };
    let own = origin.split_once("://").map(|(_, host)| host);
    match (own, authority) {
        (Some(own), Some(authority)) if own.eq_ignore_ascii_case(authority) => Ok(()),
        _ => Err(Problem::new(StatusCode::FORBIDDEN, "requests of other sites' web pages are refused")),
    }
}

/// The value of a field that may stand once.
fn one<'h>(head: &'h Parts, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = head.headers.get_all(name).iter();
    let bad = || Problem::new(StatusCode::BAD_REQUEST, format!("the request's `{name}` is malformed"));
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| bad()),
        (Some(_), Some(_)) => Err(bad()),
    }
}

/// The host without its port, in lower case and without brackets. The port does not matter: tunnels change it.
fn host_of(authority: &str) -> Option<String> {
    let authority: http::uri::Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// Whether this names the address that the connection came to. Loopback has several names.
fn is_ours(host: &str, server: IpAddr) -> bool {
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical() == server || (ip.is_loopback() && server.is_loopback()),
        Err(_) => host == "localhost" && server.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(server: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = http::Request::get("/api/status");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let peer = Peer::Tcp { client: "192.0.2.9:1".parse().unwrap(), server: server.parse().unwrap() };
        let allowed = ["gate.example.com".to_owned()];
        check(&head, &peer, &allowed).map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn the_address_itself_and_allowed_names_are_served() {
        for (server, host) in [
            ("127.0.0.1:9901", "127.0.0.1:9901"),
            ("127.0.0.1:9901", "localhost:9901"),
            ("127.0.0.1:9901", "LOCALHOST"),
            ("127.0.0.1:9901", "localhost:12345"),
            ("[::1]:9901", "[::1]:9901"),
            ("[::ffff:127.0.0.1]:9901", "127.0.0.1"),
            ("192.0.2.1:9901", "192.0.2.1:9901"),
            ("127.0.0.1:9901", "gate.example.com"),
            ("192.0.2.1:9901", "Gate.Example.com:443"),
        ] {
            assert_eq!(verdict(server, &[("host", host)]), 200, "{host} at {server}");
        }
    }

    #[test]
    fn other_names_are_misdirected() {
        for (server, host) in [
            ("127.0.0.1:9901", "evil.example"),
            ("127.0.0.1:9901", "localhost.evil.example"),
            ("127.0.0.1:9901", "127.0.0.1.evil.example"),
            ("127.0.0.1:9901", "sub.gate.example.com"),
            ("192.0.2.1:9901", "localhost"),
            ("192.0.2.1:9901", "192.0.2.2"),
        ] {
            assert_eq!(verdict(server, &[("host", host)]), 421, "{host} at {server}");
        }
    }

    #[test]
    fn a_host_that_says_nothing_or_two_things_is_refused() {
        let at = "127.0.0.1:9901";
        for fields in [&[][..], &[("host", "")], &[("host", "a"), ("host", "localhost")], &[("host", "x@localhost")]] {
            assert_eq!(verdict(at, fields), 400, "{fields:?}");
        }
    }

    #[test]
    fn web_pages_of_other_sites_are_refused() {
        let at = |origin| verdict("127.0.0.1:9901", &[("host", "localhost:9901"), ("origin", origin)]);
        assert_eq!(at("http://localhost:9901"), 200);
        for origin in ["http://evil.example", "null", "http://localhost:8080", "http://localhost", ""] {
            assert_eq!(at(origin), 403, "{origin:?}");
        }
    }

    #[test]
    fn behind_a_socket_file_a_host_means_nothing_and_a_page_is_still_refused() {
        let (mut head, ()) = http::Request::get("/").body(()).unwrap().into_parts();
        assert!(check(&head, &Peer::Unix { uid: None }, &[]).is_ok());
        head.headers.insert(ORIGIN, http::HeaderValue::from_static("http://evil.example"));
        assert!(check(&head, &Peer::Unix { uid: None }, &[]).is_err());
    }
}
