//! URLs of the configuration, taken apart (RFC 3986 §3). What each may be is for the check of its key to say.

use std::net::{IpAddr, Ipv6Addr};

/// `SCHEME://[USER@]HOST[:PORT]REST`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// As it is written; schemes are known in lower case alone.
    pub(super) scheme: &'a str,
    pub(super) user: Option<&'a str>,
    /// A name or an address; an IPv6 address stands here without its brackets.
    pub(super) host: &'a str,
    /// Never 0.
    pub(super) port: Option<u16>,
    /// Path, query and fragment; empty, or it begins with `/`, `?` or `#`.
    pub(super) rest: &'a str,
}

impl<'a> Url<'a> {
    /// What is wrong where the text is no URL: a few words, to be followed by the form that is wanted.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let (scheme, after) = text.split_once("://").ok_or("the scheme is missing")?;
        let (authority, rest) = after.split_at(after.find(['/', '?', '#']).unwrap_or(after.len()));
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a character in it must be percent-encoded");
        }
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, authority),
        };
        let (host, port) = host_and_port(authority).ok_or("the host is not one")?;
        let port = match port {
            None => None,
            Some(port) => match port.parse() {
                Ok(number) if number > 0 && !port.starts_with('+') => Some(number),
                _ => return Err("a port is a number from 1 to 65535"),
            },
        };
        Ok(Self { scheme, user, host, port, rest })
    }

    /// Whether no other machine is asked.
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Host and port of an authority, if the host is an IPv4 address, a name or, in brackets, an IPv6 address.
pub(super) fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if let Some(inside) = authority.strip_prefix('[') {
        let (host, rest) = inside.split_once(']')?;
        host.parse::<Ipv6Addr>().ok()?;
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let is_label = |label: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(allowed)
    };
    // A name may end with the dot of the root (RFC 1034 §3.1).
    let is_name = host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(is_label);
    is_name.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let url = Url { scheme: "https", user: Some("u:p"), host: "::1", port: Some(8443), rest: "/a?b#c" };
        assert_eq!(Url::parse("https://u:p@[::1]:8443/a?b#c"), Ok(url));
        assert_eq!(Url::parse("redis://a").map(|url| (url.user, url.port, url.rest)), Ok((None, None, "")));
        for refused in ["", "a", "//a", "a://", "a:// b", "a://b c/", "a://b/ c", "a://b/é", "a://b\u{0}/"] {
            assert!(Url::parse(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn loopback_is_told_by_the_address_and_not_by_the_look() {
        let is_loopback = |text| Url::parse(text).is_ok_and(|url| url.is_loopback());
        for here in ["http://localhost:1", "http://127.0.0.1", "http://127.9.9.9/x", "http://[::1]"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in
            ["http://localhost.example.com", "http://127.0.0.1.example.com", "http://127.0.0.1@a", "http://0.0.0.0"]
        {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
