//! The file that tells the number of the process that serves.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file with this process's number. Dropping it removes the file, unless another process has written its own since.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    /// Takes an older file's place in one step: who reads it finds a number in any case.
    pub(super) fn write(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let mut draft = tempfile::Builder::new().prefix(".pid").tempfile_in(folder)?;
        writeln!(draft, "{}", std::process::id())?;
        fs::set_permissions(draft.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        draft.persist(path).map_err(|error| error.error)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let written = fs::read_to_string(&self.0).ok().and_then(|text| text.trim().parse().ok());
        if written == Some(std::process::id()) {
            // Whoever removed it before wanted the same.
            let _ = fs::remove_file(&self.0);
        }
    }
}
