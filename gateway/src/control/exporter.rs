//! The exporter of spans: takes what workers hand over to the collector. Whatever that does, no request waits for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::outbound::{Collector, Trust};
use crate::telemetry::{SpanBatch, SpanOutcome, SpanQueue, Spans, TracingRules};

/// The task, from outside.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    end: Option<oneshot::Sender<()>>,
}

struct Work {
    batches: mpsc::UnboundedReceiver<SpanBatch>,
    queue: Arc<SpanQueue>,
    trust: Trust,
    /// For the rules of the last batch; nothing when none can be made.
    collector: Option<(Arc<TracingRules>, Option<Collector>)>,
    /// Whether it was said that spans cannot be exported.
    is_failing: bool,
}

impl Exporter {
    /// Starts it, on the runtime of whoever calls.
    pub fn start(queue: Arc<SpanQueue>, batches: mpsc::UnboundedReceiver<SpanBatch>, trust: Trust) -> Self {
        let (end, ended) = oneshot::channel();
        let work = Work { batches, queue, trust, collector: None, is_failing: false };
        Self { task: tokio::spawn(work.run(ended)), end: Some(end) }
    }

    /// Sends what was handed over so far, for as long as that may take at the end of the process.
    pub async fn finish(&mut self) {
        drop(self.end.take());
        let _ = tokio::time::timeout(FINISH_MAX, &mut self.task).await;
        self.task.abort();
    }
}

impl Work {
    async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut is_ending = false;
        loop {
            let Some(mut batch) = self.next(None, &mut is_ending, &mut ended).await else { return };
            let patience = Instant::now() + GATHER_MAX;
            let mut other = None;
            while batch.spans.len() < EXPORT_SPANS_ENOUGH {
                match self.next(Some(patience), &mut is_ending, &mut ended).await {
                    Some(more) if Arc::ptr_eq(&more.rules, &batch.rules) => batch.spans.append(&more.spans),
                    more => {
                        other = more;
                        break;
                    }
                }
            }
            self.export(batch).await;
            if let Some(other) = other {
                self.export(other).await;
            }
        }
    }

    /// The next batch, if one comes in time. Once the end has come nothing is waited for.
    async fn next(
        &mut self,
        patience: Option<Instant>,
        is_ending: &mut bool,
        ended: &mut oneshot::Receiver<()>,
    ) -> Option<SpanBatch> {
        if !*is_ending {
            let batch = async {
                match patience {
                    Some(patience) => timeout_at(patience, self.batches.recv()).await.ok().flatten(),
                    None => self.batches.recv().await,
                }
            };
            tokio::select! {
                biased;
                batch = batch => return batch,
                _ = ended => *is_ending = true,
            }
        }
        self.batches.try_recv().ok()
    }

    async fn export(&mut self, batch: SpanBatch) {
        let SpanBatch { rules, spans } = batch;
        if !self.collector.as_ref().is_some_and(|(known, _)| Arc::ptr_eq(known, &rules)) {
            let made = self.trust.collector(&rules);
            let error = made.as_ref().err().map(ToString::to_string);
            self.collector = Some((rules, made.ok()));
            if let Some(error) = error {
                self.failed(&error);
            }
        }
        self.send(&spans).await;
    }

    async fn send(&mut self, spans: &Spans) {
        let count = spans.len();
        let Some((_, Some(collector))) = &self.collector else {
            return self.queue.done(count, SpanOutcome::Failed);
        };
        match collector.export(spans).await {
            Ok(()) => {
                self.queue.done(count, SpanOutcome::Exported);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                self.queue.done(count, SpanOutcome::Failed);
                self.failed(&error.to_string());
            }
        }
    }

    /// Says it once.
    fn failed(&mut self, error: &str) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::warn!(error, "spans cannot be exported: they are given up until they can");
        }
    }
}

/// How long spans wait for more to go with them.
const GATHER_MAX: Duration = Duration::from_secs(1);
/// With so many spans an export waits for no more.
const EXPORT_SPANS_ENOUGH: usize = 512;
/// How long the end of the process waits for the last export.
const FINISH_MAX: Duration = Duration::from_secs(2);
