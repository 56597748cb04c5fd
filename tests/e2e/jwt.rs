//! Tokens, verified at the host for a plugin: whose are believed, and what happens while keys change.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use harness::{Client, Config, Gateway, Response, Upstream, guest, http, put};
use serde_json::{Value, json};

use self::signer::{ALGORITHMS, Signer, key_set};
use crate::GATEWAY;

#[path = "../../gateway/src/resource/key_set/tests/forgeries.rs"]
pub(crate) mod forgeries;
#[path = "../../gateway/src/resource/key_set/tests/signer.rs"]
pub(crate) mod signer;

/// A configuration whose plugin verifies tokens by the key set `idp`, which is `source`.
fn config(origin: &Upstream, source: &str, filter: &str) -> Config {
    Config::to(origin)
        .top(&format!("key_sets: {{ idp: {{ {source} }}, other: {{ {source} }} }}"))
        .plugin_with("verify", &guest("verify"), "grants: { key_sets: [idp] }")
        .route(&format!("filters: [{{ use: verify, config: {{ key_set: idp, {filter} }} }}]"))
}

/// A gateway with a set from a file, in a folder that lives as long as the test.
async fn with_file(document: &str, filter: &str) -> (Gateway, tempfile::TempDir) {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, document).expect("a temporary folder takes files");
    let gateway = GATEWAY.start(config(&origin, &format!("jwks_file: '{}'", path.display()), filter)).await;
    (gateway, folder)
}

/// An identity provider: serves its document, whatever it is at the moment, and counts.
pub(crate) struct Provider {
    pub(crate) server: Upstream,
    document: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    pub(crate) async fn serving(document: String) -> Provider {
        let (document, asked) = (Arc::new(Mutex::new(document)), Arc::new(AtomicUsize::new(0)));
        let (served, counted) = (document.clone(), asked.clone());
        let server = Upstream::with(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let body = served.lock().expect("no test panicked").clone();
            http(&["HTTP/1.1 200 OK", &format!("Content-Length: {}", body.len())], body)
        });
        Provider { server: server.await, document, asked }
    }

    pub(crate) fn serve(&self, document: String) {
        *self.document.lock().expect("no test panicked") = document;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn gateway(&self, filter: &str) -> Gateway {
        let origin = Upstream::echo().await;
        GATEWAY.start(config(&origin, &format!("jwks_url: 'http://{}/jwks.json'", self.server), filter)).await
    }
}

pub(crate) async fn ask(client: &mut Client, token: &str) -> Response {
    client.ask(&["GET / HTTP/1.1", "Host: a", &format!("Authorization: Bearer {token}")], "").await
}

async fn refusal(client: &mut Client, token: &str) -> String {
    let answer = ask(client, token).await;
    assert_eq!(answer.status, 401, "{:?}", answer.text());
    answer.text()
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs()
}

pub(crate) fn claims() -> Value {
    json!({ "sub": "ada", "iss": "https://idp.example", "aud": ["api"], "exp": now() + 600 })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_every_algorithm_are_verified() {
    let signers: Vec<Signer> = ALGORITHMS.iter().map(|algorithm| Signer::new(algorithm, algorithm)).collect();
    for filter in ["cache: 0", "cache: 100"] {
        let (gateway, _folder) = with_file(&key_set(&signers), filter).await;
        let mut client = gateway.client().await;
        for signer in &signers {
            let token = signer.sign(&claims());
            for _ in 0..3 {
                let answer = ask(&mut client, &token).await;
                assert_eq!(answer.status, 200, "{}: {}", signer.algorithm, answer.text());
                let said: Value = serde_json::from_str(&answer.text()).expect("claims are JSON");
                assert_eq!(said["sub"], "ada");
            }
            let forged = Signer::new(signer.algorithm, signer.algorithm).sign(&claims());
            assert_eq!(refusal(&mut client, &forged).await, "Signature", "{}", signer.algorithm);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_and_foreign_tokens_are_refused() {
    let signer = Signer::new("RS256", "1");
    let filter = "issuer: 'https://idp.example', audience: api, algorithms: [RS256, HS256, ES256], cache: 10";
    let (gateway, _folder) = with_file(&key_set([&signer]), filter).await;
    let mut client = gateway.client().await;
    assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200);

    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        signer.sign(&claims)
    };
    let own = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.sign_raw(&header.to_string(), claims().to_string())
    };
    let unsigned = signer::base64(r#"{"alg":"none"}"#) + "." + &signer::base64(claims().to_string()) + ".";
    let public = signer.public_bytes().swap_remove(0);
    let confused = Signer::of_secret(&public).sign_raw(r#"{"alg":"HS256","kid":"1"}"#, claims().to_string());
    let evil = Signer::new("ES256", "evil");
    for (token, expected) in [
        (unsigned, "Algorithm"),
        (confused, "Algorithm"),
        (own("alg", json!("PS256")), "Algorithm"),
        (own("jwk", evil.jwk()), "Malformed"),
        (own("jku", json!("https://evil.example/jwks.json")), "Malformed"),
        (own("x5c", json!(["MIIB"])), "Malformed"),
        (own("crit", json!(["exp"])), "Malformed"),
        (signer.sign_raw(r#"{"alg":"RS256","kid":"1","kid":"2"}"#, claims().to_string()), "Malformed"),
        (signer.sign_raw(&signer.header().to_string(), r#"{"sub":"ada","sub":"eve"}"#), "Malformed"),
        (signer.sign(&claims()) + "=", "Malformed"),
        (String::new(), "Malformed"),
        (evil.sign(&claims()), "UnknownKey"),
        (with("exp", json!(now() - 1)), "Expired"),
        (with("nbf", json!(now() + 600)), "NotYetValid"),
        (with("iss", json!("https://evil.example")), "Issuer"),
        (with("aud", json!("other")), "Audience"),
        (with("sub", Value::Null), "MissingClaim"),
    ] {
        assert_eq!(refusal(&mut client, &token).await, expected, "{token}");
    }
}

/// Clients that ask without end, each time with a token of the key that is the newest at the moment.
pub(crate) struct Rotation {
    signer: Arc<Mutex<Arc<Signer>>>,
    ends: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<tokio::task::JoinHandle<Vec<String>>>,
}

impl Rotation {
    pub(crate) async fn begin(gateway: &Gateway, signer: Arc<Signer>) -> Rotation {
        let mut rotation = Rotation {
            signer: Arc::new(Mutex::new(signer)),
            ends: Arc::default(),
            answered: Arc::default(),
            clients: Vec::new(),
        };
        for _ in 0..4 {
            let mut client = gateway.client().await;
            let (signer, ends, answered) = (rotation.signer.clone(), rotation.ends.clone(), rotation.answered.clone());
            rotation.clients.push(tokio::spawn(async move {
                let mut failures = Vec::new();
                while !ends.load(Ordering::SeqCst) {
                    let signer = signer.lock().expect("no test panicked").clone();
                    let answer = ask(&mut client, &signer.sign(&claims())).await;
                    if answer.status != 200 {
                        failures.push(format!("{} by {}", answer.text(), signer.id));
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                failures
            }));
        }
        rotation.some_answers().await;
        rotation
    }

    async fn some_answers(&self) {
        let wanted = self.answered.load(Ordering::SeqCst) + 100;
        while self.answered.load(Ordering::SeqCst) < wanted {
            tokio::task::yield_now().await;
        }
    }

    /// Sign with another key from now on.
    pub(crate) async fn sign_with(&self, signer: Arc<Signer>) {
        *self.signer.lock().expect("no test panicked") = signer;
        self.some_answers().await;
    }

    pub(crate) async fn end(self) {
        self.ends.store(true, Ordering::SeqCst);
        for client in self.clients {
            assert_eq!(client.await.expect("a client that was answered"), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_change_under_load_lose_no_request() {
    let old = Arc::new(Signer::new("ES256", "old"));
    let new = Arc::new(Signer::new("RS256", "new"));
    for source in ["url", "file"] {
        let (first, both) = (key_set([&*old]), key_set([&*old, &*new]));
        let provider = Provider::serving(first.clone()).await;
        let (from_file, folder) = with_file(&first, "cache: 100").await;
        let gateway = if source == "url" { provider.gateway("cache: 100").await } else { from_file };
        let rotation = Rotation::begin(&gateway, old.clone()).await;
        // As identity providers do it: publish, then sign.
        provider.serve(both.clone());
        let file = folder.path().join("jwks.json");
        put(&file, &both);
        rotation.sign_with(new.clone()).await;
        rotation.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_of_unknown_keys_make_the_gateway_ask_once_in_ten_seconds() {
    let signer = Signer::new("EdDSA", "1");
    let provider = Provider::serving(key_set([&signer])).await;
    let gateway = provider.gateway("cache: 0").await;
    // Both sets of the configuration ask at the start, and one of them is used.
    let (before, began) = (provider.asked(), Instant::now());
    let mut client = gateway.client().await;
    for number in 0..30 {
        let strange = Signer::new("EdDSA", &format!("strange-{number}"));
        assert_eq!(refusal(&mut client, &strange.sign(&claims())).await, "UnknownKey");
    }
    let most = before + 1 + usize::try_from(began.elapsed().as_secs() / 10).expect("a short test");
    assert!((before + 1..=most).contains(&provider.asked()), "{} times", provider.asked());
    assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_keys_serve_while_their_provider_does_not() {
    let signer = Signer::new("ES256", "1");
    let strange = Signer::new("ES256", "2").sign(&claims());
    for garbage in [false, true] {
        let mut provider = Provider::serving(key_set([&signer])).await;
        let gateway = provider.gateway("cache: 0").await;
        let mut client = gateway.client().await;
        if garbage {
            provider.serve("<html>back soon</html>".to_owned());
        } else {
            provider.server.kill().await;
        }
        assert_eq!(refusal(&mut client, &strange).await, "UnknownKey");
        let said = "a key set cannot be loaded; the last good keys stay in use";
        gateway.log().wait("that keys cannot be loaded", |line| line.message() == said).await;
        assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_down_at_the_start_may_come_later() {
    let signer = Signer::new("ES256", "1");
    let mut provider = Provider::serving(key_set([&signer])).await;
    provider.server.kill().await;
    let gateway = provider.gateway("cache: 0").await;
    let mut client = gateway.client().await;
    provider.server.restart();
    assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200, "the token asks for the keys");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_secret_verifies_too() {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("key");
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("a temporary folder takes files");
    let config = config(&origin, "secret: 'secret://key', algorithm: HS256", "cache: 0");
    let gateway = GATEWAY.start(config.top(&format!("secrets: {{ key: {{ file: '{}' }} }}", path.display()))).await;
    let mut client = gateway.client().await;
    let signer = Signer::of_secret(b"0123456789abcdef0123456789abcdef");
    assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200);
    let forged = Signer::of_secret(b"another 32 bytes, or a few more.").sign(&claims());
    assert_eq!(refusal(&mut client, &forged).await, "Signature");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_before_it_serves() {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("jwks.json");
    let source = format!("jwks_file: '{}'", path.display());
    let missing = GATEWAY.fails(config(&origin, &source, "cache: 0")).await;
    assert_eq!(missing.code, 3, "{missing:?}");
    assert!(missing.stderr.contains("key set `idp` cannot be used: cannot read"), "{}", missing.stderr);

    std::fs::write(&path, key_set([&Signer::new("EdDSA", "1")])).expect("a temporary folder takes files");
    let ungranted = config(&origin, &source, "cache: 0").to_string().replace("key_set: idp", "key_set: other");
    let unknown = config(&origin, &source, "algorithms: [none]").to_string();
    let no_grant = config(&origin, &source, "cache: 0").to_string().replace("grants: { key_sets: [idp] }", "");
    for (config, words) in [
        (ungranted, "granted no key set `other`"),
        (unknown, "`none` is no algorithm"),
        (no_grant, "witgate:plugin/jwt"),
    ] {
        let refusal = GATEWAY.fails(config).await;
        assert_eq!(refusal.code, 4, "{refusal:?}");
        assert!(refusal.stderr.contains(words), "{}", refusal.stderr);
    }
}
