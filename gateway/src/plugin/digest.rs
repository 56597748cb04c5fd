//! What a component is known by: the SHA-256 of its bytes.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A component's SHA-256 (FIPS 180-4). Displayed in lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(component: &[u8]) -> Self {
        Self(Sha256::digest(component).into())
    }

    /// Its first 12 hex digits: what logs and metrics call a version.
    pub fn label(&self) -> String {
        self.to_string()[..LABEL_DIGITS].to_owned()
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

const LABEL_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sha256_in_hex() {
        // FIPS 180-4's first example.
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.label(), "ba7816bf8f01");
    }
}
