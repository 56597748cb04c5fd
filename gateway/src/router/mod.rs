//! Router: a request's host, path, method, headers and query in, a route out.
//!
//! It knows routes by their place in the list they were built from; what a route does with its request is left to the snapshot.
//! Paths must come normalised, see [`crate::message::path`]; an authority must come without its port.
//!
//! # Which route wins
//!
//! Of all routes that match a request, the first in this order:
//!
//! 1. an exact host, then the longest wildcard host, then any host: in `host`;
//! 2. the higher `priority`, then exact path, template, regex, prefix, then the number of predicates, then file order: in `order`.
//!
//! This is an order of preference, not of elimination: when no route of the exact host matches the rest of the request, the routes
//! of a wildcard host get their turn (as in Traefik; Envoy, which settles on a host first, would answer 404).
//!
//! # How it stays fast
//!
//! A route's place in rule 2 does not depend on the request. So `build` sorts all routes once, and from then on a route *is* its
//! [`Rank`] in that order: the best of two is the smaller number. Per host, `paths` finds the ranks whose path matches, by hashing
//! what the path is made of; `predicate` checks the rest, only for ranks that would beat what was found before. The price of a look-up
//! follows the number of segments in the path, not the number of routes, except for routes that share both host and path: these
//! are tried one by one.

mod build;
mod fields;
mod host;
mod order;
mod paths;
mod pattern;
mod predicate;
mod query;
mod regex;
mod template;
mod tree;
mod explain;

#[cfg(test)]
mod tests;

use std::fmt;

use http::{HeaderMap, HeaderName, Method};
use smallvec::SmallVec;

pub use self::build::{BuildError, RouteField};
pub use self::explain::{Advantage, Condition, Standing, explain as explain_standing, find_params};

use self::host::Hosts;
use self::predicate::Predicates;
use self::template::Template;

/// What a route asks of a request. All that is given must hold.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// `api.example.com`, `*.example.org` (one or more labels in front) or `*`; any case. Empty: any host.
    pub hosts: Vec<String>,
    pub path: PathSpec,
    /// Empty: all. `HEAD` is its own method, as in Gateway API: a route that lists `GET` alone does not take it.
    pub methods: Vec<Method>,
    /// A header that is sent more than once holds if one of its values does. A value is not split at commas.
    pub headers: Vec<(HeaderName, FieldSpec)>,
    /// Names and values are compared as they are after form decoding (`+`, `%XX`). A parameter that is given more than once holds
    /// if one of its values does.
    pub query: Vec<(String, FieldSpec)>,
    /// Numbers of the listeners that serve this route. Empty: all.
    pub listeners: Vec<u16>,
    /// Goes before the rank of the path, within a host. Higher wins.
    pub priority: i32,
}

/// What a route asks of the normalised path.
#[derive(Clone, Debug)]
pub enum PathSpec {
    /// The whole path.
    Exact(String),
    /// The path's first segments: `/users` takes `/users`, `/users/` and `/users/1`, never `/usersx`; `/users/` takes only what
    /// lies below, `/users/` itself included.
    Prefix(String),
    /// `/users/{id}/files/{*rest}`: a parameter takes one segment, one with a star all the rest of the path; neither
    /// takes an empty text.
    Template(String),
    /// Must match the whole path. Named groups become parameters. Paths are ASCII, so classes such as `\w` are, too.
    Regex(String),
}

/// What a route asks of a header or a query parameter.
#[derive(Clone, Debug)]
pub enum FieldSpec {
    /// Byte for byte, case included.
    Equals(String),
    /// Must match the whole value.
    Regex(String),
    /// `true`: it is there, even if empty. `false`: it is absent.
    Present(bool),
}

/// All routes of one snapshot, arranged for look-up. Immutable.
pub struct Router {
    /// In the order of preference: a route's place here is its [`Rank`].
    routes: Vec<Route>,
    hosts: Hosts,
}

impl Router {
    /// Arranges `routes` for look-up.
    ///
    /// # Errors
    ///
    /// Every fault of every route, in their order.
    pub fn build(routes: Vec<RouteSpec>) -> Result<Self, Vec<BuildError>> {
        build::router(routes)
    }

    /// The route that `request` takes, if one matches; the top of this file says which.
    ///
    /// Exact, prefix and template routes are found without allocating, unless the host is spelled with capitals or a predicate reads a
    /// query value with escapes. Time is linear in the length of the request, whatever the configured regexes are.
    pub fn find<'r>(&'r self, request: &Request<'r>) -> Option<Match<'r>> {
        let method = predicate::method_to_match(request);
        let rank = self.hosts.first(request.host, |paths| {
            paths.best(request.path, |rank| self.route(rank).predicates.admit(request, &method))
        })?;
        let route = self.route(rank);
        Some(Match { route: route.index, params: route.captures.params(request.path) })
    }

    fn route(&self, rank: Rank) -> &Route {
        &self.routes[rank as usize]
    }
}

/// Only the count: a dump of all maps and automata helps nobody.
impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

/// What the router looks at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    /// Number of the listener that accepted the connection.
    pub listener: u16,
    /// The authority without its port, in any case; one dot at its end is ignored. Empty when there was none.
    pub host: &'r str,
    /// Normalised, without the query.
    pub path: &'r str,
    /// As it was sent, without the question mark.
    pub query: Option<&'r str>,
    /// A CORS preflight is matched by the method it asks about instead.
    pub method: &'r Method,
    pub headers: &'r HeaderMap,
}

/// The route that a request takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Match<'r> {
    /// Its place in the list that the router was built from.
    pub route: usize,
    pub params: Params<'r>,
}

/// What a template or the named groups of a regex took from the path, in the order of the pattern.
///
/// Values are parts of the normalised path: what is escaped there is escaped here, so that a value cannot bring a slash along.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Params<'r>(SmallVec<[(&'r str, &'r str); PARAMS_INLINE]>);

impl<'r> Params<'r> {
    pub fn get(&self, name: &str) -> Option<&'r str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Names and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'r str, &'r str)> + '_ {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, name: &'r str, value: &'r str) {
        self.0.push((name, value));
    }
}

/// A route's place in the order of preference among all routes of the router, hosts left aside. Smaller is better.
type Rank = u32;

/// Maps whose keys come from the configuration. A request only looks up, so it cannot fill a bucket with colliding keys; a hash that
/// withstands that would cost more than all the rest of a look-up.
type Map<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// A route, ready to be tried on requests whose host and path match.
struct Route {
    /// Its place in the list that the router was built from.
    index: usize,
    predicates: Predicates,
    captures: Captures,
}

/// What a route takes from the path.
enum Captures {
    Nothing,
    Template(Template),
    Regex(regex::Groups),
}

impl Captures {
    /// `path` must match the pattern that these captures belong to.
    fn params<'r>(&'r self, path: &'r str) -> Params<'r> {
        match self {
            Self::Nothing => Params::default(),
            Self::Template(template) => template.params(path),
            Self::Regex(groups) => groups.params(path),
        }
    }
}

/// Parameters that are kept without allocating; few templates have more.
const PARAMS_INLINE: usize = 4;
