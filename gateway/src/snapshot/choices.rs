//! What was decided about plugins beside the configuration: overrides, and how trials ended.

use std::collections::BTreeMap;

use crate::plugin::{Digest, TrialMode};

/// By plugin; what is not named here serves as the configuration says.
pub type Choices = BTreeMap<String, Choice>;

/// What serves a plugin in the place of what the configuration says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// In the place of `source`.
    pub stable: Option<Digest>,
    /// In the place of `canary`.
    pub trial: TrialChoice,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub enum TrialChoice {
    /// What `canary` says.
    #[default]
    AsConfigured,
    /// No trial: it is over.
    None,
    Of {
        digest: Digest,
        mode: TrialMode,
    },
}
