//! Server: sockets in, connections served, until told to stop.
//!
//! Each worker accepts on sockets of its own (`SO_REUSEPORT`): the kernel spreads connections, and no two threads meet. Only the socket of
//! a file is shared by all.

mod connection;
mod listener;
mod proxy_protocol;
mod overload;
mod stream;
mod tls;
mod pulse;
mod in_flight;
mod patience;
mod tunnel;
mod wire;
mod worker;

pub use listener::Permits;
pub use overload::{Overload, Refusal, Stairs, Step};
pub use wire::{Messages, read_messages};
pub use worker::{Left, Order, WorkerHandle, spawn};
