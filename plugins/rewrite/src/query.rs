//! `query: {remove, set}`, applied in this order; the other parameters stay as they are, in their order.

use std::collections::BTreeMap;

use serde::Deserialize;
use witgate_plugin::config::Template;
use witgate_plugin::{Error, Request, RequestText, Setup, schemars};

use crate::path::check_text;

/// Removed first, then set.
#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "QueryConfig")]
pub(crate) struct Config {
    /// In place of every value that is there.
    set: BTreeMap<String, Template>,
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
    pub(crate) fn check(self, setup: &mut Setup) -> Result<Option<Rewrite>, Error> {
        let mut gone = self.remove;
        let mut set = Vec::new();
        for (name, template) in self.set {
            let fault = |why| Error::at(format!("request.query.set.{name}"), why);
            check_text(&name, "&=").map_err(fault)?;
            template.texts().try_for_each(|text| check_text(text, "&")).map_err(fault)?;
            set.push((format!("{name}="), RequestText::of(&template, setup).map_err(fault)?));
            gone.push(name);
        }
        Ok((!gone.is_empty()).then_some(Rewrite { gone, set }))
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
