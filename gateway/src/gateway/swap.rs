//! One plugin's version takes another's place: at once, or by degrees as a trial.
//!
//! Fetching and compiling disturb nobody and hold nothing up; only the last steps, from configuring on, go one at a time.

use std::sync::Arc;
use std::time::Instant;

use super::commit::now;
use super::{GatewayError, Running, Shared};
use crate::config::model::{self as config, PluginSource};
use crate::config::plugin_source;
use crate::control::{
    Decision, OperationError, Override, Swap, SwapMode, SwapReport, SwapSource, TrialOverride, trial_mode,
};
use crate::message::NoRequestKey;
use crate::plugin::{Digest, LoadError, Rights, Trial, TrialMode, Version};
use crate::snapshot::{Plugin, Refusal, Snapshot, Versions};

/// Which releases a plugin is to have.
pub(super) struct Wish {
    pub(super) stable: Arc<Version>,
    pub(super) trial: Option<(Arc<Version>, TrialMode)>,
}

/// Marks a plugin as being swapped, until it is dropped.
struct Turn<'s> {
    shared: &'s Shared,
    plugin: String,
}

impl Shared {
    /// Carries out a swap that somebody ordered: it goes before what the configuration says.
    pub(super) async fn swap(&self, swap: Swap) -> Result<SwapReport, OperationError> {
        let began = Instant::now();
        let turn = self.begin(&swap.plugin)?;
        let outcome = self.swapped(&swap, began).await;
        drop(turn);
        self.account(&swap.plugin, "swap", &swap.actor, &outcome);
        outcome
    }

    async fn swapped(&self, swap: &Swap, began: Instant) -> Result<SwapReport, OperationError> {
        let mode = mode(&swap.mode)?;
        let version = self.fetch(swap).await?;
        let mut running = self.running.lock().await;
        let (plugin, snapshot) = self.current_plugin(&swap.plugin)?;
        let serving = &plugin.deployment.stable.declaration.version;
        let decision = decision(version.digest(), &swap.actor, swap.reason.clone());
        let wish = match &mode {
            Some(_) if version.digest() == serving.digest() => {
                return Err(OperationError::Conflict(format!(
                    "version {} serves `{}` already: a trial against itself shows nothing",
                    version.digest().label(),
                    swap.plugin
                )));
            }
            Some(mode) => Wish { stable: serving.clone(), trial: Some((version.clone(), mode.clone())) },
            None => Wish { stable: version.clone(), trial: None },
        };
        let change = |held: &mut Override| match mode {
            Some(_) => held.trial = running_trial(&swap.mode, decision),
            None => {
                held.stable = Some(decision);
                held.trial = TrialOverride::Over;
            }
        };
        self.deploy(&mut running, &snapshot, &plugin, wish, change, began).await
    }

    /// Gives a plugin other releases, notes the override, and reports.
    pub(super) async fn deploy(
        &self,
        running: &mut Running,
        snapshot: &Snapshot,
        plugin: &Plugin,
        wish: Wish,
        change: impl FnOnce(&mut Override),
        began: Instant,
    ) -> Result<SwapReport, OperationError> {
        let name = plugin.name.to_string();
        let configured =
            running.config.plugins.get(&name).ok_or_else(|| OperationError::UnknownPlugin(name.clone()))?.clone();
        let stable = plugin.release(&self.runtime, wish.stable, false).await.map_err(refused)?;
        let trial = match wish.trial {
            Some((version, mode)) => {
                let is_shadow = mode == TrialMode::Shadow;
                let release = plugin.release(&self.runtime, version, is_shadow).await.map_err(refused)?;
                Some(Arc::new(Trial { release, mode }))
            }
            None => None,
        };
        let before = plugin.deployment.stable.declaration.version.clone();
        let replaced = (stable.declaration.version.digest() != before.digest()).then_some(before.clone());
        let next = plugin.with(stable, trial);
        let mut overrides = running.overrides.clone();
        change(overrides.entry(&name, &configured));
        let config = running.config.clone();
        // Known before the commit, so that its sweep leaves it alone.
        let older = match replaced {
            Some(version) => running.previous.insert(name.clone(), version),
            None => running.previous.get(&name).cloned(),
        };
        let committed = self.commit(running, snapshot.with_plugin(next.clone()), config, overrides).await;
        let committed = committed.map_err(|error| {
            match older {
                Some(older) => running.previous.insert(name.clone(), older),
                None => running.previous.remove(&name),
            };
            OperationError::Refused(error.to_string())
        })?;
        Ok(report(&next, &before, [snapshot.generation, committed.generation], began))
    }

    /// The component that a swap asks for, compiled.
    async fn fetch(&self, swap: &Swap) -> Result<Arc<Version>, OperationError> {
        let (configured, component_max, older) = {
            let running = self.running.lock().await;
            let configured = running.config.plugins.get(&swap.plugin).cloned();
            let older: Vec<Arc<Version>> = running.previous.values().cloned().collect();
            (configured, running.config.runtime.component, older)
        };
        let configured = configured.ok_or_else(|| OperationError::UnknownPlugin(swap.plugin.clone()))?;
        let pinned = pin(&configured, swap)?;
        let snapshot = self.current.load_full();
        let mut versions = Versions::new(&self.runtime, component_max, Some(&snapshot)).beside(older);
        let loaded = match &swap.from {
            SwapSource::Component(component) => versions.of_component(component, pinned).await,
            SwapSource::Source(text) => {
                let source: PluginSource = plugin_source(text).map_err(OperationError::Invalid)?;
                versions.ordered(&source, pinned, configured.public_key.as_deref()).await
            }
        };
        loaded.map_err(|error| match error {
            LoadError::UnknownBuiltin { .. } | LoadError::Read { .. } => OperationError::Invalid(error.to_string()),
            error => OperationError::Refused(format!("plugin `{}` is refused: {error}", swap.plugin)),
        })
    }

    pub(super) fn current_plugin(&self, name: &str) -> Result<(Plugin, Arc<Snapshot>), OperationError> {
        if self.is_draining() {
            return Err(OperationError::Draining);
        }
        let snapshot = self.current.load_full();
        let plugin = snapshot.plugin(name).cloned().ok_or_else(|| OperationError::UnknownPlugin(name.to_owned()))?;
        Ok((plugin, snapshot))
    }

    fn begin(&self, plugin: &str) -> Result<Turn<'_>, OperationError> {
        self.current_plugin(plugin)?;
        let mut swapping = self.swapping.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !swapping.insert(plugin.to_owned()) {
            return Err(OperationError::Conflict(format!(
                "another swap of `{plugin}` is under way: try again when it is over"
            )));
        }
        Ok(Turn { shared: self, plugin: plugin.to_owned() })
    }

    /// Counts and tells how an operation on a plugin ended.
    pub(super) fn account(
        &self,
        plugin: &str,
        operation: &'static str,
        actor: &str,
        outcome: &Result<SwapReport, OperationError>,
    ) {
        let word = match outcome {
            Ok(report) => report.state,
            Err(_) => "refused",
        };
        self.metrics.swapped(plugin, word);
        match outcome {
            Ok(report) => {
                let (sha256, took_ms) = (&report.sha256, report.took_ms);
                tracing::info!(plugin, operation, actor, sha256, state = report.state, took_ms, "plugin changed");
                self.event(
                    "swap",
                    [
                        ("plugin", plugin.into()),
                        ("operation", operation.into()),
                        ("actor", actor.into()),
                        ("sha256", report.sha256.as_str().into()),
                        ("state", report.state.into()),
                    ],
                );
            }
            Err(error) => {
                tracing::warn!(plugin, operation, actor, %error, "plugin not changed");
                let error = error.to_string();
                self.event(
                    "swap",
                    [("plugin", plugin.into()), ("operation", operation.into()), ("error", error.into())],
                );
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.swapping.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&self.plugin);
    }
}

/// A pinned plugin is swapped only together with a new pin.
fn pin(configured: &config::Plugin, swap: &Swap) -> Result<Option<Digest>, OperationError> {
    match (configured.sha256, swap.sha256) {
        (Some(_), None) => Err(OperationError::Refused(format!(
            "plugin `{}` is pinned by `sha256`: name the digest of the new version, too (--sha256)",
            swap.plugin
        ))),
        (_, wanted) => Ok(wanted.map(Digest::from)),
    }
}

fn mode(mode: &SwapMode) -> Result<Option<TrialMode>, OperationError> {
    let (percent, sticky) = match mode {
        SwapMode::Now => return Ok(None),
        SwapMode::Shadow => (None, None),
        SwapMode::Canary { percent, sticky } => (Some(*percent), sticky.as_deref()),
    };
    if percent.is_some_and(|percent| !(percent > 0.0 && percent <= 100.0)) {
        return Err(OperationError::Invalid(
            "a canary takes more than 0 % and at most 100 % of the requests".to_owned(),
        ));
    }
    match trial_mode(percent, sticky) {
        Some(mode) => Ok(Some(mode)),
        None => Err(OperationError::Invalid(format!("`sticky`: {NoRequestKey}"))),
    }
}

fn running_trial(mode: &SwapMode, decision: Decision) -> TrialOverride {
    let (percent, sticky) = match mode {
        SwapMode::Canary { percent, sticky } => (Some(*percent), sticky.clone()),
        SwapMode::Now | SwapMode::Shadow => (None, None),
    };
    TrialOverride::Running { decision, percent, sticky }
}

pub(super) fn decision(sha256: Digest, actor: &str, reason: Option<String>) -> Decision {
    Decision { sha256, actor: actor.to_owned(), since: now(), reason }
}

fn refused(refusals: Vec<Refusal>) -> OperationError {
    let words: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    OperationError::Refused(words.join("\n"))
}

pub(super) fn report(plugin: &Plugin, before: &Version, generations: [u64; 2], began: Instant) -> SwapReport {
    let [previous_generation, generation] = generations;
    let stable = &plugin.deployment.stable.declaration.version;
    let (version, state) = match &plugin.deployment.trial {
        Some(trial) if trial.mode == TrialMode::Shadow => (&trial.release.declaration.version, "shadow"),
        Some(trial) => (&trial.release.declaration.version, "canary"),
        None if stable.digest() == before.digest() => (stable, "unchanged"),
        None => (stable, "serving"),
    };
    let (rights, rights_before) = (Rights::of(version), Rights::of(before));
    let names = |rights: Rights| {
        let hooks = rights.hooks.iter().map(|hook| hook.name().to_owned());
        hooks.chain(rights.imports.iter().cloned()).collect()
    };
    SwapReport {
        plugin: plugin.name.to_string(),
        sha256: version.digest().to_string(),
        previous_sha256: Some(before.digest().to_string()),
        state,
        generation,
        previous_generation,
        rights_gained: names(rights.gained(rights_before)),
        rights_lost: names(rights.lost(rights_before)),
        took_ms: began.elapsed().as_secs_f64() * 1000.0,
    }
}

impl From<GatewayError> for OperationError {
    fn from(error: GatewayError) -> Self {
        Self::from(&error)
    }
}

impl From<&GatewayError> for OperationError {
    fn from(error: &GatewayError) -> Self {
        match error {
            GatewayError::Config(faults) => {
                Self::Faults { text: faults.to_string(), faults: faults.to_json(), by_plugin: false }
            }
            GatewayError::Plugin(faults) => {
                Self::Faults { text: faults.to_string(), faults: faults.to_json(), by_plugin: true }
            }
            GatewayError::Warm(_) => Self::Refused(error.to_string()),
            GatewayError::Draining => Self::Draining,
            _ => Self::Failed(error.to_string()),
        }
    }
}
