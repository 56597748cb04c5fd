//! Proxy: one request from its head to its response.
//!
//! `serve` is the whole path, top to bottom; the steps it names stand beside it.

mod account;
mod affinity;
mod forward;
mod persist;
mod mirror;
mod identity;
mod receive;
mod upgrade;
mod grpc;
mod record;
mod unread;
mod respond;
mod serve;
mod worker;

pub use record::Watched;
pub use respond::ProxyError;
pub use serve::{Answer, Answered, serve};
pub use unread::{Refused, RequestLine, Unread};
pub use upgrade::Tunnel;
pub use worker::{Generation, Worker};
