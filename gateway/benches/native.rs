//! What `rate-limit` and `circuit-breaker` add to a request: with one key and with a million that are live, closed and with a body watched.
//!
//! `cargo bench --bench native`

mod support;

use std::fs;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Request};
use http_body::{Body as _, Frame};
use serde_json::json;
use support::native;
use witgate::filter::{Connection, Exchange, Filter, Origin, Step, Verdict};
use witgate::message::{Body, BodyError};
use witgate::plugin::GuestTime;

const KEYS: usize = 1_000_000;

fn exchange() -> Exchange {
    let (head, ()) = Request::get("/v1/users/42").header("host", "a").body(()).expect("a request").into_parts();
    let connection = Connection::new("http".into(), [127, 0, 0, 1].into(), "http");
    Exchange::new(Rc::new(connection), head, Rc::new([]), GuestTime::new(Duration::from_secs(1)))
}

/// Both hooks, as a chain calls them.
fn pass(filter: &dyn Filter, exchange: &mut Exchange) {
    assert!(matches!(filter.on_request(exchange), Step::Done(Verdict::Next)));
    exchange.response.origin = Origin::Upstream;
    assert!(matches!(filter.on_response(exchange), Step::Done(Verdict::Next)));
    exchange.response.headers.clear();
}

fn rate_limit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate-limit");
    let mut exchange = exchange();
    let one = native("rate-limit", &json!({"key": "client-ip", "rate": "4000000000/1s"}));
    group.bench_function("1 key", |b| b.iter(|| pass(&*one, &mut exchange)));
    let config = json!({"key": "header:x-user", "rate": "100/1h", "burst": 100_000, "keys": KEYS});
    let many = native("rate-limit", &config);
    let users: Vec<HeaderValue> = (0..KEYS).map(|user| format!("user-{user:07}").parse().expect("a value")).collect();
    let before = memory_bytes();
    for user in &users {
        exchange.headers.insert("x-user", user.clone());
        pass(&*many, &mut exchange);
    }
    let bytes = (memory_bytes() - before) / KEYS;
    // Far apart, so that no cache knows the next.
    let mut at = 0;
    let mut next = || {
        at = (at + 611_953) % KEYS;
        users[at].clone()
    };
    group.bench_function(format!("{KEYS} keys, {bytes} bytes each"), |b| {
        b.iter(|| {
            exchange.headers.insert("x-user", next());
            pass(&*many, &mut exchange);
        });
    });
    group.bench_function("the same without the filter", |b| b.iter(|| exchange.headers.insert("x-user", next())));
    group.finish();
}

fn circuit_breaker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("circuit-breaker");
    let mut exchange = exchange();
    let filter = native("circuit-breaker", &json!({"slow_call": "1s"}));
    group.bench_function("closed", |b| b.iter(|| pass(&*filter, &mut exchange)));
    let body = || Body::Filtered(Box::pin(Pieces(2)));
    group.bench_function("closed, with a body", |b| {
        b.iter(|| {
            exchange.response_body = body();
            pass(&*filter, &mut exchange);
            drain(std::mem::take(&mut exchange.response_body));
        });
    });
    group.bench_function("the body without the filter", |b| b.iter(|| drain(body())));
    group.finish();
}

/// A body of so many pieces.
struct Pieces(u32);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let left = &mut self.get_mut().0;
        let Some(next) = left.checked_sub(1) else { return Poll::Ready(None) };
        *left = next;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece")))))
    }
}

fn drain(mut body: Body) {
    let mut context = Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        black_box(frame.is_ok());
    }
}

/// `VmRSS` of Linux.
fn memory_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

criterion_group!(benches, rate_limit, circuit_breaker);
criterion_main!(benches);
