//! Tests of the router, and the words they are written in.
//!
//! `matching` has the rules one by one, `reference` all of them against each other, `faults` what `build` refuses.

#![allow(clippy::unwrap_used, reason = "tests")]

mod faults;
mod matching;
mod reference;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{FieldSpec, PathSpec, Request, RouteField, RouteSpec, Router};

/// A request as a test writes it: `GET api.example.com/users?v=2`, on listener 0.
struct Asked {
    listener: u16,
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Asked {
    fn on(mut self, listener: u16) -> Self {
        self.listener = listener;
        self
    }

    fn with(mut self, name: &'static str, value: &'static str) -> Self {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        self.headers.append(name, value);
        self
    }

    fn request(&self) -> Request<'_> {
        Request {
            listener: self.listener,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
        }
    }
}

fn ask(line: &str) -> Asked {
    let (method, target) = line.split_once(' ').unwrap();
    let (host, _) = target.split_once('/').unwrap();
    let target = &target[host.len()..];
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    Asked {
        listener: 0,
        method: method.parse().unwrap(),
        host: host.to_owned(),
        path: path.to_owned(),
        query,
        headers: HeaderMap::new(),
    }
}

impl From<&str> for Asked {
    fn from(line: &str) -> Self {
        ask(line)
    }
}

fn on_path(path: PathSpec) -> RouteSpec {
    RouteSpec {
        hosts: Vec::new(),
        path,
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listeners: Vec::new(),
        priority: 0,
    }
}

fn exact(path: &str) -> RouteSpec {
    on_path(PathSpec::Exact(path.into()))
}

fn prefix(path: &str) -> RouteSpec {
    on_path(PathSpec::Prefix(path.into()))
}

fn template(path: &str) -> RouteSpec {
    on_path(PathSpec::Template(path.into()))
}

fn regex(path: &str) -> RouteSpec {
    on_path(PathSpec::Regex(path.into()))
}

impl RouteSpec {
    fn hosts(mut self, hosts: &[&str]) -> Self {
        self.hosts = hosts.iter().map(ToString::to_string).collect();
        self
    }

    fn methods(mut self, methods: &[Method]) -> Self {
        self.methods = methods.to_vec();
        self
    }

    fn header(mut self, name: &'static str, test: FieldSpec) -> Self {
        self.headers.push((HeaderName::from_static(name), test));
        self
    }

    fn query(mut self, name: &str, test: FieldSpec) -> Self {
        self.query.push((name.into(), test));
        self
    }

    fn listeners(mut self, listeners: &[u16]) -> Self {
        self.listeners = listeners.to_vec();
        self
    }

    fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
}

fn equals(text: &str) -> FieldSpec {
    FieldSpec::Equals(text.into())
}

fn matches(text: &str) -> FieldSpec {
    FieldSpec::Regex(text.into())
}

/// The place of the route that `asked` takes.
#[track_caller]
fn check(specs: &[RouteSpec], asked: impl Into<Asked>, expected: impl Into<Option<usize>>) {
    let asked = asked.into();
    let router = Router::build(specs.to_vec()).unwrap();
    let found = router.find(&asked.request()).map(|found| found.route);
    assert_eq!(found, expected.into(), "{:?}", asked.request());
}

/// The parameters that the only route takes from `line`.
#[track_caller]
fn check_params(spec: RouteSpec, line: &str, expected: &[(&str, &str)]) {
    let asked = ask(line);
    let router = Router::build(vec![spec]).unwrap();
    let found = router.find(&asked.request()).expect("the route matches");
    assert_eq!(found.params.iter().collect::<Vec<_>>(), expected);
    for (name, value) in expected {
        assert_eq!(found.params.get(name), Some(*value));
    }
    assert_eq!(found.params.len(), expected.len());
    assert_eq!(found.params.is_empty(), expected.is_empty());
    assert_eq!(found.params.get("no such name"), None);
}

/// The only fault of `spec`, of whose message a part is given.
#[track_caller]
fn check_fault(spec: RouteSpec, field: RouteField, part: &str) {
    let errors = Router::build(vec![spec]).unwrap_err();
    let [error] = &errors[..] else {
        panic!("one fault was expected: {errors:?}");
    };
    assert_eq!((error.route, error.field), (0, field));
    assert!(error.message.contains(part), "{:?}", error.message);
}

#[test]
fn a_router_is_shared_between_workers() {
    fn shared<T: Send + Sync>() {}
    shared::<Router>();
}
