//! Plugins: wasm components behind typed WIT interfaces, compiled once, instantiated many times, called in about a microsecond.
//!
//! This room knows components, instances and calls; it knows no routes, no chains and no HTTP connections.
//! A plugin's life, and where it is written:
//!
//! ```text
//! settings     of the one wasmtime engine, and the clock that ends endless loops
//! digest       what a component is known by
//! library      components kept by digest, and which served last (`shelf`: files that are whole or not there)
//! compile      component -> machine code, made once and kept by digest
//! child        the process that compiles, with its limits
//! engine       engine, linker, compiler: what all plugins of a process share
//! version      compiled component -> checked exports: which hooks, which rights
//! grants       what of the configuration its guests may use
//! declaration  a version under a name, with limits: what configurations declare as a plugin
//! attachment   a declaration on a route with a config; `setup` is what it asks for, `configure` makes it
//! pool         per worker: instances of one declaration, checked out for one call
//! instance     one store and one component instance; what a call costs stands there
//! budget       guest CPU time of a call, and `gate` for those that run long
//! host         the imports a guest may call
//! metrics      the numbers that guests write, over all workers
//! failure      what can go wrong, by kind
//! ```

mod settings;
mod clock;
mod digest;
mod shelf;
mod library;
mod compile;
mod child;
mod engine;
mod version;
mod grants;
mod declaration;
mod attachment;
mod setup;
mod configure;

mod pool;
mod instance;
mod budget;
mod gate;
mod host;
mod metrics;
mod failure;

mod bindings;
pub mod builtin;

pub use attachment::Attachment;
pub use bindings::exports::witgate::plugin::{request_hook, response_hook};
pub use bindings::witgate::plugin::types;
pub(crate) use child::CHILD_COMMAND;
pub use child::compile_child;
pub use compile::CompileLimits;
pub use declaration::{Declaration, Isolation, Limits};
pub use digest::{Digest, DigestError};
pub use engine::{EngineOptions, Runtime};
pub use failure::{Failure, FailureKind, LoadError};
pub use gate::WorkerGate;
pub use grants::{Grant, Grants, HttpGrant, Named, SecretGrant};
pub use host::View;
pub use library::{Library, LibraryError};
pub use metrics::{GuestMetric, GuestReadings, GuestValue};
pub use pool::Pool;
pub use setup::{Setup, Want};
pub use version::{Hook, Version};
