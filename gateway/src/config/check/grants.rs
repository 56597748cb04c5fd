//! Checks of a plugin's `grants`: origins in one form, names that exist.

use std::net::Ipv6Addr;

use super::super::fault::Fault;
use super::super::model::Grants;
use super::super::path::At;
use super::super::raw::{Items, RawGrants};
use super::names::Kind;
use super::urls::Url;
use super::{Check, items};

impl Check<'_> {
    pub(super) fn grants(&mut self, at: &At<'_>, raw: &RawGrants) -> Grants {
        let grants = Grants {
            http: self.origins(&at.key("http"), raw.http.as_ref()),
            private_addresses: raw.private_addresses.unwrap_or_default(),
            stores: self.granted(&at.key("stores"), Kind::Store, raw.stores.as_ref()),
            tables: self.granted(&at.key("tables"), Kind::Table, raw.tables.as_ref()),
            key_sets: self.granted(&at.key("key_sets"), Kind::KeySet, raw.key_sets.as_ref()),
            limiters: self.granted(&at.key("limiters"), Kind::Limiter, raw.limiters.as_ref()),
            secrets: self.granted(&at.key("secrets"), Kind::Secret, raw.secrets.as_ref()),
            reveal: items(raw.reveal.as_ref()).map(|(_, name)| name.clone()).collect(),
        };
        let has_hole = raw.secrets.iter().flatten().any(Option::is_none) || self.was_cut(&at.key("secrets"));
        for (index, name) in items(raw.reveal.as_ref()) {
            if !has_hole && !grants.secrets.contains(name) {
                let at = at.key("reveal");
                let fault = Fault::value(at.item(index), format!("the secret `{name}` is not granted to this plugin"));
                self.fault(fault.help("name it in `secrets` of these grants as well, or remove it here"));
            }
        }
        grants
    }

    fn granted(&mut self, at: &At<'_>, kind: Kind, raw: Option<&Items<String>>) -> Vec<String> {
        let mut granted = Vec::new();
        for (index, name) in items(raw) {
            self.reference(&at.item(index), kind, name);
            granted.push(name.clone());
        }
        granted
    }

    fn origins(&mut self, at: &At<'_>, raw: Option<&Items<String>>) -> Vec<String> {
        let mut origins = Vec::new();
        for (index, text) in items(raw) {
            match origin(text) {
                Ok(origin) => origins.push(origin),
                Err(why) => {
                    let fault = Fault::value(at.item(index), format!("`{text}` is not an origin"));
                    self.fault(fault.help(format!("{why}: write it as in `https://audit.example.com`")));
                }
            }
        }
        origins
    }
}

/// `scheme://host[:port]` in the one form that later code compares (RFC 6454 §6.2), or what is wrong with it.
fn origin(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text)?;
    let own_port = match url.scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err("the scheme is neither `http` nor `https`"),
    };
    if url.user.is_some() {
        return Err("an origin has no user or password");
    }
    if !url.rest.is_empty() {
        return Err("an origin has no path, query or fragment");
    }
    let host = match url.host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => url.host.to_ascii_lowercase(),
    };
    let scheme = url.scheme;
    Ok(match url.port {
        Some(port) if port != own_port => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(origin(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn origins_have_one_form() {
        check("https://Audit.Example.com:443", "https://audit.example.com");
        check("http://audit:80", "http://audit");
        check("http://audit:443", "http://audit:443");
        check("https://[2001:DB8:0:0::1]:8443", "https://[2001:db8::1]:8443");
    }

    #[test]
    fn an_origin_is_no_more_than_that() {
        for refused in
            ["https://a/", "https://a?b", "https://a#b", "https://u@a", "ftp://a", "HTTPS://a", "a", "https://*.a"]
        {
            assert!(origin(refused).is_err(), "{refused}");
        }
    }
}
