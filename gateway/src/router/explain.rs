//! Why a request takes the route that it takes: what each other route asks for that it does not have, or what puts another one first.
//!
//! For people, who wait for it: each condition is tried by a router of its own, so that it means here what it means to requests.

use std::fmt;

use super::host::HostPattern;
use super::order::Preference;
use super::pattern::PathPattern;
use super::predicate::Predicates;
use super::{PathSpec, Request, RouteSpec, Router};

/// How a route stands to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Chosen,
    /// It matches as well, but another one goes first.
    Outranked(Advantage),
    /// The first condition that does not hold.
    Missed(Condition),
}

/// What a route may ask for. Headers and query parameters by their place in the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Listener,
    Host,
    Path,
    Method,
    Header(usize),
    Query(usize),
}

/// What puts the chosen route first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advantage {
    Host,
    Priority,
    Path,
    Method,
    Headers,
    Query,
    Place,
}

impl fmt::Display for Advantage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "has a more specific host",
            Self::Priority => "has a higher priority",
            Self::Path => "has a more specific kind of path, or more of it",
            Self::Method => "names methods",
            Self::Headers => "asks for more headers",
            Self::Query => "asks for more of the query",
            Self::Place => "stands earlier in the file",
        })
    }
}

/// How each of these routes stands to a request; they are without faults.
pub fn explain(specs: &[RouteSpec], request: &Request<'_>) -> Vec<Standing> {
    let chosen = Router::build(specs.to_vec()).ok().and_then(|router| Some(router.find(request)?.route));
    let stands = |(index, spec): (usize, &RouteSpec)| {
        if chosen == Some(index) {
            return Standing::Chosen;
        }
        match (first_missed(spec, request), chosen) {
            (Some(condition), _) => Standing::Missed(condition),
            (None, Some(winner)) => {
                Standing::Outranked(advantage((winner, &specs[winner]), (index, spec), request.host))
            }
            // A route that matches is found.
            (None, None) => Standing::Missed(Condition::Path),
        }
    };
    specs.iter().enumerate().map(stands).collect()
}

/// What the path pattern of a route takes from the path of a request that it matches.
pub fn find_params(spec: &RouteSpec, request: &Request<'_>) -> Vec<(String, String)> {
    let Ok(router) = Router::build(vec![spec.clone()]) else { return Vec::new() };
    let Some(found) = router.find(request) else { return Vec::new() };
    found.params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn first_missed(spec: &RouteSpec, request: &Request<'_>) -> Option<Condition> {
    let holds = |spec: RouteSpec| Router::build(vec![spec]).is_ok_and(|router| router.find(request).is_some());
    let tried = [
        (Condition::Listener, RouteSpec { listeners: spec.listeners.clone(), ..anything() }),
        (Condition::Host, RouteSpec { hosts: spec.hosts.clone(), ..anything() }),
        (Condition::Path, RouteSpec { path: spec.path.clone(), ..anything() }),
        (Condition::Method, RouteSpec { methods: spec.methods.clone(), ..anything() }),
    ];
    let first = tried.into_iter().find_map(|(condition, spec)| (!holds(spec)).then_some(condition));
    let headers = || {
        spec.headers.iter().enumerate().find_map(|(index, header)| {
            let spec = RouteSpec { headers: vec![header.clone()], ..anything() };
            (!holds(spec)).then_some(Condition::Header(index))
        })
    };
    let query = || {
        spec.query.iter().enumerate().find_map(|(index, field)| {
            let spec = RouteSpec { query: vec![field.clone()], ..anything() };
            (!holds(spec)).then_some(Condition::Query(index))
        })
    };
    first.or_else(headers).or_else(query)
}

/// A route that takes every request.
fn anything() -> RouteSpec {
    RouteSpec {
        hosts: Vec::new(),
        path: PathSpec::Prefix("/".to_owned()),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listeners: Vec::new(),
        priority: 0,
    }
}

/// What `winner` has before `loser`, where both match.
fn advantage(
    (winner_index, winner): (usize, &RouteSpec),
    (index, loser): (usize, &RouteSpec),
    host: &str,
) -> Advantage {
    if host_rank(winner, host) != host_rank(loser, host) {
        return Advantage::Host;
    }
    if winner.priority != loser.priority {
        return Advantage::Priority;
    }
    let (Ok(own), Ok(other)) = (PathPattern::parse(&winner.path), PathPattern::parse(&loser.path)) else {
        return Advantage::Path;
    };
    // Without predicates and with the same place, nothing but the paths can differ.
    let bare = |path| Preference::new(0, 0, path, &Predicates::none());
    let is_regex = |path: &PathPattern| matches!(path, PathPattern::Regex(_));
    if is_regex(&own) && is_regex(&other) {
        return Advantage::Place;
    }
    if bare(&own) != bare(&other) {
        return Advantage::Path;
    }
    if winner.methods.is_empty() != loser.methods.is_empty() {
        return Advantage::Method;
    }
    if winner.headers.len() != loser.headers.len() {
        return Advantage::Headers;
    }
    if winner.query.len() != loser.query.len() {
        return Advantage::Query;
    }
    debug_assert!(winner_index < index, "routes that are alike are told apart by their places");
    Advantage::Place
}

/// How closely a route names a host: all of it, so many bytes of it, or not at all.
fn host_rank(spec: &RouteSpec, host: &str) -> (u8, usize) {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let ranks = spec.hosts.iter().filter_map(|text| match HostPattern::parse(text).ok()? {
        HostPattern::Exact(name) => (*name == *host).then_some((2, 0)),
        HostPattern::Wildcard(parent) => {
            let front = host.strip_suffix(&*parent)?;
            (front.len() > 1 && front.ends_with('.')).then_some((1, parent.len()))
        }
        HostPattern::Any => Some((0, 0)),
    });
    ranks.max().unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method};

    use super::super::FieldSpec;
    use super::*;

    #[test]
    fn each_route_is_told_why_it_is_not_the_one() {
        let at = |path: PathSpec| RouteSpec { path, ..anything() };
        let exact = || PathSpec::Exact("/a".to_owned());
        let header = (http::header::ACCEPT, FieldSpec::Present(true));
        let specs = [
            RouteSpec { hosts: vec!["api.example.com".to_owned()], methods: vec![Method::GET], ..at(exact()) },
            RouteSpec { hosts: vec!["*.example.com".to_owned()], priority: 9, ..at(exact()) },
            RouteSpec { hosts: vec!["api.example.com".to_owned()], ..at(exact()) },
            RouteSpec { hosts: vec!["api.example.com".to_owned()], ..at(PathSpec::Prefix("/".to_owned())) },
            RouteSpec { hosts: vec!["other.example.com".to_owned()], ..at(exact()) },
            at(PathSpec::Exact("/b".to_owned())),
            RouteSpec { methods: vec![Method::PUT], ..at(exact()) },
            RouteSpec { headers: vec![header], ..at(exact()) },
            RouteSpec { query: vec![("v".to_owned(), FieldSpec::Equals("2".to_owned()))], ..at(exact()) },
            RouteSpec { listeners: vec![7], ..at(exact()) },
        ];
        let headers = HeaderMap::new();
        let request = Request {
            listener: 0,
            host: "API.example.com",
            path: "/a",
            query: Some("v=1"),
            method: &Method::GET,
            headers: &headers,
        };
        assert_eq!(
            explain(&specs, &request),
            [
                Standing::Chosen,
                Standing::Outranked(Advantage::Host),
                Standing::Outranked(Advantage::Method),
                Standing::Outranked(Advantage::Path),
                Standing::Missed(Condition::Host),
                Standing::Missed(Condition::Path),
                Standing::Missed(Condition::Method),
                Standing::Missed(Condition::Header(0)),
                Standing::Missed(Condition::Query(0)),
                Standing::Missed(Condition::Listener),
            ]
        );
    }
}
