//! Operations: carried out to their end once begun, and put on record on the log target `witgate::audit`.

use std::sync::Arc;

use http::request::Parts;
use tokio::sync::OwnedSemaphorePermit;

use super::gate::Actor;
use super::problem::Problem;
use super::socket::Peer;
use crate::control::record;
use crate::control::{Answer, OperationError, Operator, Record, Turn};

/// What somebody does.
pub(super) struct Operation {
    record: Record,
    /// Given back when the operation has ended.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Operation {
    pub(super) fn new(action: &'static str, actor: &Actor) -> Self {
        let record = Record { client: Some(actor.client.to_string()), ..Record::new(action, actor.name.to_string()) };
        Self { record, _permit: None }
    }

    pub(super) fn on(self, plugin: &str) -> Self {
        Self { record: self.record.on(plugin), ..self }
    }

    pub(super) fn with_component(self, sha256: Option<String>) -> Self {
        Self { record: Record { sha256, ..self.record }, ..self }
    }

    pub(super) fn because(self, reason: Option<String>) -> Self {
        Self { record: self.record.because(reason), ..self }
    }

    pub(super) fn holding(self, permit: OwnedSemaphorePermit) -> Self {
        Self { _permit: Some(permit), ..self }
    }

    /// Records an operation that cannot fail.
    pub(super) fn succeeded(&self) {
        self.record.done(&Turn::default());
    }
}

/// Carries an operation out, also when whoever asked for it hangs up meanwhile: half a swap is none, and the record shows
/// how it ended.
pub(super) async fn perform<T: Send + 'static>(
    operator: Arc<dyn Operator>,
    operation: Operation,
    work: impl for<'o> FnOnce(&'o dyn Operator) -> Answer<'o, T> + Send + 'static,
) -> Result<T, Problem>
where
    for<'t> &'t T: Into<Turn>,
{
    let task = tokio::spawn(async move {
        let ended = work(&*operator).await;
        match &ended {
            Ok(outcome) => operation.record.done(&outcome.into()),
            Err(error) => operation.record.failed(error),
        }
        ended
    });
    match task.await {
        Ok(ended) => ended.map_err(Problem::from),
        Err(_) => Err(OperationError::Failed("the operation broke off; the log tells why".to_owned()).into()),
    }
}

/// Records a request that the gate did not let in.
pub(super) fn denied(head: &Parts, peer: &Peer, problem: &Problem) {
    record::denied(head.method.as_str(), head.uri.path(), &peer.to_string(), problem.status().as_u16(), problem);
}
