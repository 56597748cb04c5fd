//! Handshakes, counted by how they ended.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::Error;

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeOutcome {
    /// A new session.
    Full,
    /// An earlier session was taken up again.
    Resumed,
    /// A certificate authority has looked at a challenge.
    Challenge,
    /// It took longer than `limits.handshake_timeout`.
    Timeout,
    /// The client went away.
    Gone,
    /// What came is not TLS.
    NotTls,
    /// No version, cipher or protocol in common.
    Incompatible,
    /// The client showed no certificate where it must, or one that is not accepted.
    ClientCertificate,
    /// The client did not accept the gateway's certificate, or something else.
    Refused,
    /// The client broke the rules of TLS.
    Failed,
}

/// The handshakes of a listener, counted over all snapshots.
#[derive(Debug)]
pub struct Handshakes(Box<[Shard]>);

/// The counts of one worker, apart from those of others in memory.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard([AtomicU64; HandshakeOutcome::ALL.len()]);

impl HandshakeOutcome {
    pub const ALL: [Self; 10] = [
        Self::Full,
        Self::Resumed,
        Self::Challenge,
        Self::Timeout,
        Self::Gone,
        Self::NotTls,
        Self::Incompatible,
        Self::ClientCertificate,
        Self::Refused,
        Self::Failed,
    ];

    /// As metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Resumed => "resumed",
            Self::Challenge => "challenge",
            Self::Timeout => "timeout",
            Self::Gone => "gone",
            Self::NotTls => "not_tls",
            Self::Incompatible => "incompatible",
            Self::ClientCertificate => "client_certificate",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Of a handshake that failed with this error.
    pub fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else { return Self::Gone };
        match error {
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) => Self::ClientCertificate,
            Error::AlertReceived(_) => Self::Refused,
            _ => Self::Failed,
        }
    }
}

impl Handshakes {
    /// `place` tells workers apart, as far as there is room.
    pub fn count(&self, place: usize, outcome: HandshakeOutcome) {
        self.0[place % SHARDS].0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn counted(&self, outcome: HandshakeOutcome) -> u64 {
        self.0.iter().map(|shard| shard.0[outcome as usize].load(Ordering::Relaxed)).sum()
    }
}

impl Default for Handshakes {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Shard::default()).collect())
    }
}

/// Workers beyond it share counts.
const SHARDS: usize = 32;
