//! Seats: the connections that a server may have open. When all are taken, the one that has waited for longest without having been
//! admitted to anything makes room for whoever comes: so neither a thousand idle connections nor a thousand slow ones keep a probe out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// All of them.
pub(super) struct Seats {
    free: Arc<Semaphore>,
    line: Arc<Mutex<Line>>,
}

/// Those who wait, the longest first.
#[derive(Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Arc<Notify>>,
}

/// One connection's. It is free again when this is dropped.
pub(super) struct Seat {
    line: Arc<Mutex<Line>>,
    /// Where it stands in the line; `None` while it is busy.
    place: Mutex<Option<u64>>,
    leave: Arc<Notify>,
    _permit: OwnedSemaphorePermit,
}

/// While this lives, a seat makes no room: its request was admitted.
pub(super) struct Busy(Arc<Seat>);

impl Seats {
    pub(super) fn new(count: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), line: Arc::default() }
    }

    /// A seat, if need be that of somebody else; `None` where all are busy.
    pub(super) async fn take(&self) -> Option<Arc<Seat>> {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let (_, longest) = lock(&self.line).waiting.pop_first()?;
                longest.notify_one();
                let freed = tokio::time::timeout(LEAVE_MAX, self.free.clone().acquire_owned()).await;
                freed.ok()?.ok()?
            }
        };
        let seat = Seat { line: self.line.clone(), place: Mutex::default(), leave: Arc::default(), _permit: permit };
        seat.wait();
        Some(Arc::new(seat))
    }
}

impl Seat {
    /// Comes when this connection is to make room.
    pub(super) async fn has_to_leave(&self) {
        self.leave.notified().await;
    }

    /// Its request was admitted.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        if let Some(place) = lock(&self.place).take() {
            lock(&self.line).waiting.remove(&place);
        }
        Busy(self.clone())
    }

    /// Lines up, behind all others.
    fn wait(&self) {
        let mut line = lock(&self.line);
        let place = line.next;
        line.next += 1;
        line.waiting.insert(place, self.leave.clone());
        drop(line);
        lock(&self.place).replace(place);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.wait();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = lock(&self.place).take() {
            lock(&self.line).waiting.remove(&place);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is told to leave has gone long before.
const LEAVE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_waited_longest_makes_room_and_who_is_busy_does_not() {
        let seats = Arc::new(Seats::new(2));
        let (first, second) = (seats.take().await.unwrap(), seats.take().await.unwrap());
        let busy = first.busy();
        let coming = tokio::spawn({
            let seats = seats.clone();
            async move { seats.take().await }
        });
        second.has_to_leave().await;
        drop(second);
        let third = coming.await.unwrap().unwrap();
        let third_is_busy = third.busy();
        assert!(seats.take().await.is_none(), "all are busy");
        drop(busy);
        let coming = tokio::spawn({
            let seats = seats.clone();
            async move { seats.take().await.is_some() }
        });
        first.has_to_leave().await;
        drop(first);
        assert!(coming.await.unwrap());
        drop((third, third_is_busy));
        assert!(lock(&seats.line).waiting.is_empty(), "nobody is forgotten in the line");
    }
}
