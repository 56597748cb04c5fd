//! Checks of `secrets`, `key_sets`, `tables`, `stores` and `limiters`. Whether what they name can be read or reached is not asked here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::fault::Fault;
use super::super::model::{
    ByteSize, HmacAlgorithm, KeySet, KeySetSource, Limiter, OnStoreError, Rate, SecretRef, SecretSource, Store, Table,
};
use super::super::path::At;
use super::super::raw::{Entries, RawKeySet, RawLimiter, RawSecret, RawStore, RawTable};
use super::super::scalar::Size;
use super::names::Kind;
use super::urls::Url;
use super::{Check, entries};

/// Age at which keys are loaded again, where the file gives none.
const REFRESH: Duration = Duration::from_secs(300);

/// A store that holds less would forget everything at once.
const STORE_BYTES_MIN: u64 = 1024;

const ONE: &str = "remove one of them";

impl Check<'_> {
    pub(super) fn secrets(&mut self, at: &At<'_>, raw: Option<&Entries<RawSecret>>) -> BTreeMap<String, SecretSource> {
        self.named(at, raw, |check, at, raw| {
            let forms = [("env", raw.env.as_deref()), ("file", raw.file.as_deref())];
            let (key, text) = check.one_of(at, "place of a secret", ONE, forms)?;
            let is_env = key == "env";
            if text.is_empty() || (is_env && text.contains(['=', '\0'])) {
                let thing = if is_env { "an environment variable" } else { "a file" };
                check.fault(Fault::value(at.key(key), format!("this is not the name of {thing}")));
            }
            Some(if is_env {
                SecretSource::Env(text.to_owned())
            } else {
                SecretSource::File(check.path(&at.key(key), text))
            })
        })
    }

    pub(super) fn key_sets(&mut self, at: &At<'_>, raw: Option<&Entries<RawKeySet>>) -> BTreeMap<String, KeySet> {
        self.named(at, raw, |check, at, raw| {
            let source = check.key_set_source(at, raw);
            let refresh = check.duration(&at.key("refresh"), raw.refresh, REFRESH);
            Some(KeySet { source: source?, refresh })
        })
    }

    fn key_set_source(&mut self, at: &At<'_>, raw: &RawKeySet) -> Option<KeySetSource> {
        let forms = [("jwks_url", &raw.jwks_url), ("jwks_file", &raw.jwks_file), ("secret", &raw.secret)];
        let forms = forms.map(|(key, text)| (key, text.as_deref()));
        let (key, text) = self.one_of(at, "source of keys", ONE, forms)?;
        if key != "secret" && raw.algorithm.is_some() {
            let fault =
                Fault::key(at.key("algorithm"), format!("the keys of `{key}` say themselves what they are for"));
            self.fault(fault.help("remove it: `algorithm` belongs to `secret`"));
        }
        match key {
            "jwks_url" => self.fetched(&at.key(key), text).map(KeySetSource::Url),
            "jwks_file" => Some(KeySetSource::File(self.path(&at.key(key), text))),
            _ => {
                let secret = self.secret_ref(&at.key(key), text);
                let algorithm = self.required(at, "algorithm", raw.algorithm.as_ref()).and_then(|word| {
                    use HmacAlgorithm::{Hs256, Hs384, Hs512};
                    self.word(&at.key("algorithm"), word, &[("HS256", Hs256), ("HS384", Hs384), ("HS512", Hs512)])
                });
                Some(KeySetSource::Secret { secret: secret?, algorithm: algorithm? })
            }
        }
    }

    pub(super) fn tables(&mut self, at: &At<'_>, raw: Option<&Entries<RawTable>>) -> BTreeMap<String, Table> {
        self.named(at, raw, |check, at, raw| {
            let file = check.required(at, "file", raw.file.as_ref())?;
            Some(Table { file: check.path(&at.key("file"), file) })
        })
    }

    pub(super) fn stores(&mut self, at: &At<'_>, raw: Option<&Entries<RawStore>>) -> BTreeMap<String, Store> {
        self.named(at, raw, |check, at, raw| {
            let forms = [("memory", raw.memory.map(Form::Memory)), ("redis", raw.redis.as_deref().map(Form::Redis))];
            match check.one_of(at, "kind of store", ONE, forms)?.1 {
                Form::Memory(size) => {
                    let servers = [("timeout", raw.timeout.is_some()), ("password", raw.password.is_some())];
                    for (key, _) in servers.into_iter().filter(|(_, is_given)| *is_given) {
                        let fault = Fault::key(at.key(key), format!("`{key}` is for servers, and this store has none"));
                        check.fault(fault.help("remove it: memory answers at once"));
                    }
                    let bytes = check.size(&at.key("memory"), Some(size), ByteSize(0), STORE_BYTES_MIN);
                    Some(Store::Memory { bytes })
                }
                Form::Redis(text) => {
                    let timeout = check.duration(&at.key("timeout"), raw.timeout, Store::TIMEOUT);
                    let password_at = at.key("password");
                    let password = raw.password.as_deref().map(|text| check.secret_ref(&password_at, text));
                    let has_own = Url::parse(text).is_ok_and(|url| url.user.is_some_and(|user| user.contains(':')));
                    if password.is_some() && has_own {
                        let fault = Fault::key(password_at, "the URL of this store has a password already");
                        check.fault(fault.help("take it out of the URL"));
                    }
                    let url = check.redis(&at.key("redis"), text)?;
                    Some(Store::Redis { url, password: password.flatten(), timeout })
                }
            }
        })
    }

    /// The text is not quoted: it may hold a password.
    fn redis(&mut self, at: &At<'_>, text: &str) -> Option<String> {
        let is_database = |rest: &str| {
            let number = rest.strip_prefix('/').unwrap_or(rest);
            number.is_empty() || number.parse::<u16>().is_ok()
        };
        let why = match Url::parse(text) {
            Ok(url) if url.scheme == "rediss" => "`rediss` is not supported yet",
            Ok(url) if url.scheme != "redis" => "the scheme is not `redis`",
            Ok(url) if !is_database(url.rest) => "only the number of a database may follow",
            Ok(_) => return Some(text.to_owned()),
            Err(why) => why,
        };
        let fault = Fault::value(at, "this is not the URL of a Redis server");
        self.fault(fault.help(format!("{why}: write it as in `redis://127.0.0.1:6379`")));
        None
    }

    pub(super) fn limiters(&mut self, at: &At<'_>, raw: Option<&Entries<RawLimiter>>) -> BTreeMap<String, Limiter> {
        self.named(at, raw, |check, at, raw| {
            let rate = check.required(at, "rate", raw.rate.as_ref()).map(|rate| check.rate(&at.key("rate"), rate.0));
            let burst = rate.map_or(1, |rate| rate.count);
            let burst = check.whole(&at.key("burst"), raw.burst, burst, 1..=u64::from(u32::MAX));
            if let Some(name) = &raw.store {
                check.reference(&at.key("store"), Kind::Store, name);
            }
            let on_store_error = raw.on_store_error.as_deref().and_then(|word| {
                use OnStoreError::{Closed, Local, Open};
                check.word(&at.key("on_store_error"), word, &[("local", Local), ("open", Open), ("closed", Closed)])
            });
            let on_store_error = on_store_error.unwrap_or_default();
            let keys = check.whole(&at.key("keys"), raw.keys, Limiter::KEYS, 1..=Limiter::KEYS_MAX);
            Some(Limiter { rate: rate?, burst, store: raw.store.clone(), on_store_error, keys })
        })
    }

    /// A rate that lets something pass.
    pub(super) fn rate(&mut self, at: &At<'_>, rate: Rate) -> Rate {
        if rate.count == 0 || rate.per.is_zero() {
            let fault = Fault::value(at, "neither part of a rate may be zero");
            self.fault(fault.help("write how much in how much time, as in `100/1m`"));
        }
        rate
    }

    /// `secret://NAME`. What is anything else may be the secret itself, and is not quoted.
    pub(super) fn secret_ref(&mut self, at: &At<'_>, text: &str) -> Option<SecretRef> {
        let Some(name) = text.strip_prefix("secret://") else {
            let fault = Fault::value(at, "secrets do not belong into this file");
            self.fault(if self.names.group(Kind::Secret).list().contains(&text) {
                fault.label("the name of a secret").help(format!("write `secret://{text}`"))
            } else {
                fault.help("declare it, as in `secrets: { NAME: { env: VARIABLE } }`, and write `secret://NAME` here")
            });
            return None;
        };
        self.reference(at, Kind::Secret, name);
        Some(SecretRef(name.to_owned()))
    }

    /// What is fetched: over TLS, or from this machine.
    pub(super) fn fetched(&mut self, at: &At<'_>, text: &str) -> Option<String> {
        let why = match Url::parse(text) {
            Ok(url) if url.user.is_some() => "a URL here has no user or password",
            Ok(url) if url.rest.contains('#') => "a URL here has no fragment",
            Ok(url) if url.scheme == "https" || (url.scheme == "http" && url.is_loopback()) => {
                return Some(text.to_owned());
            }
            Ok(url) if url.scheme == "http" => "over `http` anybody on the way could change it",
            Ok(_) => "the scheme is not `https`",
            Err(why) => why,
        };
        let fault = Fault::value(at, format!("`{text}` is not a URL that can be fetched"));
        self.fault(fault.help(format!("{why}: write `https://HOST/PATH`")));
        None
    }

    /// A map by name; `one` checks an entry.
    fn named<R, T>(
        &mut self,
        at: &At<'_>,
        raw: Option<&Entries<R>>,
        one: impl Fn(&mut Self, &At<'_>, &R) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let mut checked = BTreeMap::new();
        for (name, raw) in entries(raw) {
            let at = at.key(name);
            self.name(|message| Fault::key(at, message), name);
            checked.extend(one(self, &at, raw).map(|value| (name.to_owned(), value)));
        }
        checked
    }
}

/// What a store is made of, as it is written.
enum Form<'r> {
    Memory(Size),
    Redis(&'r str),
}
