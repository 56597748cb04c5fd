//! Retries: what is tried again, how often, after which wait, and within which budget.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

/// The rules of an upstream for requests that failed, or take long.
#[derive(Debug, Clone, PartialEq)]
pub struct Retries {
    /// Tries after the first one; 0 where there is hedging only.
    pub attempts: u32,
    pub on_connect_failure: bool,
    pub on_reset: bool,
    pub on_timeout: bool,
    pub statuses: Vec<StatusCode>,
    /// Those that are tried again though the upstream may have begun with the request.
    pub methods: Vec<Method>,
    /// The longest wait before the first retry.
    pub backoff: Duration,
    /// The longest body that is kept to be sent again.
    pub body_bytes_max: usize,
    /// From 0 to 1: share of the requests that may be further tries.
    pub budget: f64,
    pub hedge: Option<Hedge>,
}

/// Tries beside one that takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hedge {
    pub after: Duration,
    pub tries_max: u32,
}

/// What became of further tries, by upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// It brought the answer.
    Success,
    /// It failed as well.
    Failed,
    /// It was left out, because the budget was used up.
    OverBudget,
}

/// The further tries of an upstream, against its requests: over a sliding window, shared by all workers.
#[derive(Debug)]
pub struct Budget {
    born: Instant,
    requests: Window,
    retries: Window,
    outcomes: [AtomicU64; 3],
}

impl Retries {
    /// The wait before retry number `retry`, counted from 0: anything up to a bound that doubles each time, so that those
    /// who failed together do not come back together.
    pub fn wait(&self, retry: u32) -> Duration {
        let bound = self.backoff.saturating_mul(1 << retry.min(DOUBLINGS_MAX));
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        bound.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    pub fn admits_method(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }
}

impl RetryOutcome {
    pub const ALL: [Self; 3] = [Self::Success, Self::Failed, Self::OverBudget];

    pub fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::OverBudget => "over_budget",
        }
    }
}

impl Budget {
    pub fn new() -> Self {
        let born = Instant::now();
        Self { born, requests: Window::default(), retries: Window::default(), outcomes: Default::default() }
    }

    /// A request came, which further tries may be made for.
    pub fn deposit(&self) {
        self.requests.add(self.second());
    }

    /// Takes a further try from the budget, if there is one left: a `share` of the requests of the window, or
    /// [`RETRIES_MIN`]. What is taken stays taken, so that no storm can begin.
    pub fn withdraw(&self, share: f64) -> bool {
        let second = self.second();
        #[allow(clippy::cast_precision_loss, reason = "what a window counts is far below 2^53")]
        let allowed = (self.requests.sum(second) as f64 * share).max(RETRIES_MIN as f64);
        // Taken first and given back if it was too much: two workers cannot both take the last one.
        self.retries.add(second);
        #[allow(clippy::cast_precision_loss, reason = "what a window counts is far below 2^53")]
        let is_within = self.retries.sum(second) as f64 <= allowed;
        if !is_within {
            self.retries.take_back(second);
            self.count(RetryOutcome::OverBudget);
        }
        is_within
    }

    pub fn count(&self, outcome: RetryOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// How many further tries ended so, since the process began.
    pub fn counted(&self, outcome: RetryOutcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// Seconds since it was made, from 1 on.
    fn second(&self) -> u64 {
        self.born.elapsed().as_secs() + 1
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// Events of the last [`WINDOW_SECONDS`], in a slot for each: the second in the upper half, the count in the lower.
#[derive(Debug, Default)]
struct Window([AtomicU64; WINDOW_SECONDS]);

impl Window {
    fn add(&self, second: u64) {
        let _ = self.slot(second).fetch_update(Relaxed, Relaxed, |slot| {
            Some(if slot >> COUNT_BITS == second { slot + 1 } else { (second << COUNT_BITS) + 1 })
        });
    }

    fn take_back(&self, second: u64) {
        let _ = self.slot(second).fetch_update(Relaxed, Relaxed, |slot| {
            (slot >> COUNT_BITS == second && slot & COUNT_MASK > 0).then(|| slot - 1)
        });
    }

    fn sum(&self, second: u64) -> u64 {
        let oldest = second.saturating_sub(WINDOW_SECONDS as u64 - 1);
        let slots = self.0.iter().map(|slot| slot.load(Relaxed));
        slots.filter(|slot| (oldest..=second).contains(&(slot >> COUNT_BITS))).map(|slot| slot & COUNT_MASK).sum()
    }

    fn slot(&self, second: u64) -> &AtomicU64 {
        &self.0[usize::try_from(second % WINDOW_SECONDS as u64).expect("it is less than a window")]
    }
}

const WINDOW_SECONDS: usize = 10;
/// Further tries in a window that are allowed however few requests there are.
pub const RETRIES_MIN: u64 = 30;
const COUNT_BITS: u32 = 32;
const COUNT_MASK: u64 = u32::MAX as u64;
/// The bound of the wait stops growing here.
const DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(backoff: Duration) -> Retries {
        Retries {
            attempts: 1,
            on_connect_failure: true,
            on_reset: true,
            on_timeout: true,
            statuses: Vec::new(),
            methods: vec![Method::GET],
            backoff,
            body_bytes_max: 0,
            budget: 0.2,
            hedge: None,
        }
    }

    #[test]
    fn a_wait_is_random_and_its_bound_doubles_up_to_a_limit() {
        let retries = retries(Duration::from_millis(10));
        for (retry, most) in [(0, 10), (1, 20), (3, 80), (6, 640), (7, 640), (40, 640)] {
            let longest = (0..200).map(|_| retries.wait(retry)).max().expect("there are some");
            let most = Duration::from_millis(most);
            assert!(longest <= most && longest > most / 2, "{retry}: {longest:?}");
        }
    }

    #[test]
    fn a_budget_is_a_share_of_the_requests_and_never_less_than_a_few() {
        let budget = Budget::new();
        let taken = (0..1000).filter(|_| budget.withdraw(0.2)).count() as u64;
        // A window may have moved on by one slot meanwhile, but none has been forgotten yet.
        assert_eq!(taken, RETRIES_MIN);
        for _ in 0..1000 {
            budget.deposit();
        }
        let taken = taken + (0..1000).filter(|_| budget.withdraw(0.2)).count() as u64;
        assert_eq!(taken, 200);
        assert_eq!(budget.counted(RetryOutcome::OverBudget), 2000 - 200);
    }

    #[test]
    fn a_budget_is_kept_over_threads() {
        let budget = Budget::new();
        (0..1000).for_each(|_| budget.deposit());
        let take = || (0..500).filter(|_| budget.withdraw(0.5)).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        // Those who race for the last ones may all step back.
        assert!((490..=500).contains(&taken), "{taken}");
    }

    #[test]
    fn a_window_forgets() {
        let window = Window::default();
        (1..=10).for_each(|second| window.add(second));
        assert_eq!((window.sum(10), window.sum(11), window.sum(19), window.sum(20)), (10, 9, 1, 0));
        window.add(11);
        window.take_back(11);
        window.take_back(11);
        assert_eq!(window.sum(11), 9);
    }
}
