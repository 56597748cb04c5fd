//! Guest CPU time: how much a call has left, and how calls that run long share a worker with everybody else.
//!
//! The engine's epoch advances while guests run (`clock`). A call that has run for a tick when the clock meets it is past its first
//! slice, and is asked at every tick from then on (`tick`): it pays for the time, lets every other task of the worker run, and
//! goes on; at none left it traps. Most calls end within their first slice and never come here.
//!
//! Time that a call waits for the host is not the guest's (`host_wait`): the call gives its place on the worker back, pays
//! for what it has run, and has a first slice again when it goes on.

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use super::clock::{Clock, STRIDE, TICK};
use super::failure::Failure;
use super::gate::{Gate, Held, Permit};

/// Guest CPU time that is left to one request, over all its plugins and hooks (`runtime.request_deadline`).
#[derive(Debug)]
pub struct GuestTime {
    left: Cell<Duration>,
    whole: Duration,
}

impl GuestTime {
    pub fn new(whole: Duration) -> Self {
        Self { left: Cell::new(whole), whole }
    }

    /// As much time for something that is not charged to the request.
    pub fn another(&self) -> Self {
        Self::new(self.whole)
    }

    pub(super) fn left(&self) -> Duration {
        self.left.get()
    }

    pub(super) fn spend(&self, used: Duration) {
        self.left.set(self.left.get().saturating_sub(used));
    }

    pub(super) fn exceeded(&self) -> Failure {
        let detail = format!("the plugins of this request have used their {:?} of CPU time", self.whole);
        Failure::Limit { limit: "runtime.request_deadline", detail }
    }
}

/// What is left of a call's CPU time.
pub(super) struct Budget {
    left: Duration,
    /// For all but the stretch that runs.
    paid: Duration,
    began: Instant,
    /// When it began, or last went on after a wait for the host.
    resumed: Instant,
    /// Since it was last resumed.
    is_past_first_slice: bool,
    held: Held,
    gate: Gate,
    overtime: Arc<AtomicUsize>,
    clock: Arc<Clock>,
}

impl Budget {
    /// `overtime` counts the calls of one pool that are past their first slice.
    pub(super) fn new(gate: Gate, overtime: Arc<AtomicUsize>, clock: Arc<Clock>) -> Self {
        let now = Instant::now();
        Self {
            left: Duration::ZERO,
            paid: Duration::ZERO,
            began: now,
            resumed: now,
            is_past_first_slice: false,
            held: Held::default(),
            gate,
            overtime,
            clock,
        }
    }

    pub(super) fn start(&mut self, deadline: Duration) {
        self.clock.touch();
        let now = Instant::now();
        (self.left, self.paid) = (deadline, Duration::ZERO);
        (self.began, self.resumed) = (now, now);
        self.is_past_first_slice = false;
    }

    /// The call that has just begun may run for so long.
    pub(super) fn limit(&mut self, deadline: Duration) {
        self.left = deadline;
    }

    /// The time of a call that is over, by the clock on the wall and by what the guest ran of it.
    pub(super) fn took(&self, ended: Instant) -> (Duration, Duration) {
        (ended.saturating_duration_since(self.began), self.paid + self.ran(ended))
    }

    /// What it ran since it last paid. Past its first slice that is a tick: it has paid for whole ones until now, and the worker may
    /// have done other things meanwhile. Before it, what is longer than the stride is the time of a machine that let the worker wait.
    fn ran(&self, now: Instant) -> Duration {
        if self.is_past_first_slice { TICK } else { now.saturating_duration_since(self.resumed).min(STRIDE) }
    }

    /// Starts the next call with a permit in hand: it waited for one before it began.
    pub(super) fn admit(&mut self, permit: Permit) {
        self.overtime.fetch_add(1, Ordering::Relaxed);
        self.held.adopt(permit);
    }

    /// Ends the call's share of the worker. Cheap when it never left its first slice.
    pub(super) fn stop(&mut self) {
        if self.held.release() {
            self.overtime.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The time since the engine was made: the guests' monotonic clock.
    pub(super) fn since_start(&self) -> Duration {
        self.clock.since_start()
    }

    /// Awaits what the host does for the guest. Most is done at its first poll and costs nothing here.
    pub(super) async fn host_wait<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let first = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if let Poll::Ready(outcome) = first {
            return outcome;
        }
        self.pause();
        let outcome = work.await;
        self.resume();
        outcome
    }

    fn pause(&mut self) {
        self.pay(self.ran(Instant::now()));
        self.stop();
    }

    fn resume(&mut self) {
        self.clock.touch();
        self.resumed = Instant::now();
        self.is_past_first_slice = false;
    }

    fn pay(&mut self, ran: Duration) {
        self.paid += ran;
        self.left = self.left.saturating_sub(ran);
    }

    /// Called by the engine when the clock meets the call.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        self.clock.hurry();
        let ran = self.ran(Instant::now());
        if ran < TICK && !self.left.is_zero() {
            return UpdateDeadline::Continue(1);
        }
        self.pay(ran);
        self.is_past_first_slice = true;
        if self.left.is_zero() {
            return UpdateDeadline::Interrupt;
        }
        if self.held.is_wanted() {
            // Waiting in the yield keeps tokio's own timers and sockets served: the built-in yield of wasmtime wakes
            // itself at once and starves them (wasmtime#10667).
            return UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()));
        }
        self.overtime.fetch_add(1, Ordering::Relaxed);
        let wait = self.held.acquire(self.gate.clone());
        UpdateDeadline::YieldCustom(
            1,
            Box::pin(async move {
                wait.await;
                tokio::task::yield_now().await;
            }),
        )
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::Engine;

    use super::*;
    use crate::plugin::gate::LONG_CALLS_MAX;

    /// Of a call that began so long ago.
    fn budget(deadline: Duration, ran: Duration) -> Budget {
        let engine = Engine::default();
        let mut budget = Budget::new(Gate::new(LONG_CALLS_MAX), Arc::default(), Clock::start(engine.weak()));
        budget.start(deadline);
        budget.resumed -= ran;
        budget
    }

    #[test]
    fn a_long_call_pays_its_first_slice_by_the_clock_and_then_by_the_tick() {
        let deadline = 10 * TICK;
        let mut budget = budget(deadline, Duration::from_secs(1));
        assert!(matches!(budget.tick(), UpdateDeadline::YieldCustom(1, _)));
        assert_eq!((budget.paid, budget.left), (STRIDE, deadline - STRIDE));
        assert_eq!(budget.overtime.load(Ordering::Relaxed), 1);
        while !matches!(budget.tick(), UpdateDeadline::Interrupt) {}
        assert_eq!((budget.paid, budget.left), (deadline, Duration::ZERO));
    }

    #[test]
    fn a_call_that_the_clock_meets_early_goes_on_unless_nothing_is_left() {
        let mut budget = budget(Duration::ZERO, Duration::ZERO);
        assert!(matches!(budget.tick(), UpdateDeadline::Interrupt));
        budget.start(10 * TICK);
        // As if it began in an hour, however late this machine is.
        budget.resumed += Duration::from_secs(3600);
        assert!(matches!(budget.tick(), UpdateDeadline::Continue(1)));
        assert_eq!((budget.paid, budget.overtime.load(Ordering::Relaxed)), (Duration::ZERO, 0));
    }

    #[tokio::test]
    async fn a_wait_for_the_host_is_not_the_guests() {
        let mut budget = budget(10 * TICK, 2 * TICK);
        budget.host_wait(tokio::time::sleep(20 * TICK)).await;
        assert!((2 * TICK..=STRIDE).contains(&budget.paid), "{:?}", budget.paid);
        assert!(!budget.is_past_first_slice);
        let (took, ran) = budget.took(Instant::now());
        assert!(took >= 20 * TICK && ran <= 2 * STRIDE, "{took:?} {ran:?}");
    }
}
