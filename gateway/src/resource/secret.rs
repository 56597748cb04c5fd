//! Secrets: bytes from the environment or a file, read once for a snapshot. They are wiped when dropped, and no message or
//! `Debug` shows them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};

/// A secret of the configuration.
#[derive(Debug)]
pub struct Secret {
    pub name: Arc<str>,
    bytes: SecretSlice<u8>,
}

/// Where a secret's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The environment variable of this name.
    Env(String),
    /// A file; one line break at its end does not belong to the secret.
    File(PathBuf),
}

/// Why there is no secret. None of these says what the bytes are.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the environment variable `{0}` is not set")]
    NoVariable(String),
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("it is empty")]
    Empty,
    #[error("it has more than {SECRET_BYTES_MAX} bytes")]
    TooLarge,
}

impl Secret {
    /// Reads the secret now.
    ///
    /// # Errors
    /// Any [`SecretError`].
    pub fn load(name: Arc<str>, source: &SecretSource) -> Result<Self, SecretError> {
        let bytes = match source {
            SecretSource::Env(variable) => {
                let value = std::env::var_os(variable).ok_or_else(|| SecretError::NoVariable(variable.clone()))?;
                Zeroizing::new(value.into_encoded_bytes())
            }
            SecretSource::File(path) => {
                read(path).map_err(|error| SecretError::Read { path: path.display().to_string(), error })?
            }
        };
        Self::new(name, without_line_break(&bytes))
    }

    /// A secret of these bytes.
    ///
    /// # Errors
    /// [`SecretError::Empty`], [`SecretError::TooLarge`].
    pub fn new(name: Arc<str>, bytes: &[u8]) -> Result<Self, SecretError> {
        match bytes.len() {
            0 => Err(SecretError::Empty),
            // A vector of just this size becomes the secret where it lies, and leaves no copy behind.
            1..=SECRET_BYTES_MAX => Ok(Self { name, bytes: SecretSlice::from(bytes.to_vec()) }),
            _ => Err(SecretError::TooLarge),
        }
    }

    /// The bytes, for a use that must not keep them.
    pub fn expose(&self) -> &[u8] {
        self.bytes.expose_secret()
    }

    /// Whether `data` is the secret, in a time that tells its length at most.
    pub fn equals(&self, data: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(self.expose(), data).is_ok()
    }

    /// Whether the two could be told apart.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.equals(other.expose())
    }
}

/// At most one byte more than a secret with its line break may have, so that a wrong path to a huge file costs nothing.
fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // With room for all of it: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_BYTES_MAX + 1));
    File::open(path)?.take(READ_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn without_line_break(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Far above any key or token.
const SECRET_BYTES_MAX: usize = 64 << 10;
const READ_BYTES_MAX: usize = SECRET_BYTES_MAX + 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn from_file(text: &[u8]) -> Result<Secret, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, text).unwrap();
        Secret::load("key".into(), &SecretSource::File(path))
    }

    #[test]
    fn a_file_gives_its_bytes_without_the_last_line_break() {
        for (text, secret) in [
            (&b"abc"[..], &b"abc"[..]),
            (b"abc\n", b"abc"),
            (b"abc\r\n", b"abc"),
            (b"a\nb\n\n", b"a\nb\n"),
            (b"\xff", b"\xff"),
        ] {
            assert_eq!(from_file(text).unwrap().expose(), secret);
        }
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        assert!(matches!(from_file(b""), Err(SecretError::Empty)));
        assert!(matches!(from_file(b"\n"), Err(SecretError::Empty)));
        let largest = vec![b'x'; SECRET_BYTES_MAX];
        assert_eq!(from_file(&[&largest[..], b"\r\n"].concat()).unwrap().expose(), largest);
        assert!(matches!(from_file(&[&largest[..], b"x"].concat()), Err(SecretError::TooLarge)));
        assert!(matches!(from_file(&[&largest[..], &largest].concat()), Err(SecretError::TooLarge)));
        let none = SecretSource::Env("WITGATE_TEST_VARIABLE_THAT_NOBODY_SETS".to_owned());
        let error = Secret::load("key".into(), &none).unwrap_err();
        assert_eq!(error.to_string(), "the environment variable `WITGATE_TEST_VARIABLE_THAT_NOBODY_SETS` is not set");
        let gone = Secret::load("key".into(), &SecretSource::File("no/such/file".into())).unwrap_err();
        assert!(gone.to_string().starts_with("cannot read no/such/file: "), "{gone}");
    }

    #[test]
    fn nothing_that_is_printed_shows_it() {
        let secret = Secret::new("key".into(), b"hunter2").unwrap();
        let shown = format!("{secret:?}");
        assert!(shown.contains("key") && !shown.contains("hunter2") && !shown.contains("104"), "{shown}");
    }

    #[test]
    fn it_is_compared_as_a_whole() {
        let secret = Secret::new("key".into(), b"hunter2").unwrap();
        assert!(secret.equals(b"hunter2"));
        for other in [&b"hunter3"[..], b"hunter", b"hunter22", b""] {
            assert!(!secret.equals(other));
        }
        assert!(secret.is_same(&Secret::new("key".into(), b"hunter2").unwrap()));
        assert!(!secret.is_same(&Secret::new("key".into(), b"hunter3").unwrap()));
        assert!(!secret.is_same(&Secret::new("other".into(), b"hunter2").unwrap()));
    }
}
