//! Tokens against sets: what is believed, and every way in which it is not.

#![allow(clippy::unwrap_used, reason = "tests")]

mod forgeries;
mod refresh;
pub(super) mod signer;
mod vectors;

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::forgeries::{Forgery, forgeries, small_orders};
use self::signer::{ALGORITHMS, Signer, base64, key_set};
use super::document::{DocumentError, Keys, Secrets};
use super::{Algorithm, KeySet, KeySetSource, Refusal, Rules, RulesError, SecretAlgorithm};
use crate::outbound::Trust;
use crate::resource::Secret;

const NOW: u64 = 1_800_000_000;

/// A set from a file with this document.
async fn set(document: &str) -> (Arc<KeySet>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, document).unwrap();
    let set = KeySet::open("idp".into(), KeySetSource::File(path), &Trust::default()).await.unwrap();
    (set, folder)
}

async fn verify_by(document: &str, rules: &Rules, token: &str) -> Result<String, Refusal> {
    let (set, _folder) = set(document).await;
    set.verifier(rules.clone()).unwrap().verify_at(token, NOW).map(|claims| claims.to_string())
}

async fn verify(signer: &Signer, token: &str) -> Result<String, Refusal> {
    verify_by(&key_set([signer]), &Rules::default(), token).await
}

fn claims() -> Value {
    json!({ "iss": "https://idp.example", "aud": ["api", "web"], "sub": "u1", "exp": NOW + 60, "nbf": NOW - 60 })
}

#[tokio::test]
async fn each_algorithm_verifies_its_own_tokens_and_no_changed_one() {
    for algorithm in ALGORITHMS {
        let signer = Signer::new(algorithm, "1");
        let token = signer.sign(&claims());
        assert_eq!(verify(&signer, &token).await, Ok(claims().to_string()), "{algorithm}");
        let another = Signer::new(algorithm, "1");
        assert_eq!(verify(&another, &token).await, Err(Refusal::Signature), "{algorithm}");

        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let forged = base64(json!({ "sub": "admin" }).to_string());
        for changed in [
            format!("{header}.{forged}.{signature}"),
            format!("{signed}."),
            format!("{signed}.{}", base64([0; 64])),
            format!("{signed}.{}", &signature[..signature.len() - 4]),
        ] {
            let refused = verify(&signer, &changed).await;
            // What was cut need not be base64url any more.
            assert!(matches!(refused, Err(Refusal::Signature | Refusal::Malformed)), "{algorithm}: {refused:?}");
        }
    }
}

#[tokio::test]
async fn a_token_cannot_choose_how_its_key_is_used() {
    let rsa = Signer::new("RS256", "1");
    let header = |alg: &str| json!({ "alg": alg, "kid": "1" }).to_string();
    for unknown in ["none", "None", "NONE", "", "rs256", "RS256 ", "HS1", "ES256K"] {
        let unsigned = format!("{}.{}.", base64(header(unknown)), base64(claims().to_string()));
        assert_eq!(verify(&rsa, &unsigned).await, Err(Refusal::Algorithm), "{unknown}");
        let signed = rsa.sign_raw(&header(unknown), claims().to_string());
        assert_eq!(verify(&rsa, &signed).await, Err(Refusal::Algorithm), "{unknown}");
    }
    // The key's own `alg` says RS256: the same key with another padding or hash is another key.
    for other in ["RS384", "RS512", "PS256", "ES256", "EdDSA", "HS256"] {
        let signed = rsa.sign_raw(&header(other), claims().to_string());
        assert_eq!(verify(&rsa, &signed).await, Err(Refusal::Algorithm), "{other}");
    }
    // A public key as the secret of a HMAC.
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let signer = Signer::new(algorithm, "1");
        for public in signer.public_bytes() {
            let forged = Signer::of_secret(&public).sign_raw(&header("HS256"), claims().to_string());
            assert_eq!(verify(&signer, &forged).await, Err(Refusal::Algorithm), "{algorithm}");
        }
    }
}

#[tokio::test]
async fn rules_name_the_algorithms() {
    let (rsa, ec) = (Signer::new("RS256", "1"), Signer::new("ES256", "2"));
    let document = key_set([&rsa, &ec]);
    let rules = Rules { algorithms: vec![Algorithm::Es256], ..Rules::default() };
    assert_eq!(verify_by(&document, &rules, &rsa.sign(&claims())).await, Err(Refusal::Algorithm));
    assert!(verify_by(&document, &rules, &ec.sign(&claims())).await.is_ok());
    assert_eq!(Rules::algorithms(&["ES256".into()]), Ok(vec![Algorithm::Es256]));
    let unknown = Rules::algorithms(&["RS256".into(), "none".into()]);
    assert_eq!(unknown, Err(RulesError::Algorithm("none".into())));
}

#[tokio::test]
async fn an_rsa_key_without_an_algorithm_takes_what_rules_allow() {
    let signer = Signer::new("PS384", "1");
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    let document = json!({ "keys": [jwk] }).to_string();
    assert!(verify_by(&document, &Rules::default(), &signer.sign(&claims())).await.is_ok());
    let rules = Rules { algorithms: vec![Algorithm::Rs256], ..Rules::default() };
    assert_eq!(verify_by(&document, &rules, &signer.sign(&claims())).await, Err(Refusal::Algorithm));
}

#[tokio::test]
async fn a_token_is_verified_by_the_key_it_names() {
    let (one, other) = (Signer::new("ES256", "1"), Signer::new("ES256", "2"));
    let document = key_set([&one, &other]);
    let by = async |token: String| verify_by(&document, &Rules::default(), &token).await;
    assert!(by(other.sign(&claims())).await.is_ok());
    let header = |id: &str| json!({ "alg": "ES256", "kid": id }).to_string();
    assert_eq!(by(one.sign_raw(&header("2"), claims().to_string())).await, Err(Refusal::Signature));
    assert_eq!(by(one.sign_raw(&header("3"), claims().to_string())).await, Err(Refusal::UnknownKey));
    let unnamed = json!({ "alg": "ES256" }).to_string();
    assert!(by(other.sign_raw(&unnamed, claims().to_string())).await.is_ok(), "a few keys are tried");
    assert_eq!(by(Signer::new("ES256", "1").sign_raw(&unnamed, "{}")).await, Err(Refusal::Signature));

    let many: Vec<Signer> = (0..5).map(|number| Signer::new("ES256", &number.to_string())).collect();
    let last = many[4].sign_raw(&unnamed, claims().to_string());
    assert_eq!(verify_by(&key_set(&many), &Rules::default(), &last).await, Err(Refusal::Signature), "but no more");
}

/// By one verifier that remembers the good tokens, so that another spelling of one must not be taken for it.
#[tokio::test]
async fn no_forgery_is_believed() {
    let (rsa, ec, ed) = (Signer::new("RS256", "1"), Signer::new("ES256", "2"), Signer::new("EdDSA", "3"));
    let (set, _folder) = set(&key_set([&rsa, &ec, &ed])).await;
    let mut verifier = set.verifier(Rules { cache: 100, ..Rules::default() }).unwrap();
    let mut list = forgeries(&rsa, &ec, &ed, &claims());
    list.push(Forgery { what: "nothing".into(), token: String::new(), why: "Malformed" });
    for signer in [&rsa, &ec, &ed] {
        assert!(verifier.verify_at(&signer.sign(&claims()), NOW).is_ok(), "{}", signer.algorithm);
    }
    for Forgery { what, token, why } in list {
        let refused = verifier.verify_at(&token, NOW).err().map(|refusal| format!("{refusal:?}"));
        assert_eq!(refused.as_deref(), Some(why), "{what}");
    }
    // A thumbprint is a name like any other.
    let header = json!({ "alg": "ES256", "kid": "2", "x5t": "dGh1bWI", "typ": "at+jwt" }).to_string();
    assert!(verifier.verify_at(&ec.sign_raw(&header, claims().to_string()), NOW).is_ok());
}

#[tokio::test]
async fn nothing_is_read_in_two_ways() {
    let signer = Signer::new("ES256", "1");
    for header in [
        r#"{"alg":"ES256","alg":"ES256","kid":"1"}"#,
        r#"{"alg":"none","kid":"1","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"1","kid":"2"}"#,
        r#"{"alg":"ES256","kid":"1","x":{"a":1,"a":1}}"#,
        r#"{"alg":["ES256"],"kid":"1"}"#,
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"kid":"1"}"#,
        r#"["ES256"]"#,
        r#"{"alg":"ES256","kid":"1"} "x""#,
        "",
    ] {
        let token = signer.sign_raw(header, claims().to_string());
        assert_eq!(verify(&signer, &token).await, Err(Refusal::Malformed), "{header}");
    }
    let own = signer.header().to_string();
    for payload in [
        &br#"{"sub":"a","sub":"b"}"#[..],
        br#"{"sub":"a","s\u0075b":"b"}"#,
        br#"{"roles":{"a":1,"a":2}}"#,
        b"[]",
        b"\"sub\"",
        b"",
        b"{\"sub\":\"\xff\"}",
        b"{}{}",
    ] {
        let token = signer.sign_raw(&own, payload);
        assert_eq!(verify(&signer, &token).await, Err(Refusal::Malformed), "{}", String::from_utf8_lossy(payload));
    }
}

#[tokio::test]
async fn a_token_has_a_limit() {
    let signer = Signer::new("HS256", "1");
    let of_length = |length: usize| {
        let mut fill = 0;
        loop {
            let token = signer.sign(&json!({ "exp": NOW + 60, "x": "x".repeat(fill) }));
            if token.len() >= length {
                return token;
            }
            fill += (length - token.len()).div_ceil(2);
        }
    };
    let longest = of_length(16 << 10);
    assert!(longest.len() < (16 << 10) + 4);
    assert_eq!(verify(&signer, &of_length((16 << 10) + 1)).await, Err(Refusal::Malformed));
    assert!(verify(&signer, &of_length((16 << 10) - 4)).await.is_ok());
}

#[tokio::test]
async fn claims_are_judged_by_the_rules() {
    let signer = Signer::new("EdDSA", "1");
    let document = key_set([&signer]);
    let strict = Rules {
        issuers: vec!["https://idp.example".into(), "https://two.example".into()],
        audiences: vec!["api".into(), "other".into()],
        required_claims: vec!["sub".into()],
        leeway_s: 10,
        ..Rules::default()
    };
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    for (claims, expected) in [
        (claims(), None),
        (with("iss", json!("https://two.example")), None),
        (with("aud", json!("other")), None),
        (without("exp"), None),
        (without("nbf"), None),
        (with("exp", json!(NOW - 9)), None),
        (with("exp", json!(NOW as f64 - 9.5)), None),
        (with("exp", json!(NOW - 10)), Some(Refusal::Expired)),
        (with("exp", json!(0)), Some(Refusal::Expired)),
        (with("exp", json!(-1)), Some(Refusal::Expired)),
        (with("exp", json!(1e300)), None),
        (with("exp", json!((NOW + 60).to_string())), Some(Refusal::Malformed)),
        (with("exp", Value::Null), Some(Refusal::Malformed)),
        (with("nbf", json!(NOW + 10)), None),
        (with("nbf", json!(NOW + 11)), Some(Refusal::NotYetValid)),
        (with("nbf", json!("0")), Some(Refusal::Malformed)),
        (with("iss", json!("https://idp.example/")), Some(Refusal::Issuer)),
        (with("iss", json!(["https://idp.example"])), Some(Refusal::Issuer)),
        (without("iss"), Some(Refusal::Issuer)),
        (with("aud", json!("ap")), Some(Refusal::Audience)),
        (with("aud", json!([])), Some(Refusal::Audience)),
        (with("aud", json!([["api"]])), Some(Refusal::Audience)),
        (with("aud", json!({ "api": 1 })), Some(Refusal::Audience)),
        (without("aud"), Some(Refusal::Audience)),
        (without("sub"), Some(Refusal::MissingClaim)),
        (with("sub", Value::Null), Some(Refusal::MissingClaim)),
    ] {
        let outcome = verify_by(&document, &strict, &signer.sign(&claims)).await;
        assert_eq!(outcome.err(), expected, "{claims}");
    }
}

#[tokio::test]
async fn a_secret_serves_whatever_key_a_token_names() {
    let secret = [7; 32];
    let named = Arc::new(Secret::new("key".into(), &secret).unwrap());
    let source = KeySetSource::Secret { secret: named, algorithm: SecretAlgorithm::Hs256 };
    let set = KeySet::open("internal".into(), source, &Trust::default()).await.unwrap();
    let mut verifier = set.verifier(Rules::default()).unwrap();
    let signer = Signer::of_secret(&secret);
    assert!(verifier.verify_at(&signer.sign(&claims()), NOW).is_ok());
    assert!(verifier.verify_at(&signer.sign_raw(r#"{"alg":"HS256"}"#, "{}"), NOW).is_ok());
    let other = signer.sign_raw(r#"{"alg":"HS512"}"#, "{}");
    assert_eq!(verifier.verify_at(&other, NOW), Err(Refusal::Algorithm));
    for (algorithm, needed) in
        [(SecretAlgorithm::Hs256, 32), (SecretAlgorithm::Hs384, 48), (SecretAlgorithm::Hs512, 64)]
    {
        let short = Keys::secret(&vec![1; needed - 1], algorithm).err();
        assert_eq!(short, Some(DocumentError::ShortSecret { found: needed - 1, needed }));
        assert!(Keys::secret(&vec![1; needed], algorithm).is_ok());
    }
}

#[test]
fn keys_that_cannot_verify_are_left_out() {
    let read = |jwk: &Value| {
        let good = Signer::new("EdDSA", "good").jwk();
        let (keys, left_out) =
            Keys::read(json!({ "keys": [good, jwk] }).to_string().as_bytes(), Secrets::Allowed).unwrap();
        assert_eq!(keys.len() + left_out.len(), 2);
        left_out.first().cloned()
    };
    for algorithm in ALGORITHMS {
        let jwk = Signer::new(algorithm, "1").jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[name] = value;
            jwk
        };
        assert_eq!(read(&jwk), None, "{algorithm}");
        assert_eq!(read(&with("key_ops", json!(["sign", "verify"]))), None);
        for (name, value) in [
            ("use", json!("enc")),
            ("use", Value::Null),
            ("key_ops", json!(["sign"])),
            ("key_ops", json!("verify")),
            ("kty", json!("PQ")),
            ("kty", json!("rsa")),
            ("alg", json!("none")),
            ("alg", json!(if jwk["kty"] == "RSA" { "HS256" } else { "RS256" })),
            ("kid", json!(1)),
        ] {
            let left_out = read(&with(name, value.clone()));
            assert!(left_out.is_some(), "{algorithm} {name} {value}");
        }
        for member in ["n", "e", "x", "y", "k", "crv"] {
            if jwk.get(member).is_some() {
                for bad in [json!("!"), json!(""), json!("AA"), json!(1)] {
                    assert!(read(&with(member, bad.clone())).is_some(), "{algorithm} {member} {bad}");
                }
            }
        }
    }
    assert!(read(&json!("key")).is_some());
    let weak = json!({ "kty": "RSA", "n": base64([0xff; 128]), "e": "AQAB" });
    assert!(read(&weak).unwrap().contains("1024 bits"));
    // With the exponent 1 a signature is its message, with an even one nobody can sign.
    for exponent in [&[1][..], &[0, 1], &[0], &[2], &[1, 0, 0]] {
        let mut jwk = Signer::new("RS256", "1").jwk();
        jwk["e"] = base64(exponent).into();
        assert!(read(&jwk).unwrap().contains("exponent"), "{exponent:?}");
    }
    let mut off = Signer::new("ES256", "1").jwk();
    off["y"] = off["x"].clone();
    assert!(read(&off).unwrap().contains("no point of its curve"));
    for mut point in small_orders() {
        for sign in [0, 0x80] {
            point[31] |= sign;
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(&point) });
            assert!(read(&jwk).unwrap().contains("anybody can sign"), "{point:x?}");
        }
    }
}

#[test]
fn a_document_without_good_keys_is_refused() {
    let refused = |document: &str, secrets| Keys::read(document.as_bytes(), secrets).err().unwrap();
    assert!(matches!(refused("<html>", Secrets::Allowed), DocumentError::Json(_)));
    assert!(matches!(refused(r#"{"keys":[],"keys":[]}"#, Secrets::Allowed), DocumentError::Json(_)));
    for none in ["{}", r#"{"keys":{}}"#] {
        assert_eq!(refused(none, Secrets::Allowed), DocumentError::NoKeys);
    }
    assert!(matches!(refused(r#"{"keys":[]}"#, Secrets::Allowed), DocumentError::NoneUsable(_)));
    let many: Vec<Value> = (0..101).map(|_| json!({})).collect();
    assert_eq!(refused(&json!({ "keys": many }).to_string(), Secrets::Allowed), DocumentError::TooManyKeys);
    assert_eq!(refused(&" ".repeat((1 << 20) + 1), Secrets::Allowed), DocumentError::TooLarge);
    let secret = key_set([&Signer::new("HS256", "1")]);
    assert!(Keys::read(secret.as_bytes(), Secrets::Allowed).is_ok());
    let DocumentError::NoneUsable(why) = refused(&secret, Secrets::Refused) else { panic!("it serves a secret") };
    assert!(why.contains("no URL may serve"), "{why}");
}

#[tokio::test]
async fn what_is_remembered_ends_with_the_token() {
    let signer = Signer::new("ES256", "1");
    let (set, _folder) = set(&key_set([&signer])).await;
    let rules = Rules { cache: 10, leeway_s: 5, ..Rules::default() };
    let mut verifier = set.verifier(rules.clone()).unwrap();
    let token = signer.sign(&claims());
    for now in [NOW, NOW, NOW + 64] {
        assert!(verifier.verify_at(&token, now).is_ok());
    }
    assert_eq!(verifier.verify_at(&token, NOW + 65), Err(Refusal::Expired));
    // Another verifier of the same rules knows the token, too; one of other rules judges for itself.
    assert!(set.verifier(rules).unwrap().verify_at(&token, NOW).is_ok());
    let other = Rules { cache: 10, issuers: vec!["other".into()], ..Rules::default() };
    assert_eq!(set.verifier(other).unwrap().verify_at(&token, NOW), Err(Refusal::Issuer));
}

#[tokio::test]
async fn a_set_is_used_with_so_many_rules() {
    let (set, _folder) = set(&key_set([&Signer::new("EdDSA", "1")])).await;
    let rules = |leeway_s| Rules { leeway_s, ..Rules::default() };
    let verifiers: Vec<_> = (0..256).map(|leeway_s| set.verifier(rules(leeway_s)).unwrap()).collect();
    assert_eq!(set.verifier(rules(256)).err(), Some(RulesError::TooMany(256)));
    assert!(set.verifier(rules(255)).is_ok(), "the same rules again");
    drop(verifiers);
    assert!(set.verifier(rules(256)).is_ok());
}
