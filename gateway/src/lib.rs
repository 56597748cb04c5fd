//! Witgate: an API gateway that people extend with WebAssembly components.
//!
//! # Code map, in reading order
//!
//! A request passes `server` -> `proxy` -> `router` -> `filter` (native ones and, through `plugin`, wasm ones) -> `upstream`, and back.
//! A configuration passes `config` -> `snapshot` -> one pointer that every request loads once.
//!
//! # Layers
//!
//! Imports only go down; rooms on one line never import each other. `tests/tidy.rs` enforces it.
//!
//! ```text
//! main
//! cli
//! gateway
//! server, control, author
//! sockets
//! proxy
//! snapshot
//! filter
//! config, router, upstream, plugin
//! resource
//! outbound, tls
//! message, telemetry, heap
//! ```

pub mod cli;
pub mod gateway;

pub mod author;
pub mod control;
pub mod server;

pub mod sockets;

pub mod proxy;
pub mod snapshot;

pub mod filter;

pub mod config;
pub mod plugin;
pub mod router;
pub mod upstream;

pub mod resource;

pub mod outbound;
pub mod tls;

pub mod heap;
pub mod message;
pub mod telemetry;
