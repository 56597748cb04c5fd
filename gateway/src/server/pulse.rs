//! The pulse of each connection, and the task that takes it: heads that do not end, clients that do not take what they asked for,
//! connections that nobody uses, draining.
//!
//! One look at all connections of a worker, four times a second, costs less than a timer for each; times are that exact.

mod pulses;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::in_flight::InFlight;
use super::overload::{Overload, Refusal, Step};
use super::patience::Patience;
use crate::snapshot::Listener;

pub(super) use pulses::Pulses;

/// What a connection is doing, as far as its time limits care. Costs the request path two stores.
pub(super) struct Pulse {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    requests_in_flight: Cell<u32>,
    requests_left: Cell<u64>,
    /// HTTP/1 only: bytes on an idle connection begin a head. On HTTP/2 they may be a ping.
    bytes_begin_heads: Cell<bool>,
    /// The next response is the last.
    ends: Cell<bool>,
    order: Cell<Option<Order>>,
    waker: RefCell<Option<Waker>>,
    /// The head that is being read is not over, and its time is.
    is_late: Cell<bool>,
    /// A body is broken, and where the next request would begin nobody knows.
    is_lost: Cell<bool>,
    /// Who reads the connection wants to be woken when nothing is in flight.
    reads_when_answered: Cell<bool>,
    patience: Patience,
    listener: Arc<Listener>,
    /// Of a connection that is to end: how long it may stay idle.
    linger: Cell<Option<Duration>>,
    clock: Rc<Cell<Instant>>,
    /// The gateway or the listener goes: what would last for hours has to end as well.
    is_leaving: Cell<bool>,
    /// Told when that may have changed, of whichever connection of this worker.
    leave: Rc<Notify>,
    overload: Arc<Overload>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The handshake of TLS is under way.
    Handshake,
    /// Nothing has arrived yet on a new connection.
    New,
    /// The first bytes of a head are there.
    Head,
    /// A request is being served.
    Busy,
    /// Between requests.
    Idle,
    /// Told to go, with nothing left to do but to go.
    Leaving,
}

/// What a connection is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Take no more requests, end those in flight, close.
    Drain,
    /// Close now.
    Close,
}

impl Pulse {
    /// Bytes arrived.
    pub(super) fn heard(&self) {
        match self.phase.get() {
            // The time of a first head counts from the connection's beginning.
            Phase::New => self.phase.set(Phase::Head),
            Phase::Idle if self.bytes_begin_heads.get() => self.enter(Phase::Head),
            Phase::Handshake | Phase::Head | Phase::Busy | Phase::Idle | Phase::Leaving => {}
        }
    }

    /// The handshake of TLS is over: a head is due.
    pub(super) fn is_secured(&self) {
        self.enter(Phase::New);
    }

    /// The connection speaks HTTP/2: its preface is read, and it waits for streams.
    pub(super) fn speaks_http2(&self) {
        self.bytes_begin_heads.set(false);
        self.enter(Phase::Idle);
        if self.ends.get() {
            self.give(Order::Drain);
        }
    }

    /// A request's head is read. The guard counts it until the response has left.
    pub(super) fn begin(self: &Rc<Self>) -> InFlight {
        self.requests_in_flight.set(self.requests_in_flight.get() + 1);
        self.phase.set(Phase::Busy);
        self.requests_left.set(self.requests_left.get().saturating_sub(1));
        if self.requests_left.get() == 0 || self.overload.step() >= Step::KeepAlive {
            self.ends.set(true);
            self.give(Order::Drain);
        }
        InFlight::of(self.clone())
    }

    /// The response to one has left, or never will.
    pub(super) fn ended(&self) {
        let left = self.requests_in_flight.get() - 1;
        self.requests_in_flight.set(left);
        if left == 0 {
            self.enter(Phase::Idle);
            if self.reads_when_answered.take() {
                self.wake();
            }
        }
    }

    /// The order that was given since the last call; `waker` is woken at the next one.
    pub(super) fn take_order(&self, waker: &Waker) -> Option<Order> {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.order.take()
    }

    /// Whether the response that comes next is the last, and its head has to say so: there is no other way over HTTP/1.1.
    pub(super) fn is_last(&self) -> bool {
        let ends = self.ends.get() || self.is_lost.get();
        ends && self.bytes_begin_heads.get() && self.requests_in_flight.get() > 0
    }

    pub(super) fn has_order(&self) -> bool {
        self.order.get().is_some()
    }

    /// Waits until the gateway or the listener goes, and with it what a connection was turned into.
    pub(super) async fn leaving(&self) {
        loop {
            let mut told = pin!(self.leave.notified());
            told.as_mut().enable();
            if self.is_leaving.get() {
                return;
            }
            told.await;
        }
    }

    /// Whether the client waits for a response. Then whoever asks is woken when it waits no more.
    pub(super) fn is_serving(&self) -> bool {
        let is_serving = self.requests_in_flight.get() > 0;
        self.reads_when_answered.set(is_serving);
        is_serving
    }

    /// Whether no more of the head that is being read shall be waited for.
    pub(super) fn is_late(&self) -> bool {
        self.is_late.get()
    }

    /// How long the head that is being read has been waited for, to a quarter of a second.
    pub(super) fn waited(&self) -> Duration {
        match self.phase.get() {
            _ if self.is_late.get() => self.listener.limits.header_timeout,
            Phase::Head => self.clock.get().saturating_duration_since(self.since.get()),
            _ => Duration::ZERO,
        }
    }

    /// The request under way is the last that can be read.
    pub(super) fn loses_track(&self) {
        self.is_lost.set(true);
    }

    /// All that is left is to tell the client that this is the end.
    pub(super) fn closes(&self) {
        self.enter(Phase::Leaving);
    }

    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// So much of a response was taken; over HTTP/1.1 the socket knows better.
    pub(super) fn handed_out(&self, bytes: usize) {
        if !self.bytes_begin_heads.get() {
            self.patience.took(bytes);
        }
    }

    /// The socket took so many bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        self.patience.is_blocked(false);
        // Over HTTP/2, answers to pings are bytes, too.
        if self.bytes_begin_heads.get() {
            self.patience.took(bytes);
        }
    }

    /// The socket took nothing.
    pub(super) fn is_blocked(&self) {
        self.patience.is_blocked(true);
    }

    /// Frames that carry nothing: so many may come in so much time.
    pub(super) fn http2_abuse(&self) -> (u64, Duration) {
        let (count, time) = self.listener.limits.http2_abuse;
        (u64::from(count), time)
    }

    pub(super) fn listener(&self) -> &str {
        &self.listener.name
    }

    /// The client is turned away, for the record.
    pub(super) fn refused(&self, refusal: Refusal) {
        self.overload.refuse(refusal);
    }

    /// The time, as exact as anything here is.
    pub(super) fn now(&self) -> Instant {
        self.clock.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.clock.get());
    }

    pub(super) fn give(&self, order: Order) {
        self.order.set(Some(order));
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Ends the connection in good order. Over HTTP/1.1 only a response tells the client, which may have sent its next request
    /// already: while it is idle it has `linger` for one more.
    fn drain(&self, linger: Duration) {
        self.is_leaving.set(true);
        self.ends.set(true);
        self.linger.set(Some(linger));
        match self.phase.get() {
            Phase::New | Phase::Idle if self.bytes_begin_heads.get() => self.since.set(self.clock.get()),
            // Who is half inside is not turned away.
            Phase::Handshake | Phase::Head if self.bytes_begin_heads.get() => {}
            Phase::Handshake | Phase::New | Phase::Head | Phase::Idle | Phase::Busy | Phase::Leaving => {
                self.give(Order::Drain);
            }
        }
    }

    fn check(&self, now: Instant, since_last: Duration) {
        let limits = &self.listener.limits;
        let waited = now.saturating_duration_since(self.since.get());
        let lingered = self.linger.get().is_some_and(|linger| waited >= linger);
        let has_taken = self.patience.has_taken();
        match self.phase.get() {
            _ if self.patience.is_over(limits, since_last) => {
                tracing::debug!(listener = self.listener(), "closed: too little was taken for `limits.send_timeout`");
                self.refused(Refusal::SlowRead);
                self.give(Order::Close);
            }
            Phase::Handshake if waited >= limits.handshake_timeout => self.give(Order::Close),
            Phase::New if lingered => self.give(Order::Close),
            Phase::New if waited >= limits.header_timeout => {
                self.refused(Refusal::SlowHead);
                self.give(Order::Close);
            }
            Phase::Head if waited >= limits.header_timeout => {
                self.refused(Refusal::SlowHead);
                // Whoever reads the connection tells the client.
                self.is_late.set(true);
                self.closes();
                self.wake();
            }
            Phase::Idle if lingered || waited >= limits.idle_timeout => {
                self.give(Order::Drain);
                self.enter(Phase::Leaving);
            }
            Phase::Leaving if has_taken => self.enter(Phase::Leaving),
            Phase::Leaving if waited >= LEAVE_TIMEOUT => self.give(Order::Close),
            Phase::Handshake | Phase::New | Phase::Head | Phase::Idle | Phase::Busy | Phase::Leaving => {}
        }
    }
}

/// How long a client that was told to go may take to go.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often connections are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);
