//! Checks of filter lists: `chains`, `defaults.filters`, a route's `filters`. Their `config` is for the filters themselves to judge.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fault::Fault;
use super::super::form::{OnErrorByKind, OnErrorForm};
use super::super::model::{Failure, FilterUse, OnError};
use super::super::path::At;
use super::super::raw::{Entries, Items, RawFilterUse};
use super::{Check, NATIVE_FILTERS, entries, items};

impl Check<'_> {
    pub(super) fn chains(
        &mut self,
        at: &At<'_>,
        raw: Option<&Entries<Items<RawFilterUse>>>,
    ) -> BTreeMap<String, Vec<FilterUse>> {
        let mut chains = BTreeMap::new();
        for (name, list) in entries(raw) {
            let at = at.key(name);
            self.name(|message| Fault::key(at, message), name);
            chains.insert(name.to_owned(), self.filters(&at, Some(list)));
        }
        if let Some(raw) = raw {
            self.cycles(at, raw);
        }
        chains
    }

    pub(super) fn filters(&mut self, at: &At<'_>, raw: Option<&Items<RawFilterUse>>) -> Vec<FilterUse> {
        let mut filters = Vec::new();
        for (index, raw) in items(raw) {
            filters.extend(self.filter(&at.item(index), raw));
        }
        filters
    }

    fn filter(&mut self, at: &At<'_>, raw: &RawFilterUse) -> Option<FilterUse> {
        match (&raw.name, &raw.chain) {
            (Some(name), None) => Some(self.filter_use(at, name, raw)),
            (None, Some(chain)) => {
                self.chain_use(at, chain, raw);
                Some(FilterUse::Chain(chain.clone()))
            }
            (Some(_), Some(_)) => {
                let fault = Fault::key(at.key("chain"), "this entry has both `use` and `chain`");
                self.fault(fault.help("make two entries of it, in the order in which requests shall pass them"));
                None
            }
            (None, None) => {
                if !self.was_cut(&at.key("use")) && !self.was_cut(&at.key("chain")) {
                    let fault = Fault::value(at, "this entry has neither `use` nor `chain`");
                    self.fault(fault.help("say which filter it is, as in `use: headers`"));
                }
                None
            }
        }
    }

    fn filter_use(&mut self, at: &At<'_>, name: &str, raw: &RawFilterUse) -> FilterUse {
        if !self.names.filters.admits(name) {
            let fault = Fault::value(at.key("use"), format!("there is no plugin and no native filter `{name}`"));
            if self.names.chains.list().contains(&name) {
                self.fault(fault.help(format!("there is a chain of that name: write `chain: {name}`")));
            } else {
                self.known(fault, name, &self.names.filters.list());
            }
        }
        let at = at.key("on_error");
        if raw.on_error.is_some() && NATIVE_FILTERS.contains(&name) {
            let fault = Fault::key(at, format!("`on_error` is for plugins, and `{name}` is a native filter"));
            self.fault(fault.help("remove it: a native filter has no instance that could fail"));
        }
        let on_error = raw.on_error.as_ref().map(|form| self.on_error(&at, form));
        FilterUse::Use {
            name: name.to_owned(),
            config: raw.config.clone().unwrap_or_else(|| serde_json::Map::new().into()),
            on_error: on_error.unwrap_or_default(),
        }
    }

    fn chain_use(&mut self, at: &At<'_>, chain: &str, raw: &RawFilterUse) {
        if !self.names.chains.admits(chain) {
            let fault = Fault::value(at.key("chain"), format!("there is no chain `{chain}`"));
            if self.names.filters.list().contains(&chain) {
                self.fault(fault.help(format!("there is a filter of that name: write `use: {chain}`")));
            } else {
                self.known(fault, chain, &self.names.chains.list());
            }
        }
        for (key, is_there) in [("config", raw.config.is_some()), ("on_error", raw.on_error.is_some())] {
            if is_there {
                let fault = Fault::key(at.key(key), format!("`{key}` belongs to a filter, and this entry is a chain"));
                self.fault(fault.help("write it at the filters of that chain"));
            }
        }
    }

    fn on_error(&mut self, at: &At<'_>, form: &OnErrorForm) -> OnError {
        let raw = match form {
            OnErrorForm::All(word) => {
                let failure = self.failure(at, Some(word));
                return OnError { load: failure, trap: failure, deadline: failure };
            }
            OnErrorForm::ByKind(raw) => raw,
        };
        let OnErrorByKind { load, trap, deadline, limit } = raw;
        if self.failure(&at.key("limit"), limit.as_ref()) == Failure::Open {
            let fault = Fault::value(at.key("limit"), "a plugin that reached a limit never fails open");
            self.fault(fault.help("remove it, or write `limit: closed`"));
        }
        OnError {
            load: self.failure(&at.key("load"), load.as_ref()),
            trap: self.failure(&at.key("trap"), trap.as_ref()),
            deadline: self.failure(&at.key("deadline"), deadline.as_ref()),
        }
    }

    fn failure(&mut self, at: &At<'_>, word: Option<&String>) -> Failure {
        let known = [("closed", Failure::Closed), ("open", Failure::Open)];
        word.and_then(|word| self.word(at, word, &known)).unwrap_or_default()
    }

    /// Notes every chain entry that leads back to the chain it stands in.
    fn cycles(&mut self, at: &At<'_>, raw: &Entries<Items<RawFilterUse>>) {
        let mut walk = Cycles { chains: raw, trail: Vec::new(), done: BTreeSet::new(), found: Vec::new() };
        for name in raw.keys() {
            walk.visit(name);
        }
        for cycle in walk.found {
            let (Some(first), Some(last)) = (cycle.trail.first(), cycle.trail.last()) else {
                continue;
            };
            let message = format!("the chain `{first}` contains itself");
            let label = format!("{} -> {first}", cycle.trail.join(" -> "));
            let list = at.key(last);
            self.fault(Fault::value(list.item(cycle.index).key("chain"), message).label(label));
        }
    }
}

/// A walk through the chains, depth first.
struct Cycles<'a> {
    chains: &'a Entries<Items<RawFilterUse>>,
    /// The chains between the start and here.
    trail: Vec<&'a str>,
    done: BTreeSet<&'a str>,
    found: Vec<Cycle<'a>>,
}

struct Cycle<'a> {
    /// The chains of the circle in order; the last one's item at `index` closes it.
    trail: Vec<&'a str>,
    index: usize,
}

impl<'a> Cycles<'a> {
    fn visit(&mut self, name: &'a str) {
        if self.done.contains(name) {
            return;
        }
        let list = self.chains.get(name).and_then(Option::as_ref);
        self.trail.push(name);
        for (index, filter) in items(list) {
            let Some(next) = filter.chain.as_deref() else {
                continue;
            };
            match self.trail.iter().position(|passed| *passed == next) {
                Some(start) => self.found.push(Cycle { trail: self.trail[start..].to_vec(), index }),
                None => self.visit(next),
            }
        }
        self.trail.pop();
        self.done.insert(name);
    }
}
