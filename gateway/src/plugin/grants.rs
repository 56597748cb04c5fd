//! Grants: which of the configuration's named things the guests of a declaration may use.
//!
//! A component that imports an interface it was not granted is refused when it is loaded, not when it calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Uri;

use super::contract::is_free;
use crate::outbound::Reach;
use crate::resource::{KeySet, Limiter, Secret, Store, Table};

/// The rights of one declaration. `log`, `metrics`, `trace`, `clock` and `crypto` reach nothing of anybody else's and are everybody's.
#[derive(Debug, Default)]
pub struct Grants {
    pub stores: Named<Store>,
    pub tables: Named<Table>,
    pub limiters: Named<Limiter>,
    pub secrets: BTreeMap<Arc<str>, SecretGrant>,
    pub key_sets: Named<KeySet>,
    pub http: Option<HttpGrant>,
    /// What a shadow's grants were made of.
    pub shadow_of: Option<Arc<Self>>,
}

/// Resources by the names that guests open them by.
pub type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

/// A secret, and what a guest may do with it.
#[derive(Debug, Clone)]
pub struct SecretGrant {
    pub(super) secret: Arc<Secret>,
    pub(super) may_reveal: bool,
    /// Whether the guests of this declaration have read it already; the first time is written down.
    is_revealed: Arc<AtomicBool>,
}

/// The origins that guests may send requests to (RFC 6454).
#[derive(Debug)]
pub struct HttpGrant {
    /// `scheme://host[:port]`, in lower case and without the scheme's own port.
    origins: BTreeSet<Box<str>>,
    pub(super) reach: Reach,
    under_way: AtomicUsize,
}

/// A request that is under way, for as long as it is.
pub(super) struct UnderWay<'g>(&'g AtomicUsize);

impl Grants {
    /// Whether guests may import this interface of the WIT package, by its name without package and version.
    pub fn admits(&self, interface: &str) -> bool {
        match interface {
            "kv" => !self.stores.is_empty(),
            "tables" => !self.tables.is_empty(),
            "secrets" => !self.secrets.is_empty(),
            "rate-limit" => !self.limiters.is_empty(),
            "jwt" => !self.key_sets.is_empty(),
            "http" => self.http.is_some(),
            other => is_free(other),
        }
    }

    /// The same for guests that may change nothing outside themselves: what they write to stores and take from limiters is
    /// theirs alone, and no request of theirs is sent.
    pub fn for_shadow(of: &Arc<Self>) -> Self {
        fn each<T>(named: &Named<T>, make: impl Fn(&T) -> T) -> Named<T> {
            named.iter().map(|(name, one)| (name.clone(), Arc::new(make(one)))).collect()
        }
        Self {
            stores: each(&of.stores, Store::scratch_over),
            tables: of.tables.clone(),
            limiters: each(&of.limiters, Limiter::twin),
            secrets: of.secrets.clone(),
            key_sets: of.key_sets.clone(),
            http: of.http.as_ref().map(HttpGrant::for_shadow),
            shadow_of: Some(of.clone()),
        }
    }

    /// Whether guests could tell the two apart: a reload keeps the instances where they cannot. A shadow's are as what
    /// they were made of.
    pub fn same_as(&self, other: &Self) -> bool {
        let (one, other) = (self.shadow_of.as_deref().unwrap_or(self), other.shadow_of.as_deref().unwrap_or(other));
        same(&one.stores, &other.stores, Arc::ptr_eq)
            && same(&one.tables, &other.tables, Arc::ptr_eq)
            && same(&one.limiters, &other.limiters, Arc::ptr_eq)
            && same(&one.key_sets, &other.key_sets, Arc::ptr_eq)
            && match (&one.http, &other.http) {
                (Some(one), Some(other)) => one.origins == other.origins && one.reach == other.reach,
                (one, other) => one.is_none() && other.is_none(),
            }
            && same(&one.secrets, &other.secrets, |one, other| {
                Arc::ptr_eq(&one.secret, &other.secret) && one.may_reveal == other.may_reveal
            })
    }
}

impl SecretGrant {
    pub fn new(secret: Arc<Secret>, may_reveal: bool) -> Self {
        Self { secret, may_reveal, is_revealed: Arc::default() }
    }

    /// Whether this is the first time that a guest of the declaration reads the secret.
    pub(super) fn is_first_reveal(&self) -> bool {
        !self.is_revealed.swap(true, Ordering::Relaxed)
    }
}

impl HttpGrant {
    /// Origins in the one form that is compared: `scheme://host[:port]`, in lower case, without the scheme's own port.
    pub fn new(origins: impl IntoIterator<Item = Box<str>>, reach: Reach) -> Self {
        Self { origins: origins.into_iter().collect(), reach, under_way: AtomicUsize::new(0) }
    }

    /// The interface is there, and leads nowhere.
    fn for_shadow(&self) -> Self {
        Self::new([], self.reach)
    }

    pub(super) fn admits(&self, url: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (url.scheme_str(), url.host()) else { return false };
        let own_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let mut origin = format!("{scheme}://{}", host.to_ascii_lowercase());
        if let Some(port) = url.port_u16().filter(|port| *port != own_port) {
            origin.push_str(&format!(":{port}"));
        }
        self.origins.contains(origin.as_str())
    }

    /// Counts a request in; `None` when as many are under way as may.
    pub(super) fn begin(&self) -> Option<UnderWay<'_>> {
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(&self.under_way);
        (before < UNDER_WAY_MAX).then_some(under_way)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn same<T>(one: &BTreeMap<Arc<str>, T>, other: &BTreeMap<Arc<str>, T>, is_same: impl Fn(&T, &T) -> bool) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((one_name, one), (other_name, other))| one_name == other_name && is_same(one, other))
}

/// Requests that the guests of one declaration may have under way, over all workers.
const UNDER_WAY_MAX: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::resource::StoreOptions;

    fn store() -> Arc<Store> {
        Arc::new(Store::new("local".into(), StoreOptions::Memory { bytes_max: 1024 }).unwrap())
    }

    fn with_store(store: Arc<Store>) -> Grants {
        Grants { stores: [(store.name.clone(), store)].into(), ..Grants::default() }
    }

    fn with_secret(secret: Arc<Secret>, may_reveal: bool) -> Grants {
        Grants { secrets: [(secret.name.clone(), SecretGrant::new(secret, may_reveal))].into(), ..Grants::default() }
    }

    #[test]
    fn an_interface_is_admitted_by_its_grant_alone() {
        let none = Grants::default();
        assert!(
            ["types", "setup", "log", "metrics", "trace", "clock", "crypto"]
                .iter()
                .all(|interface| none.admits(interface))
        );
        let guarded = ["kv", "tables", "secrets", "rate-limit", "http", "jwt", "nobody-knows-this"];
        assert!(!guarded.iter().any(|interface| none.admits(interface)));
        let stores = with_store(store());
        assert!(stores.admits("kv"));
        assert!(!guarded[1..].iter().any(|interface| stores.admits(interface)));
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origins = ["https://a.example", "http://b.example:8080", "https://[2001:db8::1]:8443"];
        let grant = HttpGrant::new(origins.map(Box::from), Reach::Public);
        let admits = |url: &str| url.parse().is_ok_and(|url| grant.admits(&url));
        for url in
            ["https://a.example", "https://A.Example:443/x?y", "http://b.example:8080/", "https://[2001:db8::1]:8443/"]
        {
            assert!(admits(url), "{url}");
        }
        for url in [
            "http://a.example/",
            "https://a.example:8443/",
            "https://a.example.evil.example/",
            "https://evil.example/a.example",
            "https://a.example./",
            "http://b.example/",
            "ftp://a.example/",
            "/a.example",
            "a.example",
            "https:///a.example",
        ] {
            assert!(!admits(url), "{url}");
        }
    }

    #[test]
    fn so_many_requests_are_under_way_at_a_time() {
        let grant = HttpGrant::new([], Reach::Public);
        let mut all: Vec<_> = (0..UNDER_WAY_MAX).map(|_| grant.begin().unwrap()).collect();
        assert!(grant.begin().is_none() && grant.begin().is_none());
        all.pop();
        let _one = grant.begin().unwrap();
        assert!(grant.begin().is_none());
    }

    #[test]
    fn a_shadow_sends_no_requests() {
        let grant = HttpGrant::new(["https://a.example".into()], Reach::Public);
        let grants = Arc::new(Grants { http: Some(grant), ..Grants::default() });
        let shadow = Grants::for_shadow(&grants);
        assert!(shadow.admits("http") && shadow.same_as(&grants));
        let url = "https://a.example/".parse().unwrap();
        let admits = |grants: &Grants| grants.http.as_ref().unwrap().admits(&url);
        assert!(admits(&grants) && !admits(&shadow));
    }

    #[test]
    fn guests_can_tell_other_resources_apart_and_other_rights() {
        let one = store();
        assert!(with_store(one.clone()).same_as(&with_store(one.clone())));
        assert!(!with_store(one.clone()).same_as(&with_store(store())), "another store of the same name");
        assert!(!with_store(one).same_as(&Grants::default()));
        let grants = Arc::new(with_store(store()));
        let shadow = Grants::for_shadow(&grants);
        assert!(shadow.same_as(&grants) && grants.same_as(&shadow) && shadow.same_as(&Grants::for_shadow(&grants)));
        assert!(!shadow.same_as(&with_store(store())));
        let secret = Arc::new(Secret::new("key".into(), b"hunter2").unwrap());
        assert!(with_secret(secret.clone(), true).same_as(&with_secret(secret.clone(), true)));
        assert!(!with_secret(secret.clone(), true).same_as(&with_secret(secret, false)));
    }
}
