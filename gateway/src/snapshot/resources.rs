//! The resources of a snapshot: what the configuration names is opened, what is unchanged is carried over, and each plugin
//! gets what it is granted.
//!
//! Carried over means the same object: a store keeps its values, a limiter its buckets, and a plugin that is granted only
//! such keeps its instances.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::model::{self as config, Config};
use crate::config::{At, Fault, load_table};
use crate::plugin::{Grants, LoadError, Named, SecretGrant};
use crate::resource::{Limiter, LimiterOptions, Secret, SecretSource, Store, StoreOptions, Table};

/// Everything that plugins can be granted, by name.
#[derive(Debug, Default)]
pub struct Resources {
    pub secrets: Named<Secret>,
    pub tables: Named<Table>,
    pub stores: Named<Store>,
    pub limiters: Named<Limiter>,
}

impl Resources {
    /// Opens what `config` names. What cannot be opened is left out, and noted.
    pub(super) fn open(config: &Config, previous: Option<&Self>, faults: &mut Vec<Fault>) -> Self {
        let none = Self::default();
        let old = previous.unwrap_or(&none);
        Self {
            secrets: each("secrets", &config.secrets, &old.secrets, secret, faults),
            tables: each("tables", &config.tables, &old.tables, table, faults),
            stores: each("stores", &config.stores, &old.stores, store, faults),
            limiters: each("limiters", &config.limiters, &old.limiters, limiter, faults),
        }
    }

    /// What one plugin is granted of them; `config` has made sure that the names exist.
    pub(super) fn grants(&self, raw: &config::Grants) -> Grants {
        Grants {
            stores: some(&self.stores, &raw.stores),
            tables: some(&self.tables, &raw.tables),
            limiters: some(&self.limiters, &raw.limiters),
            secrets: some(&self.secrets, &raw.secrets)
                .into_iter()
                .map(|(name, secret)| {
                    let may_reveal = raw.reveal.iter().any(|revealed| **revealed == *name);
                    (name, SecretGrant::new(secret, may_reveal))
                })
                .collect(),
        }
    }
}

/// The remedy, where a component wants more than its plugin is granted.
pub(super) fn with_remedy(fault: Fault, error: &LoadError) -> Fault {
    match error {
        LoadError::Ungranted { grant: Some(grant), .. } => {
            fault.help(format!("add `grants: {{ {}: [NAME] }}` to the plugin, if it may", grant.key))
        }
        _ => fault,
    }
}

/// Opens one resource: its name, what the configuration says, and the old one of that name.
type Opener<R, T> = fn(&str, &R, Option<&Arc<T>>) -> Result<Arc<T>, Unopened>;

/// The key that is at fault, and why.
type Unopened = (&'static str, String);

fn each<R, T>(
    key: &str,
    raw: &BTreeMap<String, R>,
    old: &Named<T>,
    opener: Opener<R, T>,
    faults: &mut Vec<Fault>,
) -> Named<T> {
    let mut opened = Named::new();
    for (name, raw) in raw {
        match opener(name, raw, old.get(name.as_str())) {
            Ok(resource) => drop(opened.insert(name.as_str().into(), resource)),
            Err((part, words)) => faults.push(Fault::value(At::ROOT.key(key).key(name).key(part), words)),
        }
    }
    opened
}

fn secret(name: &str, raw: &config::SecretSource, old: Option<&Arc<Secret>>) -> Result<Arc<Secret>, Unopened> {
    let (part, source) = match raw {
        config::SecretSource::Env(variable) => ("env", SecretSource::Env(variable.clone())),
        config::SecretSource::File(path) => ("file", SecretSource::File(path.clone())),
    };
    let new = Secret::load(name.into(), &source).map_err(|error| (part, unopened("secret", name, error)))?;
    Ok(old.filter(|old| old.is_same(&new)).cloned().unwrap_or_else(|| Arc::new(new)))
}

fn table(name: &str, raw: &config::Table, old: Option<&Arc<Table>>) -> Result<Arc<Table>, Unopened> {
    let entries = load_table(&raw.file).map_err(|error| ("file", unopened("table", name, error)))?;
    let new = Table::new(name.into(), entries);
    Ok(old.filter(|old| old.is_same(&new)).cloned().unwrap_or_else(|| Arc::new(new)))
}

fn store(name: &str, raw: &config::Store, old: Option<&Arc<Store>>) -> Result<Arc<Store>, Unopened> {
    let (part, options) = match raw {
        config::Store::Memory { bytes } => ("memory", StoreOptions::Memory { bytes_max: bytes.in_memory() }),
        config::Store::Redis { url, timeout } => ("redis", StoreOptions::Redis { url: url.clone(), timeout: *timeout }),
    };
    match old {
        Some(old) if old.options == options => Ok(old.clone()),
        _ => Store::new(name.into(), options).map(Arc::new).map_err(|error| (part, unopened("store", name, error))),
    }
}

fn limiter(name: &str, raw: &config::Limiter, old: Option<&Arc<Limiter>>) -> Result<Arc<Limiter>, Unopened> {
    let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let options =
        LimiterOptions { units: at_least_one(raw.rate.count), period: raw.rate.per, burst: at_least_one(raw.burst) };
    match old {
        Some(old) if old.options == options => Ok(old.clone()),
        _ => {
            Limiter::new(name.into(), options).map(Arc::new).map_err(|error| ("rate", unopened("limiter", name, error)))
        }
    }
}

fn unopened(thing: &str, name: &str, error: impl Display) -> String {
    format!("{thing} `{name}` cannot be used: {error}")
}

/// Those that are named, as far as they could be opened.
fn some<T>(all: &Named<T>, names: &[String]) -> Named<T> {
    names
        .iter()
        .filter_map(|name| all.get_key_value(name.as_str()))
        .map(|(name, one)| (name.clone(), one.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use super::*;
    use crate::config::load_text;

    fn open(folder: &Path, text: &str, previous: Option<&Resources>) -> (Resources, Vec<String>) {
        let text = format!("version: 1\nlisteners: [{{ name: http, address: 127.0.0.1:0 }}]\n{text}");
        let config = load_text(&folder.join("gateway.yaml"), text, &|_| None).unwrap().config;
        let mut faults = Vec::new();
        let resources = Resources::open(&config, previous, &mut faults);
        (resources, faults.into_iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect())
    }

    const ALL: &str = "\
secrets: { key: { file: key }, other: { file: other } }
tables: { clients: { file: clients.yaml } }
stores: { local: { memory: 1MiB }, shared: { redis: 'redis://127.0.0.1:1' } }
limiters: { per-user: { rate: 100/1m } }
";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("key", "hunter2"), ("other", "swordfish"), ("clients.yaml", "ada: 1")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_unchanged_is_the_same_object_and_what_changed_is_not() {
        let folder = folder();
        let (old, faults) = open(folder.path(), ALL, None);
        assert!(faults.is_empty(), "{faults:?}");
        let (same, _) = open(folder.path(), ALL, Some(&old));
        std::fs::write(folder.path().join("key"), "hunter3").unwrap();
        std::fs::write(folder.path().join("clients.yaml"), "ada: 2").unwrap();
        let changed = ALL.replace("1MiB", "2MiB").replace(":1'", ":2'").replace("100/1m", "99/1m");
        let (new, _) = open(folder.path(), &changed, Some(&old));
        let is_kept = |new: &Resources| {
            [
                Arc::ptr_eq(&old.secrets["key"], &new.secrets["key"]),
                Arc::ptr_eq(&old.secrets["other"], &new.secrets["other"]),
                Arc::ptr_eq(&old.tables["clients"], &new.tables["clients"]),
                Arc::ptr_eq(&old.stores["local"], &new.stores["local"]),
                Arc::ptr_eq(&old.stores["shared"], &new.stores["shared"]),
                Arc::ptr_eq(&old.limiters["per-user"], &new.limiters["per-user"]),
            ]
        };
        assert_eq!(is_kept(&same), [true; 6]);
        assert_eq!(is_kept(&new), [false, true, false, false, false, false]);
    }

    #[test]
    fn a_plugin_gets_what_it_is_granted_and_no_more() {
        let folder = folder();
        let (resources, _) = open(folder.path(), ALL, None);
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let raw = config::Grants {
            stores: names(&["local"]),
            secrets: names(&["key", "other"]),
            reveal: names(&["other"]),
            ..config::Grants::default()
        };
        let grants = resources.grants(&raw);
        assert!(grants.stores.keys().eq([&Arc::from("local")]));
        assert!(grants.tables.is_empty() && grants.limiters.is_empty());
        assert!(grants.secrets.keys().eq([&Arc::from("key"), &Arc::from("other")]));
        assert!(grants.same_as(&resources.grants(&raw)));
        assert!(!grants.same_as(&resources.grants(&config::Grants { reveal: names(&["key"]), ..raw })));
    }

    #[test]
    fn all_that_cannot_be_opened_is_told_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("clients.yaml"), "- ada").unwrap();
        let slow = "limiters: { per-user: { rate: 1/365d, burst: 1000 } }";
        let (_, faults) = open(folder.path(), &format!("{}{slow}", ALL.split("limiters").next().unwrap()), None);
        let starts = [
            "secrets.key.file: secret `key` cannot be used: cannot read ",
            "secrets.other.file: secret `other` cannot be used: cannot read ",
            "tables.clients.file: table `clients` cannot be used: invalid type: sequence",
            "limiters.per-user.rate: limiter `per-user` cannot be used: filling a bucket of 1000 ",
        ];
        assert_eq!(faults.len(), starts.len(), "{faults:?}");
        for (fault, start) in faults.iter().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }
}
