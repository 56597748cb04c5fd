//! The algorithms of JWS (RFC 7518 §3.1, RFC 8037 §3.1), and keys that are bound to one of them.
//!
//! `none` is no algorithm here, and a key's algorithm is decided when the key is loaded, never by a token: a public key
//! cannot be mistaken for a shared secret (RFC 8725 §3.1).

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, ParsedPublicKey, RsaParameters};
use jsonwebtoken::jwk::EllipticCurve;

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

/// The algorithms of a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretAlgorithm {
    Hs256,
    Hs384,
    Hs512,
}

/// A key that verifies signatures of one algorithm.
pub(super) enum BoundKey {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Algorithm {
    /// By its registered name, which is case-sensitive.
    pub fn named(name: &str) -> Option<Self> {
        ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// The registered names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALGORITHMS.iter().map(|(name, _)| *name)
    }
}

impl From<SecretAlgorithm> for Algorithm {
    fn from(algorithm: SecretAlgorithm) -> Self {
        match algorithm {
            SecretAlgorithm::Hs256 => Self::Hs256,
            SecretAlgorithm::Hs384 => Self::Hs384,
            SecretAlgorithm::Hs512 => Self::Hs512,
        }
    }
}

impl SecretAlgorithm {
    pub(super) const ALL: [Self; 3] = [Self::Hs256, Self::Hs384, Self::Hs512];

    /// The least bytes of a secret: those of the hash (RFC 7518 §3.2).
    pub fn secret_bytes_min(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    pub(super) fn bind(self, secret: &[u8]) -> BoundKey {
        let algorithm = match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
        };
        BoundKey::Secret(Box::new(hmac::Key::new(algorithm, secret)))
    }
}

impl BoundKey {
    /// Whether the key made this signature of the message.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
            // In constant time.
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

/// What an RSA key can verify: it says nothing itself of hash and padding.
pub(super) static RSA: [(Algorithm, &RsaParameters); 6] = [
    (Algorithm::Rs256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::Rs384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::Rs512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::Ps256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::Ps384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::Ps512, &signature::RSA_PSS_2048_8192_SHA512),
];

/// Curves, the one algorithm of each (RFC 7518 §3.4), and the bytes of a coordinate.
pub(super) static EC: [(EllipticCurve, Algorithm, &EcdsaVerificationAlgorithm, usize); 3] = [
    (EllipticCurve::P256, Algorithm::Es256, &signature::ECDSA_P256_SHA256_FIXED, 32),
    (EllipticCurve::P384, Algorithm::Es384, &signature::ECDSA_P384_SHA384_FIXED, 48),
    (EllipticCurve::P521, Algorithm::Es512, &signature::ECDSA_P521_SHA512_FIXED, 66),
];

static ALGORITHMS: [(&str, Algorithm); 13] = [
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("ES512", Algorithm::Es512),
    ("EdDSA", Algorithm::EdDsa),
];
