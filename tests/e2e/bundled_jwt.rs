//! `builtin:jwt` on real routes: who passes, what the upstream gets to know, and that every known forgery is refused alike.

use std::sync::Arc;

use harness::{Admin, Client, Config, Gateway, Response, Upstream};
use serde_json::{Value, json};

use crate::GATEWAY;
use crate::jwt::forgeries::forgeries;
use crate::jwt::signer::{ALGORITHMS, Signer, key_set};
use crate::jwt::{Provider, Rotation, ask, claims, now};

/// As a user begins: no grants, and the rules that every route should have.
fn config(origin: &Upstream, source: &str, filter: &str) -> Config {
    Config::to(origin)
        .top(&format!("key_sets: {{ idp: {{ {source} }} }}\nadmin: {{ address: '127.0.0.1:0' }}"))
        .builtin("jwt")
        .builtin("rewrite")
        .route(&format!(
            "filters:\n\
             - use: jwt\n\
            \x20 config: {{ issuer: 'https://idp.example', audience: [api], key_set: idp, inject: {{ x-user-id: sub }}{filter} }}\n\
             - use: rewrite\n\
            \x20 config:\n\
            \x20   request: {{ headers: {{ set: {{ x-user: '${{attribute.user}}', x-scopes: '${{attribute.scopes}}', x-claims: '${{attribute.claims}}' }} }} }}"
        ))
}

async fn serving(signers: &[&Signer], filter: &str) -> (Gateway, Upstream, tempfile::TempDir) {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set(signers.iter().copied())).expect("a temporary folder takes files");
    let gateway = GATEWAY.start(config(&origin, &format!("jwks_file: '{}'", path.display()), filter)).await;
    (gateway, origin, folder)
}

async fn get(client: &mut Client, target: &str, field: &str) -> Response {
    client.ask(&[&format!("GET {target} HTTP/1.1"), "Host: a", field], "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_a_token_is_known_to_filters_and_upstream() {
    let signers: Vec<Signer> = ALGORITHMS.iter().map(|algorithm| Signer::new(algorithm, algorithm)).collect();
    let (gateway, _origin, _folder) = serving(&signers.iter().collect::<Vec<_>>(), "").await;
    let mut client = gateway.client().await;
    let mut claims = claims();
    claims["scope"] = "read write".into();
    for signer in &signers {
        let authorization = format!("Authorization: Bearer {}", signer.sign(&claims));
        let forged = ["X-User-Id: root", "x_user_id: root", "X-User-ID: root"];
        for _ in 0..4 {
            let lines = [&["GET /users HTTP/1.1", "Host: a", &authorization], &forged[..]].concat();
            let answer = client.ask(&lines, "").await;
            assert_eq!(answer.status, 200, "{}: {}", signer.algorithm, answer.text());
            let echo = answer.echo();
            assert_eq!(echo.fields.all("x-user-id"), ["ada"]);
            assert!(echo.fields.all("x_user_id").is_empty());
            assert_eq!((echo.fields.get("x-user"), echo.fields.get("x-scopes")), (Some("ada"), Some("read write")));
            let told: Value = serde_json::from_str(echo.fields.get("x-claims").unwrap_or_default()).expect("JSON");
            assert_eq!(told, claims);
        }
    }
}

/// More tokens than an instance knows the words of, and fewer than the gateway remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_tokens_speaks_for_its_own_user() {
    let signer = Signer::new("ES256", "1");
    let (gateway, _origin, _folder) = serving(&[&signer], "").await;
    let token = |number: u32| {
        let mut claims = claims();
        claims["sub"] = number.to_string().into();
        signer.sign(&claims)
    };
    let tokens: Vec<_> = (0..300).map(token).collect();
    let mut client = gateway.client().await;
    for (number, token) in (0..4).flat_map(|_| (0..).zip(&tokens)) {
        let echo = get(&mut client, "/", &format!("Authorization: Bearer {token}")).await.echo();
        let user = number.to_string();
        assert_eq!((echo.fields.all("x-user-id"), echo.fields.get("x-user")), (vec![&*user], Some(&*user)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_forgery_gets_the_same_answer() {
    let (rsa, ec, ed) = (Signer::new("RS256", "1"), Signer::new("ES256", "2"), Signer::new("EdDSA", "3"));
    let (gateway, origin, _folder) = serving(&[&rsa, &ec, &ed], ", leeway: 0s").await;
    let mut client = gateway.client().await;
    for signer in [&rsa, &ec, &ed] {
        assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200, "{}", signer.algorithm);
    }
    let served = origin.requests().len();

    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        (format!("`{name}`"), ec.sign(&claims))
    };
    let mut tokens = vec![
        with("exp", json!(now() - 1)),
        with("nbf", json!(now() + 600)),
        with("iss", json!("https://evil.example")),
        with("iss", json!(["https://idp.example"])),
        with("aud", json!(["web"])),
        with("aud", json!({ "api": true })),
        ("no end".to_owned(), ec.sign(&json!({ "iss": "https://idp.example", "aud": "api" }))),
    ];
    // What no header can carry never gets here.
    let carried = |token: &str| token.bytes().all(|byte| byte.is_ascii_graphic());
    let known = forgeries(&rsa, &ec, &ed, &claims()).into_iter().filter(|forgery| carried(&forgery.token));
    tokens.extend(known.map(|forgery| (forgery.what, forgery.token)));
    assert!(tokens.len() > 200, "there are many ways, and here are {}", tokens.len());
    let mut bodies = std::collections::BTreeSet::new();
    for (what, token) in tokens {
        let answer = ask(&mut client, &token).await;
        let invalid = Some(r#"Bearer realm="gateway", error="invalid_token""#);
        assert_eq!((answer.status, answer.field("www-authenticate")), (401, invalid), "{what}");
        let mut problem = answer.problem(401);
        problem["request_id"] = Value::Null;
        bodies.insert(problem.to_string());
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(origin.requests().len(), served, "none reached the upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_says_where_tokens_are_and_what_they_must_allow() {
    let signer = Signer::new("EdDSA", "1");
    let filter = ", from: [header, 'cookie:token', 'query:access_token'], scopes: [read], required_claims: { plan: [gold, silver] }, forward: false";
    let (gateway, _origin, _folder) = serving(&[&signer], filter).await;
    let mut client = gateway.client().await;
    let with = |scope: &str, plan: &str| {
        let mut claims = claims();
        (claims["scp"], claims["plan"]) = (json!([scope]), plan.into());
        signer.sign(&claims)
    };
    let good = with("read", "gold");
    let echo = get(&mut client, "/", &format!("Cookie: a=b; token={good}")).await.echo();
    assert_eq!(echo.fields.get("cookie"), Some("a=b"));
    let echo = get(&mut client, &format!("/x?a=1&access_token={good}"), "X: 1").await.echo();
    assert_eq!((echo.target.as_str(), echo.fields.get("x-user-id")), ("/x?a=1", Some("ada")));
    assert_eq!(ask(&mut client, &good).await.echo().fields.get("authorization"), None);

    let none = get(&mut client, "/", "X: 1").await;
    assert_eq!((none.status, none.field("www-authenticate")), (401, Some(r#"Bearer realm="gateway""#)));
    let two = get(&mut client, &format!("/?access_token={good}"), "Authorization: Bearer x").await;
    let invalid = r#"Bearer realm="gateway", error="invalid_request""#;
    assert_eq!((two.status, two.field("www-authenticate")), (400, Some(invalid)));
    for token in [with("write", "gold"), with("read", "iron")] {
        let answer = ask(&mut client, &token).await;
        let insufficient = r#"Bearer realm="gateway", error="insufficient_scope", scope="read""#;
        assert_eq!((answer.status, answer.field("www-authenticate")), (403, Some(insufficient)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_change_under_load_lose_no_request() {
    let (old, new) = (Arc::new(Signer::new("RS256", "old")), Arc::new(Signer::new("ES256", "new")));
    let provider = Provider::serving(key_set([&*old])).await;
    let origin = Upstream::echo().await;
    let config = config(&origin, &format!("jwks_url: 'http://{}/jwks.json'", provider.server), "").to_string();
    // A machine that is busy with other tests may take its time.
    let config = config.replace("'builtin:jwt'", "'builtin:jwt', limits: { deadline: 10s, timeout: 30s }");
    let gateway = GATEWAY.start(config).await;
    let rotation = Rotation::begin(&gateway, old.clone()).await;
    provider.serve(key_set([&*old, &*new]));
    rotation.sign_with(new.clone()).await;
    rotation.end().await;
}

async fn key_set_metric(admin: &Admin, rest: &str) -> f64 {
    admin.metric(&format!("witgate_key_set_{rest}")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_fails_leaves_the_last_good_keys_and_is_told_of() {
    let signer = Signer::new("ES256", "1");
    let good = key_set([&signer]);
    for bad in ["<html>back soon</html>".to_owned(), r#"{"keys":[]}"#.to_owned(), " ".repeat(2 << 20) + &good] {
        let provider = Provider::serving(good.clone()).await;
        let origin = Upstream::echo().await;
        let url = format!("jwks_url: 'http://{}/jwks.json'", provider.server);
        let gateway = GATEWAY.start(config(&origin, &url, ", cache: 0")).await;
        let admin = gateway.admin();
        assert_eq!(key_set_metric(&admin, r#"keys{key_set="idp"}"#).await, 1.0);
        let since = key_set_metric(&admin, r#"last_good_timestamp_seconds{key_set="idp"}"#).await;
        assert!(since >= (now() - 600) as f64);

        provider.serve(bad);
        let mut client = gateway.client().await;
        assert_eq!(ask(&mut client, &Signer::new("ES256", "2").sign(&claims())).await.status, 401);
        let said = "a key set cannot be loaded; the last good keys stay in use";
        gateway.log().wait("that keys cannot be loaded", |line| line.message() == said).await;
        assert_eq!(ask(&mut client, &signer.sign(&claims())).await.status, 200);
        assert_eq!(key_set_metric(&admin, r#"loads_total{key_set="idp",outcome="ok"}"#).await, 1.0);
        assert_eq!(key_set_metric(&admin, r#"loads_total{key_set="idp",outcome="failed"}"#).await, 1.0);
        assert_eq!(key_set_metric(&admin, r#"keys{key_set="idp"}"#).await, 1.0);
        assert_eq!(key_set_metric(&admin, r#"last_good_timestamp_seconds{key_set="idp"}"#).await, since);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_work_is_refused_with_its_key() {
    let origin = Upstream::echo().await;
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, key_set([&Signer::new("EdDSA", "1")])).expect("a temporary folder takes files");
    let plain = |filter: &str| config(&origin, &format!("jwks_file: '{}'", path.display()), filter).to_string();
    let limited = plain("").replace("source: 'builtin:jwt'", "source: 'builtin:jwt', grants: { key_sets: [other] }");
    for (config, words) in [
        (plain(", isuer: x"), "unknown key `isuer`"),
        (plain(", leeway: 30"), "leeway: expected a string, found the number 30"),
        (plain(", algorithms: [none]"), "`none` is no algorithm"),
        (plain("").replace("audience: [api], ", ""), "missing field `audience`"),
        (plain("").replace("key_set: idp", "key_set: ipd"), "granted no key set `ipd`"),
        (
            limited.replace("key_sets: {", "key_sets: { other: { jwks_url: 'http://127.0.0.1:1/' }, "),
            "granted no key set `idp`",
        ),
    ] {
        for command in ["validate", "run"] {
            let refused = GATEWAY.on(command, &config, &[]).await;
            assert_eq!(refused.code, 4, "{refused:?}");
            let said = refused.stdout.clone() + &refused.stderr;
            assert!(said.contains(words) && said.contains("gateway.yaml:"), "{words}: {said}");
        }
    }
}
