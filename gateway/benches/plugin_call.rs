//! What a call of a plugin costs, and what each value of a request's head adds to it.
//!
//! `cargo bench --bench plugin_call`. The figures decided the shape of the WIT's records; ARCHITECTURE.md keeps the last ones.

mod support;

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use support::{Bench, stamp};
use witgate::plugin::types::{Origin, RequestHead, ResponseHead};
use witgate::plugin::{Attachment, Failure, GuestTime, Isolation, Lease, Pool, View};

fn plugin_call(criterion: &mut Criterion) {
    let bench = Bench::new();
    let idle = bench.attach(&json!({}), Isolation::Shared);
    let stamping = bench.attach(&stamp(), Isolation::Shared);
    let fresh = bench.attach(&stamp(), Isolation::Fresh);

    let mut group = criterion.benchmark_group("plugin_call");
    for (name, values) in heads() {
        group.bench_function(format!("request, {name}"), |b| b.iter(|| request(&bench, &idle, values)));
    }
    group.bench_function("request, one header added", |b| b.iter(|| request(&bench, &stamping, None)));
    group.bench_function("response, one header added", |b| b.iter(|| response(&bench, &stamping)));
    group.bench_function("request, one header added, fresh instance", |b| b.iter(|| request(&bench, &fresh, None)));
    group.finish();
}

type Values = Option<&'static [(u16, &'static [u8])]>;

/// Heads from nothing to what a busy plugin reads.
fn heads() -> [(&'static str, Values); 6] {
    const PATH: (u16, &[u8]) = (0, b"/v1/users/42?full=1");
    const TOKEN: (u16, &[u8]) =
        (1, b"Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIn0.c2ln");
    const CLIENT: (u16, &[u8]) = (2, b"192.0.2.17");
    const USER: (u16, &[u8]) = (3, b"user-42");
    [
        ("nothing wanted", None),
        ("an empty list", Some(&[])),
        ("the path", Some(&[PATH])),
        ("a header of 100 bytes", Some(&[TOKEN])),
        ("path and header", Some(&[PATH, TOKEN])),
        ("four values", Some(&[PATH, TOKEN, CLIENT, USER])),
    ]
}

fn request(bench: &Bench, (pool, attachment): &(Rc<Pool>, Arc<Attachment>), values: Values) {
    let verdict = bench.tokio.block_on(async {
        let mut lease = pool.check_out(attachment).await?;
        let verdict = lease.on_request(attachment, RequestHead { values }, View::default(), &time()).await?;
        give_back(pool, lease).await;
        Ok::<_, Failure>(verdict)
    });
    black_box(verdict.expect("a verdict"));
}

fn response(bench: &Bench, (pool, attachment): &(Rc<Pool>, Arc<Attachment>)) {
    let head = ResponseHead { status: 200, origin: Origin::Upstream, values: None, kept: None };
    let verdict = bench.tokio.block_on(async {
        let mut lease = pool.check_out(attachment).await?;
        let verdict = lease.on_response(attachment, head, View::default(), &time()).await?;
        give_back(pool, lease).await;
        Ok::<_, Failure>(verdict)
    });
    black_box(verdict.expect("a verdict"));
}

/// As the filter does: an instance of one request serves no other.
async fn give_back(pool: &Pool, lease: Lease) {
    if pool.declaration().isolation == Isolation::Shared {
        lease.check_in().await;
    }
}

fn time() -> GuestTime {
    GuestTime::new(Duration::from_secs(1))
}

criterion_group!(benches, plugin_call);
criterion_main!(benches);
