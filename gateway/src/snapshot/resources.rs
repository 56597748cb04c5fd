//! The resources of a snapshot: what the configuration names is opened, what is unchanged is carried over, and each plugin
//! gets what it is granted.
//!
//! Carried over means the same object: a store keeps its values, a limiter its buckets, and a plugin that is granted only
//! such keeps its instances.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::tables;
use crate::config::model::{self as config, Config};
use crate::config::{At, Fault};
use crate::outbound::{Reach, Trust};
use crate::plugin::{Grants, HttpGrant, Named, SecretGrant};
use crate::resource::{
    KeySet, KeySetSource, Limiter, LimiterError, LimiterOptions, OnStoreError, Secret, SecretAlgorithm, SecretSource,
    Sharing, Store, StoreOptions, Table,
};

/// Everything that plugins can be granted, by name.
#[derive(Debug, Default)]
pub struct Resources {
    pub secrets: Named<Secret>,
    pub tables: Named<Table>,
    pub stores: Named<Store>,
    pub limiters: Named<Limiter>,
    pub key_sets: Named<KeySet>,
}

impl Resources {
    /// Opens what `config` names. What cannot be opened is left out, and noted.
    pub(super) async fn open(config: &Config, previous: Option<&Self>, trust: &Trust, faults: &mut Vec<Fault>) -> Self {
        let none = Self::default();
        let old = previous.unwrap_or(&none);
        let secrets = each("secrets", &config.secrets, &old.secrets, secret, faults);
        let stores = stores(&config.stores, &old.stores, &secrets, faults);
        Self {
            key_sets: key_sets(&config.key_sets, &old.key_sets, &secrets, trust, faults).await,
            secrets,
            tables: each("tables", &config.tables, &old.tables, table, faults),
            limiters: limiters(&config.limiters, &old.limiters, &stores, faults),
            stores,
        }
    }

    /// What one plugin is granted of them; `config` has made sure that the names exist.
    pub(super) fn grants(&self, raw: &config::Grants, trust: &Trust) -> Grants {
        Grants {
            key_sets: some(&self.key_sets, &raw.key_sets),
            http: (!raw.http.is_empty()).then(|| http(raw, trust)),
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
            ..Grants::default()
        }
    }
}

/// Opens key sets, all at a time: those from URLs are waited for.
async fn key_sets(
    raw: &BTreeMap<String, config::KeySet>,
    old: &Named<KeySet>,
    secrets: &Named<Secret>,
    trust: &Trust,
    faults: &mut Vec<Fault>,
) -> Named<KeySet> {
    let mut sets = Named::new();
    let mut opening = Vec::new();
    for (name, raw) in raw {
        let (part, source) = match &raw.source {
            config::KeySetSource::File(path) => ("jwks_file", KeySetSource::File(path.clone())),
            config::KeySetSource::Url(url) => match url.parse() {
                Ok(url) => ("jwks_url", KeySetSource::Url { url, refresh: raw.refresh }),
                Err(error) => {
                    let words = unopened("key set", name, error);
                    faults.push(Fault::value(At::ROOT.key("key_sets").key(name).key("jwks_url"), words));
                    continue;
                }
            },
            config::KeySetSource::Secret { secret, algorithm } => {
                // Without the secret, that fault says enough.
                let Some(secret) = secrets.get(&*secret.0) else { continue };
                let algorithm = match algorithm {
                    config::HmacAlgorithm::Hs256 => SecretAlgorithm::Hs256,
                    config::HmacAlgorithm::Hs384 => SecretAlgorithm::Hs384,
                    config::HmacAlgorithm::Hs512 => SecretAlgorithm::Hs512,
                };
                ("secret", KeySetSource::Secret { secret: secret.clone(), algorithm })
            }
        };
        match old.get(name.as_str()).filter(|old| old.is_from(&source)) {
            Some(old) => drop(sets.insert(old.name.clone(), old.clone())),
            None => {
                let (set_name, trust) = (Arc::from(name.as_str()), trust.clone());
                let set = tokio::spawn(async move { KeySet::open(set_name, source, &trust).await });
                opening.push((name, part, set));
            }
        }
    }
    for (name, part, set) in opening {
        match set.await.expect("opening a key set does not panic") {
            Ok(set) => drop(sets.insert(set.name.clone(), set)),
            Err(error) => {
                let words = unopened("key set", name, error);
                faults.push(Fault::value(At::ROOT.key("key_sets").key(name).key(part), words));
            }
        }
    }
    sets
}

fn http(raw: &config::Grants, trust: &Trust) -> HttpGrant {
    // Here, where waiting for files delays no request.
    trust.prepare();
    let reach = if raw.private_addresses { Reach::Anywhere } else { Reach::Public };
    HttpGrant::new(raw.http.iter().map(|origin| origin.as_str().into()), reach)
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
    tables::open(name, &raw.file, old).map_err(|error| ("file", unopened("table", name, error)))
}

/// Stores may have a secret, which is read by then.
fn stores(
    raw: &BTreeMap<String, config::Store>,
    old: &Named<Store>,
    secrets: &Named<Secret>,
    faults: &mut Vec<Fault>,
) -> Named<Store> {
    let mut opened = Named::new();
    for (name, raw) in raw {
        let (part, options) = match raw {
            config::Store::Memory { bytes } => ("memory", StoreOptions::Memory { bytes_max: bytes.in_memory() }),
            config::Store::Redis { url, password, timeout } => {
                let url = match password.as_ref().map(|password| secrets.get(&*password.0)) {
                    None => url.clone(),
                    Some(Some(password)) => with_password(url, password),
                    // Without the secret, that fault says enough.
                    Some(None) => continue,
                };
                ("redis", StoreOptions::Redis { url, timeout: *timeout })
            }
        };
        let store = match old.get(name.as_str()) {
            Some(old) if old.options == options => Ok(old.clone()),
            _ => Store::new(name.as_str().into(), options).map(Arc::new),
        };
        match store {
            Ok(store) => drop(opened.insert(name.as_str().into(), store)),
            Err(error) => {
                let words = unopened("store", name, error);
                faults.push(Fault::value(At::ROOT.key("stores").key(name).key(part), words));
            }
        }
    }
    opened
}

/// The URL of a server with a password in it (RFC 3986 §3.2.1).
fn with_password(url: &str, password: &Secret) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let (user, host) = rest.split_once('@').unwrap_or(("", rest));
    format!("{scheme}://{user}:{}@{host}", percent_encode(password.expose(), NON_ALPHANUMERIC))
}

/// Limiters may have a store, which is open by then.
fn limiters(
    raw: &BTreeMap<String, config::Limiter>,
    old: &Named<Limiter>,
    stores: &Named<Store>,
    faults: &mut Vec<Fault>,
) -> Named<Limiter> {
    let mut opened = Named::new();
    for (name, raw) in raw {
        match limiter(name, raw, old.get(name.as_str()), stores) {
            Ok(limiter) => drop(opened.insert(name.as_str().into(), limiter)),
            Err(error) => {
                let words = unopened("limiter", name, error);
                faults.push(Fault::value(At::ROOT.key("limiters").key(name).key("rate"), words));
            }
        }
    }
    opened
}

fn limiter(
    name: &str,
    raw: &config::Limiter,
    old: Option<&Arc<Limiter>>,
    stores: &Named<Store>,
) -> Result<Arc<Limiter>, LimiterError> {
    let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    let options = LimiterOptions {
        units: at_least_one(raw.rate.count),
        period: raw.rate.per,
        burst: at_least_one(raw.burst),
        keys_max: raw.keys,
    };
    let store = raw.store.as_deref().and_then(|store| stores.get(store)).filter(|store| store.is_remote());
    let sharing = store.map(|store| Sharing {
        store: store.clone(),
        on_error: match raw.on_store_error {
            config::OnStoreError::Local => OnStoreError::Local,
            config::OnStoreError::Open => OnStoreError::Open,
            config::OnStoreError::Closed => OnStoreError::Closed,
        },
    });
    match (old, sharing) {
        (Some(old), sharing) if old.options == options && old.sharing() == sharing.as_ref() => Ok(old.clone()),
        (_, Some(sharing)) => Limiter::shared(name.into(), options, sharing).map(Arc::new),
        (_, None) => Limiter::new(name.into(), options).map(Arc::new),
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

    async fn open(folder: &Path, text: &str, previous: Option<&Resources>) -> (Resources, Vec<String>) {
        let text = format!("version: 1\nlisteners: [{{ name: http, address: 127.0.0.1:0 }}]\n{text}");
        let config = load_text(&folder.join("gateway.yaml"), text, &|_| None).unwrap().config;
        let mut faults = Vec::new();
        let resources = Resources::open(&config, previous, &Trust::default(), &mut faults).await;
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

    #[tokio::test]
    async fn what_is_unchanged_is_the_same_object_and_what_changed_is_not() {
        let folder = folder();
        let (old, faults) = open(folder.path(), ALL, None).await;
        assert!(faults.is_empty(), "{faults:?}");
        let (same, _) = open(folder.path(), ALL, Some(&old)).await;
        std::fs::write(folder.path().join("key"), "hunter3").unwrap();
        std::fs::write(folder.path().join("clients.yaml"), "ada: 2").unwrap();
        let changed = ALL.replace("1MiB", "2MiB").replace(":1'", ":2'").replace("100/1m", "99/1m");
        let (new, _) = open(folder.path(), &changed, Some(&old)).await;
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

    #[tokio::test]
    async fn a_store_is_let_in_by_a_secret() {
        let folder = folder();
        std::fs::write(folder.path().join("key"), "a/b@c").unwrap();
        let text =
            "secrets: { key: { file: key } }\nstores: { s: { redis: 'redis://me@h:1/2', password: 'secret://key' } }\n";
        let url = |resources: &Resources| match &resources.stores["s"].options {
            StoreOptions::Redis { url, .. } => url.clone(),
            StoreOptions::Memory { .. } => String::new(),
        };
        let (old, faults) = open(folder.path(), text, None).await;
        assert_eq!((url(&old).as_str(), faults.len()), ("redis://me:a%2Fb%40c@h:1/2", 0));
        std::fs::write(folder.path().join("key"), "new").unwrap();
        let (new, _) = open(folder.path(), text, Some(&old)).await;
        assert_eq!(url(&new), "redis://me:new@h:1/2");
    }

    #[tokio::test]
    async fn a_plugin_gets_what_it_is_granted_and_no_more() {
        let folder = folder();
        let (resources, _) = open(folder.path(), ALL, None).await;
        let trust = Trust::default();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let raw = config::Grants {
            stores: names(&["local"]),
            secrets: names(&["key", "other"]),
            reveal: names(&["other"]),
            ..config::Grants::default()
        };
        let grants = resources.grants(&raw, &trust);
        assert!(grants.stores.keys().eq([&Arc::from("local")]));
        assert!(grants.tables.is_empty() && grants.limiters.is_empty());
        assert!(grants.secrets.keys().eq([&Arc::from("key"), &Arc::from("other")]));
        assert!(grants.same_as(&resources.grants(&raw, &trust)));
        assert!(!grants.same_as(&resources.grants(&config::Grants { reveal: names(&["key"]), ..raw }, &trust)));
    }

    #[tokio::test]
    async fn all_that_cannot_be_opened_is_told_at_its_place() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("clients.yaml"), "- ada").unwrap();
        let slow = "limiters: { per-user: { rate: 1/365d, burst: 1000 } }";
        let (_, faults) = open(folder.path(), &format!("{}{slow}", ALL.split("limiters").next().unwrap()), None).await;
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
