//! The rate at which instances that failed are replaced: whoever crashes a plugin on purpose pays for it in waiting, and
//! the worker does nothing but instantiate for nobody.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// A token bucket of one pool. It starts full.
#[derive(Debug)]
pub(super) struct Restarts {
    per_second: f64,
    tokens: Cell<f64>,
    filled: Cell<Instant>,
    /// Failed instances that have not been replaced yet.
    owed: Cell<usize>,
}

impl Restarts {
    pub(super) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, tokens: Cell::new(per_second), filled: Cell::new(Instant::now()), owed: Cell::new(0) }
    }

    /// An instance failed: the next one takes its place.
    pub(super) fn failed(&self) {
        self.owed.set(self.owed.get() + 1);
    }

    /// Before an instance is made: `None` when no failed one is owed, else how long to wait for the rate.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.owed.set(self.owed.get().checked_sub(1)?);
        let now = Instant::now();
        let since = now.saturating_duration_since(self.filled.replace(now));
        let tokens = (self.tokens.get() + since.as_secs_f64() * self.per_second).min(self.per_second) - 1.0;
        self.tokens.set(tokens);
        Some(if tokens < 0.0 { Duration::from_secs_f64(-tokens / self.per_second) } else { Duration::ZERO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replacements_are_slowed_and_only_beyond_the_rate() {
        let restarts = Restarts::new(10);
        assert_eq!(restarts.wait(), None);
        (0..30).for_each(|_| restarts.failed());
        for _ in 0..10 {
            assert_eq!(restarts.wait(), Some(Duration::ZERO));
        }
        let waits: Vec<_> = (0..20).map(|_| restarts.wait().expect("owed")).collect();
        assert!(waits.is_sorted(), "they queue: {waits:?}");
        // A busy machine may have refilled some meanwhile, never more than the whole bucket.
        assert!(waits[19] <= Duration::from_secs(2));
        assert_eq!(restarts.wait(), None);
    }
}
