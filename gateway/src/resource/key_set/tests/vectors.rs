//! The published tokens of RFC 7515 appendix A (which are those of RFC 7519, too), RFC 7520 §4 and RFC 8037 appendix A, with the keys
//! printed beside them; and what another implementation signs.

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

/// RFC 7515 A.2: RS256 over the same claims.
const RS256: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const RS256_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// RFC 7515 A.4: ES512 over a payload that is no JSON.
const ES512: &str = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";

fn rs256_key() -> Value {
    json!({ "kty": "RSA", "n": RS256_MODULUS, "e": "AQAB" })
}

#[tokio::test]
async fn rsa_and_the_largest_curve_hold_too() {
    assert_eq!(refusal(rs256_key(), RS256).await, Some(Refusal::Expired));
    let es512 = json!({
        "kty": "EC", "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    });
    assert_eq!(refusal(es512, ES512).await, Some(Refusal::Malformed));
}

/// RFC 7515 A.5 and RFC 7519 §6.1: a token without a signature. Whatever the keys, it is none here.
#[tokio::test]
async fn the_unsecured_example_is_refused() {
    let unsecured = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
    for key in [rs256_key(), es256_key(), json!({ "kty": "oct", "k": HS256_KEY })] {
        assert_eq!(refusal(key, unsecured).await, Some(Refusal::Algorithm));
    }
}

/// RFC 7520 §4.1 to §4.4: one payload, which is no JSON, by three keys.
const PAYLOAD: &str = "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4";
const COOKBOOK: [(&str, &str); 4] = [
    (
        "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
    ),
    (
        "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
    ),
    (
        "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
        "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPBu_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
    ),
    (
        "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
        "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
    ),
];

fn cookbook_keys() -> String {
    let modulus = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
    let who = "bilbo.baggins@hobbiton.example";
    json!({ "keys": [
        { "kty": "RSA", "kid": who, "use": "sig", "n": modulus, "e": "AQAB" },
        {
            "kty": "EC", "kid": who, "use": "sig", "crv": "P-521",
            "x": "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt",
            "y": "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1",
        },
        {
            "kty": "oct", "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037", "use": "sig", "alg": "HS256",
            "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg",
        },
    ] })
    .to_string()
}

#[tokio::test]
async fn the_cookbooks_signatures_hold_and_no_changed_one() {
    let keys = cookbook_keys();
    for (header, signature) in COOKBOOK {
        let by = async |token: String| verify_by(&keys, &Rules::default(), &token).await.err();
        assert_eq!(by(format!("{header}.{PAYLOAD}.{signature}")).await, Some(Refusal::Malformed), "{header}");
        let changed = PAYLOAD.replacen("SXT", "SXQ", 1);
        assert_eq!(by(format!("{header}.{changed}.{signature}")).await, Some(Refusal::Signature), "{header}");
    }
}

/// What another implementation signs.
#[tokio::test]
async fn tokens_of_jsonwebtoken_are_verified() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
    let random = aws_lc_rs::rand::SystemRandom::new();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ed = Ed25519KeyPair::generate_pkcs8v1(&random).unwrap();
    for (key, algorithms) in [
        (EncodingKey::from_secret(&[7; 64]), &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512][..]),
        (EncodingKey::from_ec_der(ec.as_ref()), &[Algorithm::ES256]),
        (EncodingKey::from_ed_der(ed.as_ref()), &[Algorithm::EdDSA]),
    ] {
        for algorithm in algorithms {
            let token = encode(&Header::new(*algorithm), &json!({ "sub": "ada" }), &key).unwrap();
            let jwk = serde_json::to_value(Jwk::from_encoding_key(&key, *algorithm).unwrap()).unwrap();
            assert_eq!(refusal(jwk, &token).await, None, "{algorithm:?}");
        }
    }
}

/// PS256 wants a salt as long as its hash, and masks by the same hash (RFC 7518 §3.5). All of these are of one key, which OpenSSL made.
const PS256_MODULUS: &str = "uqxcJUcKvcZ9AR8su-s3tAW3hhj9S6GgkHRdJGyRxcBKyVYYda80DRUxjIEB1p0a88_9WlQSZly5ZOHAfa1kpsroKX2F3Dx6zQbAcDfZF31mrTdO7lBge47yPnIV3HohJV4e-mT5DSyFugbshekH1XWDoXTpcfnS7ee_yIzjMNI9irS3oI8iZecnnk3QoUUx-b0cU5xk2NCVDZRe0e2ahqnznpDrybd8hHJqPIoGtOKEpdwb8hBRxw7eZ0Udqy8mBB4u_8MskVi7J0wtXeL7A-k3dX41M4yK0N8cI_2ZCgYYT9CgLZlShrenXa2qIRywy4WwMlBPpNNv1qNkJkE_Iw";
const PS256_SIGNED: &str = "eyJhbGciOiJQUzI1NiJ9.eyJzdWIiOiJhZGEifQ";
const PS256_GOOD: &str = "cwOdZiWDYW0oDAz4nrokaJP-T_TTmbbOGdijTEbeqBppu3jJDzq3g7WzzvDeB56TSePj-9p6hNdHt0IgcjCTfCxx7ElsvD4QqE9d2S8NXtkGZPuyhitqHZ62SExnNR4bs3XvAT-R9FcyWLg1jJlWcb4me1KWm_d5VF1r0XZInPHR5oVs3vJRFTkrK0NnHR8V60p1iY5Ice2MzV5wWoNpVcb0rvqcV0eKHj5b5Fqw5nuilmsa3fiZENMsL9fwgNd3gDzwYGfR7KfScLov-e-yqg7ur_CA7wxDLTn0TV02KQDY7K2cRNpih8aRZV89T7xyG8WTp3XjS928tE9DcH-paA";
const PS256_BAD: [(&str, &str); 4] = [
    (
        "no salt",
        "Sf8YUg6Q8EoJv1CdKB1XQWoZP7boinX4ceROAEZWNRDcltjxPyUhUosvs4jFSHAEsScZpTsTyks_3Zq4Tlv-XEYBBxaI9cbGq389yHn_G88EVfuqqKdaVUOIXkb6IP-xQobRWNhz9UTVBCMnPWH5bQU4ba6uhDESaazF7wlwL-Ei8IDeffM_OjYS_VmgpF7uMGWHZxgdDjW_wJjjQ9UJwBIHMqGqFBDlRzQFkyGDTFBN4I4sPf6wQ8U5pI0OBmENrtZigIG5eM3iBQxB10vmKtxdDRL7UPUPcvHinbc38MMP9eUBP9VT6Pl0TtlkL5ku19A11E3-o0FQNDasbRGxLQ",
    ),
    (
        "a salt as long as that of SHA-1",
        "GlhB5e9H3T9dnozw3MwOkVvEvgkaXGfAOsp49i9yXTHAK5OI2EjU3NWmf9iOAtN74iwHkJc663K8JZjmMixaQbYVmzvshLnCibR61WqietpyU5qD_mkUjXN2BT8OtnXVvzY1ZBD6s7yO8lF9rYJLQ2-Za79gnydKER6ue_s5u263vuc9CQ6jDsxF_1YTK_Q6exppXCqc1W66lIiz72zOmpbl2ZU9kH0NjFf2N53E5jR6RMfjoWvB6WC9Tuhm67FHkCWMicaJeYBSrFKoI4NVxCloMVsQenD9S7kJRiPP11innmb5CjYViKHvqUAzHzBBK7Ns7DQK4-O5rCmYDOspNA",
    ),
    (
        "the longest salt",
        "D4hAFhUQ7gBYorGsenqY5C5pvZXsgX4Sn_tFvlWKmIHwjDK4Cb-o-p6c984u3j-e_Zfxk5IANhuPPiw8XXNtGbS-IgciIUkyCgVuw60Kh8HcVCmrTL-vV1-Sgve6rMERBj0vaePVhLLbDLsbQ1EKZZ_NV48fVQiS21SeaIvqJEHjMTdjqKsTPDfP4Yp2lGfY0IbfiQD-tS2ss_i-XCxElQtIGAqV5Qg54ZOGZcAVscnNozyxbjxujm0YJvTXMQkRGWusBGldjqfjmDgWKq6dIfHCwC86eudcdriIP4D_BE6pMxBKRbBJkLOtR2hM81W9ZvU8eEhYUoc743rynetoag",
    ),
    (
        "a mask by SHA-1",
        "cysNpEeKKWy5VYIzx70BZdR-qAeFcJmE81zpmyKxvGwBNU08E4X64jZz72rMjOLDLfjtjZweHpVSOE_8TnKahoB8a96q-Ec0GWDlIeuCyB5s5cjOmz_ORq6iGTjS6KGmt94qHJWa9FcRS1bG0BdJdRKvC7kzbi2g9jqquFkmndbdF8bwyq6PqQC8Bp__nG9AGgkE302VBavxYi4cADJoCk0FxXTfSBmoJtlyn-gXvCBZTJeccZmFjjZLoJRtarG1xRohnvZ06rz25OKk0sjg2egYI9OgG2Z-qYVMHk8tf_0BqQ04xURrqrJVzjrEo7sKpJyCcEDFCUmzEy0jeaeH8g",
    ),
];

#[tokio::test]
async fn a_signature_by_pss_has_the_one_salt_and_mask() {
    let key = json!({ "kty": "RSA", "n": PS256_MODULUS, "e": "AQAB" });
    assert_eq!(refusal(key.clone(), &format!("{PS256_SIGNED}.{PS256_GOOD}")).await, None);
    for (what, signature) in PS256_BAD {
        let refused = refusal(key.clone(), &format!("{PS256_SIGNED}.{signature}")).await;
        assert_eq!(refused, Some(Refusal::Signature), "{what}");
    }
}
