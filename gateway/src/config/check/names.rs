//! The names that references can point at, gathered before anything is checked.

use std::collections::{BTreeSet, HashSet};

use super::super::raw::{Entries, Items, RawConfig, RawFilterUse, RawListener};
use super::{NATIVE_FILTERS, items};

/// What has been given a name. A name whose declaration has faults of its own is here all the same: to refer to it is no second fault.
pub(super) struct Names<'a> {
    pub(super) listeners: Group<'a>,
    pub(super) upstreams: Group<'a>,
    secrets: Group<'a>,
    key_sets: Group<'a>,
    tables: Group<'a>,
    stores: Group<'a>,
    limiters: Group<'a>,
    /// Declared plugins and native filters.
    pub(super) filters: Group<'a>,
    pub(super) chains: Group<'a>,
    /// What `defaults.filters` uses, also by way of chains.
    pub(super) skippable: Group<'a>,
}

/// Kinds of named things that are referred to in one way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Secret,
    KeySet,
    Table,
    Store,
    Limiter,
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::KeySet => "key set",
            Self::Table => "table",
            Self::Store => "store",
            Self::Limiter => "limiter",
        }
    }
}

/// The names of one kind.
pub(super) struct Group<'a> {
    names: BTreeSet<&'a str>,
    /// Whether some declaration was cut out, so that a name may be missing here.
    is_incomplete: bool,
}

impl<'a> Group<'a> {
    fn new(names: impl Iterator<Item = &'a str>, is_incomplete: bool) -> Self {
        Self { names: names.collect(), is_incomplete }
    }

    /// Whether a reference to this name is in order, as far as can be told.
    pub(super) fn admits(&self, name: &str) -> bool {
        self.is_incomplete || self.names.contains(name)
    }

    pub(super) fn list(&self) -> Vec<&'a str> {
        self.names.iter().copied().collect()
    }
}

impl<'a> Names<'a> {
    pub(super) fn of(raw: &'a RawConfig, cut: &HashSet<String>) -> Self {
        let was_cut = |key: &str| cut.contains(key);
        let listeners = items(raw.listeners.as_ref());
        let is_nameless =
            |listener: &Option<RawListener>| listener.as_ref().is_none_or(|listener| listener.name.is_none());
        let nameless = raw.listeners.iter().flatten().any(is_nameless);
        Self {
            listeners: Group::new(
                listeners.filter_map(|(_, listener)| listener.name.as_deref()),
                nameless || was_cut("listeners"),
            ),
            upstreams: Group::new(keys(raw.upstreams.as_ref()), was_cut("upstreams")),
            secrets: Group::new(keys(raw.secrets.as_ref()), was_cut("secrets")),
            key_sets: Group::new(keys(raw.key_sets.as_ref()), was_cut("key_sets")),
            tables: Group::new(keys(raw.tables.as_ref()), was_cut("tables")),
            stores: Group::new(keys(raw.stores.as_ref()), was_cut("stores")),
            limiters: Group::new(keys(raw.limiters.as_ref()), was_cut("limiters")),
            filters: Group::new(keys(raw.plugins.as_ref()).chain(NATIVE_FILTERS), was_cut("plugins")),
            chains: Group::new(keys(raw.chains.as_ref()), was_cut("chains")),
            skippable: Group::new(
                skippable(raw).into_iter(),
                // Any fault in there, or in a chain that is used there, may have taken a name away.
                cut.iter().any(|path| path.starts_with("defaults") || path.starts_with("chains")),
            ),
        }
    }

    pub(super) fn group(&self, kind: Kind) -> &Group<'a> {
        match kind {
            Kind::Secret => &self.secrets,
            Kind::KeySet => &self.key_sets,
            Kind::Table => &self.tables,
            Kind::Store => &self.stores,
            Kind::Limiter => &self.limiters,
        }
    }
}

/// All keys, also those whose values were cut out.
fn keys<T>(map: Option<&Entries<T>>) -> impl Iterator<Item = &str> {
    map.into_iter().flatten().map(|(name, _)| name.as_str())
}

/// The names of filters and chains that `defaults.filters` brings to every route.
fn skippable(raw: &RawConfig) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut visited = BTreeSet::new();
    let defaults = raw.defaults.as_ref().and_then(|defaults| defaults.filters.as_ref());
    let mut lists: Vec<&Items<RawFilterUse>> = defaults.into_iter().collect();
    while let Some(list) = lists.pop() {
        for (_, filter) in items(Some(list)) {
            names.extend(filter.name.as_deref());
            names.extend(filter.chain.as_deref());
            if let Some(chain) = filter.chain.as_deref()
                && visited.insert(chain)
            {
                let chain = raw.chains.as_ref().and_then(|chains| chains.get(chain));
                lists.extend(chain.and_then(Option::as_ref));
            }
        }
    }
    names
}
