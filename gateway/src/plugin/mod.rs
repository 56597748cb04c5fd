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
//! contract     the versions of the WIT package that are spoken here, and what each interface needs
//! version      compiled component -> checked exports (`outline`): which hooks, which rights
//! grants       what of the configuration its guests may use
//! declaration  a version under a name, with limits: what configurations declare as a plugin
//! attachment   a declaration on a route with a config; `setup` is what it asks for, `configure` makes it
//! deployment   what serves under a name: a release (a declaration with its attachments), and perhaps one on trial
//! lane         a deployment on one worker
//! pool         per worker: instances of one declaration; `lease` is one on loan, `restarts` and `breaker` are for failing ones
//! instance     one store and one component instance; what a call costs stands there
//! budget       guest CPU time of a call, and `gate` for those that run long
//! host         the imports a guest may call
//! failure      what can go wrong, by kind
//! stats        what was called, and how it went
//! ```

mod settings;
mod clock;
mod digest;
mod shelf;
mod library;
mod compile;
mod child;
mod engine;
mod contract;
mod outline;
mod rights;
mod version;
mod grants;
mod declaration;
mod attachment;
mod setup;
mod configure;
mod deployment;

mod lane;
mod pool;
mod lease;
mod restarts;
mod breaker;
mod instance;
mod budget;
mod gate;
mod host;
mod failure;
mod stats;

mod bindings;
pub mod builtin;

pub use attachment::Attachment;
pub use bindings::exports::witgate::plugin::{request_hook, response_hook};
pub use bindings::witgate::plugin::types;
pub use budget::GuestTime;
pub(crate) use child::CHILD_COMMAND;
pub use child::compile_child;
pub use compile::CompileLimits;
pub use declaration::{Declaration, Isolation, Limits, Recycle};
pub use deployment::{Deployment, Release, Share, StickyKey, Trial, TrialMode};
pub use digest::{Digest, DigestError};
pub use engine::{EngineOptions, Runtime};
pub use failure::{Failure, FailureKind, LoadError};
pub use gate::WorkerGate;
pub use grants::Grants;
pub use host::View;
pub use lane::{Lane, Side, TrialSide};
pub use lease::{Lease, Parked};
pub use library::{Library, LibraryError};
pub use outline::Outline;
pub use pool::Pool;
pub use rights::{Capability, Rights};
pub use setup::{Setup, Want};
pub use stats::{BUCKETS, Comparison, HookTotals, InstanceState, Outcome, Registry, Stats, Totals, bucket_bound};
pub use version::{Hook, Version};
