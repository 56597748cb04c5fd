//! What is declared and used by nothing. A name counts as used wherever a filter's config has it as a text, since only the filter knows.

use std::collections::HashSet;

use serde_json::Value;

use super::super::fault::Fault;
use super::super::model::{Config, DiscoverySource, FilterUse, KeySetSource, KeySource, Store, Target};
use super::super::path::At;

pub(super) fn find(config: &Config, warnings: &mut Vec<Fault>) {
    let used = Used::of(config);
    let mut look = |section: &str,
                    what: &str,
                    names: &mut dyn Iterator<Item = &String>,
                    known: &HashSet<&str>,
                    help: Option<&str>| {
        for name in names.filter(|name| !known.contains(name.as_str())) {
            let at = At::ROOT.key(section);
            let fault = Fault::key(at.key(name), format!("{what} `{name}` is used by nothing"));
            warnings.push(Fault { help: help.map(str::to_owned), ..fault });
        }
    };
    let attach = Some("attach it to a route, as in `filters: [{ use: NAME }]`, or remove it");
    look("upstreams", "the upstream", &mut config.upstreams.keys(), &used.upstreams, None);
    look("plugins", "the plugin", &mut config.plugins.keys(), &used.filters, attach);
    look("chains", "the chain", &mut config.chains.keys(), &used.chains, None);
    look("secrets", "the secret", &mut config.secrets.keys(), &used.others, None);
    look("key_sets", "the key set", &mut config.key_sets.keys(), &used.others, None);
    look("tables", "the table", &mut config.tables.keys(), &used.others, None);
    look("stores", "the store", &mut config.stores.keys(), &used.others, None);
    look("limiters", "the limiter", &mut config.limiters.keys(), &used.others, None);
}

#[derive(Default)]
struct Used<'c> {
    upstreams: HashSet<&'c str>,
    filters: HashSet<&'c str>,
    chains: HashSet<&'c str>,
    others: HashSet<&'c str>,
}

impl<'c> Used<'c> {
    fn of(config: &'c Config) -> Self {
        let mut used = Self::default();
        let lists = config.chains.values().chain(config.routes.iter().map(|route| &route.filters));
        for entry in lists.chain([&config.defaults.filters]).flatten() {
            match entry {
                FilterUse::Chain(name) => drop(used.chains.insert(name)),
                FilterUse::Use { name, config, .. } => {
                    used.filters.insert(name);
                    used.texts(config);
                }
            }
        }
        for route in &config.routes {
            if let Target::Upstream(choices) = &route.target {
                used.upstreams.extend(choices.iter().map(|(name, _)| name.as_str()));
            }
        }
        let upstreams: Vec<&str> = used.others.iter().copied().collect();
        used.upstreams.extend(upstreams);
        for plugin in config.plugins.values() {
            let grants = &plugin.grants;
            let lists = [&grants.stores, &grants.tables, &grants.key_sets, &grants.limiters, &grants.secrets];
            used.others.extend(lists.into_iter().flatten().map(String::as_str));
        }
        let tokens = config.admin.iter().flat_map(|admin| &admin.tokens).map(|token| token.token.0.as_str());
        let keys = config.key_sets.values().filter_map(|set| match &set.source {
            KeySetSource::Secret { secret, .. } => Some(secret.0.as_str()),
            KeySetSource::Url(_) | KeySetSource::File(_) => None,
        });
        let certificates = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let certificates = certificates.flat_map(|tls| &tls.certificates).filter_map(|files| match &files.key {
            KeySource::Secret(secret) => Some(secret.0.as_str()),
            KeySource::File(_) => None,
        });
        let passwords = config.stores.values().filter_map(|store| match store {
            Store::Redis { password, .. } => Some(password.as_ref()?.0.as_str()),
            Store::Memory { .. } => None,
        });
        let servers = config.upstreams.values().filter_map(|upstream| match &upstream.discovery.as_ref()?.source {
            DiscoverySource::Etcd { server, .. } | DiscoverySource::Consul { server, .. } => {
                Some(server.secret.as_ref()?.0.as_str())
            }
            DiscoverySource::Dns { .. } | DiscoverySource::Srv { .. } => None,
        });
        let stores = config.limiters.values().filter_map(|limiter| limiter.store.as_deref());
        used.others.extend(tokens.chain(keys).chain(certificates).chain(passwords).chain(servers).chain(stores));
        used
    }

    /// All texts of a filter's config, also those that name secrets.
    fn texts(&mut self, value: &'c Value) {
        match value {
            Value::String(text) => drop(self.others.insert(text.strip_prefix("secret://").unwrap_or(text))),
            Value::Array(items) => items.iter().for_each(|item| self.texts(item)),
            Value::Object(map) => map.values().for_each(|value| self.texts(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
