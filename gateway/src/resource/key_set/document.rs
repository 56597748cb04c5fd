//! A JWK Set (RFC 7517 §5) as keys that are bound to their algorithms.
//!
//! A key that cannot verify signatures, or that nobody here understands, is left out, as the standard wants it; a document
//! without any other is refused, so that a server's bad day does not take the good keys away.
//!
//! `jsonwebtoken` reads what a key consists of. It does not look at that before a token comes, and then anew for each: a fifth
//! of the time of a verification by RSA or ECDSA. So keys are checked and made ready here, once, by `aws-lc-rs`.

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde::Deserialize as _;
use serde_json::Value;

use super::algorithm::{Algorithm, BoundKey, EC, RSA, SecretAlgorithm};
use super::json::{self, Object};
use super::small_order::is_of_small_order;

/// The keys of a set.
pub(super) struct Keys {
    keys: Vec<Key>,
    /// Whether they serve tokens whatever key those name.
    ignores_ids: bool,
}

struct Key {
    id: Option<Box<str>>,
    bound: Vec<(Algorithm, BoundKey)>,
}

/// Why a document gives no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("it has more than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("it is no JSON object: {0}")]
    Json(String),
    #[error("it has no list `keys` (RFC 7517 §5)")]
    NoKeys,
    #[error("it has more than {KEYS_MAX} keys")]
    TooManyKeys,
    #[error("none of its keys can be used; key {0}")]
    NoneUsable(String),
    #[error("the secret has {found} bytes, and {needed} are needed (RFC 7518 §3.2)")]
    ShortSecret { found: usize, needed: usize },
}

/// Whether a set may hold shared secrets (`oct`): what anybody can fetch is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    Allowed,
    Refused,
}

impl Keys {
    /// Reads a JWK Set; says why keys were left out, too.
    pub(super) fn read(document: &[u8], secrets: Secrets) -> Result<(Self, Vec<String>), DocumentError> {
        if document.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError::TooLarge);
        }
        let document = json::object(document).map_err(|error| DocumentError::Json(error.to_string()))?;
        let Some(Value::Array(list)) = document.get("keys") else { return Err(DocumentError::NoKeys) };
        if list.len() > KEYS_MAX {
            return Err(DocumentError::TooManyKeys);
        }
        let mut left_out = Vec::new();
        let mut keys = Vec::new();
        for (number, jwk) in list.iter().enumerate() {
            match key(jwk, secrets) {
                Ok(key) => keys.push(key),
                Err(why) => left_out.push(format!("{number} {why}")),
            }
        }
        if keys.is_empty() {
            let first = left_out.into_iter().next();
            return Err(DocumentError::NoneUsable(first.unwrap_or_else(|| "0 is missing".to_owned())));
        }
        Ok((Self { keys, ignores_ids: false }, left_out))
    }

    /// One shared secret, which serves tokens whatever key they name.
    pub(super) fn secret(secret: &[u8], algorithm: SecretAlgorithm) -> Result<Self, DocumentError> {
        let needed = algorithm.secret_bytes_min();
        if secret.len() < needed {
            return Err(DocumentError::ShortSecret { found: secret.len(), needed });
        }
        let bound = vec![(algorithm.into(), algorithm.bind(secret))];
        Ok(Self { keys: vec![Key { id: None, bound }], ignores_ids: true })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys of that id, whatever their algorithm. A token without an id may be of any key.
    pub(super) fn of_id<'k>(&'k self, id: Option<&'k str>) -> impl Iterator<Item = &'k [(Algorithm, BoundKey)]> {
        let id = id.filter(|_| !self.ignores_ids);
        let named = move |key: &&Key| id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.keys.iter().filter(named).map(|key| &key.bound[..])
    }
}

fn key(jwk: &Value, secrets: Secrets) -> Result<Key, String> {
    let Value::Object(members) = jwk else { return Err("is no object".to_owned()) };
    if members.get("use").is_some_and(|purpose| purpose != "sig") {
        return Err("is not for signatures (`use`)".to_owned());
    }
    let verifies = |uses: &Value| uses.as_array().is_some_and(|uses| uses.iter().any(|one| one == "verify"));
    if members.get("key_ops").is_some_and(|uses| !verifies(uses)) {
        return Err("may not verify (`key_ops`)".to_owned());
    }
    let jwk = Jwk::deserialize(jwk).map_err(|error| format!("is no key: {error}"))?;
    let material = || DecodingKey::from_jwk(&jwk).map_err(|error| format!("is not well encoded: {error}"));
    let mut bound = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => rsa(&material()?)?,
        AlgorithmParameters::EllipticCurve(parameters) => ec(&parameters.curve, &material()?)?,
        AlgorithmParameters::OctetKeyPair(parameters) => okp(&parameters.curve, &material()?)?,
        AlgorithmParameters::OctetKey(_) if secrets == Secrets::Allowed => oct(&material()?)?,
        AlgorithmParameters::OctetKey(_) => return Err("is a shared secret, which no URL may serve".to_owned()),
        _ => return Err(format!("is of the type `{}`, which is unknown or has other members", text(members, "kty")?)),
    };
    if members.contains_key("alg") {
        let wanted = Algorithm::named(text(members, "alg")?);
        bound.retain(|(algorithm, _)| Some(*algorithm) == wanted);
        if bound.is_empty() {
            return Err(format!("does not fit its `alg`, `{}`", text(members, "alg")?));
        }
    }
    Ok(Key { id: jwk.common.key_id.map(Into::into), bound })
}

/// RFC 7518 §6.3. Keys below 2,048 bits are none (§3.3).
fn rsa(material: &DecodingKey) -> Result<Vec<(Algorithm, BoundKey)>, String> {
    let DecodingKeyKind::RsaModulusExponent { n, e } = material.kind() else {
        return Err("has no modulus".to_owned());
    };
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(format!("has {bits} bits, of 2048 to 8192"));
    }
    // Not looked at before a signature comes otherwise: to the power of one, a signature is the message itself.
    let significant = &e[e.iter().take_while(|byte| **byte == 0).count()..];
    if significant == [1] || significant.last().is_none_or(|last| last % 2 == 0) {
        return Err("has no exponent that is odd and more than one".to_owned());
    }
    let components = RsaPublicKeyComponents { n, e };
    let bind = |(algorithm, parameters)| {
        let key = components.to_parsed_public_key(parameters).map_err(|_| "is no RSA key".to_owned())?;
        Ok((algorithm, BoundKey::Public(key)))
    };
    RSA.iter().copied().map(bind).collect()
}

/// RFC 7518 §6.2: both coordinates in full length.
fn ec(curve: &EllipticCurve, material: &DecodingKey) -> Result<Vec<(Algorithm, BoundKey)>, String> {
    let known = EC.iter().find(|(known, ..)| known == curve);
    let &(_, algorithm, verification, length) = known.ok_or_else(|| format!("is on the unknown curve {curve:?}"))?;
    let point = bytes(material)?;
    if point.len() != 1 + 2 * length {
        return Err(format!("has a coordinate that is not {length} bytes long"));
    }
    let key = ParsedPublicKey::new(verification, point).map_err(|_| "is no point of its curve".to_owned())?;
    Ok(vec![(algorithm, BoundKey::Public(key))])
}

/// RFC 8037 §2.
fn okp(curve: &EllipticCurve, material: &DecodingKey) -> Result<Vec<(Algorithm, BoundKey)>, String> {
    if *curve != EllipticCurve::Ed25519 {
        return Err(format!("is on the unknown curve {curve:?}"));
    }
    let point = bytes(material)?;
    if is_of_small_order(point) {
        return Err("is a point of small order, for which anybody can sign".to_owned());
    }
    let key = ParsedPublicKey::new(&signature::ED25519, point);
    let key = key.map_err(|_| "is no point of its curve".to_owned())?;
    Ok(vec![(Algorithm::EdDsa, BoundKey::Public(key))])
}

/// RFC 7518 §6.4.
fn oct(material: &DecodingKey) -> Result<Vec<(Algorithm, BoundKey)>, String> {
    let secret = bytes(material)?;
    let fits = |algorithm: &SecretAlgorithm| secret.len() >= algorithm.secret_bytes_min();
    let bound: Vec<_> = SecretAlgorithm::ALL
        .into_iter()
        .filter(fits)
        .map(|algorithm| (Algorithm::from(algorithm), algorithm.bind(secret)))
        .collect();
    if bound.is_empty() {
        return Err(format!("is a secret of {} bytes, and 32 are the least", secret.len()));
    }
    Ok(bound)
}

fn text<'j>(jwk: &'j Object, name: &str) -> Result<&'j str, String> {
    jwk.get(name).and_then(Value::as_str).ok_or_else(|| format!("has no text `{name}`"))
}

/// A point as SEC 1 §2.3.3 writes it, or a secret.
fn bytes(material: &DecodingKey) -> Result<&[u8], String> {
    material.try_get_as_bytes().map_err(|error| error.to_string())
}

pub(super) const DOCUMENT_BYTES_MAX: usize = 1 << 20;
const KEYS_MAX: usize = 100;
