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

/// As slow for one that is almost right as for any other of its length.
fn equals(one: &str, other: &str) -> bool {
    let differences = || one.bytes().zip(other.bytes()).fold(0, |found, (one, other)| found | (one ^ other));
    one.len() == other.len() && differences() == 0
}
