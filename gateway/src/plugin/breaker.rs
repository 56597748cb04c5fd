//! The breaker of a plugin that fails open: one that keeps failing is left out for a while, and then tried again.
//!
//! A plugin that fails closed has none: a request crafted to crash it must not switch it off for everybody else.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Failures in a row, and what follows from them. One for each hook of a pool, so for each worker.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: Cell<u32>,
    /// While it is set, calls are left out; past it, one is tried.
    open_until: Cell<Option<Instant>>,
    pause: Cell<Duration>,
}

impl Breaker {
    /// Whether the plugin may be called. Past the pause, that is so for one call until its outcome is known.
    pub(super) fn admits(&self) -> bool {
        let Some(until) = self.open_until.get() else { return true };
        let now = Instant::now();
        if now < until {
            return false;
        }
        self.open_until.set(Some(now + self.pause.get()));
        true
    }

    pub(super) fn succeeded(&self) {
        if self.failures.replace(0) >= FAILURES_MAX {
            self.open_until.set(None);
        }
    }

    /// Says whether this failure made it open.
    pub(super) fn failed(&self) -> bool {
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        if failures < FAILURES_MAX {
            return false;
        }
        let opens = failures == FAILURES_MAX;
        self.pause.set(if opens { PAUSE_MIN } else { (self.pause.get() * 2).min(PAUSE_MAX) });
        self.open_until.set(Some(Instant::now() + self.pause.get()));
        opens
    }
}

/// Failures in a row that open it.
const FAILURES_MAX: u32 = 5;
/// The first pause; each failed try doubles it.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the pause had passed.
    fn let_it_pass(breaker: &Breaker) {
        breaker.open_until.set(Some(Instant::now()));
    }

    #[test]
    fn it_opens_after_failures_in_a_row_and_tries_one_call() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            (0..FAILURES_MAX - 1).for_each(|_| assert!(!breaker.failed()));
            breaker.succeeded();
        }
        assert!(breaker.admits());
        (0..FAILURES_MAX - 1).for_each(|_| assert!(!breaker.failed()));
        assert!(breaker.failed());
        assert!(!breaker.admits());
        let_it_pass(&breaker);
        assert!(breaker.admits());
        assert!(!breaker.admits(), "one call is tried, not all");
        breaker.failed();
        assert_eq!(breaker.pause.get(), PAUSE_MIN * 2);
        assert!(!breaker.admits());
        let_it_pass(&breaker);
        assert!(breaker.admits());
        breaker.succeeded();
        assert!(breaker.admits() && breaker.admits());
    }
}
