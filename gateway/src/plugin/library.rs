//! The library: components kept by digest, and which of them served last, so that a source that is gone tomorrow does not
//! take its plugin along.
//!
//! Everything here is checked when it is read, and nothing here is ever the reason why a gateway does not start: what is
//! damaged is said and passed over. It reads and writes files, so it belongs on the control side.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::digest::Digest;
use super::records::{Download, LastGood, Records};
use super::shelf::{Item, Shelf};

/// Components and machine code of one state folder.
#[derive(Debug, Clone)]
pub struct Library {
    /// By digest; detached signatures lie beside them.
    components: Shelf,
    records: Records,
    /// Machine code: written by `compile`, cleared away here.
    code: Shelf,
    bytes_max: u64,
    /// What this process has noted, by the records' keys, and when: what is still fresh need not be noted again.
    noted: Arc<Mutex<HashMap<String, (Digest, Instant)>>>,
}

/// A folder of the library cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep components in {path}: {error}")]
pub struct LibraryError {
    path: PathBuf,
    error: io::Error,
}

impl Library {
    /// Opens or makes the folders of the library in `state_dir`. `bytes_max` bounds components and machine code together
    /// (`runtime.cache`); [`Self::sweep`] enforces it.
    ///
    /// # Errors
    /// [`LibraryError`] when a folder cannot be made this user's alone.
    pub fn open(state_dir: &Path, bytes_max: u64) -> Result<Self, LibraryError> {
        let at = |name| state_dir.join(name);
        let fail = |path| move |error| LibraryError { path, error };
        Ok(Self {
            components: Shelf::open(at("components")).map_err(fail(at("components")))?,
            records: Records::open(at("records")).map_err(fail(at("records")))?,
            code: Shelf::open(at("compiled")).map_err(fail(at("compiled")))?,
            bytes_max,
            noted: Arc::default(),
        })
    }

    /// Keeps a component. One that is here already, undamaged, is left as it is.
    ///
    /// # Errors
    /// [`LibraryError`] when it cannot be written.
    pub fn put(&self, component: &[u8]) -> Result<Digest, LibraryError> {
        let digest = Digest::of(component);
        let name = digest.to_string();
        let path = self.components.path(&name);
        if fs::read(&path).is_ok_and(|kept| kept == component) {
            self.components.touch(&name);
        } else {
            self.components.put(&name, component).map_err(|error| LibraryError { path, error })?;
        }
        Ok(digest)
    }

    /// A kept component, checked against its digest. One that is damaged is removed, and `None` as if it had never been here.
    pub fn get(&self, digest: Digest) -> Option<Bytes> {
        let name = digest.to_string();
        let path = self.components.path(&name);
        let component = match fs::read(&path) {
            Ok(component) => component,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a kept component cannot be read");
                return None;
            }
        };
        if Digest::of(&component) != digest {
            tracing::warn!(path = %path.display(), "a kept component is damaged, and removed");
            let _ = fs::remove_file(path);
            return None;
        }
        self.components.touch(&name);
        Some(component.into())
    }

    /// Notes that this component serves under the plugin's name, and that it came from `source`. Called for every plugin at
    /// every change, it reaches for the disk when that is news, or so old that the record could pass for one out of use.
    ///
    /// # Errors
    /// [`LibraryError`] when the note cannot be written; the one before it stays.
    pub fn remember(&self, plugin: &str, source: &str, digest: Digest) -> Result<(), LibraryError> {
        let key = LastGood::key_of(plugin, source);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&key).is_some_and(|(known, at)| *known == digest && at.elapsed() < NOTE_AGE_MAX) {
            return Ok(());
        }
        let record = LastGood { plugin: plugin.to_owned(), source: source.to_owned(), sha256: digest };
        self.records.write(&record).map_err(|error| LibraryError { path: self.records.folder().to_owned(), error })?;
        noted.retain(|_, (_, at)| at.elapsed() < NOTE_AGE_MAX);
        noted.insert(key, (digest, Instant::now()));
        Ok(())
    }

    /// The component that served last under the plugin's name, when it came from this source. It may be gone from here.
    pub fn recall(&self, plugin: &str, source: &str) -> Option<Digest> {
        let record: Option<LastGood> = self.records.read(&LastGood::key_of(plugin, source));
        record.map(|record| record.sha256)
    }

    /// Keeps the detached signature of a component, so that it can be checked again without its source.
    pub(super) fn put_signature(&self, digest: Digest, signature: &str) -> Result<(), LibraryError> {
        let name = signature_name(digest);
        let path = self.components.path(&name);
        self.components.put(&name, signature.as_bytes()).map_err(|error| LibraryError { path, error })
    }

    pub(super) fn signature(&self, digest: Digest) -> Option<String> {
        fs::read_to_string(self.components.path(&signature_name(digest))).ok()
    }

    /// Notes what a URL led to.
    pub(super) fn put_download(&self, download: &Download) -> Result<(), LibraryError> {
        self.records.write(download).map_err(|error| LibraryError { path: self.records.folder().to_owned(), error })
    }

    pub(super) fn download(&self, url: &str) -> Option<Download> {
        self.records.read(&Download::key_of(url))
    }

    /// Removes what was used least recently, until components and machine code fit into their bound. What belongs to a
    /// component in `in_use` stays, whatever it takes. Unless something was put here since, the last time is good enough.
    pub fn sweep(&self, in_use: &HashSet<Digest>) {
        // All are asked, because asking makes them forget.
        let has_grown = [self.components.has_grown(), self.code.has_grown(), self.records.has_grown()];
        if !has_grown.contains(&true) {
            return;
        }
        let in_use: HashSet<String> = in_use.iter().map(Digest::to_string).collect();
        let mut items = listed(&self.components);
        items.extend(listed(&self.code));
        items.sort_by_key(|item| item.used);
        let mut size_bytes: u64 = items.iter().map(|item| item.size_bytes).sum();
        for item in items {
            if size_bytes <= self.bytes_max {
                break;
            }
            // Machine code and signatures are called by their component's digest, and more behind it.
            let digest = item.name.split(['-', '.']).next().unwrap_or_default();
            if !in_use.contains(digest) && removed(&item) {
                size_bytes -= item.size_bytes;
            }
        }
        if size_bytes > self.bytes_max {
            let bytes_max = self.bytes_max;
            tracing::warn!(size_bytes, bytes_max, "the components in use take more than `runtime.cache` allows");
        }
        for record in self.records.superfluous().unwrap_or_default() {
            removed(&record);
        }
    }

    /// Where machine code is kept.
    pub(super) fn code(&self) -> &Shelf {
        &self.code
    }
}

fn listed(shelf: &Shelf) -> Vec<Item> {
    shelf.items().unwrap_or_else(|error| {
        tracing::warn!(%error, "a folder of kept components cannot be listed");
        Vec::new()
    })
}

fn removed(item: &Item) -> bool {
    match fs::remove_file(&item.path) {
        Ok(()) => {
            tracing::debug!(path = %item.path.display(), "removed from the library");
            true
        }
        // Another process was first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => {
            tracing::warn!(path = %item.path.display(), %error, "cannot be removed from the library");
            false
        }
    }
}

/// A note is renewed so often: far more often than 4,096 other records come in.
const NOTE_AGE_MAX: Duration = Duration::from_secs(60 * 60);

fn signature_name(digest: Digest) -> String {
    format!("{digest}.minisig")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use tempfile::TempDir;

    use super::*;

    fn library(bytes_max: u64) -> (TempDir, Library) {
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(folder.path(), bytes_max).unwrap();
        (folder, library)
    }

    fn age(shelf: &Shelf, name: &str, age_s: u64) {
        let used = SystemTime::now() - Duration::from_secs(age_s);
        File::open(shelf.path(name)).unwrap().set_modified(used).unwrap();
    }

    #[test]
    fn a_component_comes_back_by_its_digest() {
        let (folder, library) = library(100);
        let digest = library.put(b"component").unwrap();
        assert_eq!(digest, Digest::of(b"component"));
        assert_eq!(library.put(b"component").unwrap(), digest);
        assert_eq!(library.get(digest).unwrap(), b"component".as_slice());
        assert_eq!(library.get(Digest::of(b"another")), None);
        let components = folder.path().join("components");
        assert_eq!(fs::metadata(&components).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(components.join(digest.to_string()).is_file());
    }

    #[test]
    fn a_damaged_component_is_no_component_and_can_be_put_again() {
        let (_folder, library) = library(100);
        for damage in [b"complement".as_slice(), b"comp", b"", b"componenT"] {
            let digest = library.put(b"component").unwrap();
            fs::write(library.components.path(&digest.to_string()), damage).unwrap();
            assert_eq!(library.get(digest), None);
            library.put(b"component").unwrap();
            assert_eq!(library.get(digest).unwrap(), b"component".as_slice());
            fs::write(library.components.path(&digest.to_string()), damage).unwrap();
            library.put(b"component").unwrap();
            assert_eq!(library.get(digest).unwrap(), b"component".as_slice());
        }
        // A folder in its place is not a file that can be read.
        let digest = Digest::of(b"folder");
        fs::create_dir(library.components.path(&digest.to_string())).unwrap();
        assert_eq!(library.get(digest), None);
    }

    #[test]
    fn the_last_good_version_is_known_after_a_restart() {
        let (folder, library) = library(100);
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(library.recall("audit", "file:a.wasm"), None);
        library.remember("audit", "file:a.wasm", one).unwrap();
        library.remember("audit", "file:b.wasm", two).unwrap();
        library.remember("other", "file:a.wasm", two).unwrap();
        let library = Library::open(folder.path(), 100).unwrap();
        assert_eq!(library.recall("audit", "file:a.wasm"), Some(one));
        library.remember("audit", "file:a.wasm", two).unwrap();
        assert_eq!(library.recall("audit", "file:a.wasm"), Some(two));
    }

    #[test]
    fn the_oldest_go_first_and_those_in_use_never() {
        let (_folder, library) = library(28);
        let digests = [b"0123456789", b"1123456789", b"2123456789", b"3123456789"].map(|component| {
            let digest = library.put(component).unwrap();
            library.code.put(&format!("{digest}-0.cwasm"), b"code").unwrap();
            digest
        });
        for (digest, age_s) in digests.iter().zip([400, 300, 200, 100]) {
            age(&library.components, &digest.to_string(), age_s);
            age(&library.code, &format!("{digest}-0.cwasm"), age_s);
        }
        // 4 × 14 bytes are here, and 28 fit. The oldest is in use; the two after it make room.
        library.sweep(&HashSet::from([digests[0]]));
        let kept = |digest: &Digest| {
            let code = library.code.path(&format!("{digest}-0.cwasm")).exists();
            (library.get(*digest).is_some(), code)
        };
        assert_eq!(digests.each_ref().map(kept), [(true, true), (false, false), (false, false), (true, true)]);
    }

    #[test]
    fn more_in_use_than_fits_stays() {
        let (_folder, library) = library(5);
        let digests = [b"one".as_slice(), b"two", b"six"].map(|component| library.put(component).unwrap());
        library.sweep(&digests.into());
        assert!(digests.iter().all(|digest| library.get(*digest).is_some()));
        library.sweep(&HashSet::new());
        assert!(digests.iter().all(|digest| library.get(*digest).is_some()), "nothing has come since");
        library.put_signature(digests[0], "").unwrap();
        library.sweep(&HashSet::new());
        assert_eq!(digests.iter().filter(|digest| library.get(**digest).is_some()).count(), 1);
    }

    #[test]
    fn what_was_noted_a_moment_ago_is_not_written_again() {
        let (folder, library) = library(100);
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        library.remember("audit", "file:a.wasm", one).unwrap();
        let records = || fs::read_dir(folder.path().join("records")).unwrap().map(|entry| entry.unwrap().path());
        let record = records().next().unwrap();
        fs::write(&record, "gone").unwrap();
        library.remember("audit", "file:a.wasm", one).unwrap();
        assert_eq!(fs::read_to_string(&record).unwrap(), "gone");
        for digest in [two, one] {
            library.remember("audit", "file:a.wasm", digest).unwrap();
            assert_eq!(library.recall("audit", "file:a.wasm"), Some(digest));
        }
        assert_eq!(records().count(), 1);
    }
}
