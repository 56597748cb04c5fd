//! Hashes and random bytes, at the speed of the machine: some hundred times that of the same code in a plugin. Needs no grant.
//!
//! ```
//! use witgate_plugin::crypto::{self, Hash};
//!
//! # fn check(body: &[u8], key: &[u8], signature: &[u8]) -> bool {
//! crypto::equal(&crypto::hmac(Hash::Sha256, key, body), signature)
//! # }
//! ```

use crate::host::crypto;

pub use crate::host::crypto::Hash;

/// The hash of `data` (FIPS 180-4): 32, 48 or 64 bytes.
///
/// ```
/// use witgate_plugin::crypto::{Hash, digest};
///
/// # fn etag(body: &[u8]) -> Vec<u8> {
/// digest(Hash::Sha256, body)
/// # }
/// ```
pub fn digest(algorithm: Hash, data: &[u8]) -> Vec<u8> {
    crypto::digest(algorithm, data)
}

/// The HMAC (RFC 2104) of `data`. A key that the configuration keeps as a secret is better used by
/// [`Secret::hmac`](crate::secret::Secret::hmac), which never shows it to the plugin.
///
/// ```
/// use witgate_plugin::crypto::{Hash, hmac};
///
/// # fn sign(data: &[u8], key: &[u8]) -> Vec<u8> {
/// hmac(Hash::Sha512, key, data)
/// # }
/// ```
pub fn hmac(algorithm: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    crypto::hmac(algorithm, key, data)
}

/// Whether both are the same, in a time that does not tell where they differ.
///
/// ```
/// # fn check(mac: &[u8], given: &[u8]) -> bool {
/// witgate_plugin::crypto::equal(mac, given)
/// # }
/// ```
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    crypto::equal(a, b)
}

/// Bytes that nobody can foresee, at most 1,024 of them.
///
/// ```
/// # fn new_token() -> [u8; 16] {
/// witgate_plugin::crypto::random()
/// # }
/// ```
pub fn random<const LENGTH: usize>() -> [u8; LENGTH] {
    const { assert!(LENGTH <= 1024, "the gateway gives 1,024 random bytes at a time") };
    let bytes = crypto::random(LENGTH as u32);
    bytes.try_into().expect("the gateway gives as many bytes as it is asked for")
}
