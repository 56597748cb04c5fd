//! The plugins of a snapshot that is being built: declared ones are loaded, used ones are configured, unchanged ones are
//! carried over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::bundled;
use super::plugin::{Plugin, Refusal, Settings, Use, release};
use super::resources::Resources;
use super::versions::{Versions, canary_of, proof};
use super::{Choice, Choices, Snapshot, TrialChoice};
use crate::config::model::{self as config, Config};
use crate::config::{At, Fault};
use crate::filter::{Filter, OnError, PluginFilter, Policy};
use crate::plugin::{
    Deployment, Isolation, Limits, LoadError, Recycle, Release, Runtime, Share, Trial, TrialMode, Version,
};

/// Collects what routes want of plugins, and then deploys them.
pub(super) struct Plugins<'b> {
    config: &'b Config,
    previous: Option<&'b Snapshot>,
    runtime: &'b Runtime,
    resources: &'b Resources,
    places: BTreeMap<&'b str, usize>,
    /// By the plugins' places.
    wanted: Vec<Wanted<'b>>,
    /// What plugins refused; a fault of the configuration goes elsewhere.
    refusals: Vec<Fault>,
}

/// A declared plugin, its versions, and what routes want of it so far.
struct Wanted<'b> {
    name: Arc<str>,
    raw: &'b config::Plugin,
    stable: Arc<Version>,
    trial: Option<(Arc<Version>, TrialMode)>,
    uses: Vec<Use>,
    /// By config.
    slots: HashMap<Box<str>, usize>,
}

impl<'b> Plugins<'b> {
    pub(super) fn new(
        config: &'b Config,
        previous: Option<&'b Snapshot>,
        runtime: &'b Runtime,
        resources: &'b Resources,
    ) -> Self {
        Self { config, previous, runtime, resources, places: BTreeMap::new(), wanted: Vec::new(), refusals: Vec::new() }
    }

    /// Loads every declared plugin. A component that several declare, or that the previous snapshot runs, is loaded once.
    pub(super) async fn load(&mut self, choices: &Choices, faults: &mut Vec<Fault>) {
        let mut versions = Versions::new(self.runtime, self.config.runtime.component, self.previous);
        let as_configured = Choice::default();
        for (name, raw) in &self.config.plugins {
            let choice = choices.get(name).unwrap_or(&as_configured);
            let stable = match stable(name, raw, choice, &mut versions).await {
                Ok(version) => Some(version),
                Err(error) => {
                    self.refuse(name, "source", &error, faults);
                    None
                }
            };
            let trial = match trial(name, raw, choice, &mut versions).await {
                Ok(trial) => trial,
                Err(error) => {
                    self.refuse(name, "canary", &error, faults);
                    None
                }
            };
            if let Some(stable) = stable {
                self.places.insert(name, self.wanted.len());
                let (uses, slots) = (Vec::new(), HashMap::new());
                self.wanted.push(Wanted { name: name.as_str().into(), raw, stable, trial, uses, slots });
            }
        }
    }

    /// Notes that a route uses a plugin with a config, and makes the filter. `at` is the entry of the filter list.
    /// `None` when the plugin was refused.
    pub(super) fn attach(
        &mut self,
        name: &str,
        config: &serde_json::Value,
        on_error: config::OnError,
        at: &At<'_>,
        route: &str,
    ) -> Option<Arc<dyn Filter>> {
        let place = *self.places.get(name)?;
        let wanted = &mut self.wanted[place];
        let config: Box<str> = config.to_string().into();
        let policy = policy(on_error);
        let slot = *wanted.slots.entry(config.clone()).or_insert_with(|| {
            wanted.uses.push(Use { config, may_open: false, route: route.into(), at: at.to_string().into() });
            wanted.uses.len() - 1
        });
        wanted.uses[slot].may_open |= policy.may_open();
        Some(Arc::new(PluginFilter::new(wanted.name.clone(), place, slot, policy)))
    }

    /// Configures every plugin for all that was wanted of it.
    pub(super) async fn deploy(mut self) -> Result<Vec<Plugin>, Vec<Fault>> {
        let mut plugins = Vec::with_capacity(self.wanted.len());
        for wanted in std::mem::take(&mut self.wanted) {
            match self.deployed(wanted).await {
                Ok(plugin) => plugins.push(plugin),
                Err(refusals) => self.refusals.extend(refusals.iter().map(fault)),
            }
        }
        if self.refusals.is_empty() { Ok(plugins) } else { Err(self.refusals) }
    }

    async fn deployed(&self, wanted: Wanted<'_>) -> Result<Plugin, Vec<Refusal>> {
        let Wanted { name, raw, stable, trial, uses, .. } = wanted;
        let settings = Arc::new(settings(raw, &uses, self.resources, self.runtime));
        let old = self.previous.and_then(|previous| previous.plugin(&name));
        let releases: Vec<&Arc<Release>> = old.into_iter().flat_map(Plugin::releases).collect();
        let release_of =
            |version, is_shadow| release(self.runtime, &name, &settings, &uses, version, is_shadow, &releases);
        let stable = release_of(stable, false).await?;
        let trial = match trial {
            Some((version, mode)) if version.digest() != stable.declaration.version.digest() => {
                let release = release_of(version, mode == TrialMode::Shadow).await?;
                let running = old.and_then(|old| old.deployment.trial.as_ref());
                let is_same = |trial: &&Arc<Trial>| trial.mode == mode && Arc::ptr_eq(&trial.release, &release);
                Some(running.filter(is_same).cloned().unwrap_or_else(|| Arc::new(Trial { release, mode })))
            }
            // A trial against itself has nothing to show.
            _ => None,
        };
        Ok(Plugin { name, settings, uses: uses.into(), deployment: Deployment { stable, trial } })
    }

    fn refuse(&mut self, name: &str, key: &str, error: &LoadError, faults: &mut Vec<Fault>) {
        let message = match error {
            LoadError::Read { error, .. } => format!("cannot read plugin `{name}`: {error}"),
            LoadError::TooLarge { size_bytes, .. } => format!(
                "plugin `{name}` has {size_bytes} bytes, more than `runtime.component: {}` allows",
                self.config.runtime.component
            ),
            other => format!("plugin `{name}` cannot be loaded: {other}"),
        };
        let fault = Fault::value(At::ROOT.key("plugins").key(name).key(key), message);
        match error {
            LoadError::UnknownBuiltin { .. } | LoadError::Unbuilt => faults.push(fault),
            _ => self.refusals.push(fault),
        }
    }
}

async fn stable(
    name: &str,
    raw: &config::Plugin,
    choice: &Choice,
    versions: &mut Versions<'_>,
) -> Result<Arc<Version>, LoadError> {
    if let Some(digest) = choice.stable {
        match versions.of_digest(digest).await? {
            Some(version) => return Ok(version),
            None => {
                tracing::error!(plugin = name, sha256 = %digest, "the component of an override is gone: the configured one serves")
            }
        }
    }
    let proof = proof(raw.sha256, raw.public_key.as_deref())?;
    versions.of_source(name, &raw.source, &proof).await
}

async fn trial(
    name: &str,
    raw: &config::Plugin,
    choice: &Choice,
    versions: &mut Versions<'_>,
) -> Result<Option<(Arc<Version>, TrialMode)>, LoadError> {
    match (&choice.trial, &raw.canary) {
        (TrialChoice::Of { digest, mode }, _) => {
            let version = versions.of_digest(*digest).await?;
            if version.is_none() {
                tracing::error!(plugin = name, sha256 = %digest, "the component on trial is gone: the trial is over");
            }
            Ok(version.map(|version| (version, mode.clone())))
        }
        (TrialChoice::AsConfigured, Some(canary)) => {
            let proof = proof(canary.sha256, raw.public_key.as_deref())?;
            let version = versions.of_source(&canary_of(name), &canary.source, &proof).await?;
            Ok(Some((version, trial_mode(canary))))
        }
        (TrialChoice::None, _) | (TrialChoice::AsConfigured, None) => Ok(None),
    }
}

fn trial_mode(canary: &config::Canary) -> TrialMode {
    if canary.shadow {
        return TrialMode::Shadow;
    }
    TrialMode::Canary { share: Share::of_percent(canary.percent), sticky: canary.sticky.clone() }
}

fn settings(raw: &config::Plugin, uses: &[Use], resources: &Resources, runtime: &Runtime) -> Settings {
    let limits = &raw.limits;
    Settings {
        isolation: match raw.isolation {
            config::Isolation::Shared => Isolation::Shared,
            config::Isolation::Fresh => Isolation::Fresh,
        },
        limits: Limits {
            memory_bytes: limits.memory.in_memory(),
            deadline: limits.deadline,
            timeout: limits.timeout,
            instances: limits.instances,
            parked: limits.parked,
            body_bytes: limits.body.in_memory(),
            restarts: limits.restarts,
            reply_bytes: limits.reply.in_memory(),
            host_bytes: limits.host_bytes.in_memory(),
            log_lines: limits.log_lines,
            host_calls: limits.host_calls,
            outbound_calls: limits.outbound_calls,
            handles: limits.handles as usize,
            metrics: limits.metrics,
            span_attributes: limits.span_attributes,
            table_elements: limits.tables as usize,
            attributes: limits.attributes,
        },
        recycle: Recycle {
            uses: raw.recycle.uses,
            age: raw.recycle.age,
            memory_bytes: raw.recycle.memory.map(config::ByteSize::in_memory),
        },
        grants: Arc::new(resources.grants(&bundled::grants(raw, uses), runtime.trust())),
    }
}

fn fault(refusal: &Refusal) -> Fault {
    let key = match refusal {
        Refusal::Config { at, fault, .. } => return fault.place(at, refusal.to_string()),
        Refusal::Ungranted { .. } | Refusal::Start { .. } => "source",
        Refusal::Configure { .. } => "config",
        Refusal::FailOpen { .. } => "on_error",
    };
    let fault = Fault::value(format!("{}.{key}", refusal.at()), refusal.to_string());
    match refusal {
        Refusal::Ungranted { grant, .. } => {
            fault.help(format!("add `grants: {{ {grant}: [NAME] }}` to the plugin, if it may"))
        }
        Refusal::FailOpen { .. } => fault.help("leave `on_error` closed"),
        _ => fault,
    }
}

fn policy(on_error: config::OnError) -> Policy {
    let one = |failure| match failure {
        config::Failure::Closed => OnError::Closed,
        config::Failure::Open => OnError::Open,
    };
    Policy { load: one(on_error.load), trap: one(on_error.trap), deadline: one(on_error.deadline) }
}
