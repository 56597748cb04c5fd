//! TLS towards clients: certificates and the choice among them, who clients are, and what a connection's handshake settled.
//!
//! Files are read by whoever builds a snapshot, and handshakes are made by the server; this room knows neither files nor sockets.

mod termination;
mod certificate;
mod choice;
mod challenges;
mod clients;
mod identity;
mod distinguished_name;
mod session;
mod handshakes;

pub use certificate::{Certificate, CertificateError};
pub use challenges::Challenges;
pub use choice::Unreachable;
pub use clients::{ClientTerms, Clients, ClientsError};
pub use handshakes::{HandshakeOutcome, Handshakes};
pub use identity::{Identity, Part};
pub use session::{Alpn, Session, SessionError};
pub use termination::{Parts, Termination};
