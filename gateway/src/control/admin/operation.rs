//! Operations: carried out to their end once begun, and put on record on the log target `witgate::audit`.

use std::sync::Arc;

use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::gate::Actor;
use super::problem::Problem;
use super::socket::Peer;
use crate::control::{Answer, OperationError, Operator, SwapReport, UpgradeReport};

/// What somebody does, as the record tells it.
pub(super) struct Operation {
    action: &'static str,
    actor: Actor,
    plugin: Option<String>,
    /// Of the component that is wanted, where that is known beforehand.
    sha256: Option<String>,
    reason: Option<String>,
    /// Given back when the operation has ended.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Operation {
    pub(super) fn new(action: &'static str, actor: &Actor) -> Self {
        Self { action, actor: actor.clone(), plugin: None, sha256: None, reason: None, _permit: None }
    }

    pub(super) fn on(self, plugin: &str) -> Self {
        Self { plugin: Some(plugin.to_owned()), ..self }
    }

    pub(super) fn with_component(self, sha256: Option<String>) -> Self {
        Self { sha256, ..self }
    }

    pub(super) fn because(self, reason: Option<String>) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn holding(self, permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// Records an operation that cannot fail.
    pub(super) fn succeeded(&self) {
        self.record("ok", None);
    }

    fn record(&self, outcome: &str, error: Option<&OperationError>) {
        tracing::info!(
            target: AUDIT,
            action = self.action,
            actor = &*self.actor.name,
            client = &*self.actor.client,
            plugin = self.plugin.as_deref(),
            sha256 = self.sha256.as_deref(),
            reason = self.reason.as_deref(),
            outcome,
            error = error.map(tracing::field::display),
            "audit"
        );
    }
}

/// What an operation came to.
pub(super) trait Outcome: Send + 'static {
    /// The digest that it put in place, if any.
    fn sha256(&self) -> Option<&str>;
}

impl Outcome for SwapReport {
    fn sha256(&self) -> Option<&str> {
        Some(&self.sha256)
    }
}

impl Outcome for UpgradeReport {
    fn sha256(&self) -> Option<&str> {
        None
    }
}

/// A generation.
impl Outcome for u64 {
    fn sha256(&self) -> Option<&str> {
        None
    }
}

/// Carries an operation out, also when whoever asked for it hangs up meanwhile: half a swap is none, and the record shows
/// how it ended.
pub(super) async fn perform<T: Outcome>(
    operator: Arc<dyn Operator>,
    mut operation: Operation,
    work: impl for<'o> FnOnce(&'o dyn Operator) -> Answer<'o, T> + Send + 'static,
) -> Result<T, Problem> {
    let task = tokio::spawn(async move {
        let ended = work(&*operator).await;
        match &ended {
            Ok(outcome) => {
                if let Some(sha256) = outcome.sha256() {
                    operation.sha256 = Some(sha256.to_owned());
                }
                operation.record("ok", None);
            }
            Err(error) => operation.record(kind(error), Some(error)),
        }
        ended
    });
    match task.await {
        Ok(ended) => ended.map_err(Problem::from),
        Err(_) => Err(OperationError::Failed("the operation broke off; the log tells why".to_owned()).into()),
    }
}

/// Records a mutation that the gate did not let in. Its token has no name, or not the role.
pub(super) fn denied(head: &Parts, peer: &Peer, problem: &Problem) {
    tracing::info!(
        target: AUDIT,
        action = "denied",
        client = %peer,
        method = %head.method,
        path = head.uri.path(),
        outcome = problem.status().as_u16(),
        error = %problem,
        "audit"
    );
}

fn kind(error: &OperationError) -> &'static str {
    match error {
        OperationError::UnknownPlugin(_) => "unknown plugin",
        OperationError::Invalid(_) => "invalid",
        OperationError::Refused(_) => "refused",
        OperationError::Conflict(_) => "conflict",
        OperationError::Forbidden(_) => "forbidden",
        OperationError::Stale(_) => "stale",
        OperationError::Faults { .. } => "faults",
        OperationError::Draining => "draining",
        OperationError::Failed(_) => "failed",
    }
}

/// The log target of the record.
const AUDIT: &str = "witgate::audit";
