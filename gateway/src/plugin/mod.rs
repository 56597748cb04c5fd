//! Plugins: wasm components behind typed WIT interfaces, compiled once, instantiated many times, called in about a microsecond.
//!
//! This room knows components, instances and calls; it knows no routes, no chains and no HTTP connections.
//! A plugin's life, and where it is written:
//!
//! ```text
//! settings     of the one wasmtime engine, and the clock that ends endless loops
//! digest       what a component is known by
//! source       where a component comes from, and what it must prove; `fetch` gets it
//! library      components kept by digest, and which served last (`records`, on a `shelf` of whole files)
//! compile      component -> machine code, made once and kept by digest
//! child        the process that compiles, with its limits
//! engine       engine, linker, compiler: what all plugins of a process share
//! contract     the versions of the WIT package that are spoken here, and what each interface needs
//! version      compiled component -> checked exports (`outline`): which hooks, which rights
//! describe     asks it what configuration it takes: a `schema`, which is read with care
//! inspect      what can be told of a component without serving it
//! grants       what of the configuration its guests may use
//! declaration  a version under a name, with limits: what configurations declare as a plugin
//! attachment   a declaration on a route with a config; `setup` is what it asks for, `configure` makes it
//! deployment   what serves under a name: a release (a declaration with its attachments), and perhaps one on trial
//! lane         a deployment on one worker
//! pool         per worker: instances of one declaration; `lease` is one on loan, `restarts` and `breaker` are for failing ones
//! instance     one store and one component instance; what a call costs stands there
//! body_hooks   its calls that see bodies: whole, or piece by piece in a `transform`
//! budget       guest CPU time of a call, and `gate` for those that run long
//! host         the imports a guest may call; `remembered` are edits that it makes by numbers
//! metrics      the numbers that guests write, over all workers; `log_rate` bounds their lines of log
//! failure      what can go wrong, by kind
//! stats        what was called, and how it went
//! ```

mod settings;
mod clock;
mod digest;
mod source;
mod fetch;
mod library;
mod records;
mod shelf;
mod compile;
mod child;
mod engine;
mod contract;
mod outline;
mod rights;
mod version;
mod describe;
mod schema;
mod inspect;
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
mod body_hooks;
mod transform;
mod budget;
mod gate;
mod remembered;
mod host;
mod metrics;
mod log_rate;
mod failure;
mod stats;
mod buckets;

mod bindings;
pub mod builtin;

pub use attachment::Attachment;
pub use bindings::exports::witgate::plugin::{request_hook, response_hook};
pub use bindings::witgate::plugin::{body_types, types};
pub use buckets::{BUCKETS, bucket_bound};
pub use budget::GuestTime;
pub(crate) use child::CHILD_COMMAND;
pub use child::compile_child;
pub use compile::CompileLimits;
pub use configure::SetupFailure;
pub use declaration::{Declaration, Isolation, Limits, Recycle};
pub use deployment::{Deployment, Release, Share, Trial, TrialMode};
pub use digest::{Digest, DigestError};
pub use engine::{EngineOptions, Runtime};
pub use failure::{Failure, FailureKind, LoadError};
pub use fetch::Delivery;
pub use gate::WorkerGate;
pub use grants::{Grants, HttpGrant, Named, SecretGrant};
pub use host::{Copied, View};
pub use inspect::Inspection;
pub use lane::{Lane, Side, TrialSide};
pub use lease::{Lease, Parked};
pub use library::{Library, LibraryError};
pub use log_rate::LogRate;
pub use metrics::{GuestMetric, GuestReadings, GuestValue};
pub use outline::Outline;
pub use pool::Pool;
pub use remembered::{Field, Remembered, Repeated, field, field_name};
pub use rights::{Capability, Rights};
pub use schema::{Schema, SchemaError, SchemaFault, SchemaStep};
pub use setup::{Setup, Want};
pub use source::{Proof, PublicKey, PublicKeyError, Source, SourceError};
pub use stats::{Comparison, HookTotals, InstanceState, Outcome, Registry, Stats, Totals};
pub use transform::Transform;
pub use version::{Hook, Version};
