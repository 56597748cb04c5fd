//! Resources: the named things of a configuration that plugins use. The gateway opens what stands behind a name; a plugin
//! is granted the name, and never sees a path, an address or a password.

mod key_set;

pub use key_set::{
    Algorithm, KeySet, KeySetError, KeySetSource, KeySetStatus, Refusal, Rules, RulesError, SecretAlgorithm, Verifier,
};
