//! What a component is known by: the SHA-256 of its bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A component's SHA-256 (FIPS 180-4). Displayed and read in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// A text that is no SHA-256 in hex.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a sha256: 64 hex digits")]
pub struct DigestError(String);

impl Digest {
    pub fn of(component: &[u8]) -> Self {
        Self(Sha256::digest(component).into())
    }

    /// Its first 12 hex digits: what logs and metrics call a version.
    pub fn label(&self) -> String {
        self.to_string()[..LABEL_DIGITS].to_owned()
    }

    /// The same, for those who write it often.
    pub fn short(&self) -> [u8; LABEL_DIGITS] {
        let digit = |at: usize| b"0123456789abcdef"[usize::from(self.0[at / 2] >> (4 - at % 2 * 4) & 0xf)];
        std::array::from_fn(digit)
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let fail = || DigestError(text.to_owned());
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(fail());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| fail())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
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
        assert_eq!(&digest.short(), b"ba7816bf8f01");
        assert_eq!(digest.to_string().parse::<Digest>().ok(), Some(digest));
        assert_eq!(digest.to_string().to_uppercase().parse::<Digest>().ok(), Some(digest));
    }

    #[test]
    fn nothing_else_is_read_as_one() {
        let hex = Digest::of(b"abc").to_string();
        for text in ["", "abc", &hex[1..], &format!("{hex}0"), &hex.replace('b', "g"), &hex.replace("ba", "é")] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
