//! The written order of preference, done the slow and obvious way, and compared with the router.
//!
//! Nothing here is shared with the router, so that one mistake does not hide in both.

use std::cmp::Reverse;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::super::{FieldSpec, PathSpec, Request, RouteSpec, Router};

/// The place of the route that the contract's text prescribes: of all that match, the least by a key that follows the text.
fn naive(specs: &[RouteSpec], request: &Request<'_>) -> Option<usize> {
    let matching = specs
        .iter()
        .enumerate()
        .filter_map(|(index, spec)| Some((index, spec, host_rank(spec, request.host)?)))
        .filter(|(_, spec, _)| path_matches(&spec.path, request.path) && rest_holds(spec, request));
    matching
        .min_by_key(|&(index, spec, host_rank)| {
            (
                Reverse(host_rank),
                Reverse(spec.priority),
                path_key(index, &spec.path),
                spec.methods.is_empty(),
                Reverse(spec.headers.len()),
                Reverse(spec.query.len()),
                index,
            )
        })
        .map(|(index, ..)| index)
}

/// Of the hosts of a route that match, the most specific: any is 0, a wildcard its length, an exact one more than all.
fn host_rank(spec: &RouteSpec, host: &str) -> Option<usize> {
    let host = host.trim_end_matches('.').to_lowercase();
    let rank = |pattern: &String| {
        if pattern == "*" {
            return Some(0);
        }
        match pattern.strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix).then_some(pattern.len()),
            None => (host == *pattern).then_some(usize::MAX),
        }
    };
    if spec.hosts.is_empty() {
        return Some(0);
    }
    spec.hosts.iter().filter_map(rank).max()
}

fn path_matches(spec: &PathSpec, path: &str) -> bool {
    match spec {
        PathSpec::Exact(exact) => path == exact,
        PathSpec::Prefix(prefix) => {
            path == prefix
                || path.starts_with(&format!("{prefix}/"))
                || prefix.ends_with('/') && path.starts_with(prefix)
        }
        PathSpec::Template(template) => template_params(template, path).is_some(),
        PathSpec::Regex(regex) => {
            let (_, matches) = REGEXES.iter().find(|(text, _)| text == regex).unwrap();
            matches(path)
        }
    }
}

/// What a template takes from a path, both as lists of segments.
fn template_params(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let wanted: Vec<_> = template.split('/').collect();
    let given: Vec<_> = path.split('/').collect();
    let mut params = Vec::new();
    for (at, want) in wanted.iter().enumerate() {
        let give = given.get(at)?;
        if let Some(name) = want.strip_prefix("{*") {
            let rest = given[at..].join("/");
            params.push((name.trim_end_matches('}').to_owned(), rest.clone()));
            return (!rest.is_empty()).then_some(params);
        }
        if let Some(name) = want.strip_prefix('{') {
            if give.is_empty() {
                return None;
            }
            let name = name.trim_end_matches('}');
            params.push((name.to_owned(), (*give).to_owned()));
        } else if want != give {
            return None;
        }
    }
    (wanted.len() == given.len()).then_some(params)
}

/// Kind of the path, and what decides within the kind.
fn path_key(index: usize, spec: &PathSpec) -> (u8, Reverse<usize>, usize, Reverse<usize>) {
    let none = Reverse(0);
    match spec {
        PathSpec::Exact(_) => (0, none, 0, none),
        PathSpec::Template(text) => {
            let segments: Vec<_> = text.split('/').filter(|text| !text.is_empty()).collect();
            let params = segments.iter().filter(|text| text.starts_with('{')).count();
            let rest = usize::from(text.contains("{*"));
            (1, Reverse(segments.len() - params), rest, Reverse(params))
        }
        PathSpec::Regex(_) => (2, none, index, none),
        PathSpec::Prefix(text) => (3, Reverse(text.len()), 0, none),
    }
}

fn rest_holds(spec: &RouteSpec, request: &Request<'_>) -> bool {
    let method = match request.headers.get("access-control-request-method") {
        Some(announced) if request.method == Method::OPTIONS && request.headers.contains_key("origin") => {
            announced.to_str().unwrap()
        }
        _ => request.method.as_str(),
    };
    let header = |name: &HeaderName| -> Vec<&str> {
        let values = request.headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect()
    };
    let query = |name: &str| -> Vec<&str> {
        let pairs = request.query.unwrap_or("").split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).collect()
    };
    (spec.listeners.is_empty() || spec.listeners.contains(&request.listener))
        && (spec.methods.is_empty() || spec.methods.iter().any(|m| m.as_str() == method))
        && spec.headers.iter().all(|(n, f)| field_holds(f, &header(n)))
        && spec.query.iter().all(|(n, f)| field_holds(f, &query(n)))
}

fn field_holds(spec: &FieldSpec, values: &[&str]) -> bool {
    match spec {
        FieldSpec::Equals(text) => values.contains(&text.as_str()),
        FieldSpec::Regex(text) => {
            assert_eq!(text, "1|2");
            values.contains(&"1") || values.contains(&"2")
        }
        FieldSpec::Present(present) => values.is_empty() != *present,
    }
}

type Matches = fn(&str) -> bool;

/// Expressions, and what they mean without an engine for them.
const REGEXES: [(&str, Matches); 5] = [
    ("/.*", |path| path.starts_with('/')),
    ("/a", |path| path == "/a"),
    ("/a|/b/.*", |path| path == "/a" || path.starts_with("/b/")),
    (".*/b", |path| path.ends_with("/b")),
    ("/[^/]+/?", |path| {
        let path = path.strip_suffix('/').unwrap_or(path);
        path.len() > 1 && !path[1..].contains('/')
    }),
];

/// One to three of two names, and sometimes a slash at the end: few paths, so that patterns meet.
fn path() -> impl Strategy<Value = String> {
    let segments = proptest::collection::vec(select(vec!["a", "b"]), 0..4);
    (segments, any::<bool>()).prop_map(|(segments, slash)| {
        let path = format!("/{}", segments.join("/"));
        if slash && path.len() > 1 { path + "/" } else { path }
    })
}

/// A path, some of whose segments are parameters named by their place.
fn path_template() -> impl Strategy<Value = String> {
    (path(), any::<[bool; 3]>(), any::<bool>()).prop_map(|(path, is_param, rest)| {
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        for (at, segment) in segments.iter_mut().enumerate().skip(1) {
            if !segment.is_empty() && is_param[at - 1] {
                *segment = format!("{{p{at}}}");
            }
        }
        if rest {
            *segments.last_mut().unwrap() = "{*rest}".into();
        }
        segments.join("/")
    })
}

fn path_spec() -> impl Strategy<Value = PathSpec> {
    prop_oneof![
        path().prop_map(PathSpec::Exact),
        path().prop_map(PathSpec::Prefix),
        path_template().prop_map(PathSpec::Template),
        select(&REGEXES[..]).prop_map(|(text, _)| PathSpec::Regex(text.into())),
    ]
}

fn field_spec() -> impl Strategy<Value = FieldSpec> {
    select(vec![
        FieldSpec::Equals("1".into()),
        FieldSpec::Regex("1|2".into()),
        FieldSpec::Present(true),
        FieldSpec::Present(false),
    ])
}

const HOSTS: [&str; 6] = ["*", "*.o", "*.a.o", "a.o", "b.a.o", "b.o"];

fn route_spec() -> impl Strategy<Value = RouteSpec> {
    let methods = vec![Method::GET, Method::PUT, Method::OPTIONS];
    let names = vec!["x-a", "x-b"];
    (
        subsequence(HOSTS.to_vec(), 0..3),
        path_spec(),
        prop_oneof![Just(vec![]), subsequence(methods, 0..3)],
        (subsequence(names.clone(), 0..2), subsequence(names, 0..2), [field_spec(), field_spec()]),
        prop_oneof![3 => Just(vec![]), 1 => subsequence(vec![0, 1], 1..3)],
        prop_oneof![2 => Just(0), 1 => -1..=1],
    )
        .prop_map(|(hosts, path, methods, fields, listeners, priority)| {
            let (headers, query, [header_spec, query_spec]) = fields;
            let named = |name: &str| HeaderName::try_from(name).unwrap();
            RouteSpec {
                hosts: hosts.into_iter().map(str::to_owned).collect(),
                path,
                methods,
                headers: headers.into_iter().map(|n| (named(n), header_spec.clone())).collect(),
                query: query.into_iter().map(|n| (n.to_owned(), query_spec.clone())).collect(),
                listeners,
                priority,
            }
        })
}

/// All that a request owns.
#[derive(Debug)]
struct Asked {
    listener: u16,
    host: &'static str,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
}

fn asked() -> impl Strategy<Value = Asked> {
    let pairs = || {
        let pair = (select(vec!["x-a", "x-b"]), select(vec!["1", "2", "3"]));
        proptest::collection::vec(pair, 0..3)
    };
    let hosts = vec!["a.o", "B.a.o", "b.o.", "c.b.a.o", "c.o", "o", "x", ""];
    (
        0..2_u16,
        select(hosts),
        path(),
        pairs(),
        select(vec![Method::GET, Method::PUT, Method::OPTIONS]),
        pairs(),
        any::<bool>(),
    )
        .prop_map(|(listener, host, path, query, method, pairs, preflight)| {
            let query: Vec<_> = query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, HeaderValue::from_static(value));
            }
            if preflight {
                headers.insert("origin", HeaderValue::from_static("https://a.o"));
                let announced = HeaderValue::from_static("PUT");
                headers.insert("access-control-request-method", announced);
            }
            Asked { listener, host, path, query: (!query.is_empty()).then(|| query.join("&")), method, headers }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_router_finds_what_the_order_says(
        specs in proptest::collection::vec(route_spec(), 0..24),
        asked in proptest::collection::vec(asked(), 16),
    ) {
        let router = Router::build(specs.clone()).unwrap();
        for asked in &asked {
            let request = Request {
                listener: asked.listener,
                host: asked.host,
                path: &asked.path,
                query: asked.query.as_deref(),
                method: &asked.method,
                headers: &asked.headers,
            };
            let found = router.find(&request);
            let route = found.as_ref().map(|found| found.route);
            prop_assert_eq!(route, naive(&specs, &request), "for {:?}", request);

            let Some(found) = found else { continue };
            let params: Vec<_> =
                found.params.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            let expected = match &specs[found.route].path {
                PathSpec::Template(text) => template_params(text, &asked.path).unwrap(),
                _ => Vec::new(),
            };
            prop_assert_eq!(params, expected);
        }
    }
}
