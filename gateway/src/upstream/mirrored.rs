//! Mirrored requests of an upstream: how many are under way, and what became of them; over all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The counts.
#[derive(Debug, Default)]
pub struct Mirrored {
    in_flight: AtomicUsize,
    outcomes: [AtomicU64; MirrorOutcome::ALL.len()],
}

/// What became of a mirrored request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// It was answered, whatever with.
    Answered,
    Failed,
    /// Too many were under way: it was never made.
    Dropped,
    /// Its body was longer than what is copied: it was never made.
    TooLarge,
}

/// A mirrored request that is under way until this is dropped.
pub struct MirrorPermit(Arc<Mirrored>);

impl MirrorOutcome {
    pub const ALL: [Self; 4] = [Self::Answered, Self::Failed, Self::Dropped, Self::TooLarge];

    pub fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::TooLarge => "too_large",
        }
    }
}

impl Mirrored {
    /// One more, unless `most` are under way.
    pub fn begin(self: &Arc<Self>, most: usize) -> Option<MirrorPermit> {
        let taken = self.in_flight.fetch_update(Relaxed, Relaxed, |taken| (taken < most).then_some(taken + 1));
        taken.is_ok().then(|| MirrorPermit(self.clone()))
    }

    pub fn count(&self, outcome: MirrorOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    pub fn counted(&self, outcome: MirrorOutcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }
}

impl Drop for MirrorPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
