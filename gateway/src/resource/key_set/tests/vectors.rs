//! The published tokens of RFC 7515 appendix A and RFC 8037 appendix A, with the keys printed beside them.

use serde_json::{Value, json};

use super::super::{Refusal, Rules};
use super::verify_by;

/// RFC 7515 A.1: HS256, over claims that expired in 2011.
const HS256: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const HS256_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

/// RFC 7515 A.3: ES256 over the same.
const ES256: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

/// RFC 8037 A.4: EdDSA, over a payload that is no JSON.
const EDDSA: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn es256_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

async fn refusal(key: Value, token: &str) -> Option<Refusal> {
    verify_by(&json!({ "keys": [key] }).to_string(), &Rules::default(), token).await.err()
}

/// Their signatures are right, so that the first fault found is in what they say.
#[tokio::test]
async fn published_signatures_hold() {
    let oct = json!({ "kty": "oct", "k": HS256_KEY });
    assert_eq!(refusal(oct.clone(), HS256).await, Some(Refusal::Expired));
    assert_eq!(refusal(es256_key(), ES256).await, Some(Refusal::Expired));
    let okp = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    assert_eq!(refusal(okp, EDDSA).await, Some(Refusal::Malformed));
    let long_ago = Rules { leeway_s: u32::MAX, ..Rules::default() };
    let claims = verify_by(&json!({ "keys": [oct] }).to_string(), &long_ago, HS256).await.unwrap();
    assert_eq!(serde_json::from_str::<Value>(&claims).unwrap()["iss"], "joe");
}

#[tokio::test]
async fn published_signatures_hold_for_nothing_else() {
    let (signed, _) = ES256.rsplit_once('.').unwrap();
    let (_, signature) = HS256.rsplit_once('.').unwrap();
    assert_eq!(refusal(es256_key(), &format!("{signed}.{signature}")).await, Some(Refusal::Signature));
    assert_eq!(refusal(es256_key(), HS256).await, Some(Refusal::Algorithm));
}

/// A signature of zeros verifies for every message where nobody checks its range (CVE-2022-21449).
#[tokio::test]
async fn a_signature_of_zeros_is_none() {
    let (signed, _) = ES256.rsplit_once('.').unwrap();
    let zeros = super::base64([0; 64]);
    assert_eq!(refusal(es256_key(), &format!("{signed}.{zeros}")).await, Some(Refusal::Signature));
}
