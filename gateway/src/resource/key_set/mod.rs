//! Key sets: the keys that JSON Web Tokens are verified with, from a file, a URL or one shared secret.
//!
//! ```text
//! algorithm   the algorithms of JWS, and a key that is bound to one
//! json        JSON in which nothing is said twice
//! document    a JWK Set -> keys
//! small_order points that must not be keys
//! set         a named set, kept fresh in the background
//! token       a token's text -> its parts, nothing of it believed yet
//! verifier    a set with rules: token -> claims
//! verified    tokens that were verified before
//! ```

mod algorithm;
mod json;
mod document;
mod small_order;
mod set;
mod token;
mod verifier;
mod verified;

pub use algorithm::{Algorithm, SecretAlgorithm};
pub use set::{KeySet, KeySetError, KeySetSource, KeySetStatus};
pub use verifier::{Refusal, Rules, RulesError, Verifier};

#[cfg(test)]
mod tests;
