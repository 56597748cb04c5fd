//! Values under secrets, found in a time that tells nothing of the secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// Values under secrets, such as clients under their keys. How long it takes to find nothing says nothing of the secrets that are there:
/// they are looked up by a hash whose seed nobody knows, and what that finds is compared as a whole.
///
/// ```
/// use witgate_plugin::credential::Keyring;
///
/// let mut clients = Keyring::default();
/// assert_eq!(clients.insert("s3cret", "ada"), None);
/// assert_eq!(clients.insert("s3cret", "bob"), Some("ada"));
/// assert_eq!((clients.get("s3cret"), clients.get("s3cre7")), (Some(&"bob"), None));
/// ```
pub struct Keyring<T> {
    seed: RandomState,
    /// By their hashes, of which two seldom are the same.
    by_hash: BTreeMap<u64, Vec<(Box<str>, T)>>,
}

impl<T> Keyring<T> {
    /// Put a value under a secret, and give back the one that was there.
    pub fn insert(&mut self, secret: &str, value: T) -> Option<T> {
        let alike = self.by_hash.entry(self.seed.hash_one(secret)).or_default();
        match alike.iter_mut().find(|(known, _)| equals(known, secret)) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                alike.push((secret.into(), value));
                None
            }
        }
    }

    /// The value under a secret.
    pub fn get(&self, secret: &str) -> Option<&T> {
        let alike = self.by_hash.get(&self.seed.hash_one(secret))?;
        alike.iter().find(|(known, _)| equals(known, secret)).map(|(_, value)| value)
    }
}

impl<T> Default for Keyring<T> {
    fn default() -> Self {
        Keyring { seed: RandomState::new(), by_hash: BTreeMap::new() }
    }
}

/// Without what nobody should see.
impl<T> fmt::Debug for Keyring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// As slow for one that is almost right as for any other of its length. A word at a time: wasm has no faster comparison to offer.
fn equals(one: &str, other: &str) -> bool {
    let (words, rest) = one.as_bytes().as_chunks::<8>();
    let (other_words, other_rest) = other.as_bytes().as_chunks::<8>();
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let differing = words.iter().zip(other_words).fold(0, |found, (one, other)| found | (word(one) ^ word(other)));
    let rest_differing = rest.iter().zip(other_rest).fold(0, |found, (one, other)| found | (one ^ other));
    one.len() == other.len() && differing == 0 && rest_differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_equal_whose_bytes_all_are() {
        let text = "0123456789abcdefghi";
        for length in 0..=text.len() {
            let one = &text[..length];
            assert!(equals(one, String::from(one).as_str()));
            assert!(!equals(one, &format!("{one}x")) && !equals(&format!("{one}x"), one));
            for at in 0..length {
                let other = format!("{}x{}", &one[..at], &one[at + 1..]);
                assert!(!equals(one, &other), "{other}");
            }
        }
    }
}
