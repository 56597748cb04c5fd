//! What one worker counts of the requests to one route over one listener.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

use super::histogram::{Histogram, HistogramTotals, add};
use super::labels::{CLASSES, CODES, METHODS, class_of, code_of};
use super::rules::MetricRules;
use super::shelf::Counted;

/// Counters that one thread writes. Most methods and statuses are never seen, and take no room.
#[derive(Debug)]
pub(super) struct RequestSheet {
    rules: MetricRules,
    /// By method, then by code.
    requests: [OnceLock<Box<[AtomicU64; CODES]>>; METHODS.len()],
    durations: [OnceLock<Box<Histogram>>; CLASSES.len()],
    overhead: Histogram,
}

/// A request that is over.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// By [`method_of`](super::method_of).
    pub method: usize,
    pub status: StatusCode,
    pub duration: Duration,
    /// The gateway's own time.
    pub overhead: Duration,
    /// The id of its trace in hex digits, if that is sampled.
    pub trace: Option<[u8; 32]>,
}

/// What all workers counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct RequestTotals {
    /// By places of method and code.
    pub(crate) requests: BTreeMap<(usize, usize), u64>,
    pub(crate) durations: [HistogramTotals; CLASSES.len()],
    pub(crate) overhead: HistogramTotals,
}

impl RequestSheet {
    pub(super) fn new(rules: &MetricRules) -> Self {
        Self {
            rules: rules.clone(),
            requests: Default::default(),
            durations: Default::default(),
            overhead: Histogram::new(rules.overhead.clone()),
        }
    }

    /// Counts a request.
    pub(super) fn record(&self, ended: &Ended) {
        let codes = self.requests[ended.method].get_or_init(|| Box::new([const { AtomicU64::new(0) }; CODES]));
        add(&codes[code_of(ended.status)], 1);
        let durations = &self.durations[class_of(ended.status)];
        let durations = durations.get_or_init(|| Box::new(Histogram::new(self.rules.request.clone())));
        durations.record(ended.duration);
        if let Some(trace) = ended.trace {
            durations.exemplify(ended.duration, trace);
        }
        self.overhead.record(ended.overhead);
    }
}

impl Counted for RequestSheet {
    type Totals = RequestTotals;

    fn add_to(&self, totals: &mut RequestTotals) {
        for (method, codes) in self.requests.iter().enumerate() {
            for (code, count) in codes.get().into_iter().flat_map(|codes| codes.iter()).enumerate() {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    *totals.requests.entry((method, code)).or_default() += count;
                }
            }
        }
        for (durations, total) in self.durations.iter().zip(&mut totals.durations) {
            if let Some(durations) = durations.get() {
                durations.add_to(total);
            }
        }
        self.overhead.add_to(&mut totals.overhead);
    }
}

impl Counted for Histogram {
    type Totals = HistogramTotals;

    fn add_to(&self, totals: &mut HistogramTotals) {
        self.add_to(totals);
    }
}

impl RequestTotals {
    /// Adds times alone: those of a route over another listener.
    pub(super) fn add_times(&mut self, other: &Self) {
        for (durations, more) in self.durations.iter_mut().zip(&other.durations) {
            durations.add(more);
        }
        self.overhead.add(&other.overhead);
    }
}
