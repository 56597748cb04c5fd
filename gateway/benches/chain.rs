//! What a chain of filters costs: nothing, native ones, plugins, by their number.
//!
//! `cargo bench --bench chain`

mod support;

use std::rc::Rc;

use criterion::{Criterion, criterion_group, criterion_main};
use support::Bench;
use witgate::filter::Chain;

fn chain(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("chain");
    let none = Rc::new([]) as Rc<[_]>;
    group.bench_function("empty", |b| b.iter(|| bench.pass(&Chain::default(), &none)));
    for count in [1, 5, 10] {
        let native = bench.native_chain(count);
        group.bench_function(format!("native headers x {count}"), |b| b.iter(|| bench.pass(&native, &none)));
        let (plugins, pools) = bench.plugin_chain(count);
        group.bench_function(format!("wasm rewrite x {count}"), |b| b.iter(|| bench.pass(&plugins, &pools)));
    }
    group.finish();
}

criterion_group!(benches, chain);
criterion_main!(benches);
