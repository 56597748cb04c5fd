//! Tokens that were verified before: a bounded memory, in shards, so that workers seldom meet at a lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// A token that is remembered, with the number that it got for that.
struct Numbered {
    known: Known,
    number: u64,
}

/// Remembers the tokens that were seen last, about so many as it was made for.
pub(super) struct Verified {
    shards: Box<[Mutex<Shard>]>,
    /// The next number: one for each time that a token is remembered.
    next: AtomicU64,
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
    young: HashMap<Box<[u8]>, Numbered, RandomState>,
    old: HashMap<Box<[u8]>, Numbered, RandomState>,
}

impl Verified {
    /// `None` for a memory of nothing.
    pub(super) fn new(tokens: usize) -> Option<Self> {
        let tokens = tokens.min(TOKENS_MAX);
        let shards = tokens.div_ceil(2 * SHARD_TOKENS_MIN).clamp(1, SHARDS_MAX);
        let half = tokens.div_ceil(2 * shards);
        let empty = || (0..shards).map(|_| Mutex::default()).collect();
        (tokens > 0).then(|| Self { shards: empty(), next: AtomicU64::default(), half })
    }

    /// The claims of a token that is remembered.
    pub(super) fn find(&self, token: &[u8], keys: u64, now: u64) -> Option<Arc<str>> {
        self.with(token, keys, now, |found| found.known.claims.clone())
    }

    /// Its number.
    pub(super) fn number(&self, token: &[u8], keys: u64, now: u64) -> Option<u64> {
        self.with(token, keys, now, |found| found.number)
    }

    fn with<T>(&self, token: &[u8], keys: u64, now: u64, read: impl FnOnce(&Numbered) -> T) -> Option<T> {
        let mut shard = self.shard(token).lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = shard.young.get(token) {
            return found.known.serves(keys, now).then(|| read(found));
        }
        let (token, found) = shard.old.remove_entry(token)?;
        if !found.known.serves(keys, now) {
            return None;
        }
        let value = read(&found);
        shard.insert(token, found, self.half);
        Some(value)
    }

    pub(super) fn remember(&self, token: &[u8], known: Known) {
        if known.claims.len() <= CLAIMS_BYTES_MAX && token.len() <= TOKEN_BYTES_MAX {
            let numbered = Numbered { known, number: self.next.fetch_add(1, Ordering::Relaxed) };
            self.shard(token).lock().unwrap_or_else(PoisonError::into_inner).insert(token.into(), numbered, self.half);
        }
    }

    fn shard(&self, token: &[u8]) -> &Mutex<Shard> {
        // The signature's letters are as good as random; the last one may hold fewer bits.
        let letters = token.iter().rev().skip(1).take(2);
        &self.shards[letters.map(|letter| usize::from(*letter)).sum::<usize>() % self.shards.len()]
    }
}

impl Shard {
    fn insert(&mut self, token: Box<[u8]>, found: Numbered, half: usize) {
        if self.young.len() >= half && !self.young.contains_key(&token) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, found);
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

    fn token(number: u32) -> Vec<u8> {
        format!("header.claims.{number:08}").into_bytes()
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
    fn a_token_has_a_number_of_its_own_until_it_is_verified_anew() {
        let verified = Verified::new(8).unwrap();
        let number = |token: &[u8]| verified.number(token, 1, 0);
        assert_eq!(number(&token(1)), None);
        verified.remember(&token(1), known(1, 100));
        verified.remember(&token(2), known(1, 100));
        let (first, second) = (number(&token(1)).unwrap(), number(&token(2)).unwrap());
        assert_ne!(first, second);
        assert_eq!((number(&token(1)), number(&token(2))), (Some(first), Some(second)));
        assert_eq!((verified.number(&token(1), 2, 0), verified.number(&token(1), 1, 100)), (None, None));
        verified.remember(&token(1), known(1, 100));
        assert!(![first, second].contains(&number(&token(1)).unwrap()));
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
            let long = vec![b'x'; length];
            verified.remember(&long, known(1, 100));
            assert_eq!(verified.find(&long, 1, 0).is_some(), is_kept, "{length}");
        }
    }
}
