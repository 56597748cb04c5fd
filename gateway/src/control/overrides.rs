//! Overrides: what was decided about plugins by command, by API or by a trial's evidence, beside the configuration.
//!
//! They are kept in the state folder, so that they outlive the process, and end when what the configuration says of that
//! plugin changes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Config;
use crate::config::model::Plugin;
use crate::plugin::{Digest, Share, TrialMode};
use crate::snapshot::{Choice, Choices, TrialChoice};

/// Every override, by plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Overrides(BTreeMap<String, Override>);

/// What was decided about one plugin.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// What the configuration said then: another text there ends the override.
    basis: String,
    /// In the place of `source`.
    pub stable: Option<Decision>,
    /// In the place of `canary`.
    #[serde(default)]
    pub trial: TrialOverride,
    /// How the last trial ended, with its evidence.
    pub last_rollout: Option<Value>,
}

/// One version, and who wanted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    pub sha256: Digest,
    pub actor: String,
    /// RFC 3339.
    pub since: String,
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialOverride {
    #[default]
    AsConfigured,
    /// It is over: promoted or rolled back.
    Over,
    Running {
        decision: Decision,
        percent: Option<f64>,
        sticky: Option<String>,
    },
}

impl Overrides {
    /// Reads what was kept; none where nothing was. A file that cannot be read is said and left alone.
    pub fn load(state_dir: &Path) -> Self {
        let path = file(state_dir);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "overrides cannot be read: the configuration alone counts");
                return Self::default();
            }
        };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            tracing::error!(path = %path.display(), %error, "overrides are damaged: the configuration alone counts");
            Self::default()
        })
    }

    /// Keeps them, all or nothing.
    ///
    /// # Errors
    /// The system refuses to write or rename.
    pub fn store(&self, state_dir: &Path) -> io::Result<()> {
        let path = file(state_dir);
        let draft = path.with_extension("json.new");
        std::fs::write(&draft, serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        std::fs::File::open(&draft)?.sync_all()?;
        std::fs::rename(&draft, &path)
    }

    /// Those that still hold under a configuration.
    #[must_use]
    pub fn under(&self, config: &Config) -> Self {
        let holds = |(name, held): &(&String, &Override)| {
            config.plugins.get(*name).is_some_and(|plugin| basis(plugin) == held.basis)
        };
        Self(self.0.iter().filter(holds).map(|(name, held)| (name.clone(), held.clone())).collect())
    }

    pub fn get(&self, plugin: &str) -> Option<&Override> {
        self.0.get(plugin)
    }

    /// The override of a plugin, begun on what the configuration says now if there is none.
    pub fn entry(&mut self, name: &str, configured: &Plugin) -> &mut Override {
        self.0.entry(name.to_owned()).or_insert_with(|| Override { basis: basis(configured), ..Override::default() })
    }

    pub fn remove(&mut self, plugin: &str) -> bool {
        self.0.remove(plugin).is_some()
    }

    /// What they mean for a snapshot.
    pub fn choices(&self) -> Choices {
        self.0.iter().map(|(name, held)| (name.clone(), held.choice())).collect()
    }

    /// The components that they need.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        self.0.values().flat_map(|held| {
            let trial = match &held.trial {
                TrialOverride::Running { decision, .. } => Some(decision.sha256),
                TrialOverride::AsConfigured | TrialOverride::Over => None,
            };
            held.stable.iter().map(|decision| decision.sha256).chain(trial)
        })
    }
}

impl Override {
    /// Whether anything but what the configuration says serves or is on trial.
    pub fn is_active(&self) -> bool {
        self.stable.is_some() || self.trial != TrialOverride::AsConfigured
    }

    fn choice(&self) -> Choice {
        let trial = match &self.trial {
            TrialOverride::AsConfigured => TrialChoice::AsConfigured,
            TrialOverride::Over => TrialChoice::None,
            TrialOverride::Running { decision, percent, sticky } => TrialChoice::Of {
                digest: decision.sha256,
                mode: trial_mode(*percent, sticky.as_deref()).unwrap_or(TrialMode::Shadow),
            },
        };
        Choice { stable: self.stable.as_ref().map(|decision| decision.sha256), trial }
    }
}

/// The mode of a trial that is described by a share, none for a shadow run, and a sticky key; `None` when the key is none.
pub fn trial_mode(percent: Option<f64>, sticky: Option<&str>) -> Option<TrialMode> {
    let Some(percent) = percent else { return Some(TrialMode::Shadow) };
    let sticky = sticky.map(str::parse).transpose().ok()?;
    Some(TrialMode::Canary { share: Share::of_percent(percent), sticky })
}

/// What of a plugin's declaration an override holds on to.
fn basis(plugin: &Plugin) -> String {
    Digest::of(format!("{:?}", (&plugin.source, &plugin.sha256, &plugin.canary)).as_bytes()).to_string()
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("overrides.json")
}
