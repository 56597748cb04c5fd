//! A worker's end of tracing: spans are gathered and handed over in batches.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::otlp::Spans;
use super::queue::{SpanBatch, SpanQueue};
use super::rules::TracingRules;
use super::span::RequestSpans;
use crate::telemetry::access_log::Redact;

/// What a worker gathers spans on, whatever configuration serves.
pub struct SpanDesk {
    queue: Arc<SpanQueue>,
    gathered: RefCell<Gathered>,
}

#[derive(Default)]
struct Gathered {
    rules: Option<Arc<TracingRules>>,
    spans: Spans,
}

/// What makes the spans of one configuration.
pub struct Tracer {
    desk: Rc<SpanDesk>,
    rules: Arc<TracingRules>,
    redact: Redact,
}

impl SpanDesk {
    pub fn new(queue: Arc<SpanQueue>) -> Rc<Self> {
        Rc::new(Self { queue, gathered: RefCell::default() })
    }

    /// A tracer by these rules, which shows no more of a query than `redact` lets.
    pub fn tracer(self: &Rc<Self>, rules: &Arc<TracingRules>, redact: &Redact) -> Rc<Tracer> {
        Rc::new(Tracer { desk: self.clone(), rules: rules.clone(), redact: redact.clone() })
    }

    /// Hands over what was gathered.
    pub fn flush(&self) {
        self.gathered.borrow_mut().hand_over(&self.queue);
    }
}

impl Drop for SpanDesk {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Tracer {
    pub fn rules(&self) -> &TracingRules {
        &self.rules
    }

    /// Makes the spans of a request that is over.
    pub fn write(&self, request: &RequestSpans<'_>) {
        let gathered = &mut *self.desk.gathered.borrow_mut();
        if !gathered.rules.as_ref().is_some_and(|rules| Arc::ptr_eq(rules, &self.rules)) {
            gathered.hand_over(&self.desk.queue);
            gathered.rules = Some(self.rules.clone());
        }
        request.write(&self.redact, &mut gathered.spans);
        if gathered.spans.len() >= BATCH_SPANS {
            gathered.hand_over(&self.desk.queue);
        }
    }
}

impl Gathered {
    fn hand_over(&mut self, queue: &SpanQueue) {
        if let (Some(rules), false) = (&self.rules, self.spans.is_empty()) {
            // What follows is likely to be as long.
            let next = Spans::like(&self.spans);
            queue.put(SpanBatch { rules: rules.clone(), spans: std::mem::replace(&mut self.spans, next) });
        }
    }
}

/// A batch is handed over when it has so many spans; otherwise a few times a second.
const BATCH_SPANS: usize = 128;
