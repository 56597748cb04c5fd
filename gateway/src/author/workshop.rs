//! The workshop of `witgate dev`: crates that a configuration names are built, and built again whenever one of their files is
//! saved. Each component is put in its place whole, so that whoever watches that file never sees half of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Event, EventKind, RecursiveMode, Watcher};

use super::build::{BuildError, Profile};
use super::package::Package;

/// The crates so far, by the plugins that they become.
#[derive(Debug, Default)]
pub struct Workshop {
    benches: Mutex<BTreeMap<String, Bench>>,
}

#[derive(Debug, Clone)]
struct Bench {
    package: Package,
    component: PathBuf,
}

/// How a build went that a save began.
#[derive(Debug)]
pub enum Built {
    /// There is another component now.
    Changed,
    /// What was saved makes no difference.
    Same,
    Failed(BuildError),
}

impl Workshop {
    /// Builds the crate in a folder as the plugin `name`, unless it was built before and stands there still; returns where the
    /// component lies.
    ///
    /// # Errors
    /// Every [`BuildError`].
    pub fn component(&self, name: &str, folder: &Path) -> Result<PathBuf, BuildError> {
        let known = self.benches().get(name).cloned();
        if let Some(bench) =
            known.filter(|bench| folder.canonicalize().is_ok_and(|folder| folder == bench.package.folder))
        {
            return Ok(bench.component);
        }
        let package = Package::find(folder)?;
        let component = package.target_dir.join("witgate/dev").join(format!("{name}.wasm"));
        let bench = Bench { package, component: component.clone() };
        // People see at once what takes so long.
        bench.build(Stdio::inherit())?;
        self.benches().insert(name.to_owned(), bench);
        Ok(component)
    }

    /// Builds on each save, for as long as anybody else holds the workshop, and tells how it went.
    ///
    /// # Errors
    /// When the system cannot watch files.
    pub fn keep_building(self: Arc<Self>, tell: impl Fn(&str, &Built)) -> notify::Result<()> {
        let (saved, told) = channel();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading is no change: a build reads every file.
            if let Ok(event) = event
                && !matches!(event.kind, EventKind::Access(_))
            {
                let _ = saved.send(event.paths);
            }
        })?;
        let mut followed = BTreeSet::new();
        while Arc::strong_count(&self) > 1 {
            let benches = self.benches().clone();
            let mut saved = BTreeSet::new();
            for (name, bench) in &benches {
                if followed.insert(bench.package.folder.clone()) {
                    watcher.watch(&bench.package.folder, RecursiveMode::Recursive)?;
                    // Something may have been saved since its first build began.
                    saved.insert(name);
                }
            }
            if saved.is_empty() {
                let paths = burst(&told).unwrap_or_default();
                let touched = |bench: &Bench| paths.iter().any(|path| bench.is_built_from(path));
                saved.extend(benches.iter().filter(|(_, bench)| touched(bench)).map(|(name, _)| name));
            }
            for (name, bench) in benches.iter().filter(|(name, _)| saved.contains(name)) {
                let built = match bench.build(Stdio::piped()) {
                    Ok(true) => Built::Changed,
                    Ok(false) => Built::Same,
                    Err(error) => Built::Failed(error),
                };
                tell(name, &built);
            }
        }
        Ok(())
    }

    fn benches(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bench>> {
        self.benches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was saved, once it has been quiet for a moment: editors write a file in several steps.
fn burst(told: &Receiver<Vec<PathBuf>>) -> Option<Vec<PathBuf>> {
    let mut paths = told.recv_timeout(LOOK_INTERVAL).ok()?;
    loop {
        match told.recv_timeout(DEBOUNCE) {
            Ok(more) => paths.extend(more),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return Some(paths),
        }
    }
}

impl Bench {
    /// Whether there is another component now.
    fn build(&self, said: Stdio) -> Result<bool, BuildError> {
        let built = self.package.build(Profile::Dev, said)?;
        replace(&built, &self.component)
            .map_err(|error| BuildError::Spawn { program: format!("the copy to {}", self.component.display()), error })
    }

    /// What cargo writes itself, and what editors hide, is no source.
    fn is_built_from(&self, path: &Path) -> bool {
        let Ok(inner) = path.strip_prefix(&self.package.folder) else { return false };
        let is_hidden = inner.components().any(|part| part.as_os_str().to_string_lossy().starts_with('.'));
        !is_hidden && !path.starts_with(&self.package.target_dir) && !inner.ends_with("Cargo.lock")
    }
}

/// Puts a copy of `from` in the place of `to`, in one step; whether that made a difference.
fn replace(from: &Path, to: &Path) -> io::Result<bool> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(false);
    }
    let folder = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut draft, &new)?;
    draft.persist(to)?;
    Ok(true)
}

const DEBOUNCE: Duration = Duration::from_millis(100);
/// After so long it is seen that another crate has joined, or that nobody needs the workshop any more.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_sources_are_built_from() {
        let package = Package { name: "a".to_owned(), folder: "/a".into(), target_dir: "/a/target".into() };
        let bench = Bench { package, component: "/a/target/a.wasm".into() };
        for (path, expected) in [
            ("/a/src/lib.rs", true),
            ("/a/Cargo.toml", true),
            ("/a/witgate/plugin-sdk/src/lib.rs", true),
            ("/a/Cargo.lock", false),
            ("/a/target/debug/a.d", false),
            ("/a/src/.lib.rs.swp", false),
            ("/a/.git/HEAD", false),
            ("/b/src/lib.rs", false),
        ] {
            assert_eq!(bench.is_built_from(Path::new(path)), expected, "{path}");
        }
    }

    #[test]
    fn a_component_is_replaced_only_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("deep/b"));
        fs::write(&from, "1").unwrap();
        assert!(replace(&from, &to).unwrap());
        assert!(!replace(&from, &to).unwrap());
        fs::write(&from, "2").unwrap();
        assert!(replace(&from, &to).unwrap());
        assert_eq!(fs::read_to_string(&to).unwrap(), "2");
        assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    }
}
