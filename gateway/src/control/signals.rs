//! Signals, with the meanings nginx made customary.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// HUP: read the configuration again.
    Reload,
    /// TERM or INT: end what is in flight, then exit.
    Drain,
    /// USR2: start the program anew on the same sockets, then drain.
    Upgrade,
    /// USR1: open log files anew, after somebody moved them away.
    Reopen,
}

/// The signals of this process.
pub struct Signals {
    hangup: unix::Signal,
    terminate: unix::Signal,
    interrupt: unix::Signal,
    user2: unix::Signal,
    user1: unix::Signal,
}

impl Signals {
    /// Takes the signals over; from here on they no longer kill the process.
    ///
    /// # Errors
    /// The system refuses to.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: unix::signal(SignalKind::hangup())?,
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            user2: unix::signal(SignalKind::user_defined2())?,
            user1: unix::signal(SignalKind::user_defined1())?,
        })
    }

    /// The next signal. Several of one kind that arrive together count once.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::Drain,
            _ = self.interrupt.recv() => Signal::Drain,
            _ = self.user2.recv() => Signal::Upgrade,
            _ = self.user1.recv() => Signal::Reopen,
        }
    }
}
