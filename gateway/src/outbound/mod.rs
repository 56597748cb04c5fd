//! The gateway's own requests to other servers: those of plugins (`http`), and what the configuration names by URL.
//!
//! Requests that are passed on for a client go through `upstream`, which knows endpoints; this room knows origins.
//!
//! ```text
//! trust        whose certificates are believed
//! terms        TLS to a server on terms of its own
//! address      which addresses a name may lead to
//! connections  pooled HTTP/1.1 connections over TCP and TLS, of one runtime
//! client       a plugin's request: small, bounded, to where it may go
//! caller       a request of the control plane, to a server that the configuration names
//! collector    spans to an OpenTelemetry collector
//! standing     a server that is asked again and again: TLS, secrets, patience
//! etcd         keys in etcd, and word of when they change
//! consul       a question to Consul, answered when its answer changes
//! fetch        a document by URL: bounded, only if it changed, resumed when it breaks off
//! ```

mod trust;
mod terms;
mod address;
mod connections;
mod client;
mod caller;
mod collector;
mod standing;
mod etcd;
mod consul;
mod fetch;

pub use address::Reach;
pub use caller::{CallError, Caller};
pub use client::{Client, SendError, Terms};
pub use collector::{Collector, ExportError};
pub use consul::Consul;
pub use etcd::{Etcd, KeyValue, Login, Mark, Range};
pub use fetch::{Fetch, FetchError, Fetched, Fetcher};
pub use standing::{AskError, Credential, Held, Server, Standing, TlsFileError, TlsFiles, pause};
pub use terms::{TlsError, TlsTerms};
pub use trust::Trust;

#[cfg(test)]
mod tests;
