//! Tokens that were verified before: a bounded memory, in shards, so that workers seldom meet at a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::fast::RandomState;

/// What is known of a token.
#[derive(Clone)]
pub(super) struct Known {
    /// The generation of keys that verified it: with other keys it must be verified again.
    pub(super) keys: u64,
    /// Seconds since 1970.
    pub(super) until: u64,
    /// As JSON.
    pub(super) claims: Arc<str>,
}

/// Remembers the tokens that were seen last, about so many as it was made for.
pub(super) struct Verified {
    shards: Box<[Mutex<Shard>]>,
    /// Tokens of one generation of a shard.
    half: usize,
}

/// By the tokens themselves: to compare them is cheaper than a cryptographic digest of each. It tells nobody anything: whoever
/// meets a token here by its hash, whose seed is the process's own, has sent all of it.
///
/// Two generations: what is young grows, takes over what is asked for again, and takes the old one's place when it is
/// full. So what was not asked for during one life of a generation is forgotten, and nothing has to be sorted.
#[derive(Default)]
struct Shard {
    young: HashMap<Box<str>, Known, RandomState>,
    old: HashMap<Box<str>, Known, RandomState>,
}

impl Verified {
    /// `None` for a memory of nothing.
    pub(super) fn new(tokens: usize) -> Option<Self> {
        let tokens = tokens.min(TOKENS_MAX);
        let shards = tokens.div_ceil(2 * SHARD_TOKENS_MIN).clamp(1, SHARDS_MAX);
        let half = tokens.div_ceil(2 * shards);
        (tokens > 0).then(|| Self { shards: (0..shards).map(|_| Mutex::default()).collect(), half })
    }

    pub(super) fn find(&self, token: &str, keys: u64, now: u64) -> Option<Arc<str>> {
        let mut shard = self.shard(token).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shard.young.get(token) {
            return known.serves(keys, now).then(|| known.claims.clone());
        }
        let (token, known) = shard.old.remove_entry(token)?;
        if !known.serves(keys, now) {
            return None;
        }
        let claims = known.claims.clone();
        shard.insert(token, known, self.half);
        Some(claims)
    }

    pub(super) fn remember(&self, token: &str, known: Known) {
        if known.claims.len() <= CLAIMS_BYTES_MAX && token.len() <= TOKEN_BYTES_MAX {
            self.shard(token).lock().unwrap_or_else(PoisonError::into_inner).insert(token.into(), known, self.half);
        }
    }

    fn shard(&self, token: &str) -> &Mutex<Shard> {
        // The signature's letters are as good as random; the last one may hold fewer bits.
        let letters = token.as_bytes().iter().rev().skip(1).take(2);
        &self.shards[letters.map(|letter| usize::from(*letter)).sum::<usize>() % self.shards.len()]
    }
}

impl Shard {
    fn insert(&mut self, token: Box<str>, known: Known, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(&token) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, known);
    }
}

impl Known {
    fn serves(&self, keys: u64, now: u64) -> bool {
        self.keys == keys && now < self.until
    }
}

/// Of one verifier.
const TOKENS_MAX: usize = 16_384;
/// Longer tokens, and those with longer claims, are verified each time.
const TOKEN_BYTES_MAX: usize = 4 << 10;
const CLAIMS_BYTES_MAX: usize = 4 << 10;
const SHARDS_MAX: usize = 16;
const SHARD_TOKENS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn token(number: u32) -> String {
        format!("header.claims.{number:08}")
    }

    fn known(keys: u64, until: u64) -> Known {
        Known { keys, until, claims: "{}".into() }
    }

    #[test]
    fn a_token_is_known_until_it_expires_or_keys_change() {
        let verified = Verified::new(8).unwrap();
        verified.remember(&token(1), known(3, 100));
        assert_eq!(verified.find(&token(1), 3, 99).as_deref(), Some("{}"));
        assert_eq!(verified.find(&token(1), 3, 100), None);
        assert_eq!(verified.find(&token(1), 4, 99), None);
        assert_eq!(verified.find(&token(2), 3, 99), None);
    }

    #[test]
    fn it_remembers_so_many_and_those_that_are_asked_for() {
        for size in [1, 2, 10, 100, 1000, 100_000] {
            let verified = Verified::new(size).unwrap();
            for number in 0..40_000 {
                verified.remember(&token(number), known(1, 100));
                verified.find(&token(number), 1, 0).unwrap();
                // One that everybody uses stays, as soon as there is room for more than one.
                if number == 0 || size >= 10 {
                    verified.find(&token(0), 1, 0).unwrap();
                }
            }
            let held: usize = verified
                .shards
                .iter()
                .map(|shard| shard.lock().unwrap())
                .map(|shard| shard.young.len() + shard.old.len())
                .sum();
            let most = size.min(TOKENS_MAX);
            assert!(held <= most + 2 * verified.shards.len() && held * 3 >= most, "{held} of {size}");
        }
        assert!(Verified::new(0).is_none());
    }

    #[test]
    fn what_is_long_is_not_kept() {
        let verified = Verified::new(8).unwrap();
        let claims = "x".repeat(CLAIMS_BYTES_MAX + 1).into();
        verified.remember(&token(1), Known { claims, ..known(1, 100) });
        assert_eq!(verified.find(&token(1), 1, 0), None);
        for (length, is_kept) in [(TOKEN_BYTES_MAX, true), (TOKEN_BYTES_MAX + 1, false)] {
            let long = "x".repeat(length);
            verified.remember(&long, known(1, 100));
            assert_eq!(verified.find(&long, 1, 0).is_some(), is_kept, "{length}");
        }
    }
}
