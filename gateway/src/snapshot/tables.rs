//! Tables are kept as their files are: a change is taken up without a reload.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crate::config::{TableError, load_table};
use crate::resource::Table;

/// Opens a table, and follows its file for as long as somebody holds the table. Must be called on a runtime.
pub(super) fn open(name: &str, path: &Path, old: Option<&Arc<Table>>) -> Result<Arc<Table>, TableError> {
    let before = stamp(path);
    let new = Table::new(name.into(), path.to_owned(), load_table(path)?);
    if let Some(old) = old.filter(|old| old.is_same(&new)) {
        return Ok(old.clone());
    }
    let table = Arc::new(new);
    tokio::spawn(follow(Arc::downgrade(&table), path.to_owned(), before));
    Ok(table)
}

async fn follow(table: Weak<Table>, path: PathBuf, mut seen: Option<Stamp>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        if table.strong_count() == 0 {
            return;
        }
        let look = path.clone();
        // A large file takes its time, and what waits here may be everybody's.
        let read = tokio::task::spawn_blocking(move || {
            let now = stamp(&look);
            (now != seen).then(|| (now, load_table(&look)))
        });
        let Ok(Some((now, loaded))) = read.await else { continue };
        seen = now;
        let Some(table) = table.upgrade() else { return };
        match loaded {
            Ok(entries) => {
                if table.replace(entries) {
                    tracing::info!(table = &*table.name, entries = table.len(), "loaded a table");
                }
            }
            Err(error) => {
                tracing::warn!(table = &*table.name, %error, "a table cannot be loaded; the last good entries stay in use");
            }
        }
    }
}

/// What tells that a file was written, without reading it.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
