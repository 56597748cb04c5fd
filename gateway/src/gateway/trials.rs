//! Trials: what was counted when each began, and what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::commit::now;
use super::source::Wanted;
use super::swap::{Wish, decision};
use super::{Running, Shared, record};
use crate::config::Config;
use crate::config::model::RollbackWhen;
use crate::control::{
    Evidence, Judgement, OperationError, Override, Overrides, Rules, SwapReport, TrialOverride, judge,
};
use crate::plugin::{Digest, Runtime, Totals, Trial, TrialMode, Version};
use crate::snapshot::{Plugin, Snapshot};

/// The trials that are going on, by plugin.
#[derive(Debug, Clone, Default)]
pub(super) struct Trials(BTreeMap<Arc<str>, Run>);

/// One of them.
#[derive(Debug, Clone)]
struct Run {
    trial: Arc<Trial>,
    stable: Digest,
    rules: Rules,
    actor: String,
    began: Instant,
    /// RFC 3339.
    since: String,
    /// What both versions had counted: when it began, or, where only a window of time counts, when that began.
    marks: VecDeque<Mark>,
}

#[derive(Debug, Clone)]
struct Mark {
    at: Instant,
    stable: Totals,
    trial: Totals,
}

impl Trials {
    /// Begins and ends trials as a snapshot that is about to serve has them.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, config: &Config, overrides: &Overrides, runtime: &Runtime) {
        let mut before = std::mem::take(&mut self.0);
        for plugin in &snapshot.plugins {
            let Some(trial) = &plugin.deployment.trial else { continue };
            let stable = plugin.deployment.stable.declaration.version.digest();
            let run = before.remove(&plugin.name).filter(|run| is_same(run, trial, stable));
            let run = run.unwrap_or_else(|| Run::begin(plugin, trial, config, overrides, runtime));
            self.0.insert(plugin.name.clone(), Run { trial: trial.clone(), ..run });
        }
    }

    /// For the admin API.
    pub(super) fn report(&self, plugin: &str, runtime: &Runtime) -> Option<Value> {
        self.0.get(plugin).map(|run| run.report(plugin, &counted(runtime)))
    }

    fn judge(&mut self, runtime: &Runtime) -> Vec<(Arc<str>, Judgement)> {
        let counted = counted(runtime);
        let judged = self.0.iter_mut().map(|(name, run)| (name.clone(), run.judge(name, &counted)));
        judged.filter(|(_, judgement)| *judgement != Judgement::GoOn).collect()
    }
}

/// What is decided about a plugin's newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Promote,
    RollBack,
}

impl Ending {
    /// What it makes of a trial.
    fn outcome(self) -> &'static str {
        match self {
            Self::Promote => "promoted",
            Self::RollBack => "rolled_back",
        }
    }
}

/// A reload goes on with a trial of the same versions, however it came about.
fn is_same(run: &Run, trial: &Trial, stable: Digest) -> bool {
    let version = |trial: &Trial| trial.release.declaration.version.digest();
    run.stable == stable && version(&run.trial) == version(trial) && run.trial.mode == trial.mode
}

type Counted = BTreeMap<(Arc<str>, Digest), Totals>;

fn counted(runtime: &Runtime) -> Counted {
    runtime.registry().totals()
}

impl Run {
    fn begin(plugin: &Plugin, trial: &Arc<Trial>, config: &Config, overrides: &Overrides, runtime: &Runtime) -> Self {
        let configured = config.plugins.get(&*plugin.name).and_then(|plugin| plugin.canary.as_ref());
        let ordered = overrides.get(&plugin.name).and_then(|held| match &held.trial {
            TrialOverride::Running { decision, .. } => Some(decision),
            TrialOverride::AsConfigured | TrialOverride::Over => None,
        });
        let rollback = configured.map_or_else(RollbackWhen::default, |canary| canary.rollback_when.clone());
        let promote_after = configured.filter(|_| ordered.is_none()).and_then(|canary| canary.promote_after);
        let stable = plugin.deployment.stable.declaration.version.digest();
        let mut run = Self {
            trial: trial.clone(),
            stable,
            rules: Rules {
                error_ratio: rollback.error_ratio,
                p99_ratio: rollback.p99_ratio,
                calls_min: rollback.min_calls,
                window: rollback.window,
                promote_after,
            },
            actor: ordered.map_or_else(|| CONFIGURATION.to_owned(), |decision| decision.actor.clone()),
            began: Instant::now(),
            since: now(),
            marks: VecDeque::new(),
        };
        run.marks.push_back(run.mark(&plugin.name, &counted(runtime)));
        run
    }

    fn mark(&self, plugin: &Arc<str>, counted: &Counted) -> Mark {
        let of = |digest| counted.get(&(plugin.clone(), digest)).cloned().unwrap_or_default();
        Mark { at: Instant::now(), stable: of(self.stable), trial: of(self.trial.release.declaration.version.digest()) }
    }

    fn evidence(&self, plugin: &Arc<str>, counted: &Counted) -> Evidence {
        let now = self.mark(plugin, counted);
        let (stable, trial) = match self.marks.front() {
            Some(mark) => (now.stable.since(&mark.stable), now.trial.since(&mark.trial)),
            None => (now.stable, now.trial),
        };
        Evidence { stable, trial, age: self.began.elapsed() }
    }

    fn judge(&mut self, plugin: &Arc<str>, counted: &Counted) -> Judgement {
        if let Some(window) = self.rules.window {
            let mark = self.mark(plugin, counted);
            let due = self.marks.back().is_none_or(|last| mark.at - last.at >= window / WINDOW_MARKS);
            if due {
                self.marks.push_back(mark);
            }
            while self.marks.get(1).is_some_and(|next| next.at.elapsed() >= window) {
                self.marks.pop_front();
            }
        }
        judge(&self.rules, &self.evidence(plugin, counted))
    }

    fn report(&self, plugin: &str, counted: &Counted) -> Value {
        let mode = match &self.trial.mode {
            TrialMode::Shadow => json!({ "mode": "shadow" }),
            TrialMode::Canary { share, .. } => json!({ "mode": "canary", "percent": share.percent() }),
        };
        let mut report = json!({
            "sha256": self.trial.release.declaration.version.digest().to_string(),
            "stable_sha256": self.stable.to_string(),
            "since": self.since,
            "actor": self.actor,
            "evidence": self.evidence(&plugin.into(), counted).report(),
        });
        if let (Some(report), Value::Object(mode)) = (report.as_object_mut(), mode) {
            report.extend(mode);
        }
        report
    }
}

impl Shared {
    /// The trial's version becomes the stable one.
    pub(super) async fn promote(
        &self,
        name: &str,
        actor: &str,
        why: Option<String>,
    ) -> Result<SwapReport, OperationError> {
        let outcome = self.decide(name, Ending::Promote, actor, why).await;
        self.account(name, "promote", actor, &outcome);
        outcome
    }

    /// Ends a trial; without one, goes back to the version that served before.
    pub(super) async fn roll_back(
        &self,
        name: &str,
        actor: &str,
        why: Option<String>,
    ) -> Result<SwapReport, OperationError> {
        let outcome = self.decide(name, Ending::RollBack, actor, why).await;
        self.account(name, "rollback", actor, &outcome);
        outcome
    }

    async fn decide(
        &self,
        name: &str,
        ending: Ending,
        actor: &str,
        why: Option<String>,
    ) -> Result<SwapReport, OperationError> {
        let began = Instant::now();
        let mut running = self.running.lock().await;
        let (plugin, snapshot) = self.current_plugin(name)?;
        let serving = &plugin.deployment.stable.declaration.version;
        let trial = plugin.deployment.trial.as_ref().map(|trial| trial.release.declaration.version.clone());
        let is_trial_over = trial.is_some();
        let stable = match (ending, trial) {
            (Ending::Promote, trial) => {
                trial.ok_or_else(|| format!("`{name}` has no canary and no shadow run to promote"))
            }
            (Ending::RollBack, Some(_)) => Ok(serving.clone()),
            (Ending::RollBack, None) => running
                .previous
                .get(name)
                .cloned()
                .ok_or_else(|| format!("`{name}` has no version to go back to: none served before this one")),
        };
        let stable = stable.map_err(OperationError::Conflict)?;
        // What the trial has shown stands fixed before it ends, and is told once it has ended.
        let rollout = is_trial_over.then(|| self.rollout(&running, name, ending, actor, why.as_deref())).flatten();
        let decision = (stable.digest() != serving.digest()).then(|| decision(stable.digest(), actor, why));
        let change = |held: &mut Override| {
            if decision.is_some() {
                held.stable = decision;
            }
            if is_trial_over {
                held.trial = TrialOverride::Over;
                held.last_rollout.clone_from(&rollout);
            }
        };
        let wish = Wish { stable, trial: None };
        let report = self.deploy(&mut running, &snapshot, &plugin, wish, change, began).await?;
        if let Some(rollout) = rollout {
            self.tell_rollout(name, rollout);
        }
        let state = if is_trial_over && ending == Ending::RollBack { ending.outcome() } else { report.state };
        Ok(SwapReport { state, ..report })
    }

    /// Ends an override: the configuration's version serves, and its canary is tried again.
    pub(super) async fn reset(&self, name: &str, actor: &str) -> Result<SwapReport, OperationError> {
        let began = Instant::now();
        let before: Arc<Version> = {
            let mut running = self.running.lock().await;
            let (plugin, _) = self.current_plugin(name)?;
            if !running.overrides.remove(name) {
                return Err(OperationError::Conflict(format!(
                    "`{name}` is not overridden: the configuration's version serves"
                )));
            }
            if let Err(error) = running.overrides.store(&self.state_dir) {
                tracing::error!(%error, "overrides cannot be kept in the state folder");
            }
            plugin.deployment.stable.declaration.version.clone()
        };
        let reloaded = self.reload("reset", Wanted::Again).await.map_err(OperationError::from)?;
        let generations = [reloaded.previous_generation, reloaded.generation];
        let (plugin, _) = self.current_plugin(name)?;
        let outcome = Ok(super::swap::report(&plugin, &before, generations, began));
        self.account(name, "reset", actor, &outcome);
        outcome
    }

    /// What is kept of a trial that ends so.
    fn rollout(
        &self,
        running: &Running,
        plugin: &str,
        ending: Ending,
        actor: &str,
        why: Option<&str>,
    ) -> Option<Value> {
        let mut report = running.trials.report(plugin, &self.runtime)?;
        report["outcome"] = ending.outcome().into();
        report["decided_by"] = actor.into();
        report["reason"] = why.into();
        report["ended"] = now().into();
        Some(report)
    }

    fn tell_rollout(&self, plugin: &str, report: Value) {
        let word = |key: &str| report[key].as_str();
        let (outcome, actor, reason) = (word("outcome"), word("decided_by"), word("reason"));
        let words = &report["evidence"];
        tracing::info!(plugin, outcome, actor, reason, evidence = %words, "a trial is over");
        self.event("rollout", [("plugin", plugin.into()), ("outcome", outcome.into()), ("report", report.clone())]);
    }

    async fn judge(&self) {
        let judged = self.running.lock().await.trials.judge(&self.runtime);
        for (plugin, judgement) in judged {
            let (ending, why) = match judgement {
                Judgement::GoOn => continue,
                Judgement::Promote => (Ending::Promote, "it held as long as it had to".to_owned()),
                Judgement::RollBack(why) => (Ending::RollBack, why),
            };
            let reason = Some(why);
            let (action, outcome) = match ending {
                Ending::Promote => ("promote", self.promote(&plugin, JUDGE, reason.clone()).await),
                Ending::RollBack => ("rollback", self.roll_back(&plugin, JUDGE, reason.clone()).await),
            };
            record::swap(action, record::TRIAL, &plugin, reason, &outcome);
            if let Err(error) = outcome {
                tracing::error!(plugin = &*plugin, %error, "a trial cannot be ended");
            }
        }
    }
}

/// Judges trials as long as the gateway lives.
pub(super) async fn keep_judging(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(JUDGE_INTERVAL).await;
        let Some(shared) = shared.upgrade() else { return };
        let has_trials = !shared.told().trials.0.is_empty();
        if has_trials && !shared.is_draining() {
            shared.judge().await;
        }
    }
}

/// Who ends trials on their evidence.
const JUDGE: &str = "evidence";
/// Who begins those that are declared.
const CONFIGURATION: &str = "configuration";
const JUDGE_INTERVAL: Duration = Duration::from_millis(200);
/// A window of time is exact to this share of itself.
const WINDOW_MARKS: u32 = 20;
