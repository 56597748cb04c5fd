//! A folder of files that are written whole or not at all, and belong to this user alone.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

/// Files by name. Several processes may share the folder: a reader meets a whole file or none.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// Whether this process has put something here that [`Self::has_grown`] has not told yet.
    has_grown: Arc<AtomicBool>,
}

/// A file on a shelf.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) size_bytes: u64,
    /// When it was last written or [touched](Shelf::touch).
    pub(super) used: SystemTime,
}

impl Shelf {
    /// Makes the folder if it is missing, and gives it mode 0700 in any case.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o700))?;
        // What lies here from earlier times counts as new.
        Ok(Self { folder: path, has_grown: Arc::new(AtomicBool::new(true)) })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether something was put here since the last call.
    pub(super) fn has_grown(&self) -> bool {
        self.has_grown.swap(false, Ordering::Relaxed)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A file (mode 0600) that has no name yet, and is gone when it never gets one.
    pub(super) fn draft(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(DRAFT).tempfile_in(&self.folder)
    }

    /// Gives a draft its name once its bytes are on the disk: not even a power cut leaves half a file behind.
    pub(super) fn keep(&self, draft: NamedTempFile, name: &str) -> io::Result<()> {
        draft.as_file().sync_all()?;
        draft.persist(self.path(name))?;
        self.has_grown.store(true, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut draft = self.draft()?;
        draft.write_all(bytes)?;
        self.keep(draft, name)
    }

    /// Notes that the file is in use, for those who clear away what is not.
    pub(super) fn touch(&self, name: &str) {
        // What cannot be noted is cleared away a little early, and fetched or compiled again.
        let _ = File::open(self.path(name)).and_then(|file| file.set_modified(SystemTime::now()));
    }

    /// The files, those that were used least recently first. Drafts that nobody finished are removed on the way.
    pub(super) fn items(&self) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // A file that another process has removed meanwhile is no fault.
            let Ok(metadata) = entry.metadata() else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            let (path, used) = (entry.path(), metadata.modified()?);
            if name.starts_with(DRAFT) {
                remove_stale(&path, used);
            } else if metadata.is_file() {
                items.push(Item { name, path, size_bytes: metadata.len(), used });
            }
        }
        items.sort_unstable_by(|one, other| one.used.cmp(&other.used).then_with(|| one.name.cmp(&other.name)));
        Ok(items)
    }
}

/// A draft lives for moments; an old one belongs to a process that was killed.
fn remove_stale(path: &Path, written: SystemTime) {
    if written.elapsed().is_ok_and(|age| age > DRAFT_AGE_MAX) {
        let _ = fs::remove_file(path);
    }
}

const DRAFT: &str = ".draft-";
const DRAFT_AGE_MAX: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_file_is_there_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().join("a/b")).unwrap();
        let mut draft = shelf.draft().unwrap();
        draft.write_all(b"half").unwrap();
        assert!(shelf.items().unwrap().is_empty());
        drop(draft);
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 0, "an unfinished file leaves nothing");

        shelf.put("one", b"first").unwrap();
        shelf.put("one", b"second").unwrap();
        assert_eq!(fs::read(shelf.path("one")).unwrap(), b"second");
        assert_eq!(fs::metadata(shelf.path("one")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_folder_is_this_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        Shelf::open(folder.path().to_owned()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_was_used_last_comes_last() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned()).unwrap();
        for (name, age_s) in [("new", 10), ("old", 30), ("older", 60)] {
            shelf.put(name, b"").unwrap();
            let file = File::open(shelf.path(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_s)).unwrap();
        }
        shelf.touch("old");
        shelf.touch("no such file");
        let names: Vec<_> = shelf.items().unwrap().into_iter().map(|item| item.name).collect();
        assert_eq!(names, ["older", "new", "old"]);
    }

    #[test]
    fn drafts_of_a_killed_process_are_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned()).unwrap();
        for (name, age) in [(".draft-old", DRAFT_AGE_MAX * 2), (".draft-new", Duration::ZERO)] {
            shelf.put(name, b"").unwrap();
            File::open(shelf.path(name)).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        assert!(shelf.items().unwrap().is_empty());
        assert!(!shelf.path(".draft-old").exists() && shelf.path(".draft-new").exists());
    }
}
