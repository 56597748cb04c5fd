//! Makes keys and signs tokens, as an identity provider does. For tests and benches: no key of theirs is kept anywhere.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "each user takes its part of this; a panic fails its test"
)]

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key of one algorithm, with an id.
pub struct Signer {
    pub algorithm: &'static str,
    pub id: String,
    key: Key,
}

enum Key {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Secret(Vec<u8>, hmac::Algorithm),
}

/// Every algorithm there is.
pub const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];

impl Signer {
    /// Makes a key.
    pub fn new(algorithm: &'static str, id: &str) -> Signer {
        let rsa =
            |encoding: &'static dyn RsaEncoding| Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), encoding);
        let ec = |curve| Key::Ec(EcdsaKeyPair::generate(curve).unwrap());
        let key = match algorithm {
            "HS256" => Key::Secret(secret(32), hmac::HMAC_SHA256),
            "HS384" => Key::Secret(secret(48), hmac::HMAC_SHA384),
            "HS512" => Key::Secret(secret(64), hmac::HMAC_SHA512),
            "RS256" => rsa(&RSA_PKCS1_SHA256),
            "RS384" => rsa(&RSA_PKCS1_SHA384),
            "RS512" => rsa(&RSA_PKCS1_SHA512),
            "PS256" => rsa(&RSA_PSS_SHA256),
            "PS384" => rsa(&RSA_PSS_SHA384),
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => ec(&ECDSA_P521_SHA512_FIXED_SIGNING),
            "EdDSA" => Key::Ed(Ed25519KeyPair::generate().unwrap()),
            other => panic!("{other} is no algorithm"),
        };
        Signer { algorithm, id: id.to_owned(), key }
    }

    /// A shared secret.
    pub fn of_secret(secret: &[u8]) -> Signer {
        let key = Key::Secret(secret.to_vec(), hmac::HMAC_SHA256);
        Signer { algorithm: "HS256", id: "secret".to_owned(), key }
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_raw(&self.header().to_string(), claims.to_string())
    }

    /// A token with this header and these bytes as payload, in good order but for what they say.
    pub fn sign_raw(&self, header: &str, payload: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", base64(header), base64(payload));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", base64(signature))
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.id, "typ": "JWT" })
    }

    /// The key as a member of a JWK Set: the public half, and of a secret all of it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Key::Rsa(pair, _) => {
                let public = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                json!({ "kty": "RSA", "n": base64(public.n), "e": base64(public.e) })
            }
            Key::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = match self.algorithm {
                    "ES256" => "P-256",
                    "ES384" => "P-384",
                    _ => "P-521",
                };
                json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) })
            }
            Key::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref()) }),
            Key::Secret(secret, _) => json!({ "kty": "oct", "k": base64(secret) }),
        };
        jwk["alg"] = self.algorithm.into();
        jwk["kid"] = self.id.clone().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// Everything that is public of an asymmetric key, in the forms that somebody might take for a secret.
    pub fn public_bytes(&self) -> Vec<Vec<u8>> {
        match &self.key {
            Key::Rsa(pair, _) => {
                let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
                vec![
                    pem(der.as_ref()),
                    der.as_ref().to_vec(),
                    pair.public_key().as_ref().to_vec(),
                    self.jwk().to_string().into_bytes(),
                ]
            }
            Key::Ec(pair) => vec![pair.public_key().as_ref().to_vec(), self.jwk().to_string().into_bytes()],
            Key::Ed(pair) => vec![pair.public_key().as_ref().to_vec(), self.jwk().to_string().into_bytes()],
            Key::Secret(..) => Vec::new(),
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Secret(secret, algorithm) => {
                hmac::sign(&hmac::Key::new(*algorithm, secret), message).as_ref().to_vec()
            }
        }
    }
}

/// A JWK Set.
pub fn key_set<'s>(signers: impl IntoIterator<Item = &'s Signer>) -> String {
    json!({ "keys": signers.into_iter().map(Signer::jwk).collect::<Vec<_>>() }).to_string()
}

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a part of a token in good order.
pub fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

fn secret(bytes: usize) -> Vec<u8> {
    let mut secret = vec![0; bytes];
    fill(&mut secret).unwrap();
    secret
}

fn pem(der: &[u8]) -> Vec<u8> {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")).into_bytes()
}
