//! What the gateway follows by itself: sources of its configuration, and files of secrets.
//!
//! Something that *may* have changed is read and compared; only other texts are made a snapshot of, and what was refused is not tried again
//! before it changes. A source that is gone changes nothing, and is told of once.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use super::outage::Outage;
use super::source::Wanted;
use super::{Cause, Gateway, Shared};
use crate::config::Texts;
use crate::config::model::SecretSource;
use crate::control::{Follower, Found, SourceError};
use crate::resource::{Secret, SecretSource as Place};

/// Follows from here on, as long as the gateway lives.
pub(super) fn start(shared: &Arc<Shared>) {
    drop(tokio::spawn(keep_following(Arc::downgrade(shared))));
    drop(tokio::spawn(keep_secrets(Arc::downgrade(shared))));
}

async fn keep_following(shared: Weak<Shared>) {
    let mut follower = Follower::new();
    let mut seen: Option<Texts> = None;
    loop {
        let Some(gateway) = shared.upgrade() else { return };
        let known = gateway.running.lock().await.texts.clone();
        if !gateway.is_followed().await {
            // What is read meanwhile, on order, is what changes are compared with later.
            seen = None;
            gateway.committed.notified().await;
            continue;
        }
        let Found { source, texts } = follower.next(&gateway.source.sources, &known).await;
        if !gateway.is_followed().await {
            continue;
        }
        match texts {
            Ok(texts) if seen.as_ref().is_none_or(|seen| *seen != texts) && *gateway.source_texts().await != texts => {
                gateway.source_is_back();
                let gateway = Gateway(gateway);
                // It tells by itself how it went.
                let _ = gateway.reload_on(Cause::Source(source), Wanted::Found).await;
                seen = Some(texts);
            }
            Ok(_) => gateway.source_is_back(),
            Err(error) => gateway.source_fails(&error),
        }
    }
}

/// A secret whose file has other bytes is put in the place of the old one, by building anew what is configured already.
async fn keep_secrets(shared: Weak<Shared>) {
    let mut seen = BTreeMap::new();
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let Some(gateway) = shared.upgrade() else { return };
        let files = gateway.secret_files().await;
        let stamps: BTreeMap<_, _> = files.iter().map(|(name, path)| (name.clone(), stamp(path))).collect();
        if stamps == seen {
            continue;
        }
        seen = stamps;
        if gateway.has_new_secret(files) {
            let gateway = Gateway(gateway);
            let _ = gateway.reload_on(Cause::Source("secret"), Wanted::Again).await;
        }
    }
}

fn stamp(path: &PathBuf) -> (Option<SystemTime>, u64) {
    let metadata = std::fs::metadata(path).ok();
    (metadata.as_ref().and_then(|metadata| metadata.modified().ok()), metadata.map_or(0, |metadata| metadata.len()))
}

impl Shared {
    async fn is_followed(&self) -> bool {
        let running = self.running.lock().await;
        running.config.follow.watch.unwrap_or_else(|| self.source.sources.is_remote())
    }

    /// What the source had when it was read last, as far as it serves.
    async fn source_texts(&self) -> Arc<Texts> {
        self.running.lock().await.source_texts.clone()
    }

    /// Told once for each kind of reason, and once more when it is over.
    fn source_fails(&self, error: &SourceError) {
        let is_news =
            self.told().source_outage.get_or_insert_with(Outage::default).note(error.kind(), error.to_string());
        if is_news {
            tracing::error!(%error, "the source of the configuration cannot be read: what serves stays");
        } else {
            tracing::debug!(%error, "the source of the configuration cannot be read still");
        }
    }

    fn source_is_back(&self) {
        if self.told().source_outage.take().is_some() {
            tracing::info!("the source of the configuration can be read again");
        }
    }

    async fn secret_files(&self) -> BTreeMap<String, PathBuf> {
        let running = self.running.lock().await;
        let files = running.config.secrets.iter().filter_map(|(name, source)| match source {
            SecretSource::File(path) => Some((name.clone(), path.clone())),
            SecretSource::Env(_) => None,
        });
        files.collect()
    }

    fn has_new_secret(&self, files: BTreeMap<String, PathBuf>) -> bool {
        let snapshot = self.current.load_full();
        files.into_iter().any(|(name, path)| {
            let known = snapshot.resources.secrets.get(name.as_str());
            let new = Secret::load(name.as_str().into(), &Place::File(path));
            // One that is gone or empty for the moment changes nothing.
            matches!((known, new), (Some(known), Ok(new)) if !known.is_same(&new))
        })
    }
}

/// How often files of secrets are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
