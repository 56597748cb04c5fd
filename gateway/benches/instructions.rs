//! Instructions of the request path's own steps, counted by valgrind: the same on a busy machine as on a quiet one.
//!
//! Needs valgrind, and `cargo install gungraun-runner` in the version that Cargo.lock names for gungraun. Then
//! `cargo bench --bench instructions`. Plugins are measured by time alone (`plugin_call`): their machine code and its
//! stacks are not for valgrind.

#![allow(unused_qualifications, reason = "what the macros generate")]

mod support;

use std::hint::black_box;
use std::rc::Rc;

use gungraun::{library_benchmark, library_benchmark_group, main};
use http::{HeaderMap, Method};
use support::Bench;
use witgate::filter::Chain;
use witgate::message::path::normalise;
use witgate::message::strip_hop_by_hop;
use witgate::router::{PathSpec, Request, RouteSpec, Router};

#[library_benchmark]
#[bench::normal("/v1/users/42/orders")]
#[bench::escapes("/v1/caf%c3%a9/%7Euser")]
fn path(path: &str) -> usize {
    black_box(normalise(black_box(path)).expect("it is valid")).len()
}

#[library_benchmark]
#[bench::of_one(args = (1), setup = routes)]
#[bench::of_ten_thousand(args = (10_000), setup = routes)]
fn last_route((router, path): &(Router, String)) -> Option<usize> {
    let (method, headers) = (Method::GET, HeaderMap::new());
    let request =
        Request { listener: 0, host: "api.example.com", path, query: None, method: &method, headers: &headers };
    black_box(router.find(black_box(&request))).map(|found| found.route)
}

#[library_benchmark]
#[bench::of_a_small_request(setup = fields)]
fn hop_by_hop(mut fields: HeaderMap) -> HeaderMap {
    strip_hop_by_hop(black_box(&mut fields));
    fields
}

#[library_benchmark]
#[bench::empty(args = (0), setup = native)]
#[bench::ten_native(args = (10), setup = native)]
fn chain((bench, chain): &(Bench, Chain)) {
    bench.pass(black_box(chain), &(Rc::new([]) as Rc<[_]>));
}

// What is set up is leaked, so that its end is not counted.

fn routes(count: usize) -> &'static (Router, String) {
    let spec = |number| RouteSpec {
        hosts: Vec::new(),
        path: PathSpec::Prefix(format!("/r{number:05}")),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
        listeners: Vec::new(),
        priority: 0,
    };
    let router = Router::build((0..count).map(spec).collect()).expect("the routes are valid");
    Box::leak(Box::new((router, format!("/r{:05}/x", count - 1))))
}

fn fields() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [("host", "api.example.com"), ("accept", "*/*"), ("connection", "keep-alive")] {
        fields.insert(name, value.parse().expect("a value"));
    }
    fields
}

fn native(count: usize) -> &'static (Bench, Chain) {
    let bench = Bench::new();
    let chain = bench.native_chain(count);
    Box::leak(Box::new((bench, chain)))
}

library_benchmark_group!(name = steps, benchmarks = [path, last_route, hop_by_hop, chain]);
main!(library_benchmark_groups = steps);
