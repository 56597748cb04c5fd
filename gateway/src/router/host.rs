//! Hosts: from the authority of a request to the paths that are routed there, most specific host first.
//!
//! What is routed under a host is left to `paths`.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::paths::{Paths, RankedPaths};
use super::pattern::PathPattern;
use super::{Map, Rank};

/// The paths of every host.
pub(super) struct Hosts {
    exact: Map<Box<str>, Paths>,
    /// By what follows `*.`.
    wildcard: Map<Box<str>, Paths>,
    any: Paths,
}

impl Hosts {
    pub(super) fn builder<'p>() -> HostsBuilder<'p> {
        HostsBuilder::default()
    }

    /// What `seek` finds under the most specific host that it finds something under: the exact host, then wildcards from the longest
    /// to the shortest, then any host.
    pub(super) fn first<T>(&self, host: &str, mut seek: impl FnMut(&Paths) -> Option<T>) -> Option<T> {
        let host = host.strip_suffix('.').unwrap_or(host);
        // A longer host is none that DNS could resolve or a pattern could name; it also bounds the labels that are tried.
        if host.len() <= HOST_BYTES_MAX {
            let host = lower_case(host);
            let exact = self.exact.get(&*host).and_then(&mut seek);
            if exact.is_some() {
                return exact;
            }
            let wildcard = parents(&host).filter_map(|parent| self.wildcard.get(parent)).find_map(&mut seek);
            if wildcard.is_some() {
                return wildcard;
            }
        }
        seek(&self.any)
    }
}

/// A host as a route names it, in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum HostPattern {
    Exact(Box<str>),
    /// What follows `*.`.
    Wildcard(Box<str>),
    Any,
}

impl HostPattern {
    /// Reads `api.example.com`, `[2001:db8::1]`, `*.example.org` or `*`; a dot at the end is ignored.
    ///
    /// An IPv6 address is brought to the spelling of RFC 5952, which clients send.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(bracketed) = text.strip_prefix('[') {
            return parse_ipv6(text, bracketed);
        }
        let (name, wildcard) = match text.strip_prefix("*.") {
            Some(parent) => (parent, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        check_name(text, name)?;
        let name = name.to_ascii_lowercase().into();
        Ok(if wildcard { Self::Wildcard(name) } else { Self::Exact(name) })
    }
}

/// Gathers the routes of each host. They must be added from best to worst.
#[derive(Default)]
pub(super) struct HostsBuilder<'p> {
    hosts: Map<HostPattern, RankedPaths<'p>>,
}

impl<'p> HostsBuilder<'p> {
    pub(super) fn add(&mut self, host: &HostPattern, rank: Rank, path: &'p PathPattern) {
        let paths = match self.hosts.get_mut(host) {
            Some(paths) => paths,
            None => self.hosts.entry(host.clone()).or_default(),
        };
        // A host that a route names twice counts once.
        if paths.last().is_none_or(|(last, _)| *last != rank) {
            paths.push((rank, path));
        }
    }

    pub(super) fn build(self) -> Hosts {
        let mut hosts = Hosts { exact: Map::default(), wildcard: Map::default(), any: Paths::default() };
        for (host, paths) in self.hosts {
            let paths = Paths::build(&paths);
            match host {
                HostPattern::Exact(name) => drop(hosts.exact.insert(name, paths)),
                HostPattern::Wildcard(parent) => drop(hosts.wildcard.insert(parent, paths)),
                HostPattern::Any => hosts.any = paths,
            }
        }
        hosts
    }
}

fn parse_ipv6(text: &str, bracketed: &str) -> Result<HostPattern, String> {
    bracketed
        .strip_suffix(']')
        .and_then(|address| address.parse::<Ipv6Addr>().ok())
        .map(|address| HostPattern::Exact(format!("[{address}]").into()))
        .ok_or_else(|| format!("`{text}` is not an IPv6 address in brackets, such as `[::1]`"))
}

/// Refuses what no request's host could be, with what to write instead.
fn check_name(text: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("`{text}` names no host; write `*` for any host"));
    }
    if name.len() > HOST_BYTES_MAX {
        return Err(format!("the host is longer than {HOST_BYTES_MAX} bytes, the most that DNS allows"));
    }
    if name.contains('*') {
        return Err(format!(
            "`{text}` has a `*` that is not its first label; write `*.example.org`, or `*` for any host"
        ));
    }
    if name.contains(':') {
        return Err(format!("`{text}` has a port, which hosts are matched without; leave it out, or name a listener"));
    }
    if !name.is_ascii() {
        return Err(format!("`{text}` is not ASCII; write its `xn--` form, which clients send"));
    }
    if let Some(bad) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.')) {
        return Err(format!("`{text}` has a {bad:?}, which no host may contain"));
    }
    if name.split('.').any(str::is_empty) {
        return Err(format!("`{text}` has an empty label"));
    }
    Ok(())
}

/// Borrowed from nearly every client; capitals are copied.
fn lower_case(host: &str) -> Cow<'_, str> {
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// What is left of a host after one, two and more of its first labels: the longest first.
fn parents(host: &str) -> impl Iterator<Item = &str> {
    host.bytes()
        .enumerate()
        // A dot in front leaves no label for the `*` to stand for.
        .filter(|&(at, byte)| byte == b'.' && at > 0)
        .map(|(at, _)| &host[at + 1..])
}

/// RFC 1035 §2.3.4, less the length bytes of the first label and the root.
const HOST_BYTES_MAX: usize = 253;
