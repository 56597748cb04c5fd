//! Secrets of the gateway's configuration, used by name: a plugin signs and compares with them and never sees them.
//!
//! Needs `grants: { secrets: [NAME] }`, and to read one `reveal: [NAME]` beside it.
//!
//! ```
//! use witgate_plugin::crypto::{self, Hash};
//! use witgate_plugin::secret::Secret;
//!
//! # fn check(key: &Secret, body: &[u8], signature: &[u8]) -> bool {
//! crypto::equal(&key.hmac(Hash::Sha256, body), signature)
//! # }
//! ```

use crate::Error;
use crate::crypto::Hash;
use crate::host::secrets;

/// A secret of the configuration, opened.
#[derive(Debug)]
pub struct Secret(secrets::Secret);

impl Secret {
    /// Open a secret by its name in the configuration; do it in [`Plugin::configure`](crate::Plugin::configure), so that a wrong
    /// name is found before any request comes.
    ///
    /// # Errors
    ///
    /// The plugin's declaration is not granted this secret.
    ///
    /// ```
    /// # use witgate_plugin::{Error, secret::Secret};
    /// # fn configure() -> Result<Secret, Error> {
    /// Secret::open("signing-key")
    /// # }
    /// ```
    pub fn open(name: &str) -> Result<Secret, Error> {
        secrets::Secret::open(name).map(Secret).map_err(Error::new)
    }

    /// The HMAC (RFC 2104) of `data` with the secret as key.
    ///
    /// ```
    /// # use witgate_plugin::{crypto::Hash, secret::Secret};
    /// # fn sign(key: &Secret, data: &[u8]) -> Vec<u8> {
    /// key.hmac(Hash::Sha256, data)
    /// # }
    /// ```
    pub fn hmac(&self, algorithm: Hash, data: &[u8]) -> Vec<u8> {
        self.0.hmac(algorithm, data)
    }

    /// Whether `data` is the secret, in a time that does not tell where they differ.
    ///
    /// ```
    /// # use witgate_plugin::secret::Secret;
    /// # fn may_pass(token: &Secret, given: &str) -> bool {
    /// token.equals(given.as_bytes())
    /// # }
    /// ```
    pub fn equals(&self, data: &[u8]) -> bool {
        self.0.equals(data)
    }

    /// The secret itself. The gateway notes in its audit log that this plugin reads it.
    ///
    /// # Errors
    ///
    /// The plugin's declaration is not granted to reveal this secret.
    ///
    /// ```
    /// # use witgate_plugin::{Error, secret::Secret};
    /// # fn authorization(token: &Secret) -> Result<String, Error> {
    /// Ok(format!("Bearer {}", String::from_utf8_lossy(&token.reveal()?)))
    /// # }
    /// ```
    pub fn reveal(&self) -> Result<Vec<u8>, Error> {
        self.0.reveal().map_err(Error::new)
    }
}
