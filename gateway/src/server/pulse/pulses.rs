//! The pulses of one worker's connections: looked at together, and told together to go.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Patience, Phase, Pulse};
use crate::server::overload::Overload;
use crate::snapshot::Listener;

/// The connections of one worker.
pub(in crate::server) struct Pulses {
    connections: RefCell<Vec<Weak<Pulse>>>,
    /// The time of the last look; as exact as anything here is.
    clock: Rc<Cell<Instant>>,
    draining: Cell<bool>,
    leave: Rc<Notify>,
    /// How long idle connections stay that are to end; what was said last.
    linger: Cell<Duration>,
    overload: Arc<Overload>,
}

impl Pulses {
    pub(in crate::server) fn new(overload: Arc<Overload>) -> Rc<Self> {
        Rc::new(Self {
            connections: RefCell::default(),
            clock: Rc::new(Cell::new(Instant::now())),
            draining: Cell::new(false),
            leave: Rc::default(),
            linger: Cell::default(),
            overload,
        })
    }

    /// Watches a new connection. `is_last` is one that is to end after its first request.
    pub(in crate::server) fn watch(&self, listener: &Arc<Listener>, is_last: bool) -> Rc<Pulse> {
        let limits = &listener.limits;
        let pulse = Rc::new(Pulse {
            phase: Cell::new(if listener.tls.is_some() { Phase::Handshake } else { Phase::New }),
            since: Cell::new(self.clock.get()),
            requests_in_flight: Cell::new(0),
            requests_left: Cell::new(limits.requests_per_connection),
            bytes_begin_heads: Cell::new(true),
            ends: Cell::new(false),
            order: Cell::default(),
            waker: RefCell::default(),
            is_late: Cell::new(false),
            is_lost: Cell::new(false),
            reads_when_answered: Cell::new(false),
            patience: Patience::new(limits),
            listener: listener.clone(),
            linger: Cell::default(),
            clock: self.clock.clone(),
            is_leaving: Cell::new(false),
            leave: self.leave.clone(),
            overload: self.overload.clone(),
        });
        if is_last || self.draining.get() {
            pulse.drain(self.linger.get());
        }
        self.connections.borrow_mut().push(Rc::downgrade(&pulse));
        pulse
    }

    /// Looks at every connection once.
    pub(in crate::server) fn look(&self) {
        let now = Instant::now();
        let since_last = now.saturating_duration_since(self.clock.replace(now));
        self.connections.borrow_mut().retain(|pulse| {
            pulse.upgrade().is_some_and(|pulse| {
                pulse.check(now, since_last);
                true
            })
        });
    }

    /// Tells every connection to end what is in flight and close; idle ones within `linger`, as those that still come.
    pub(in crate::server) fn drain(&self, linger: Duration) {
        self.draining.set(true);
        self.drain_some(linger, |_| true);
    }

    /// Tells the connections of a listener that is gone the same.
    pub(in crate::server) fn drain_listener(&self, listener: &str, linger: Duration) {
        self.drain_some(linger, |pulse| pulse.listener() == listener);
    }

    fn drain_some(&self, linger: Duration, which: impl Fn(&Pulse) -> bool) {
        self.linger.set(linger);
        let connections = self.connections.borrow();
        connections.iter().filter_map(Weak::upgrade).filter(|pulse| which(pulse)).for_each(|pulse| pulse.drain(linger));
        self.leave.notify_waiters();
    }

    /// What all workers bear.
    pub(in crate::server) fn overload(&self) -> &Arc<Overload> {
        &self.overload
    }

    /// Connections that are open.
    pub(in crate::server) fn open(&self) -> usize {
        self.connections.borrow().iter().filter(|pulse| pulse.strong_count() > 0).count()
    }

    /// Requests in flight.
    pub(in crate::server) fn requests(&self) -> usize {
        let connections = self.connections.borrow();
        let in_flight = connections.iter().filter_map(Weak::upgrade).map(|pulse| pulse.requests_in_flight.get());
        in_flight.map(|requests| requests as usize).sum()
    }
}
