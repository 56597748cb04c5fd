//! What a reload of 10,000 routes costs, from the text to the snapshot, which then only waits for its pointer.
//!
//! `cargo bench -p witgate --bench reload`

mod support;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, criterion_group, criterion_main};
use witgate::config::{Text, Texts, assemble, warnings};
use witgate::snapshot::{Choices, build};

const ROUTES: usize = 10_000;
const UPSTREAMS: usize = 200;

/// As a company has them: hosts, templates, some filters, some methods.
fn text() -> String {
    let mut text = "version: 1\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\n\
        chains: { public: [{ use: compress }, { use: request-limits, config: { body: 1MiB } }] }\nupstreams:\n"
        .to_owned();
    for number in 0..UPSTREAMS {
        let _ = writeln!(
            text,
            "  u{number}: {{ endpoints: [{{ url: \"http://10.0.0.{}:8080\" }}], retries: {{}} }}",
            number % 250
        );
    }
    text.push_str("routes:\n");
    for number in 0..ROUTES {
        let (host, upstream) = (number % 100, number % UPSTREAMS);
        let more = match number % 4 {
            0 => ", filters: [{ chain: public }]",
            1 => ", filters: [{ use: headers, config: { request: { set: { x-team: a } } } }], timeout: 5s",
            _ => "",
        };
        let _ = writeln!(
            text,
            "  - {{ name: r{number}, match: {{ hosts: [h{host}.example.com], path: {{ template: \"/v1/r{number}/{{id}}\" }}, \
             methods: [GET, POST] }}, upstream: u{upstream}{more} }}"
        );
    }
    text
}

fn reload(criterion: &mut Criterion) {
    let text = Text { name: "gateway.yaml".to_owned(), folder: PathBuf::new(), text: text(), unread: None };
    let texts = Texts { own: vec![text], ..Texts::default() };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let runtime = support::engine();
    let mut group = criterion.benchmark_group("reload of 10,000 routes");
    group.sample_size(10);
    group.bench_function("text to configuration", |b| {
        b.iter(|| assemble(black_box(&texts), &|_| None).expect("it has no faults"));
    });
    let loaded = assemble(&texts, &|_| None).expect("it has no faults");
    let first = tokio.block_on(build(&loaded.config, &Choices::new(), None, &runtime)).expect("it can be built");
    group.bench_function("configuration to snapshot", |b| {
        b.iter(|| {
            tokio.block_on(build(&loaded.config, &Choices::new(), Some(&first), &runtime)).expect("it can be built")
        });
    });
    group.bench_function("all of it", |b| {
        b.iter(|| {
            let loaded = assemble(black_box(&texts), &|_| None).expect("it has no faults");
            tokio.block_on(build(&loaded.config, &Choices::new(), Some(&first), &runtime)).expect("it can be built")
        });
    });
    group.bench_function("warnings", |b| b.iter(|| warnings(black_box(&loaded.config))));
    group.finish();
}

criterion_group!(benches, reload);
criterion_main!(benches);
