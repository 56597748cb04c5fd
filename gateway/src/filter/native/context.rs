//! What a native filter finds when it is made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::states::Carried;
use crate::outbound::Trust;
use crate::plugin::Named;
use crate::resource::{Limiter, Secret};

/// What a snapshot has for its filters.
#[derive(Default)]
pub struct Offer {
    pub limiters: Named<Limiter>,
    pub secrets: Named<Secret>,
    /// The upstreams' places in the snapshot.
    pub upstreams: BTreeMap<String, usize>,
    pub trust: Trust,
}

/// What one filter of one route is made from, beside its options.
pub struct Context<'c> {
    pub(super) route: &'c Arc<str>,
    /// Name and config as text: two snapshots with the same filter at the same route have the same.
    pub(super) identity: &'c str,
    pub(super) offer: &'c Offer,
    pub(super) states: &'c mut Carried,
}

impl Context<'_> {
    /// A limiter of the configuration; `at` is the key that names it.
    pub(super) fn limiter(&self, at: &str, name: &str) -> Result<Arc<Limiter>, String> {
        self.offer.limiters.get(name).cloned().ok_or_else(|| format!("{at}: there is no limiter `{name}`"))
    }

    /// An upstream's place; `at` is the key that names it.
    pub(super) fn upstream(&self, at: &str, name: &str) -> Result<usize, String> {
        self.offer.upstreams.get(name).copied().ok_or_else(|| format!("{at}: there is no upstream `{name}`"))
    }
}
