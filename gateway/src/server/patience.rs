//! The patience with a client that is given something, and takes nothing of it, or too little.
//!
//! It runs out while the client could take more, by the socket or by the windows of HTTP/2, and comes back with what it takes.

use std::cell::Cell;
use std::time::Duration;

use crate::snapshot::ListenerLimits;

/// Of one connection.
pub(super) struct Patience {
    left: Cell<Duration>,
    /// Responses of which the client has not taken the last piece that there was.
    untaken: Cell<u32>,
    /// The socket takes no more for now.
    is_blocked: Cell<bool>,
    /// Bytes that the client took since the last look.
    taken_bytes: Cell<u64>,
}

impl Patience {
    pub(super) fn new(limits: &ListenerLimits) -> Self {
        Self {
            left: Cell::new(limits.send_timeout),
            untaken: Cell::new(0),
            is_blocked: Cell::new(false),
            taken_bytes: Cell::new(0),
        }
    }

    /// Whether the socket takes more.
    pub(super) fn is_blocked(&self, is_blocked: bool) {
        self.is_blocked.set(is_blocked);
    }

    pub(super) fn took(&self, bytes: usize) {
        self.taken_bytes.set(self.taken_bytes.get() + bytes as u64);
    }

    /// A piece of a response is there.
    pub(super) fn gave(&self) {
        self.untaken.set(self.untaken.get() + 1);
    }

    /// The piece has found room.
    pub(super) fn placed(&self) {
        self.untaken.set(self.untaken.get() - 1);
    }

    pub(super) fn has_taken(&self) -> bool {
        self.taken_bytes.get() > 0
    }

    /// Looks, so long after the last look, whether it is over.
    pub(super) fn is_over(&self, limits: &ListenerLimits, since_last: Duration) -> bool {
        let taken = self.taken_bytes.take();
        if !self.is_blocked.get() && self.untaken.get() == 0 {
            self.left.set(limits.send_timeout);
            return false;
        }
        let earned = match limits.body_bytes_per_second_min {
            0 if taken > 0 => limits.send_timeout,
            0 => Duration::ZERO,
            rate => Duration::from_secs_f64(taken as f64 / rate as f64),
        };
        let left = (self.left.get() + earned).min(limits.send_timeout).saturating_sub(since_last);
        self.left.set(left);
        left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK: Duration = Duration::from_millis(250);

    fn limits(body_bytes_per_second_min: u64) -> ListenerLimits {
        ListenerLimits {
            connections: 1,
            connections_per_client: 1,
            head_bytes: 1,
            handshake_timeout: LOOK,
            header_count: 1,
            target_bytes: 1,
            header_timeout: LOOK,
            idle_timeout: LOOK,
            body_bytes: 1,
            body_bytes_per_second_min,
            send_timeout: 4 * LOOK,
            requests_per_connection: 1,
            streams: 1,
            http2_abuse: (1, LOOK),
        }
    }

    /// After how many looks it is over, if the client takes so much between two of them.
    fn looks(patience: &Patience, limits: &ListenerLimits, bytes: usize) -> Option<usize> {
        (1..100).find(|_| {
            patience.took(bytes);
            patience.is_over(limits, LOOK)
        })
    }

    #[test]
    fn it_ends_with_a_client_that_takes_nothing_of_what_is_there() {
        let limits = limits(1_000);
        let patience = Patience::new(&limits);
        assert_eq!(looks(&patience, &limits, 0), None, "nothing is there");
        patience.gave();
        assert_eq!(looks(&patience, &limits, 0), Some(4));
        patience.placed();
        assert_eq!(looks(&patience, &limits, 0), None);
        patience.is_blocked(true);
        assert_eq!(looks(&patience, &limits, 0), Some(4));
    }

    #[test]
    fn it_lasts_with_a_client_that_takes_enough() {
        let limits = limits(1_000);
        let patience = Patience::new(&limits);
        patience.gave();
        assert_eq!(looks(&patience, &limits, 250), None);
        assert_eq!(looks(&patience, &limits, 125), Some(6), "half of what it should");
    }

    #[test]
    fn without_a_rate_anything_is_enough() {
        let limits = limits(0);
        let patience = Patience::new(&limits);
        patience.gave();
        assert_eq!(looks(&patience, &limits, 1), None);
        assert_eq!(looks(&patience, &limits, 0), Some(3));
    }
}
