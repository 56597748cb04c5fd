//! What end-to-end tests are written with: a scripted upstream, the gateway as a process, and clients that see every byte.
//!
//! A test reads as a sentence:
//!
//! ```ignore
//! let origin = Upstream::echo().await;
//! let gateway = GATEWAY.start(Config::to(&origin)).await;
//! let answer = gateway.client().await.get("/users").await;
//! assert_eq!(answer.status, 200);
//! ```
//!
//! Rules: every socket has port 0; a test waits for events (a head that arrived, a line in the log, an end of stream) and never for
//! time; whatever is dropped takes its processes and sockets with it. [`PATIENCE`] only turns a test that would hang into one that fails.
//!
//! What the gateway promises is asserted in `tests/e2e`, not here.

mod config;
mod echo;
mod gateway;
mod log;
mod tls;
mod tls_client;
mod authority;
mod acme;
mod transcript;
mod upstream;
mod wire;

mod admin;
mod client;
mod collector;
mod http2;
mod http2_call;
pub mod frames;
mod http2_upstream;
mod websocket;
mod load;

mod author;
mod guests;
mod handmade;
mod nginx;
mod prometheus;
mod promtool;
mod redis;
mod relay;
mod bridge;
mod consul;
mod etcd;
mod dns;

pub use acme::Acme;
pub use admin::{Admin, Events};
pub use author::Workplace;
pub use authority::{Authority, Issued, Wanted};
pub use bridge::Bridge;
pub use client::{Client, Response};
pub use collector::{Collector, Span};
pub use config::{Config, yaml};
pub use consul::{Consul, ConsulFault};
pub use dns::{Dns, Record};
pub use echo::{Echo, sha256};
pub use etcd::{Etcd, EtcdTls};
pub use gateway::{Binary, Gateway, Output, allow_files, run};
pub use guests::{example, guest, guests, variant};
pub use handmade::Handmade;
pub use http2::{Frames, Http2, Http2Response};
pub use http2_call::{Http2Call, Http2Calls};
pub use http2_upstream::{Http2Exchange, Http2Upstream};
pub use load::{Load, Tally};
pub use log::{Line, Log};
pub use nginx::Nginx;
pub use prometheus::Prometheus;
pub use promtool::promtool;
pub use redis::Redis;
pub use relay::{Fault, Relay};
pub use tls::{Tls, TlsOptions};
pub use tls_client::{Secured, TlsClient};
pub use transcript::{Transcript, blocks, transcripts};
pub use upstream::{Exchange, Request, Upstream};
pub use websocket::{Accepted, Message, Refusal, WebSocket, WebSocketUpstream};
pub use wire::{Body, Fields, Head, Wire, http};

use std::fs;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

/// How long a test waits for something that must happen. Far above what any step takes, so that a slow machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Wait for `future`, which is `what` the panic names if it does not come within [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}, and it did not come"))
}

/// Put a file in the place of another, or where none was, in one step, as careful editors do: who reads at this moment sees the old one or
/// the new one, and no part of either.
pub fn put(path: &Path, contents: impl AsRef<[u8]>) {
    let draft = path.with_extension("new");
    fs::write(&draft, contents).expect("a temporary folder takes files");
    fs::rename(draft, path).expect("a file can be renamed in its folder");
}

/// Say loudly that a test is skipped, because something it needs is not on this machine.
///
/// # Panics
/// When `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip(why: &str) {
    const REQUIRE: &str = "WITGATE_TEST_REQUIRE_SERVERS";
    assert!(std::env::var_os(REQUIRE).is_none(), "{why}");
    eprintln!("SKIPPED: {why}; with {REQUIRE}=1 this fails");
}
