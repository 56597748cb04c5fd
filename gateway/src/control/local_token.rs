//! The local token: made on the first start, and found by the command line of the same user in the state folder.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::state_dir::StateDir;

/// The secret of the token [`LOCAL_TOKEN`].
pub struct LocalToken(String);

/// Why there is no local token.
#[derive(Debug, thiserror::Error)]
pub enum LocalTokenError {
    #[error("cannot read or write the local token {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("there is no local token {0}: a gateway with an `admin` server makes it when it starts")]
    Missing(PathBuf),
    #[error("others may read the local token {0}, and with it change what is served (mend: remove it and restart)")]
    Mode(PathBuf),
    #[error("the local token {0} is damaged (mend: remove it and restart)")]
    Damaged(PathBuf),
}

impl LocalToken {
    /// The token of a state folder, made if it is not there: 32 random bytes, in a file that only this user may read.
    ///
    /// # Errors
    /// Any [`LocalTokenError`] but `Missing`.
    pub fn open(state_dir: &StateDir) -> Result<Self, LocalTokenError> {
        let path = file(state_dir.path());
        match Self::read(state_dir.path()) {
            Err(LocalTokenError::Missing(_)) => {}
            read => return read,
        }
        make(&path).map_err(|error| LocalTokenError::Io { path, error })?;
        Self::read(state_dir.path())
    }

    /// The token that a gateway made in this state folder.
    ///
    /// # Errors
    /// Any [`LocalTokenError`].
    pub fn read(state_dir: &Path) -> Result<Self, LocalTokenError> {
        let path = file(state_dir);
        let fail = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => LocalTokenError::Missing(path.clone()),
            _ => LocalTokenError::Io { path: path.clone(), error },
        };
        let text = fs::read_to_string(&path).map_err(fail)?;
        if fs::metadata(&path).map_err(fail)?.mode() & 0o077 != 0 {
            return Err(LocalTokenError::Mode(path));
        }
        let secret = text.trim_end();
        let whole = URL_SAFE_NO_PAD.decode(secret).is_ok_and(|bytes| bytes.len() == SECRET_BYTES);
        if whole { Ok(Self(secret.to_owned())) } else { Err(LocalTokenError::Damaged(path)) }
    }

    pub fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LocalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalToken(…)")
    }
}

/// Writes beside the name, then gives the name, which only one of several processes can: the others read that one's.
fn make(path: &Path) -> io::Result<()> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    writeln!(file, "{}", URL_SAFE_NO_PAD.encode(bytes))?;
    file.sync_all()?;
    let named = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match named {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("admin-token")
}

/// What the local token is called in the audit log.
pub const LOCAL_TOKEN: &str = "local";
const SECRET_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn state_dir() -> (tempfile::TempDir, StateDir) {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = StateDir::open(Some(&folder.path().join("state"))).unwrap();
        (folder, state_dir)
    }

    #[test]
    fn it_is_made_once_and_found_afterwards() {
        let (_folder, state_dir) = state_dir();
        assert!(matches!(LocalToken::read(state_dir.path()), Err(LocalTokenError::Missing(_))));
        let made = LocalToken::open(&state_dir).unwrap();
        assert_eq!(made.secret().len(), 43);
        assert_eq!(LocalToken::open(&state_dir).unwrap().secret(), made.secret());
        assert_eq!(LocalToken::read(state_dir.path()).unwrap().secret(), made.secret());
        let mode = fs::metadata(file(state_dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(state_dir.path()).unwrap().count(), 1, "no draft is left");
        let (_folder, other) = self::state_dir();
        assert_ne!(LocalToken::open(&other).unwrap().secret(), made.secret());
    }

    #[test]
    fn one_that_others_may_read_or_that_is_damaged_is_refused() {
        let (_folder, state_dir) = state_dir();
        let secret = LocalToken::open(&state_dir).unwrap().secret().to_owned();
        let path = file(state_dir.path());
        for damaged in ["", &secret[..40], "not base64!"] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(LocalToken::open(&state_dir), Err(LocalTokenError::Damaged(_))), "{damaged}");
        }
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(LocalToken::open(&state_dir), Err(LocalTokenError::Mode(_))));
    }

    #[test]
    fn it_does_not_print_its_secret() {
        let (_folder, state_dir) = state_dir();
        let token = LocalToken::open(&state_dir).unwrap();
        assert!(!format!("{token:?}").contains(token.secret()));
    }
}
