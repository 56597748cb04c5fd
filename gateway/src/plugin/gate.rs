//! Permits for calls that run long: so few of a worker's calls do at a time that many spinning guests cannot share out the
//! worker among themselves.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock::Clock;
use super::metrics::WorkerMetrics;
use super::stats::Registry;
use crate::outbound::Client;

/// What every pool of one worker shares: the permits of calls that run long, the clock, where to count, and the
/// connections of guests' own requests.
#[derive(Clone)]
pub struct WorkerGate {
    pub(super) permits: Gate,
    pub(super) clock: Arc<Clock>,
    /// Where its pools' counters are found.
    pub(super) registry: Arc<Registry>,
    /// What its guests write for `/metrics`.
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) outbound: Client,
}

impl WorkerGate {
    pub(super) fn new(
        clock: Arc<Clock>,
        registry: Arc<Registry>,
        metrics: Arc<WorkerMetrics>,
        outbound: Client,
    ) -> Self {
        Self { permits: Gate::new(LONG_CALLS_MAX), clock, registry, metrics, outbound }
    }
}

/// The permits of one worker.
#[derive(Clone)]
pub(super) struct Gate(Arc<Semaphore>);

impl Gate {
    pub(super) fn new(permits: usize) -> Self {
        Self(Arc::new(Semaphore::new(permits)))
    }

    /// Waits for a permit, first come, first served.
    pub(super) async fn acquire(&self) -> Permit {
        Permit(self.0.clone().acquire_owned().await.expect("the semaphore is never closed"))
    }
}

/// Leave to run past the first slice; given back when dropped.
pub(super) struct Permit(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

/// The permit of one call, or the wish for one. The future that waits for it must be `Send` and owns no store, so
/// it leaves the permit in a shared place; no two threads ever meet there.
#[derive(Default)]
pub(super) struct Held {
    wanted: bool,
    place: Arc<Mutex<Option<Permit>>>,
}

impl Held {
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) fn acquire(&mut self, gate: Gate) -> impl Future<Output = ()> + Send + 'static {
        self.wanted = true;
        let place = self.place.clone();
        async move {
            let permit = gate.acquire().await;
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        }
    }

    pub(super) fn adopt(&mut self, permit: Permit) {
        self.wanted = true;
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    /// Gives the permit back; says whether there was one, or the wish for it.
    pub(super) fn release(&mut self) -> bool {
        if !self.wanted {
            return false;
        }
        self.wanted = false;
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        true
    }
}

/// Calls of one worker that may be past their first slice at a time.
pub(super) const LONG_CALLS_MAX: usize = 2;
