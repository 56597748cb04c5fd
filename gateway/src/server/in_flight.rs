//! A request in flight on a connection: counted from its head until the response has left, with whose turn it is meanwhile.

use std::rc::Rc;

use super::pulse::Pulse;

/// Dropped when the response has left, or never will.
pub(super) struct InFlight {
    pulse: Rc<Pulse>,
    /// The client has not asked for more since it was given something.
    untaken: bool,
}

impl InFlight {
    pub(super) fn of(pulse: Rc<Pulse>) -> Self {
        Self { pulse, untaken: false }
    }

    /// Whether its response has to say that it is the connection's last.
    pub(super) fn is_last(&self) -> bool {
        self.pulse.is_last()
    }

    /// A piece of the response is handed out.
    pub(super) fn gave(&mut self, bytes: usize) {
        if !std::mem::replace(&mut self.untaken, true) {
            self.pulse.patience().gave();
        }
        self.pulse.handed_out(bytes);
    }

    /// The next piece is asked for: the one before has found room.
    pub(super) fn asked(&mut self) {
        if std::mem::replace(&mut self.untaken, false) {
            self.pulse.patience().placed();
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.asked();
        self.pulse.ended();
    }
}
