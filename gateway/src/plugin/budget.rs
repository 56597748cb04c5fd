//! Guest CPU time: how much a call has left, and how calls that run long share a worker with everybody else.
//!
//! The engine's epoch advances once a millisecond. A call is asked at the end of its first slice, and at every tick from
//! then on (`tick`): it pays for the time, lets every other task of the worker run, and goes on; at none left it traps.
//! Most calls end within their first slice and never come here.
//!
//! Time that a call waits for the host is not the guest's: it gives its place on the worker back (`host_wait`), pays for
//! what it has run, and has a first slice again when it goes on.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use wasmtime::UpdateDeadline;

use super::clock::{Clock, TICK};
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

/// The time between a call's waits for the host, which is counted by the clock on the wall: ticks are too coarse for many
/// short stretches.
struct Waits {
    resumed: Instant,
    /// Less than a tick: what is more has been paid.
    unpaid: Duration,
    /// Whether the epoch's deadline may have passed while the call waited.
    is_overdue: bool,
}

/// What is left of a call's CPU time.
pub(super) struct Budget {
    ticks_left: u32,
    waits: Option<Waits>,
    held: Held,
    gate: Gate,
    overtime: Arc<AtomicUsize>,
    clock: Arc<Clock>,
}

impl Budget {
    /// `overtime` counts the calls of one pool that are past their first slice.
    pub(super) fn new(gate: Gate, overtime: Arc<AtomicUsize>, clock: Arc<Clock>) -> Self {
        Self { ticks_left: 0, waits: None, held: Held::default(), gate, overtime, clock }
    }

    pub(super) fn start(&mut self, deadline: Ticks) {
        self.clock.touch();
        // The first slice is paid at its end as one tick, and is two.
        self.ticks_left = deadline.0.saturating_sub(1);
        self.waits = None;
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
        self.stop();
        if let Some(waits) = &mut self.waits {
            let ran = waits.unpaid + waits.resumed.elapsed();
            let ticks = ran.as_nanos() / TICK.as_nanos();
            waits.unpaid = ran.saturating_sub(TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX)));
            self.ticks_left = self.ticks_left.saturating_sub(u32::try_from(ticks).unwrap_or(u32::MAX));
        }
    }

    fn resume(&mut self) {
        self.clock.touch();
        let unpaid = self.waits.as_ref().map_or(Duration::ZERO, |waits| waits.unpaid);
        self.waits = Some(Waits { resumed: Instant::now(), unpaid, is_overdue: true });
    }

    /// Called by the engine when the call's slice is over.
    pub(super) fn tick(&mut self) -> UpdateDeadline {
        self.clock.touch();
        if let Some(waits) = &mut self.waits {
            if std::mem::take(&mut waits.is_overdue) && self.ticks_left > 0 {
                return UpdateDeadline::Continue(FIRST_SLICE_TICKS);
            }
            // Paid below.
            (waits.resumed, waits.unpaid) = (Instant::now(), Duration::ZERO);
        }
        self.ticks_left = self.ticks_left.saturating_sub(1);
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
