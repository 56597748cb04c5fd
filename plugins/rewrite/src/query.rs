//! `query: {remove, set}`, applied in this order; the other parameters stay as they are, in their order.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::config::{ParameterName, QueryTemplate};
use witgate_plugin::{Request, RequestText, Setup, schemars};

/// Removed first, then set.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "QueryConfig")]
pub(crate) struct Config {
    /// In place of every value that is there.
    set: BTreeMap<ParameterName, QueryTemplate>,
    /// Every value of these.
    remove: Vec<String>,
}

/// Parameters that go, and those that come in their place, with an equals sign.
pub(crate) struct Rewrite {
    gone: Vec<String>,
    set: Vec<(String, RequestText)>,
}

impl Config {
    /// `None` when there is nothing to rewrite.
    pub(crate) fn check(self, setup: &mut Setup) -> Option<Rewrite> {
        let names = self.set.keys().map(|name| name.to_string());
        let gone: Vec<_> = self.remove.into_iter().chain(names).collect();
        let set = self.set.iter().map(|(name, value)| (format!("{}=", &**name), value.want(setup))).collect();
        (!gone.is_empty()).then_some(Rewrite { gone, set })
    }
}

impl Rewrite {
    /// The new query, if it differs.
    pub(crate) fn apply(&self, old: Option<&str>, request: &Request<'_>) -> Option<String> {
        let old = old.unwrap_or_default();
        let stays = |pair: &&str| !self.gone.iter().any(|name| *name == pair.split('=').next().unwrap_or_default());
        let mut pairs: Vec<_> =
            old.split('&').filter(|pair| !pair.is_empty()).filter(stays).map(str::to_owned).collect();
        pairs.extend(self.set.iter().map(|(name, value)| name.clone() + &value.for_uri(request)));
        let query = pairs.join("&");
        (query != old).then_some(query)
    }
}
