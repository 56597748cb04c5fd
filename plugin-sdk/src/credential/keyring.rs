//! Values under secrets, found in a time that tells nothing of the secrets.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

/// Values under secrets, which are bytes, such as clients under their keys. How long it takes to find nothing says nothing of the secrets that are there:
/// they are looked up by a hash whose seed nobody knows, and what that finds is compared as a whole.
///
/// ```
/// use witgate_plugin::credential::Keyring;
///
/// let mut clients = Keyring::default();
/// assert_eq!(clients.insert("s3cret", "ada"), None);
/// assert_eq!(clients.insert("s3cret", "bob"), Some("ada"));
/// assert_eq!((clients.get("s3cret"), clients.get("s3cre7")), (Some(&"bob"), None));
/// assert_eq!((clients.len(), clients.is_empty()), (1, false));
/// ```
pub struct Keyring<T> {
    seed: RandomState,
    entries: HashTable<Entry<T>>,
}

struct Entry<T> {
    hash: u64,
    secret: Box<[u8]>,
    value: T,
}

impl<T> Keyring<T> {
    /// Put a value under a secret, and give back the one that was there.
    pub fn insert(&mut self, secret: impl AsRef<[u8]>, value: T) -> Option<T> {
        let secret = secret.as_ref();
        let hash = self.seed.hash_one(secret);
        match self.entries.entry(hash, |entry| entry.is_of(hash, secret), |entry| entry.hash) {
            Slot::Occupied(mut slot) => Some(std::mem::replace(&mut slot.get_mut().value, value)),
            Slot::Vacant(slot) => {
                slot.insert(Entry { hash, secret: secret.into(), value });
                None
            }
        }
    }

    /// The value under a secret.
    pub fn get(&self, secret: impl AsRef<[u8]>) -> Option<&T> {
        let secret = secret.as_ref();
        let hash = self.seed.hash_one(secret);
        self.entries.find(hash, |entry| entry.is_of(hash, secret)).map(|entry| &entry.value)
    }

    /// How many secrets there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no secret.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Entry<T> {
    /// The table offers entries of which it knows a few bits of the hash: only one with the same hash is compared.
    fn is_of(&self, hash: u64, secret: &[u8]) -> bool {
        self.hash == hash && equals(&self.secret, secret)
    }
}

impl<T> Default for Keyring<T> {
    fn default() -> Self {
        Keyring { seed: RandomState::new(), entries: HashTable::new() }
    }
}

/// Without what nobody should see.
impl<T> fmt::Debug for Keyring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// As slow for one that is almost right as for any other of its length. A word at a time: wasm has no faster comparison to offer.
fn equals(one: &[u8], other: &[u8]) -> bool {
    let (words, rest) = one.as_chunks::<8>();
    let (other_words, other_rest) = other.as_chunks::<8>();
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
        let text = b"0123456789abcdefghi";
        for length in 0..=text.len() {
            let one = &text[..length];
            let longer = [one, b"x"].concat();
            let mut other = one.to_vec();
            assert!(equals(one, &other));
            assert!(!equals(one, &longer) && !equals(&longer, one));
            for at in 0..length {
                other[at] ^= 1;
                assert!(!equals(one, &other), "{other:?}");
                other[at] ^= 1;
            }
        }
    }
}
