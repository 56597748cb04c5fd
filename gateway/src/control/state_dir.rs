//! The state folder: what outlives the process, and must be nobody else's to write, because compiled code in it is executed.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A folder that only this user may write.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// Why a folder cannot hold the gateway's state.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("no `state_dir` is configured, and neither XDG_STATE_HOME nor HOME tells a default")]
    NoDefault,
    #[error("cannot use the state folder {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
    #[error("the state folder {0} belongs to another user")]
    Owner(PathBuf),
    #[error("others may write to the state folder {0}; it holds code that is executed (mend: chmod go-w {0})")]
    Mode(PathBuf),
}

impl StateDir {
    /// Opens or makes the configured folder, or `witgate` in the XDG state folder. New folders get mode 0700.
    ///
    /// # Errors
    /// Any [`StateDirError`].
    pub fn open(configured: Option<&Path>) -> Result<Self, StateDirError> {
        let path = Self::place(configured)?;
        let fail = |error| StateDirError::Io { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(fail)?;
        let metadata = fs::metadata(&path).map_err(fail)?;
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            return Err(StateDirError::Owner(path));
        }
        if metadata.mode() & 0o022 != 0 {
            return Err(StateDirError::Mode(path));
        }
        Ok(Self(path))
    }

    /// Where the folder is, or would be.
    ///
    /// # Errors
    /// [`StateDirError::NoDefault`].
    pub fn place(configured: Option<&Path>) -> Result<PathBuf, StateDirError> {
        configured.map(Path::to_owned).or_else(default_path).ok_or(StateDirError::NoDefault)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The XDG Base Directory Specification's place for state.
fn default_path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || set("HOME").map(|home| home.join(".local/state"));
    Some(set("XDG_STATE_HOME").or_else(home)?.join("witgate"))
}
