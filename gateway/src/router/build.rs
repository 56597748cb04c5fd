//! From the routes as specified to the router: every fault is found here, and everything that can be computed once is.
//!
//! What a pattern may look like is left to the file of that pattern.

use std::fmt;

use super::fields::FieldTest;
use super::host::{HostPattern, Hosts};
use super::order::Preference;
use super::pattern::PathPattern;
use super::predicate::Predicates;
use super::{FieldSpec, Rank, Route, RouteSpec, Router};

/// A fault in the specification of a route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("route {route}, {field}: {message}")]
pub struct BuildError {
    /// The route's place in the list.
    pub route: usize,
    pub field: RouteField,
    /// What is wrong, and where it helps, what to write instead.
    pub message: String,
}

/// Where in a [`RouteSpec`] a fault lies; numbers are places in its lists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouteField {
    Host(usize),
    Path,
    Header(usize),
    Query(usize),
}

impl fmt::Display for RouteField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(at) => write!(f, "host {at}"),
            Self::Path => f.write_str("path"),
            Self::Header(at) => write!(f, "header {at}"),
            Self::Query(at) => write!(f, "query parameter {at}"),
        }
    }
}

/// Checks all routes, sorts them by preference and arranges them by host and path.
pub(super) fn router(specs: Vec<RouteSpec>) -> Result<Router, Vec<BuildError>> {
    let mut errors = Vec::new();
    let mut checked: Vec<Checked> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.into_iter().enumerate() {
        checked.extend(check(index, spec, &mut errors));
    }
    if !errors.is_empty() {
        return Err(errors);
    }

    checked.sort_by(|a, b| a.preference.cmp(&b.preference));
    let mut hosts = Hosts::builder();
    for (rank, route) in checked.iter().enumerate() {
        let rank = Rank::try_from(rank).expect("a list of routes fits into memory, so into 32 bits");
        for host in &route.hosts {
            hosts.add(host, rank, &route.path);
        }
    }
    let hosts = hosts.build();
    let routes = checked.into_iter().map(Checked::into_route).collect();
    Ok(Router { routes, hosts })
}

/// A route without faults, not yet in its place.
struct Checked {
    index: usize,
    hosts: Vec<HostPattern>,
    path: PathPattern,
    predicates: Predicates,
    preference: Preference,
}

impl Checked {
    fn into_route(self) -> Route {
        Route { index: self.index, predicates: self.predicates, captures: self.path.into_captures() }
    }
}

/// Checks one route; `None` when it added to `errors`.
fn check(index: usize, spec: RouteSpec, errors: &mut Vec<BuildError>) -> Option<Checked> {
    let mut faults = Faults { route: index, errors };
    let hosts = check_hosts(&spec.hosts, &mut faults);
    let path = faults.keep(RouteField::Path, PathPattern::parse(&spec.path));
    let headers = check_fields(spec.headers, RouteField::Header, &mut faults);
    let query = check_fields(spec.query, RouteField::Query, &mut faults);

    let (hosts, path, headers, query) = (hosts?, path?, headers?, query?);
    let predicates = Predicates {
        listeners: spec.listeners.into(),
        methods: spec.methods.into(),
        headers: headers.into(),
        query: query.into(),
    };
    let preference = Preference::new(index, spec.priority, &path, &predicates);
    Some(Checked { index, hosts, path, predicates, preference })
}

/// No host at all is any host.
fn check_hosts(hosts: &[String], faults: &mut Faults<'_>) -> Option<Vec<HostPattern>> {
    if hosts.is_empty() {
        return Some(vec![HostPattern::Any]);
    }
    // Every host is looked at, also behind a faulty one.
    let patterns: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(at, host)| faults.keep(RouteField::Host(at), HostPattern::parse(host)))
        .collect();
    patterns.into_iter().collect()
}

fn check_fields<N>(
    fields: Vec<(N, FieldSpec)>,
    place: fn(usize) -> RouteField,
    faults: &mut Faults<'_>,
) -> Option<Vec<(N, FieldTest)>> {
    let tests: Vec<_> = fields
        .into_iter()
        .enumerate()
        .map(|(at, (name, spec))| Some((name, faults.keep(place(at), FieldTest::new(spec))?)))
        .collect();
    tests.into_iter().collect()
}

/// Collects what is wrong with one route.
struct Faults<'e> {
    route: usize,
    errors: &'e mut Vec<BuildError>,
}

impl Faults<'_> {
    /// The value, or nothing and one more error.
    fn keep<T>(&mut self, field: RouteField, result: Result<T, String>) -> Option<T> {
        result
            .map_err(|message| {
                self.errors.push(BuildError { route: self.route, field, message });
            })
            .ok()
    }
}
