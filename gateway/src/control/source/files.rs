//! Files and folders: when the system says that something in them has changed, and every few seconds in case it does not.
//!
//! Folders are watched, not files: editors put new files in the place of old ones, and Kubernetes swaps a link that all of a folder's files
//! lead through. What has changed is not asked here; whoever waits reads and compares.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// Folders that are watched.
pub(super) struct Watch {
    /// `None` where the system watches nothing.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    told: mpsc::UnboundedReceiver<()>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                let _ = tell.send(());
            }
        });
        let watcher = watcher.inspect_err(|error| {
            tracing::warn!(%error, "files cannot be watched: they are looked at every few seconds");
        });
        Self { watcher: watcher.ok(), folders: BTreeSet::new(), told }
    }

    /// Comes when something in these folders may have changed, and writers have had time to finish.
    pub(super) async fn changed(&mut self, wanted: BTreeSet<PathBuf>) {
        self.follow(wanted);
        if timeout(LOOK_INTERVAL, self.told.recv()).await.is_ok() {
            let latest = Instant::now() + DEBOUNCE_MAX;
            loop {
                let quiet = timeout(DEBOUNCE, self.told.recv());
                match timeout_at(latest, quiet).await {
                    Ok(Ok(Some(()))) => {}
                    // It has been quiet for a while, or has not been for too long.
                    _ => break,
                }
            }
        }
    }

    fn follow(&mut self, wanted: BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.folders.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        let mut followed = BTreeSet::new();
        for folder in wanted {
            // A folder that is not there now is tried again each time.
            let is_known = self.folders.contains(&folder) && folder.exists();
            if is_known || watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
                followed.insert(folder);
            }
        }
        self.folders = followed;
    }
}

/// Writers get this long to finish.
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Where something is written all the time, it is read nevertheless.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);
/// Not every file system tells of changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
