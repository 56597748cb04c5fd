//! Resources: the named things of a configuration that plugins use. The gateway opens what stands behind a name; a plugin
//! is granted the name, and never sees a path, an address or a password.
//!
//! Each is made for one snapshot and carried over to the next when nothing about it changed, so that values, buckets and
//! connections outlive a reload. Who may use which is the `plugin` room's (`grants`).

mod secret;
mod table;
mod limiter;
mod store;
mod key_set;

pub use key_set::{
    Algorithm, KeySet, KeySetError, KeySetSource, KeySetStatus, Refusal, Rules, RulesError, SecretAlgorithm, Verifier,
};
pub use limiter::{Decision, Limiter, LimiterError, LimiterOptions, OnStoreError, Sharing};
pub use secret::{Secret, SecretError, SecretSource};
pub use store::{KEY_BYTES_MAX, OpenStore, Store, StoreError, StoreFault, StoreOptions, VALUE_BYTES_MAX};
pub use table::Table;
