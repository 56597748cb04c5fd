//! A new snapshot takes the old one's place: what is new in it is warmed on every worker, then one pointer moves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::{GatewayError, Running, Shared};
use crate::config::Config;
use crate::control::{Event, Overrides, TrialOverride};
use crate::plugin::{Digest, Release};
use crate::server::Order;
use crate::snapshot::{self, Plugin, Snapshot, canary_of};

impl Shared {
    /// Lets `snapshot` serve, under this configuration and these overrides. Every worker has confirmed the new releases
    /// before any request meets them, and has taken the snapshot up when this returns.
    ///
    /// # Errors
    /// [`GatewayError::Warm`] when a worker cannot make an instance in time; then nothing has changed.
    pub(super) async fn commit(
        &self,
        running: &mut Running,
        snapshot: Snapshot,
        config: Config,
        overrides: Overrides,
    ) -> Result<Arc<Snapshot>, GatewayError> {
        let before = self.current.load_full();
        let known: Vec<&Arc<Release>> = before.plugins.iter().flat_map(Plugin::releases).collect();
        if let Err(error) = self.warm(&known, &snapshot).await {
            self.workers.iter().for_each(|worker| worker.order(Order::ForgetWarm));
            return Err(error);
        }
        if overrides != running.overrides
            && let Err(error) = overrides.store(&self.state_dir)
        {
            // It serves all the same, only not after a restart.
            tracing::error!(%error, "overrides cannot be kept in the state folder");
        }
        let snapshot = Arc::new(snapshot);
        self.current.store(snapshot.clone());
        self.metrics.generation(snapshot.generation);
        if self.settle(|done| Order::Adopt { done }, WORKER_TIMEOUT).await.is_none() {
            // It takes it up with its next request at the latest.
            tracing::warn!("a worker has not taken up the new snapshot in time");
        }
        (running.config, running.overrides) = (config, overrides);
        running.trials.follow(&snapshot, &running.config, &running.overrides, &self.runtime);
        running.upstreams.follow(&snapshot);
        self.remember(running, &snapshot);
        self.sweep(running, &snapshot);
        self.tell(running);
        Ok(snapshot)
    }

    /// Has every worker make an instance of each release that it does not know.
    pub(super) async fn warm(&self, known: &[&Arc<Release>], snapshot: &Snapshot) -> Result<(), GatewayError> {
        let is_known =
            |release: &Release| known.iter().any(|known| Arc::ptr_eq(&known.declaration, &release.declaration));
        for plugin in &snapshot.plugins {
            for release in plugin.releases().filter(|release| !is_known(release)) {
                let order = |done| Order::Warm { release: release.clone(), done };
                let name = &plugin.name;
                let words = self.settle(order, WORKER_TIMEOUT).await.ok_or_else(|| {
                    GatewayError::Warm(format!(
                        "plugin `{name}`: a worker has not made an instance in {WORKER_TIMEOUT:?}"
                    ))
                })?;
                if let Some(failure) = words.into_iter().find_map(Result::err) {
                    return Err(GatewayError::Warm(format!("plugin `{name}` cannot be instantiated: it {failure}")));
                }
            }
        }
        Ok(())
    }

    /// Gives every worker an order, and awaits every worker's word; `None` when it takes longer than `deadline`.
    pub(super) async fn settle<T>(
        &self,
        order: impl Fn(oneshot::Sender<T>) -> Order,
        deadline: Duration,
    ) -> Option<Vec<T>> {
        let mut words = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, word) = oneshot::channel();
            worker.order(order(done));
            words.push(word);
        }
        let all = async {
            let mut said = Vec::with_capacity(words.len());
            for word in words {
                // A worker that is gone has nothing left to say.
                said.extend(word.await);
            }
            said
        };
        tokio::time::timeout(deadline, all).await.ok()
    }

    /// Notes what serves from the sources that the configuration names.
    pub(super) fn remember(&self, running: &Running, snapshot: &Snapshot) {
        for plugin in &snapshot.plugins {
            let Some(configured) = running.config.plugins.get(&*plugin.name) else { continue };
            let held = running.overrides.get(&plugin.name);
            if held.is_none_or(|held| held.stable.is_none()) {
                let serving = plugin.deployment.stable.declaration.version.digest();
                snapshot::remember(&self.runtime, &plugin.name, &configured.source, serving);
            }
            let is_declared = held.is_none_or(|held| held.trial == TrialOverride::AsConfigured);
            if let (Some(canary), Some(trial), true) = (&configured.canary, &plugin.deployment.trial, is_declared) {
                let on_trial = trial.release.declaration.version.digest();
                snapshot::remember(&self.runtime, &canary_of(&plugin.name), &canary.source, on_trial);
            }
        }
    }

    /// Clears away components that nothing needs any more.
    fn sweep(&self, running: &Running, snapshot: &Snapshot) {
        let serving = snapshot.plugins.iter().flat_map(Plugin::releases);
        let mut in_use: HashSet<Digest> = serving.map(|release| release.declaration.version.digest()).collect();
        in_use.extend(running.previous.values().map(|version| version.digest()));
        in_use.extend(running.overrides.digests());
        self.runtime.library().sweep(&in_use);
    }

    /// Copies what `status` and metrics say.
    pub(super) fn tell(&self, running: &Running) {
        let mut told = self.told();
        told.overrides = running.overrides.clone();
        told.previous = running.previous.clone();
        told.trials = running.trials.clone();
        told.drain = running.config.drain;
        let plugins = running.config.plugins.iter();
        told.sources = plugins.map(|(name, plugin)| (name.clone(), plugin.source.to_string())).collect();
    }

    pub(super) fn event<const N: usize>(&self, kind: &'static str, detail: [(&str, Value); N]) {
        let detail = detail.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        // Nobody may be listening.
        let _ = self.events.send(Event { kind, time: now(), detail });
    }
}

/// The time of the day, in the form of RFC 3339.
pub(super) fn now() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}

/// How long a worker may take to make an instance or to take up a snapshot.
const WORKER_TIMEOUT: Duration = Duration::from_secs(5);
