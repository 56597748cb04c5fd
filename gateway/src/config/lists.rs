//! Filter lists of a route, walked as requests pass them: `defaults` first, chains spliced in, what is skipped left out.

use super::model::{Config, FilterUse, OnError};
use super::path::At;

/// One filter on its way through the lists.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'c> {
    /// A declared plugin or a native filter.
    pub name: &'c str,
    pub config: &'c serde_json::Value,
    pub on_error: OnError,
    pub from: ListedFrom<'c>,
}

/// The list that a filter stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedFrom<'c> {
    Defaults,
    /// A chain, by its name.
    Chain(&'c str),
    Route,
}

/// Visits each filter of the route at `index`, with its place.
pub fn each_filter<'c>(config: &'c Config, index: usize, visit: &mut dyn FnMut(Listed<'c>, &At<'_>)) {
    let Some(route) = config.routes.get(index) else { return };
    let mut walk = Walk { config, skip: &route.skip, visit };
    let (defaults, routes) = (At::ROOT.key("defaults"), At::ROOT.key("routes"));
    walk.list(&config.defaults.filters, ListedFrom::Defaults, &defaults.key("filters"));
    walk.skip = &[];
    walk.list(&route.filters, ListedFrom::Route, &routes.item(index).key("filters"));
}

struct Walk<'c, 'v> {
    config: &'c Config,
    /// What is left out here; only `defaults` can be.
    skip: &'c [String],
    visit: &'v mut dyn FnMut(Listed<'c>, &At<'_>),
}

impl<'c> Walk<'c, '_> {
    /// Chains may name chains; `check` has made sure that none contains itself.
    fn list(&mut self, uses: &'c [FilterUse], from: ListedFrom<'c>, at: &At<'_>) {
        for (index, entry) in uses.iter().enumerate() {
            let at = at.item(index);
            match entry {
                FilterUse::Use { name, .. } | FilterUse::Chain(name) if self.skip.contains(name) => {}
                FilterUse::Chain(name) => {
                    if let Some(chain) = self.config.chains.get(name) {
                        let chains = At::ROOT.key("chains");
                        self.list(chain, ListedFrom::Chain(name), &chains.key(name));
                    }
                }
                FilterUse::Use { name, config, on_error } => {
                    (self.visit)(Listed { name, config, on_error: *on_error, from }, &at);
                }
            }
        }
    }
}
