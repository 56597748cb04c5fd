//! What a request costs in each bundled plugin, with a config as routes have it.
//!
//! `cargo bench --bench bundled`. The call of an idle plugin is in it: see `plugin_call`.

mod support;

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use signer::{Signer, key_set};
use support::Bench;
use witgate::outbound::Trust;
use witgate::plugin::types::{RequestHead, RequestVerdict};
use witgate::plugin::{Attachment, Failure, Grants, GuestTime, Isolation, Pool, View};
use witgate::resource::{KeySet, KeySetSource};

#[path = "../src/resource/key_set/tests/signer.rs"]
mod signer;

fn bundled(criterion: &mut Criterion) {
    let bench = Bench::new();
    let mut group = criterion.benchmark_group("bundled");
    let mut run = |name: &str, plugin: &str, config: Value, grants: Grants, values: &[&str]| {
        let attached = bench.attach_builtin(plugin, &config, Isolation::Shared, grants);
        // Plugins get their keys in the order of asking.
        let values: Vec<(u16, &[u8])> = (0..).zip(values.iter().map(|value| value.as_bytes())).collect();
        group.bench_function(name, |b| b.iter(|| pass(&bench, &attached, &values)));
    };

    let keys: Vec<_> = (0..1000)
        .map(|number| json!({ "key": format!("key-{number}-0123456789"), "id": format!("c{number}") }))
        .collect();
    run("api-key, one of 1,000", "api-key", json!({ "keys": keys }), Grants::default(), &["key-777-0123456789"]);

    let config = json!({ "request": {
        "headers": { "set": { "x-a": "1", "x-b": "2" }, "remove": ["x-c"] }, "path": { "strip_prefix": "/api" },
    } });
    run("rewrite, three headers and a prefix", "rewrite", config, Grants::default(), &["/api/v1/users/42?full=1"]);

    let when = r#"request.method == "POST" && request.path.startsWith("/v1/") && !("admin" in claims.roles)"#;
    let config = json!({ "rules": [{ "when": when, "deny": {} }] });
    let values = ["POST", "/v1/users/42", &claims().to_string()];
    run("policy, method, path and claim", "policy", config, Grants::default(), &values);

    for algorithm in ["HS256", "RS256", "ES256"] {
        let signer = Signer::new(algorithm, "1");
        let token = format!("Bearer {}", signer.sign(&claims()));
        for (remembered, cache) in [("not remembered", 0), ("remembered", 1024)] {
            let grants = Grants { key_sets: [("idp".into(), key_set_of(&bench, &signer))].into(), ..Grants::default() };
            let config = json!({ "issuer": "bench", "audience": ["bench"], "key_set": "idp", "cache": cache });
            run(&format!("jwt, {algorithm}, {remembered}"), "jwt", config, grants, &[&token]);
        }
    }
    group.finish();
}

fn claims() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    json!({ "iss": "bench", "aud": "bench", "sub": "user-1", "iat": now, "exp": now + 86_400, "roles": ["admin", "ops"] })
}

fn key_set_of(bench: &Bench, signer: &Signer) -> Arc<KeySet> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set([signer])).expect("a file");
    let trust = Trust::default();
    bench.tokio.block_on(KeySet::open("idp".into(), KeySetSource::File(path), &trust)).expect("the keys are good")
}

fn pass(bench: &Bench, (pool, attachment): &(Rc<Pool>, Arc<Attachment>), values: &[(u16, &[u8])]) {
    let verdict = bench.tokio.block_on(async {
        let mut lease = pool.check_out(attachment).await?;
        let head = RequestHead { values: Some(values) };
        let verdict =
            lease.on_request(attachment, head, View::default(), &GuestTime::new(Duration::from_secs(1))).await?;
        lease.check_in().await;
        Ok::<_, Failure>(verdict)
    });
    assert!(matches!(black_box(verdict), Ok(RequestVerdict::Next(_))), "the request passes");
}

criterion_group!(benches, bundled);
criterion_main!(benches);
