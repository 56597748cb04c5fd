//! What a look-up costs, and that it does not grow with the number of routes.
//!
//! The bar: the last of 10,000 routes costs less than 300 ns, and a gateway with them no more than 1.05 times one with a single route.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use witgate::message::path::normalise;
use witgate::router::{FieldSpec, PathSpec, Request, RouteSpec, Router};

fn route(host: Option<String>, path: PathSpec) -> RouteSpec {
    RouteSpec {
        hosts: host.into_iter().collect(),
        path,
        methods: vec![Method::GET],
        headers: Vec::new(),
        query: Vec::new(),
        listeners: Vec::new(),
        priority: 0,
    }
}

/// A router of `count` routes; the place of each makes its host and path.
fn router(count: usize, make: impl Fn(usize) -> RouteSpec) -> Router {
    Router::build((0..count).map(make).collect()).expect("the routes have no fault")
}

fn prefixes(count: usize) -> Router {
    router(count, |at| route(None, PathSpec::Prefix(format!("/api/v1/thing-{at}"))))
}

/// Measures one look-up that must take the route `expected`.
fn bench(c: &mut Criterion, id: BenchmarkId, router: &Router, target: (&str, &str), expected: usize) {
    let (host, path) = target;
    let headers = HeaderMap::new();
    let request = Request { listener: 0, host, path, query: None, method: &Method::GET, headers: &headers };
    let found = router.find(&request).map(|found| found.route);
    assert_eq!(found, Some(expected), "for {host}{path}");
    c.bench_with_input(id, &request, |b, request| {
        b.iter(|| router.find(black_box(request)));
    });
}

/// The first and the last of more and more routes.
fn growth(c: &mut Criterion) {
    for count in [1, 10, 10_000] {
        let router = prefixes(count);
        for (name, at) in [("first", 0), ("last", count - 1)] {
            let path = format!("/api/v1/thing-{at}/items/17");
            let id = BenchmarkId::new(format!("prefix/{name}"), count);
            bench(c, id, &router, ("api.example.com", &path), at);
        }
    }
}

fn kinds(c: &mut Criterion) {
    let last = COUNT - 1;
    let exact = router(COUNT, |at| route(None, PathSpec::Exact(format!("/thing-{at}"))));
    let path = format!("/thing-{last}");
    let id = BenchmarkId::new("exact", COUNT);
    bench(c, id, &exact, ("api.example.com", &path), last);

    let template = router(COUNT, |at| route(None, PathSpec::Template(format!("/users/{{id}}/thing-{at}/{{*rest}}"))));
    let path = format!("/users/4711/thing-{last}/a/b");
    let id = BenchmarkId::new("template", COUNT);
    bench(c, id, &template, ("api.example.com", &path), last);

    for count in [1, 100] {
        let regex = router(count, |at| route(None, PathSpec::Regex(format!("/thing-{at}/(?<id>[0-9]+)"))));
        let path = format!("/thing-{}/4711", count - 1);
        let id = BenchmarkId::new("regex", count);
        bench(c, id, &regex, ("api.example.com", &path), count - 1);
    }
}

fn hosts(c: &mut Criterion) {
    let last = COUNT - 1;
    let exact = router(COUNT, |at| route(Some(format!("tenant-{at}.example.com")), PathSpec::Prefix("/".into())));
    let host = format!("tenant-{last}.example.com");
    bench(c, BenchmarkId::new("host/exact", COUNT), &exact, (&host, "/a"), last);
    let shouted = host.to_uppercase();
    bench(c, BenchmarkId::new("host/capitals", COUNT), &exact, (&shouted, "/a"), last);

    let wildcard = router(COUNT, |at| route(Some(format!("*.tenant-{at}.example.com")), PathSpec::Prefix("/".into())));
    let host = format!("a.b.c.tenant-{last}.example.com");
    bench(c, BenchmarkId::new("host/wildcard", COUNT), &wildcard, (&host, "/a"), last);
}

/// Routes that differ in nothing but a header, and as many different priorities as routes.
fn ties(c: &mut Criterion) {
    let tenants = router(100, |at| RouteSpec {
        headers: vec![(http::header::FROM, FieldSpec::Equals(at.to_string()))],
        ..route(None, PathSpec::Prefix("/".into()))
    });
    let headers = HeaderMap::from_iter([(http::header::FROM, "99".parse().expect("a header value"))]);
    let request = Request {
        listener: 0,
        host: "api.example.com",
        path: "/a",
        query: None,
        method: &Method::GET,
        headers: &headers,
    };
    assert_eq!(tenants.find(&request).map(|found| found.route), Some(99));
    c.bench_with_input(BenchmarkId::new("same-path", 100), &request, |b, request| {
        b.iter(|| tenants.find(black_box(request)));
    });

    let priorities = router(COUNT, |at| RouteSpec {
        priority: i32::try_from(at).expect("a small number"),
        ..route(None, PathSpec::Prefix(format!("/api/v1/thing-{at}")))
    });
    let id = BenchmarkId::new("priorities/lowest", COUNT);
    bench(c, id, &priorities, ("api.example.com", "/api/v1/thing-0/items/17"), 0);
}

fn paths(c: &mut Criterion) {
    for (name, path) in [
        ("normal", "/api/v1/users/4711/orders/17"),
        ("escapes", "/api/v1/caf%C3%A9/a%20b/orders/17"),
        ("rewritten", "/api//v1/../v1/%7eusers/./orders"),
    ] {
        c.bench_with_input(BenchmarkId::new("normalise", name), &path, |b, path| {
            b.iter(|| normalise(black_box(path)).is_ok());
        });
    }
}

fn build(c: &mut Criterion) {
    c.bench_function("build/10000", |b| b.iter(|| prefixes(COUNT)));
}

const COUNT: usize = 10_000;

criterion_group!(benches, growth, kinds, hosts, ties, paths, build);
criterion_main!(benches);
