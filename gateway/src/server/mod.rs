//! Server: sockets in, connections served, until told to stop.
//!
//! Each worker accepts on sockets of its own (`SO_REUSEPORT`): the kernel spreads connections, and no two threads meet.

mod bind;
mod connection;
mod listener;
mod proxy_protocol;
mod stream;
mod tls;
mod pulse;
mod tunnel;
mod wire;
mod worker;

pub use bind::{BindError, Sockets};
pub use listener::Permits;
pub use worker::{Order, WorkerHandle, spawn};
