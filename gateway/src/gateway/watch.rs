//! Plugins whose files are watched (`reload: watch`): a changed component takes its own old one's place.
//!
//! Folders are watched, not files, because editors and orchestrators put new files in the place of old ones; a burst of
//! changes counts once, and only other bytes count at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::swap::Wish;
use super::{Shared, record};
use crate::config::model::{PluginSource, Reload};
use crate::control::OperationError;
use crate::snapshot::Versions;

/// Watches from here on, as long as the gateway lives.
pub(super) fn start(shared: &Arc<Shared>) {
    let (tell, told) = mpsc::unbounded_channel();
    let watcher = notify::recommended_watcher(move |_| {
        // Whatever happened: the bytes decide.
        let _ = tell.send(());
    });
    match watcher {
        Ok(watcher) => drop(tokio::spawn(keep_watching(Arc::downgrade(shared), watcher, told))),
        Err(error) => {
            tracing::warn!(%error, "files cannot be watched: plugins with `reload: watch` follow reloads only")
        }
    }
}

async fn keep_watching(shared: Weak<Shared>, mut watcher: RecommendedWatcher, mut told: mpsc::UnboundedReceiver<()>) {
    let mut folders = BTreeSet::new();
    // What was refused is not tried again before it changes.
    let mut refused: BTreeMap<String, (Option<std::time::SystemTime>, u64)> = BTreeMap::new();
    loop {
        let Some(gateway) = shared.upgrade() else { return };
        let files = gateway.watched().await;
        follow(&mut watcher, &mut folders, &files);
        for (plugin, path) in &files {
            let stamp = stamp(path);
            if refused.get(plugin) != Some(&stamp) {
                match gateway.refresh(plugin, path).await {
                    Ok(_) => drop(refused.remove(plugin)),
                    Err(_) => drop(refused.insert(plugin.clone(), stamp)),
                }
            }
        }
        drop(gateway);
        // Also without a word from the system: not every file system gives one.
        let _ = tokio::time::timeout(LOOK_INTERVAL, told.recv()).await;
        tokio::time::sleep(DEBOUNCE).await;
        while told.try_recv().is_ok() {}
    }
}

fn follow(watcher: &mut RecommendedWatcher, folders: &mut BTreeSet<PathBuf>, files: &BTreeMap<String, PathBuf>) {
    let wanted: BTreeSet<PathBuf> = files.values().filter_map(|path| path.parent()).map(Path::to_owned).collect();
    for gone in folders.difference(&wanted) {
        let _ = watcher.unwatch(gone);
    }
    for fresh in wanted.difference(folders) {
        if let Err(error) = watcher.watch(fresh, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %fresh.display(), %error, "a folder cannot be watched: it is looked at every few seconds");
        }
    }
    *folders = wanted;
}

fn stamp(path: &Path) -> (Option<std::time::SystemTime>, u64) {
    let metadata = std::fs::metadata(path).ok();
    (metadata.as_ref().and_then(|metadata| metadata.modified().ok()), metadata.map_or(0, |metadata| metadata.len()))
}

impl Shared {
    /// The files of plugins that follow them, unless an override goes before.
    async fn watched(&self) -> BTreeMap<String, PathBuf> {
        let running = self.running.lock().await;
        let plugins = running.config.plugins.iter().filter(|(_, plugin)| plugin.reload == Reload::Watch);
        let free = plugins.filter(|(name, _)| running.overrides.get(name).is_none_or(|held| held.stable.is_none()));
        free.filter_map(|(name, plugin)| match &plugin.source {
            PluginSource::File(path) => Some((name.clone(), path.clone())),
            _ => None,
        })
        .collect()
    }

    /// Loads a plugin from its file again, when there is another component now.
    async fn refresh(&self, name: &str, path: &Path) -> Result<(), OperationError> {
        let began = Instant::now();
        let (component_max, pinned, public_key) = {
            let running = self.running.lock().await;
            let plugin =
                running.config.plugins.get(name).ok_or_else(|| OperationError::UnknownPlugin(name.to_owned()))?;
            (running.config.runtime.component, plugin.sha256, plugin.public_key.clone())
        };
        let snapshot = self.current.load_full();
        let mut versions = Versions::new(&self.runtime, component_max, Some(&snapshot));
        let source = PluginSource::File(path.to_owned());
        let loaded = versions.ordered(&source, pinned.map(Into::into), public_key.as_deref()).await;
        let outcome = match loaded {
            Ok(version) => {
                let mut running = self.running.lock().await;
                let (plugin, snapshot) = self.current_plugin(name)?;
                if plugin.deployment.stable.declaration.version.digest() == version.digest() {
                    return Ok(());
                }
                let trial = plugin.deployment.trial.as_ref();
                let trial = trial.map(|trial| (trial.release.declaration.version.clone(), trial.mode.clone()));
                self.deploy(&mut running, &snapshot, &plugin, Wish { stable: version, trial }, |_| {}, began).await
            }
            Err(error) => Err(OperationError::Refused(format!("plugin `{name}` is refused: {error}"))),
        };
        self.account(name, "watch", "file", &outcome);
        record::swap("swap", record::WATCHED, name, None, &outcome);
        outcome.map(drop)
    }
}

/// Writers get this long to finish.
const DEBOUNCE: Duration = Duration::from_millis(200);
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
