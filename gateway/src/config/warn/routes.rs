//! Routes that no request gets to, as a whole or for one of their hosts, because another one goes first and takes all of them.
//!
//! The order is that of `router`: the host's kind first, then priority, kind of path, predicates, place in the file. Here it is asked which of
//! two routes wins *whenever* both match; where that depends on the request, or on what a regex means, nothing is said.

use std::collections::{BTreeMap, HashMap};

use super::super::fault::Fault;
use super::super::model::{Config, FieldMatch, PathMatch, Route};
use super::super::path::At;

pub(super) fn find(config: &Config, warnings: &mut Vec<Fault>) {
    let routes = &config.routes;
    if routes.is_empty() {
        let fault = Fault::key("", "there are no routes, so that every request is answered with 404");
        warnings.push(fault.help("add one, as in `routes: [{ name: hello, respond: { body: hello } }]`"));
    }
    let rivals = Rivals::of(routes);
    for (index, route) in routes.iter().enumerate() {
        let hosts = hosts(route);
        let winners: Vec<Option<usize>> = hosts.iter().map(|host| rivals.winner(routes, index, host)).collect();
        let at = At::ROOT.key("routes");
        let at = at.item(index);
        let name = &route.name;
        if let Some(Some(first)) = winners.iter().find(|winner| winner.is_some())
            && winners.iter().all(Option::is_some)
        {
            let winner = &routes[*first].name;
            let message = format!("no request gets to the route `{name}`: `{winner}` takes all of them first");
            let fault = Fault::value(at.key("name"), message).related(name_of(*first), "this one takes them");
            warnings.push(fault.help(remedy(&routes[*first], route)));
            continue;
        }
        for (place, winner) in winners.iter().enumerate() {
            let Some(winner) = winner else { continue };
            let (host, takes) = (&hosts[place], &routes[*winner].name);
            let message = format!("requests for `{host}` do not get to the route `{name}`: `{takes}` takes them first");
            let at = at.key("match");
            let fault = Fault::value(at.key("hosts").item(place), message);
            warnings.push(fault.related(name_of(*winner), "this one takes them"));
        }
    }
}

fn name_of(index: usize) -> String {
    At::ROOT.key("routes").item(index).key("name").to_string()
}

fn remedy(winner: &Route, loser: &Route) -> &'static str {
    if winner.priority > loser.priority {
        "its `priority` puts it first: take it away, or give this route one as well"
    } else {
        "make their `match` differ, or remove one of them"
    }
}

/// In lower case; `*` for any.
fn hosts(route: &Route) -> Vec<String> {
    if route.matches.hosts.is_empty() {
        return vec!["*".to_owned()];
    }
    let hosts = route.matches.hosts.iter();
    hosts.map(|host| host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()).collect()
}

/// Routes by what they could take from each other.
struct Rivals {
    /// By host and path.
    same: HashMap<(String, String), Vec<usize>>,
    /// By host: those that may go before routes with other paths.
    wide: HashMap<String, Vec<usize>>,
}

/// Routes of one host and path, or wide ones of one host, that are looked at for each other.
const RIVALS_MAX: usize = 64;

impl Rivals {
    fn of(routes: &[Route]) -> Self {
        let mut rivals = Self { same: HashMap::new(), wide: HashMap::new() };
        let least = routes.iter().map(|route| route.priority).min().unwrap_or_default();
        for (index, route) in routes.iter().enumerate() {
            let is_wide = route.priority > least || takes_every_path(&route.matches.path);
            for host in hosts(route) {
                if is_wide {
                    note(rivals.wide.entry(host.clone()).or_default(), index);
                }
                note(rivals.same.entry((host, shape(&route.matches.path))).or_default(), index);
            }
        }
        rivals
    }

    /// A route that takes all of this one's requests for a host.
    fn winner(&self, routes: &[Route], index: usize, host: &str) -> Option<usize> {
        let route = &routes[index];
        let same = self.same.get(&(host.to_owned(), shape(&route.matches.path)));
        let candidates = same.into_iter().chain(self.wide.get(host)).flatten().copied();
        candidates.filter(|other| *other != index).find(|other| {
            let rival = &routes[*other];
            covers(rival, route) && goes_before((*other, rival), (index, route))
        })
    }
}

fn note(list: &mut Vec<usize>, index: usize) {
    if list.len() < RIVALS_MAX {
        list.push(index);
    }
}

/// A path's kind and text; of templates without the names of their parameters, which match whatever they are called.
fn shape(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("exact {path}"),
        PathMatch::Prefix(path) => format!("prefix {path}"),
        PathMatch::Regex(regex) => format!("regex {regex}"),
        PathMatch::Template(template) => {
            let segments = template.split('/').map(|segment| match segment.strip_prefix('{') {
                Some(parameter) if parameter.starts_with('*') => "{*}",
                Some(_) => "{}",
                None => segment,
            });
            format!("template {}", segments.collect::<Vec<_>>().join("/"))
        }
    }
}

fn takes_every_path(path: &PathMatch) -> bool {
    matches!(path, PathMatch::Regex(regex) if matches!(regex.as_str(), ".*" | ".+" | "/.*" | "^.*$" | "^/.*$"))
}

/// Whether `a` matches whatever `b` matches, their hosts aside.
fn covers(a: &Route, b: &Route) -> bool {
    let (a, b) = (&a.matches, &b.matches);
    covers_list(&a.listeners, &b.listeners)
        && covers_list(&a.methods, &b.methods)
        && asks_less(&a.headers, &b.headers)
        && asks_less(&a.query, &b.query)
        && covers_path(&a.path, &b.path)
}

/// An empty list is everything.
fn covers_list(a: &[String], b: &[String]) -> bool {
    a.is_empty() || (!b.is_empty() && b.iter().all(|item| a.contains(item)))
}

fn asks_less(a: &BTreeMap<String, FieldMatch>, b: &BTreeMap<String, FieldMatch>) -> bool {
    a.iter().all(|(name, field)| match (field, b.get(name)) {
        (FieldMatch::Present(true), Some(FieldMatch::Equals(_) | FieldMatch::Regex(_))) => true,
        (field, other) => other == Some(field),
    })
}

fn covers_path(a: &PathMatch, b: &PathMatch) -> bool {
    if takes_every_path(a) || shape(a) == shape(b) {
        return true;
    }
    let PathMatch::Prefix(prefix) = a else { return false };
    let literal = match b {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => path.as_str(),
        PathMatch::Template(template) => template.split("/{").next().unwrap_or_default(),
        PathMatch::Regex(_) => "",
    };
    // By whole segments; one that ends in a slash takes only what lies below.
    prefix == "/"
        || literal == prefix
        || literal.strip_prefix(&**prefix).is_some_and(|rest| rest.starts_with('/') || prefix.ends_with('/'))
}

/// Whether `a` is preferred to `b` for every request that both match, by their places in the file.
fn goes_before((a_index, a): (usize, &Route), (b_index, b): (usize, &Route)) -> bool {
    let rank = |path: &PathMatch| match path {
        PathMatch::Exact(_) => 0,
        PathMatch::Template(_) => 1,
        PathMatch::Regex(_) => 2,
        PathMatch::Prefix(_) => 3,
    };
    let (a_path, b_path) = (&a.matches.path, &b.matches.path);
    if a.priority != b.priority {
        return a.priority > b.priority;
    }
    if rank(a_path) != rank(b_path) {
        return rank(a_path) < rank(b_path);
    }
    match a_path {
        PathMatch::Regex(_) => a_index < b_index,
        // What covers another path without being the same says less, and loses.
        _ if shape(a_path) != shape(b_path) => false,
        _ => predicates(a) > predicates(b) || (predicates(a) == predicates(b) && a_index < b_index),
    }
}

fn predicates(route: &Route) -> (bool, usize, usize) {
    let matches = &route.matches;
    (!matches.methods.is_empty(), matches.headers.len(), matches.query.len())
}
