//! What a token costs at the host, verified and remembered.
//!
//! `cargo bench --bench verify`. A plugin's call, with the token in and the claims out, comes on top: see `plugin_call`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use witgate::outbound::Trust;
use witgate::resource::{KeySet, KeySetSource, Rules};

use signer::{ALGORITHMS, Signer, key_set};

#[path = "../src/resource/key_set/tests/signer.rs"]
mod signer;

fn verify(criterion: &mut Criterion) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("jwks.json");
    let signers: Vec<Signer> = ALGORITHMS.iter().map(|algorithm| Signer::new(algorithm, algorithm)).collect();
    std::fs::write(&path, key_set(&signers)).expect("a file");
    let set: Arc<KeySet> = tokio
        .block_on(KeySet::open("idp".into(), KeySetSource::File(path), &Trust::default()))
        .expect("the keys are good");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    let claims = json!({
        "iss": "https://idp.example.com", "aud": ["api"], "sub": "5f0c2b9e-6f0e-4c2a-9a44-0d7c9f0f8f2e", "exp": now + 86_400,
        "iat": now, "scope": "read write", "name": "Ada Lovelace", "email": "ada@example.com", "roles": ["admin", "user"],
    });

    let mut group = criterion.benchmark_group("verify");
    for algorithm in ["RS256", "ES256", "HS256", "EdDSA", "PS256", "ES512"] {
        let signer = signers.iter().find(|signer| signer.algorithm == algorithm).expect("it is one of them");
        let token = signer.sign(&claims);
        for (name, cache) in [("not remembered", 0), ("remembered", 1024)] {
            let rules = Rules {
                issuers: vec!["https://idp.example.com".to_owned()],
                audiences: vec!["api".to_owned()],
                cache,
                ..Rules::default()
            };
            let mut verifier = set.verifier(rules).expect("one of a few rules");
            group.bench_function(format!("{algorithm}, {name}"), |b| {
                b.iter(|| black_box(tokio.block_on(verifier.verify(black_box(&token))).expect("a good token")));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, verify);
criterion_main!(benches);
