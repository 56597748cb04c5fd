//! Listening sockets, before anything is accepted on them: bound here, or there already when the process began.
//!
//! ```text
//! listening  one socket: TCP or a socket file
//! file       the file of a socket, which goes with it
//! bound      all sockets of one server at one address
//! inherit    sockets that came from the service manager, or from the process that this one takes the place of
//! ```
//!
//! Who accepts, and what is served then, is the affair of `server` and `control`.

mod bound;
mod file;
mod inherit;
mod listening;

pub use bound::{Bound, Claimed, Terms};
pub use file::BindError;
pub use inherit::{ADMIN, Inheritance, PROBES, Passing, WORD_BYTES_MAX, is_ready};
pub use listening::{Acceptor, Listening, Socket};
