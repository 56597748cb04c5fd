//! What choosing an endpoint costs, and that it does not grow with their number.
//!
//! The bar: any balancer with 1,000 endpoints costs at most 0.5 µs more than round-robin with 2. Measured with what a request does
//! besides: the try begins and ends, and is reported. Once more with every third endpoint out.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::StatusCode;
use witgate::upstream::{
    Balance, Balancer, Ejection, Endpoint, Limits, Outcome, Pick, Protocol, Timeouts, Transport, Upstream,
};

fn upstream(balance: Balance, count: usize, out_every: Option<usize>) -> Upstream {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts { connect: second, per_try: second, idle: second };
    let limits = Limits { connections: 1, pending: 1, requests: 1, streams: 1 };
    let blank = Upstream {
        name: "users".into(),
        endpoints: Vec::new(),
        weights: Vec::new(),
        states: Vec::new(),
        state: Arc::default(),
        balance,
        balancer: Arc::new(Balancer::new(balance, &[], &[])),
        hash_on: None,
        affinity: None,
        slow_start: Some(second),
        panic_threshold: 0.5,
        health_check: None,
        ejection: Some(Ejection {
            consecutive_5xx: 1,
            connect_failures: 1,
            latency: None,
            eject_for: Duration::from_secs(3600),
            share_max: 1.0,
        }),
        discovery: None,
        transport: Transport::new(Protocol::Http1, None, timeouts, limits, None),
        retries: None,
        budget: Arc::default(),
        mirrored: Arc::default(),
    };
    let endpoint = |number: usize| Endpoint::Tcp { host: format!("10.0.{}.{}", number / 256, number % 256), port: 80 };
    let upstream = blank.with_endpoints((0..count).map(|number| (endpoint(number), 1 + number as u32 % 3)).collect());
    if let Some(every) = out_every {
        (0..count).step_by(every).for_each(|place| upstream.report(place, Outcome::ConnectFailed));
    }
    upstream
}

fn bench(c: &mut Criterion) {
    let answered = Outcome::Answered { status: StatusCode::OK, latency: Duration::from_millis(1) };
    for (name, balance) in Balance::ALL {
        for (count, out_every) in [(2, None), (1000, None), (1000, Some(3))] {
            let upstream = upstream(balance, count, out_every);
            let label = if out_every.is_some() { format!("{name}/third-out") } else { name.to_owned() };
            let mut hash = 0u64;
            c.bench_with_input(BenchmarkId::new(label, count), &upstream, |b, upstream| {
                b.iter(|| {
                    hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
                    let pick = Pick { hash: Some(hash), avoid: &[] };
                    let place = black_box(upstream).pick(&pick).expect("there are endpoints");
                    let in_flight = upstream.begin(place);
                    upstream.report(place, answered);
                    drop(in_flight);
                    place
                });
            });
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
