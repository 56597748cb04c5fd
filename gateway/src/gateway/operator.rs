//! The gateway as an operator sees it: what the admin API asks for, answered from what serves.

use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::broadcast;

use super::outage::Outage;
use super::{Cause, Gateway, Shared};
use crate::control::{
    Answer, Asked, ConfigReport, ConfigRollback, ConfigStatus, Event, OperationError, Operator, OverrideStatus,
    PluginStatus, ReloadReport, Status, Swap, SwapReport, UpgradeReport,
};
use crate::filter::native::{Circuit, CircuitState, Counted};
use crate::plugin::{BUCKETS, GuestValue, HookTotals, InstanceState, Isolation, Outcome, Rights, Totals, bucket_bound};
use crate::plugin::{Hook, Version};
use crate::resource::KeySet;
use crate::snapshot::{Plugin, Snapshot, Target};
use crate::telemetry::{
    CircuitSample, GuestSample, HookSample, KeySetSample, LimitSample, MetricsFormat, Samples, SpanOutcome,
    UpstreamSample, VersionSample,
};
use crate::upstream::{MirrorOutcome, RetryOutcome, Upstream};

impl Operator for Gateway {
    fn status(&self) -> Status {
        let plugins = self.plugins();
        let told = self.0.told();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            generation: self.0.current.load().generation,
            ready: self.is_ready(),
            uptime: self.0.started.elapsed(),
            workers: self.0.workers.len(),
            config_source: self.0.source.sources.name().to_owned(),
            config: config_status(&told),
            last_reload_error: told.last_reload_error.clone(),
            plugins,
        }
    }

    fn is_ready(&self) -> bool {
        // Who asks means the gateway, and another process of it serves on.
        !self.0.is_draining() || self.0.successor.load(Ordering::Acquire) != 0
    }

    fn plugins(&self) -> Vec<PluginStatus> {
        let snapshot = self.0.current.load_full();
        snapshot.plugins.iter().map(|plugin| self.0.plugin_status(plugin)).collect()
    }

    fn routes(&self) -> serde_json::Value {
        let snapshot = self.0.current.load_full();
        let upstream = |place: &usize| snapshot.upstreams[*place].name.to_string();
        let routes = snapshot.routes.iter().map(|route| {
            let upstreams: Vec<String> = match &route.target {
                Target::Upstreams { places, .. } => places.iter().map(upstream).collect(),
                Target::Respond(_) => Vec::new(),
            };
            serde_json::json!({
                "name": &*route.name,
                "path": &*route.pattern,
                "filters": route.chain.names().collect::<Vec<_>>(),
                "upstreams": upstreams,
                "timeout_s": route.timeout.as_secs_f64(),
            })
        });
        routes.collect()
    }

    fn upstreams(&self) -> serde_json::Value {
        self.0.upstream_statuses()
    }

    fn swap(&self, swap: Swap) -> Answer<'_, SwapReport> {
        let gateway = self.clone();
        to_its_end(async move {
            gateway.0.check_overrides().await?;
            gateway.0.swap(swap).await
        })
    }

    fn promote(&self, plugin: String, actor: String) -> Answer<'_, SwapReport> {
        let gateway = self.clone();
        to_its_end(async move {
            gateway.0.check_overrides().await?;
            gateway.0.promote(&plugin, &actor, None).await
        })
    }

    fn rollback(&self, plugin: String, actor: String) -> Answer<'_, SwapReport> {
        let gateway = self.clone();
        to_its_end(async move {
            gateway.0.check_overrides().await?;
            gateway.0.roll_back(&plugin, &actor, None).await
        })
    }

    fn reset(&self, plugin: String, actor: String) -> Answer<'_, SwapReport> {
        let gateway = self.clone();
        to_its_end(async move { gateway.0.reset(&plugin, &actor).await })
    }

    fn reload(&self, actor: String) -> Answer<'_, ReloadReport> {
        tracing::info!(actor, "reload ordered");
        let gateway = self.clone();
        to_its_end(async move { Self::reload(&gateway, Cause::Operator("admin")).await.map_err(OperationError::from) })
    }

    fn config(&self) -> Answer<'_, ConfigReport> {
        Box::pin(async { Ok(self.config_report().await) })
    }

    fn check_config(&self, text: String) -> Answer<'_, serde_json::Value> {
        Box::pin(self.check_text(text))
    }

    fn replace_config(&self, text: String, tag: String, actor: String) -> Answer<'_, ConfigReport> {
        let gateway = self.clone();
        to_its_end(async move { gateway.replace_text(text, &tag, &actor).await })
    }

    fn config_history(&self) -> serde_json::Value {
        self.0.editions()
    }

    fn roll_back_config(&self, number: Option<u64>, actor: String) -> Answer<'_, ConfigRollback> {
        tracing::info!(actor, "rollback of the configuration ordered");
        let gateway = self.clone();
        to_its_end(async move { gateway.roll_back_to(number).await })
    }

    fn explain(&self, asked: Asked) -> Answer<'_, serde_json::Value> {
        Box::pin(self.explained(asked))
    }

    fn drain(&self, actor: String) {
        tracing::info!(actor, "drain ordered");
        self.0.ending.notify_one();
    }

    fn upgrade(&self, actor: String) -> Answer<'_, UpgradeReport> {
        tracing::info!(actor, "upgrade ordered");
        let gateway = self.clone();
        to_its_end(async move { Self::upgrade(&gateway).await.map_err(OperationError::from) })
    }

    fn refused(&self, reason: &'static str) {
        self.0.metrics.admin_refused(reason);
    }

    fn metrics(&self, format: MetricsFormat) -> String {
        let snapshot = self.0.current.load_full();
        let told = self.0.told();
        let overridden = |name: &str| told.overrides.get(name).is_some_and(|held| held.is_active());
        let samples = Samples {
            versions: self.0.version_samples(),
            overrides: snapshot
                .plugins
                .iter()
                .map(|plugin| (plugin.name.to_string(), overridden(&plugin.name)))
                .collect(),
            key_sets: snapshot.resources.key_sets.values().map(|set| key_set_sample(set)).collect(),
            circuits: snapshot.states.circuits().map(circuit_sample).collect(),
            limits: snapshot.states.counted().map(limit_sample).collect(),
            endpoints: self.0.endpoint_samples(),
            has_config_source: told.source_outage.is_none(),
            discoveries: discoveries(&snapshot, &told),
            certificates: self.0.certificate_samples(),
            handshakes: self.0.handshake_samples(),
            upstreams: snapshot.upstreams.iter().map(|upstream| upstream_sample(upstream)).collect(),
            requests: self.0.telemetry.requests.samples(&snapshot.telemetry.metrics),
            access_log_dropped: self.0.telemetry.access_log.dropped(),
            spans: self.0.span_samples(&snapshot),
            connections: told.permits.iter().map(|(name, permits)| (name.to_string(), permits.open() as u64)).collect(),
            ..self.0.guest_samples()
        };
        drop(told);
        self.0.metrics.render(&samples, format)
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }
}

fn discoveries(snapshot: &Snapshot, told: &super::Told) -> Vec<(String, bool)> {
    let discovered = snapshot.upstreams.iter().filter(|upstream| upstream.discovery.is_some());
    let is_up = |name: &str| !told.discovery_outages.contains_key(name);
    discovered.map(|upstream| (upstream.name.to_string(), is_up(&upstream.name))).collect()
}

fn config_status(told: &super::Told) -> ConfigStatus {
    let config = &told.config;
    ConfigStatus {
        sha256: config.sha256.clone(),
        number: config.edition,
        rolled_back: config.is_rolled_back,
        source_error: told.source_outage.as_ref().map(Outage::error),
        held: config.held.iter().map(|(include, faults)| (include.display().to_string(), faults.clone())).collect(),
    }
}

fn circuit_sample(circuit: &Circuit) -> CircuitSample {
    let state = circuit.state();
    CircuitSample {
        route: circuit.route.to_string(),
        states: CircuitState::ALL.map(|known| (known.name(), known == state)),
        refused: circuit.refused(),
    }
}

fn limit_sample(counted: Counted) -> LimitSample {
    LimitSample { route: counted.route.to_string(), decisions: counted.decisions }
}

fn upstream_sample(upstream: &Upstream) -> UpstreamSample {
    let load = &upstream.transport.load;
    let retries = RetryOutcome::ALL.map(|outcome| (outcome.name(), upstream.budget.counted(outcome)));
    let mirrored = MirrorOutcome::ALL.map(|outcome| (outcome.name(), upstream.mirrored.counted(outcome)));
    let load = [("requests", load.requests()), ("pending", load.pending()), ("connections", load.connections())];
    UpstreamSample {
        name: upstream.name.to_string(),
        retries: retries.to_vec(),
        mirrored: mirrored.to_vec(),
        load: load.map(|(limit, count)| (limit, count as u64)).to_vec(),
    }
}

fn key_set_sample(set: &KeySet) -> KeySetSample {
    let status = set.status();
    let since_epoch = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    KeySetSample {
        name: set.name.to_string(),
        keys: status.keys as u64,
        loads: [("ok", status.loads.saturating_sub(status.failures)), ("failed", status.failures)],
        last_good: status.last_good.map(since_epoch),
    }
}

/// Runs an operation to its end, also when whoever asked for it has gone away in the middle.
fn to_its_end<T: Send + 'static>(
    operation: impl Future<Output = Result<T, OperationError>> + Send + 'static,
) -> Answer<'static, T> {
    Box::pin(async {
        let ended = tokio::spawn(operation).await;
        ended.unwrap_or_else(|_| Err(OperationError::Failed("the operation ended without an answer".to_owned())))
    })
}

impl Shared {
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    fn plugin_status(&self, plugin: &Plugin) -> PluginStatus {
        let told = self.told();
        let name = plugin.name.to_string();
        let held = told.overrides.get(&name);
        let version = &plugin.deployment.stable.declaration.version;
        let rights = Rights::of(version);
        let decided = held.and_then(|held| held.stable.as_ref());
        PluginStatus {
            source: told.sources.get(&name).cloned().unwrap_or_default(),
            sha256: version.digest().to_string(),
            decided_by: if held.is_some_and(|held| held.is_active()) { "override" } else { "config" },
            r#override: decided.map(|decision| OverrideStatus {
                sha256: decision.sha256.to_string(),
                actor: decision.actor.clone(),
                since: decision.since.clone(),
                reason: decision.reason.clone(),
            }),
            previous_sha256: told
                .previous
                .get(&name)
                .map(|version: &std::sync::Arc<Version>| version.digest().to_string()),
            isolation: match plugin.settings.isolation {
                Isolation::Shared => "shared",
                Isolation::Fresh => "fresh",
            },
            hooks: rights.hooks.iter().map(|hook| hook.name()).collect(),
            imports: rights.imports.iter().cloned().collect(),
            attachments: plugin.uses.len(),
            rollout: told.trials.report(&name, &self.runtime),
            last_rollout: held.and_then(|held| held.last_rollout.clone()),
            name,
        }
    }

    fn span_samples(&self, snapshot: &Snapshot) -> Vec<(&'static str, u64)> {
        let queue = &self.telemetry.spans;
        let counts = SpanOutcome::ALL.map(|outcome| (outcome.name(), queue.count(outcome)));
        let is_told = snapshot.telemetry.tracing.is_some() || counts.iter().any(|(_, count)| *count > 0);
        if is_told { counts.to_vec() } else { Vec::new() }
    }

    /// What guests count themselves, as far as samples go.
    fn guest_samples(&self) -> Samples {
        let readings = self.runtime.guest_metrics();
        let dropped = readings.dropped.into_iter().map(|(plugin, writes)| (plugin.to_string(), writes)).collect();
        let mut samples = Samples { dropped, ..Samples::default() };
        for metric in readings.metrics {
            let sample =
                |value| GuestSample { plugin: metric.plugin.to_string(), name: metric.name.to_string(), value };
            match metric.value {
                #[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
                GuestValue::Counter(value) => samples.counters.push(sample(value as f64)),
                GuestValue::Gauge(value) => samples.gauges.push(sample(value)),
            }
        }
        samples
    }

    fn version_samples(&self) -> Vec<VersionSample> {
        let totals = self.runtime.registry().totals();
        let sample =
            |((plugin, digest), totals): ((std::sync::Arc<str>, crate::plugin::Digest), Totals)| VersionSample {
                plugin: plugin.to_string(),
                sha256: digest.to_string(),
                hooks: Hook::ALL.into_iter().map(|hook| hook_sample(hook, totals.hook(hook))).collect(),
                memory_bytes: totals.memory_bytes,
                instances: InstanceState::ALL
                    .into_iter()
                    .map(|state| (state.name(), totals.instances[state as usize]))
                    .collect(),
                restarts: totals.restarts,
                skipped: totals.skipped,
                shadow: vec![("same", totals.same), ("differs", totals.differs), ("failed", totals.failed)],
            };
        totals.into_iter().map(sample).collect()
    }
}

fn hook_sample(hook: Hook, totals: &HookTotals) -> HookSample {
    HookSample {
        hook: hook.name(),
        outcomes: Outcome::ALL.into_iter().map(|outcome| (outcome.name(), totals.of(outcome))).collect(),
        // The last bucket has no bound of its own: it is the count of all.
        buckets: (0..BUCKETS - 1).map(|at| (bucket_bound(at).as_secs_f64(), totals.buckets[at])).collect(),
        sum_seconds: totals.sum.as_secs_f64(),
    }
}
