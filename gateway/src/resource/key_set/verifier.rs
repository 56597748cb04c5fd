//! A key set with rules: says what a token claims, or why it is not to be believed (RFC 7519 §7.2, RFC 8725).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::algorithm::Algorithm;
use super::document::Keys;
use super::json::Object;
use super::set::KeySet;
use super::token::{Malformed, TOKEN_BYTES_MAX, Token};
use super::verified::{Known, Verified};

/// What a token must be, beside well signed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Empty: all that fit the keys.
    pub algorithms: Vec<Algorithm>,
    /// Empty: any.
    pub issuers: Vec<String>,
    /// One of them must be in `aud`; empty: any.
    pub audiences: Vec<String>,
    pub required_claims: Vec<String>,
    /// For `exp` and `nbf`, in seconds.
    pub leeway_s: u32,
    /// Verified tokens to remember.
    pub cache: u32,
}

/// Rules that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    #[error("`{0}` is no algorithm that tokens are verified with")]
    Algorithm(String),
    #[error("the key set is used with {0} different rules already")]
    TooMany(usize),
}

/// Why a token is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is no signed token, or one with a header that must not be trusted")]
    Malformed,
    #[error("its algorithm is not allowed, or not the key's")]
    Algorithm,
    #[error("the key set has no key of its id")]
    UnknownKey,
    #[error("the signature is not the key's")]
    Signature,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYetValid,
    #[error("its issuer is another")]
    Issuer,
    #[error("its audience is another")]
    Audience,
    #[error("a required claim is missing")]
    MissingClaim,
    #[error("the key set could not be loaded so far")]
    Unavailable,
}

/// Verifies tokens by one set and one list of rules. Each holder has its own, and they share what they remember.
pub struct Verifier {
    set: Arc<KeySet>,
    shared: Arc<Shared>,
    /// The keys as they were last seen, and their generation: while it lasts, nobody has to ask the set for them.
    keys: Option<Arc<Keys>>,
    generation: u64,
}

/// What verifiers of one set and the same rules share.
pub(super) struct Shared {
    rules: Rules,
    verified: Option<Verified>,
}

impl Rules {
    /// Algorithms by their registered names.
    ///
    /// # Errors
    /// [`RulesError::Algorithm`] for the first name that is none.
    pub fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, RulesError> {
        let known = |name: &String| Algorithm::named(name).ok_or_else(|| RulesError::Algorithm(name.clone()));
        names.iter().map(known).collect()
    }
}

impl Shared {
    pub(super) fn new(rules: Rules) -> Self {
        let verified = Verified::new(usize::try_from(rules.cache).unwrap_or(usize::MAX));
        Self { rules, verified }
    }
}

impl Verifier {
    pub(super) fn new(set: Arc<KeySet>, shared: Arc<Shared>) -> Self {
        Self { set, shared, keys: None, generation: 0 }
    }

    /// The claims of a token, as JSON. At the moment a token names a key that the set does not have, the set is loaded
    /// again, and this waits for it: a key that was added a moment ago refuses nobody.
    ///
    /// # Errors
    /// Any [`Refusal`].
    pub async fn verify(&mut self, token: &str) -> Result<Arc<str>, Refusal> {
        let mut outcome = self.verify_at(token, unix_seconds());
        // Twice: the first load may have been under way before the key was added.
        for _ in 0..2 {
            let keys_are_missing = matches!(outcome, Err(Refusal::UnknownKey | Refusal::Unavailable));
            if !keys_are_missing {
                break;
            }
            // A load that others waited for may have ended since the keys were looked at, and the next one is not due.
            let is_behind = || self.generation != self.set.generation();
            if !is_behind() && !self.set.reload().await && !is_behind() {
                break;
            }
            outcome = self.verify_at(token, unix_seconds());
        }
        outcome
    }

    /// The same by the keys that are there, at this time (seconds since 1970).
    pub(super) fn verify_at(&mut self, text: &str, now: u64) -> Result<Arc<str>, Refusal> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        self.catch_up();
        let Some(keys) = self.keys.as_deref() else { return Err(Refusal::Unavailable) };
        let Some(verified) = &self.shared.verified else {
            return verify(text, keys, &self.shared.rules, now).map(|(claims, _)| claims.into());
        };
        if let Some(claims) = verified.find(text.as_bytes(), self.generation, now) {
            return Ok(claims);
        }
        let (claims, until) = verify(text, keys, &self.shared.rules, now)?;
        let claims: Arc<str> = claims.into();
        verified.remember(text.as_bytes(), Known { keys: self.generation, until, claims: claims.clone() });
        Ok(claims)
    }

    /// The number of a token that is remembered: its own, until it is verified anew.
    pub fn known(&mut self, token: &[u8]) -> Option<u64> {
        self.catch_up();
        self.shared.verified.as_ref()?.number(token, self.generation, unix_seconds())
    }

    fn catch_up(&mut self) {
        if self.generation != self.set.generation() {
            (self.generation, self.keys) = self.set.keys();
        }
    }
}

/// The claims, and until when they hold.
fn verify(text: &str, keys: &Keys, rules: &Rules, now: u64) -> Result<(String, u64), Refusal> {
    let token = Token::read(text)?;
    let allowed = |algorithm: &Algorithm| rules.algorithms.is_empty() || rules.algorithms.contains(algorithm);
    let algorithm = token.algorithm.filter(allowed).ok_or(Refusal::Algorithm)?;
    check_signature(&token, algorithm, keys)?;
    // Only now: what nobody vouches for is not read.
    let (text, claims) = token.claims()?;
    let until = check_times(&claims, rules, now)?;
    check_names(&claims, rules)?;
    Ok((text, until))
}

fn check_signature(token: &Token<'_>, algorithm: Algorithm, keys: &Keys) -> Result<(), Refusal> {
    let mut refusal = Refusal::UnknownKey;
    let mut tries = 0;
    for bound in keys.of_id(token.key_id.as_deref()) {
        if refusal == Refusal::UnknownKey {
            refusal = Refusal::Algorithm;
        }
        let Some((_, key)) = bound.iter().find(|(fitting, _)| *fitting == algorithm) else { continue };
        // A token that names no key must not cost as much as a set has keys.
        tries += 1;
        if tries > TRIES_MAX {
            break;
        }
        if key.verifies(token.signed, &token.signature) {
            return Ok(());
        }
        refusal = Refusal::Signature;
    }
    Err(refusal)
}

/// `exp` and `nbf` (RFC 7519 §4.1). Returns until when the token may be remembered.
fn check_times(claims: &Object, rules: &Rules, now: u64) -> Result<u64, Refusal> {
    let leeway = f64::from(rules.leeway_s);
    #[allow(clippy::cast_precision_loss, reason = "seconds of this age fit")]
    let at = now as f64;
    if let Some(not_before) = time(claims, "nbf")?
        && at + leeway < not_before
    {
        return Err(Refusal::NotYetValid);
    }
    let remembered = now.saturating_add(REMEMBERED_S_MAX);
    let Some(expires) = time(claims, "exp")? else { return Ok(remembered) };
    if at >= expires + leeway {
        return Err(Refusal::Expired);
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies ahead, and the cast saturates")]
    let expires = (expires + leeway) as u64;
    Ok(expires.min(remembered))
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
fn time(claims: &Object, name: &str) -> Result<Option<f64>, Refusal> {
    let number = claims.get(name).map(|value| value.as_f64().ok_or(Refusal::Malformed));
    number.transpose()
}

fn check_names(claims: &Object, rules: &Rules) -> Result<(), Refusal> {
    let is_one_of =
        |value: &Value, names: &[String]| value.as_str().is_some_and(|text| names.iter().any(|n| n == text));
    if !rules.issuers.is_empty() && !claims.get("iss").is_some_and(|issuer| is_one_of(issuer, &rules.issuers)) {
        return Err(Refusal::Issuer);
    }
    let is_for_us = |audience: &Value| match audience {
        Value::Array(list) => list.iter().any(|one| is_one_of(one, &rules.audiences)),
        one => is_one_of(one, &rules.audiences),
    };
    if !rules.audiences.is_empty() && !claims.get("aud").is_some_and(is_for_us) {
        return Err(Refusal::Audience);
    }
    let is_there = |name: &String| claims.get(name).is_some_and(|value| !value.is_null());
    if rules.required_claims.iter().all(is_there) { Ok(()) } else { Err(Refusal::MissingClaim) }
}

impl From<Malformed> for Refusal {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Keys that a token without a key's id is tried with.
const TRIES_MAX: usize = 4;
/// Tokens that live longer are verified again after this time.
const REMEMBERED_S_MAX: u64 = 3600;
