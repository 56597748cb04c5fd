//! The way to the exporter, bounded by the spans that wait on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::otlp::Spans;
use super::rules::TracingRules;

/// Where workers put spans.
#[derive(Debug)]
pub struct SpanQueue {
    batches: mpsc::UnboundedSender<SpanBatch>,
    waiting: AtomicUsize,
    outcomes: [AtomicU64; SpanOutcome::ALL.len()],
}

/// Spans for one collector.
#[derive(Debug)]
pub struct SpanBatch {
    pub rules: Arc<TracingRules>,
    pub spans: Spans,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanOutcome {
    Exported,
    /// The collector did not take them.
    Failed,
    /// Too many were waiting.
    Dropped,
}

impl SpanOutcome {
    pub const ALL: [Self; 3] = [Self::Exported, Self::Failed, Self::Dropped];

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl SpanQueue {
    /// A queue, and the end where batches come out.
    pub fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<SpanBatch>) {
        let (batches, received) = mpsc::unbounded_channel();
        (Arc::new(Self { batches, waiting: AtomicUsize::new(0), outcomes: Default::default() }), received)
    }

    /// Hands spans over, or gives them up when as many wait as may.
    pub(super) fn put(&self, batch: SpanBatch) {
        let (count, max) = (batch.spans.len(), batch.rules.queue_spans_max);
        if self.waiting.fetch_add(count, Ordering::Relaxed) + count > max || self.batches.send(batch).is_err() {
            self.done(count, SpanOutcome::Dropped);
        }
    }

    /// So many spans wait no longer.
    pub fn done(&self, count: usize, outcome: SpanOutcome) {
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        self.outcomes[outcome as usize].fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Spans that ended so.
    pub fn count(&self, outcome: SpanOutcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use opentelemetry::trace::SpanKind;

    use super::super::context::{new_span, new_trace};
    use super::super::otlp::Head;
    use super::*;

    fn batch(count: usize) -> SpanBatch {
        let mut spans = Spans::default();
        for _ in 0..count {
            let head = Head {
                trace: new_trace(),
                span: new_span(),
                parent: None,
                parent_is_remote: false,
                state: "",
                kind: SpanKind::Server,
                name: &["GET"],
                began: SystemTime::now(),
                took: Duration::ZERO,
                has_failed: false,
                link: None,
                dropped_attributes: 0,
            };
            spans.push(&head, |_| {});
        }
        SpanBatch { rules: Arc::new(TracingRules { queue_spans_max: 4, ..TracingRules::default() }), spans }
    }

    #[test]
    fn as_many_wait_as_may_and_what_is_beyond_is_counted() {
        let (queue, mut batches) = SpanQueue::new();
        queue.put(batch(3));
        queue.put(batch(2));
        queue.put(batch(1));
        queue.put(batch(1));
        assert_eq!(queue.count(SpanOutcome::Dropped), 3, "four fit");
        let taken: Vec<usize> = std::iter::from_fn(|| batches.try_recv().ok()).map(|batch| batch.spans.len()).collect();
        assert_eq!(taken, [3, 1]);
        queue.done(4, SpanOutcome::Exported);
        queue.put(batch(4));
        assert_eq!((queue.count(SpanOutcome::Dropped), queue.count(SpanOutcome::Exported)), (3, 4));
    }
}
