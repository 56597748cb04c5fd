//! Guest CPU time: how much a call has left, and how calls that run long share a worker with everybody else.
//!
//! The engine's epoch advances once a millisecond. A call is asked at the end of its first slice, and at every tick from
//! then on (`tick`): it pays for the time, lets every other task of the worker run, and goes on; at none left it traps.
//! Most calls end within their first slice and never come here.
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

use super::clock::{Clock, TICK};
use super::failure::Failure;
use super::gate::{Gate, Held, Permit};

/// CPU time in ticks; worked out once, because a call cannot spare the division.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticks(u32);

impl Ticks {
    /// Rounded up: a deadline below a tick is one tick.
    pub(super) fn of(deadline: Duration) -> Self {
        Self(u32::try_from(deadline.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u32::MAX))
    }
}

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

/// The waits of a call for the host. What it runs between them is counted by the clock on the wall: ticks are too coarse
/// for many short stretches.
struct Waits {
    /// When the last one was over.
    resumed: Instant,
    /// Less than a tick; what is more has been paid.
    unpaid: Duration,
    /// Of all waits so far.
    waited: Duration,
    /// Whether the end of the slice may have passed during the wait.
    is_overdue: bool,
}

/// What is left of a call's CPU time.
pub(super) struct Budget {
    ticks_left: u32,
    /// Ticks that the call was asked at.
    ticks_used: u32,
    waits: Option<Waits>,
    held: Held,
    gate: Gate,
    overtime: Arc<AtomicUsize>,
    clock: Arc<Clock>,
}

impl Budget {
    /// `overtime` counts the calls of one pool that are past their first slice.
    pub(super) fn new(gate: Gate, overtime: Arc<AtomicUsize>, clock: Arc<Clock>) -> Self {
        Self { ticks_left: 0, ticks_used: 0, waits: None, held: Held::default(), gate, overtime, clock }
    }

    pub(super) fn start(&mut self, deadline: Ticks) {
        self.clock.touch();
        // The first slice is paid at its end as one tick, and is two.
        self.ticks_left = deadline.0.saturating_sub(1);
        self.ticks_used = 0;
        self.waits = None;
    }

    /// CPU time of the call that took so long by the clock on the wall: the same, unless it left its first slice, and the
    /// worker may have done other things meanwhile.
    pub(super) fn used(&self, took: Duration) -> Duration {
        let waited = self.waits.as_ref().map_or(Duration::ZERO, |waits| waits.waited);
        if self.ticks_used == 0 { took.saturating_sub(waited) } else { TICK * (self.ticks_used + 1) }
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
        let began = self.pause();
        let outcome = work.await;
        self.resume(began);
        outcome
    }

    fn pause(&mut self) -> Instant {
        self.stop();
        let now = Instant::now();
        if let Some(waits) = &mut self.waits {
            let ran = waits.unpaid + now.duration_since(waits.resumed);
            let ticks = u32::try_from(ran.as_nanos() / TICK.as_nanos()).unwrap_or(u32::MAX);
            waits.unpaid = ran.saturating_sub(TICK.saturating_mul(ticks));
            self.pay(ticks);
        }
        now
    }

    fn resume(&mut self, began: Instant) {
        self.clock.touch();
        let resumed = Instant::now();
        let (unpaid, waited) =
            self.waits.as_ref().map_or((Duration::ZERO, Duration::ZERO), |waits| (waits.unpaid, waits.waited));
        let waited = waited + resumed.duration_since(began);
        self.waits = Some(Waits { resumed, unpaid, waited, is_overdue: true });
    }

    fn pay(&mut self, ticks: u32) {
        self.ticks_used = self.ticks_used.saturating_add(ticks);
        self.ticks_left = self.ticks_left.saturating_sub(ticks);
    }

    /// Called by the engine when the call's slice is over.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        self.clock.touch();
        if let Some(waits) = &mut self.waits {
            if std::mem::take(&mut waits.is_overdue) && self.ticks_left > 0 {
                return UpdateDeadline::Continue(FIRST_SLICE_TICKS);
            }
            // What it ran since the wait is paid here, by the tick.
            (waits.resumed, waits.unpaid) = (Instant::now(), Duration::ZERO);
        }
        self.pay(1);
        if self.ticks_left == 0 {
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

/// The first slice ends at the second tick, so that it lasts a millisecond at least: a short call that happens to run
/// across a tick is no long call, and need not queue with those.
pub(super) const FIRST_SLICE_TICKS: u64 = 2;
