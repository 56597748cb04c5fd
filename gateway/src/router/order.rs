//! Which of two routes is preferred when both match a request: the part of the order that does not depend on the request.
//!
//! The rank of the host comes before all of this and is left to `host`, because a route may have several hosts.

use std::cmp::Reverse;

use super::pattern::PathPattern;
use super::predicate::Predicates;

/// The order of preference, best first. Fields and variants are declared in the order in which they are compared, so this type is the
/// written rule.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Preference {
    priority: Reverse<i32>,
    path: PathRank,
    method_given: Reverse<bool>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    /// The place in the file. No two routes share it, so no two routes tie.
    index: usize,
}

/// How closely a pattern says which path it wants.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum PathRank {
    Exact,
    Template {
        literals: Reverse<usize>,
        /// With equally many literal segments, `/users/{id}` goes before `/users/{*rest}`, …
        rest: bool,
        /// … and `/users/{id}/{*rest}` before it, too.
        segments: Reverse<usize>,
    },
    /// Two expressions cannot be compared, so file order decides before any predicate does.
    Regex {
        index: usize,
    },
    /// All prefixes of a path are prefixes of each other, so their length tells which says more.
    Prefix {
        length_bytes: Reverse<usize>,
    },
}

impl Preference {
    pub(super) fn new(index: usize, priority: i32, path: &PathPattern, predicates: &Predicates) -> Self {
        Self {
            priority: Reverse(priority),
            path: PathRank::new(index, path),
            method_given: Reverse(!predicates.methods.is_empty()),
            headers: Reverse(predicates.headers.len()),
            query: Reverse(predicates.query.len()),
            index,
        }
    }
}

impl PathRank {
    fn new(index: usize, path: &PathPattern) -> Self {
        match path {
            PathPattern::Exact(_) => Self::Exact,
            PathPattern::Template(template) => Self::Template {
                literals: Reverse(template.literals()),
                rest: template.has_rest(),
                segments: Reverse(template.segments().len()),
            },
            PathPattern::Regex(_) => Self::Regex { index },
            PathPattern::Prefix(prefix) => Self::Prefix { length_bytes: Reverse(prefix.len()) },
        }
    }
}
