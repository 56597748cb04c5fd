//! The load on an upstream: what is under way, waiting and open, against its limits; exact over all workers.
//!
//! It outlives snapshots, and is counted by atomics: a request takes one and gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

/// What an upstream may be burdened with, over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub connections: usize,
    /// Requests that wait for a connection: for one to be made, or to be given back.
    pub pending: usize,
    /// Requests under way, each try for itself.
    pub requests: usize,
    /// Requests on one HTTP/2 connection.
    pub streams: usize,
}

/// The counts.
#[derive(Debug, Default)]
pub struct Load {
    requests: AtomicUsize,
    pending: AtomicUsize,
    connections: AtomicUsize,
    /// Of the pending ones those that wait for room.
    starving: AtomicUsize,
    /// Told once for each connection that is closed.
    pub(super) closed: Notify,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Load>);

/// A request that waits for a connection until this is dropped.
pub(super) struct Waiting(Arc<Load>);

/// A request that waits for another connection to be closed or given back, until this is dropped.
pub(super) struct Starving<'l>(&'l Load);

/// An open connection, or one that is being made.
#[derive(Debug)]
pub(super) struct Slot(Arc<Load>);

/// Which of [`Limits`] is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`limits.{0}` is reached")]
pub struct Full(pub &'static str);

impl Load {
    /// One more request.
    ///
    /// # Errors
    /// [`Full`] when there are as many as may be.
    pub fn admit(self: &Arc<Self>, limits: &Limits) -> Result<Permit, Full> {
        if take(&self.requests, limits.requests) { Ok(Permit(self.clone())) } else { Err(Full("requests")) }
    }

    pub(super) fn wait(self: &Arc<Self>, limits: &Limits) -> Result<Waiting, Full> {
        if take(&self.pending, limits.pending) { Ok(Waiting(self.clone())) } else { Err(Full("pending")) }
    }

    pub(super) fn open(self: &Arc<Self>, limits: &Limits) -> Option<Slot> {
        take(&self.connections, limits.connections).then(|| Slot(self.clone()))
    }

    pub(super) fn starve(&self) -> Starving<'_> {
        self.starving.fetch_add(1, Relaxed);
        Starving(self)
    }

    /// Whether somebody waits for a connection that may not be made, on whichever worker.
    pub fn is_starved(&self) -> bool {
        self.starving.load(Relaxed) > 0
    }

    /// Requests under way, over all workers.
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    /// Requests that wait for a connection, over all workers.
    pub fn pending(&self) -> usize {
        self.pending.load(Relaxed)
    }

    /// Open connections, over all workers.
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

fn take(count: &AtomicUsize, most: usize) -> bool {
    count.fetch_update(Relaxed, Relaxed, |taken| (taken < most).then_some(taken + 1)).is_ok()
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.pending.fetch_sub(1, Relaxed);
    }
}

impl Drop for Starving<'_> {
    fn drop(&mut self) {
        self.0.starving.fetch_sub(1, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
        self.0.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_exact_over_threads() {
        let load = Arc::new(Load::default());
        let limits = Limits { connections: 3, pending: 0, requests: 10, streams: 1 };
        let taken: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter_map(|_| load.admit(&limits).ok()).map(std::mem::forget).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("it ends")).sum()
        });
        assert_eq!((taken, load.requests()), (10, 10));
        assert_eq!(load.wait(&limits).err(), Some(Full("pending")));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let load = Arc::new(Load::default());
        let limits = Limits { connections: 1, pending: 1, requests: 1, streams: 1 };
        let permit = load.admit(&limits).expect("room for one");
        assert_eq!(load.admit(&limits).err(), Some(Full("requests")));
        drop(permit);
        assert!(load.admit(&limits).is_ok());
        let slot = load.open(&limits).expect("room for one");
        assert!(load.open(&limits).is_none());
        drop(slot);
        assert!(load.open(&limits).is_some());
    }
}
