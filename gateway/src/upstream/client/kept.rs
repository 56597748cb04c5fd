//! Connections that are kept: HTTP/1.1 ones for one request at a time, HTTP/2 ones for many.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use tokio::task::AbortHandle;

use super::super::load::Slot;
use super::outgoing::Outgoing;

/// A connection to send a request on.
pub(super) enum Kept {
    Http1(Http1),
    Http2(Rc<Http2>),
}

/// It belongs to a request until it is put back.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Outgoing>,
    /// Ends the connection at once.
    pub(super) task: AbortHandle,
    /// Of a connection that an upgrade was asked for on: what it becomes outlives its task.
    pub(super) slot: Option<Slot>,
}

/// Requests share it.
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Outgoing>,
    /// How many streams the upstream allows (RFC 9113 §5.1.2), as far as it has said so.
    allowed: Box<dyn Fn() -> usize>,
    streams: Cell<usize>,
    /// When the last stream ended.
    since: Cell<Instant>,
}

/// A request on an HTTP/2 connection, until this is dropped.
pub(super) struct Stream(Rc<Http2>);

/// The kept connections to one endpoint.
#[derive(Default)]
pub(super) struct Store {
    /// Last in, first out: what is not needed grows old and goes.
    idle: RefCell<Vec<(Http1, Instant)>>,
    shared: RefCell<Vec<Rc<Http2>>>,
}

impl Store {
    /// A connection that can take a request now.
    pub(super) fn take(&self, streams_max: usize) -> Option<Kept> {
        let mut idle = self.idle.borrow_mut();
        let alive = std::iter::from_fn(|| idle.pop()).map(|(http1, _)| http1).find(|http1| !http1.sender.is_closed());
        if let Some(http1) = alive {
            return Some(Kept::Http1(http1));
        }
        let mut shared = self.shared.borrow_mut();
        if shared.is_empty() {
            return None;
        }
        shared.retain(|http2| !http2.sender.is_closed());
        shared.iter().find(|http2| http2.has_room(streams_max)).cloned().map(Kept::Http2)
    }

    pub(super) fn put_back(&self, http1: Http1, now: Instant) {
        if !http1.sender.is_closed() {
            self.idle.borrow_mut().push((http1, now));
        }
    }

    pub(super) fn share(&self, http2: &Rc<Http2>) {
        self.shared.borrow_mut().push(http2.clone());
    }

    /// Drops what has not been used for `limit`; nothing is too young for zero.
    pub(super) fn retire(&self, limit: Duration, now: Instant) {
        let fresh = |since: Instant| now.saturating_duration_since(since) < limit;
        self.idle.borrow_mut().retain(|(http1, since)| !http1.sender.is_closed() && fresh(*since));
        let in_use = |http2: &Http2| http2.streams.get() > 0 || fresh(http2.since.get());
        self.shared.borrow_mut().retain(|http2| !http2.sender.is_closed() && in_use(http2));
    }
}

impl Http2 {
    pub(super) fn new(sender: http2::SendRequest<Outgoing>, allowed: Box<dyn Fn() -> usize>) -> Rc<Self> {
        Rc::new(Self { sender, allowed, streams: Cell::new(0), since: Cell::new(Instant::now()) })
    }

    pub(super) fn begin(self: Rc<Self>) -> Stream {
        self.streams.set(self.streams.get() + 1);
        Stream(self)
    }

    fn has_room(&self, streams_max: usize) -> bool {
        self.streams.get() < streams_max.min((self.allowed)())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        if self.0.streams.get() == 0 {
            self.0.since.set(Instant::now());
        }
    }
}
