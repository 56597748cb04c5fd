//! The harness plays the capabilities as the gateway has them: grants, answers, limits, and a clock that the test moves.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use witgate_plugin::config::NoConfig;
use witgate_plugin::crypto::{self, Hash};
use witgate_plugin::kv::{Store, StoreError};
use witgate_plugin::rate_limit::{Decision, Limiter};
use witgate_plugin::secret::Secret;
use witgate_plugin::table::Table;
use witgate_plugin::test::{Grants, Harness, TestRequest, json};
use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, clock, export_plugin, metrics};

/// Checks everything itself, as a plugin can.
struct Everything {
    store: Store,
    table: Table,
    key: Secret,
    token: Secret,
    limiter: Limiter,
}

impl Plugin for Everything {
    type Config = NoConfig;

    fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(Everything {
            store: Store::open("local")?,
            table: Table::open("clients")?,
            key: Secret::open("key")?,
            token: Secret::open("token")?,
            limiter: Limiter::open("per-user")?,
        })
    }

    fn on_request(&self, _request: &mut Request) -> Verdict {
        self.keeps_values();
        self.looks_up_and_signs();
        Verdict::Next
    }
}

export_plugin!(Everything: request);

impl Everything {
    fn keeps_values(&self) {
        let store = &self.store;
        let ttl = Some(Duration::from_secs(10));
        assert_eq!(store.get("k"), Ok(None));
        assert_eq!(store.set("k", "v", ttl), Ok(()));
        assert_eq!(store.get("k"), Ok(Some(b"v".to_vec())));
        assert_eq!(store.delete("k"), Ok(true));
        assert_eq!(store.delete("k"), Ok(false));
        assert_eq!(store.compare_and_set("k", Some(b""), "x", None), Ok(false));
        assert_eq!(store.compare_and_set("k", None, "x", None), Ok(true));
        assert_eq!(store.compare_and_set("k", Some(b"x"), "y", None), Ok(true));
        assert_eq!(store.increment("k", 1, None), Err(StoreError::NotANumber));
        assert_eq!(store.increment("n", i64::MAX, ttl), Ok(i64::MAX));
        assert_eq!(store.increment("n", 1, ttl), Err(StoreError::NotANumber));
        assert_eq!(store.get(&"k".repeat(1025)), Err(StoreError::TooLarge));
        assert_eq!(store.set("k", vec![0; (1 << 20) + 1], None), Err(StoreError::TooLarge));
        assert_eq!(store.get("k"), Ok(Some(b"y".to_vec())));
    }

    fn looks_up_and_signs(&self) {
        assert_eq!(self.table.get::<u32>("ada"), Ok(Some(1)));
        assert_eq!(self.table.get::<u32>("bob"), Ok(None));
        assert!(self.table.get::<String>("ada").unwrap_err().to_string().contains("expected a string"));
        // RFC 4231 §4.3.
        let mac = self.key.hmac(Hash::Sha256, b"what do ya want for nothing?");
        assert_eq!(mac[..4], [0x5b, 0xdc, 0xc1, 0x46]);
        assert_eq!(mac, crypto::hmac(Hash::Sha256, b"Jefe", b"what do ya want for nothing?"));
        assert!(self.key.equals(b"Jefe") && !self.key.equals(b"Jeff"));
        assert!(self.key.reveal().is_err());
        assert_eq!(self.token.reveal(), Ok(b"hunter2".to_vec()));
        let lengths = [Hash::Sha256, Hash::Sha384, Hash::Sha512].map(|hash| crypto::digest(hash, b"abc").len());
        assert_eq!(lengths, [32, 48, 64]);
        assert!(self.limiter.take("ada", 2).allowed && !self.limiter.take("ada", 3).allowed);
        assert_ne!(crypto::random::<20>(), crypto::random::<20>());
        metrics::count("seen", 2);
        metrics::gauge("level", 0.5);
    }
}

fn grants() -> Grants {
    Grants::new()
        .store("local")
        .table("clients", json!({ "ada": 1 }))
        .secret("key", "Jefe")
        .revealed_secret("token", "hunter2")
        .limiter("per-user", 2, Duration::from_secs(2))
}

#[test]
fn a_plugin_finds_what_it_is_granted() {
    let mut plugin = Harness::<Everything>::granted(grants(), json!({})).unwrap();
    plugin.request(TestRequest::get("/"));
    assert_eq!((plugin.metric("seen"), plugin.metric("level"), plugin.metric("none")), (Some(2.0), Some(0.5), None));
    assert_eq!(plugin.stored("local", "k").as_deref(), Some(&b"y"[..]));
    assert!(plugin.stored("local", "n").is_some());
    plugin.advance(Duration::from_secs(10));
    assert!(plugin.stored("local", "n").is_none(), "its time is over");
}

#[test]
fn a_plugin_finds_nothing_else() {
    let error = Harness::<Everything>::new(json!({})).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("this plugin is granted no store `local`"));
    let grants = Grants::new().store("local").table("clients", json!({})).secret("key", "k");
    let error = Harness::<Everything>::granted(grants, json!({})).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some("this plugin is granted no secret `token`"));
}

/// Writes down what its store, its limiter and its clock say.
struct Reporter {
    store: Store,
    limiter: Limiter,
}

impl Plugin for Reporter {
    type Config = NoConfig;

    fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(Reporter { store: Store::open("local")?, limiter: Limiter::open("per-user")? })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let Decision { allowed, limit, remaining, retry_after } = self.limiter.take("ada", 1);
        request.set_header("x-limit", format!("{allowed} {remaining}/{limit} {retry_after:?}"));
        request.set_header("x-store", format!("{:?}", self.store.get("k")));
        request.set_header("x-time", format!("{:?} {:?}", clock::unix_time(), clock::monotonic()));
        Verdict::Next
    }
}

export_plugin!(Reporter: request);

#[test]
fn time_passes_when_the_test_says_so() {
    let mut plugin = Harness::<Reporter>::granted(grants(), json!({})).unwrap();
    let report = |plugin: &mut Harness<Reporter>, name| {
        plugin.request(TestRequest::get("/")).passed().value(name).map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(report(&mut plugin, "x-limit"), "true 1/2 0ns");
    assert_eq!(report(&mut plugin, "x-limit"), "true 0/2 0ns");
    assert_eq!(report(&mut plugin, "x-limit"), "false 0/2 1s");
    assert_eq!(report(&mut plugin, "x-time"), "1767225600s 0ns");
    plugin.advance(Duration::from_millis(1500));
    assert_eq!(report(&mut plugin, "x-limit"), "true 0/2 0ns");
    assert_eq!(report(&mut plugin, "x-limit"), "false 0/2 500ms");
    assert_eq!(report(&mut plugin, "x-time"), "1767225601.5s 1.5s");
}

#[test]
fn a_store_breaks_when_the_test_says_so() {
    let mut plugin = Harness::<Reporter>::granted(grants(), json!({})).unwrap();
    for (error, expected) in [
        (Some(StoreError::Unavailable), "Err(Unavailable)"),
        (Some(StoreError::OverQuota), "Err(OverQuota)"),
        (None, "Ok(None)"),
    ] {
        plugin.break_store("local", error);
        assert_eq!(plugin.request(TestRequest::get("/")).passed().value("x-store"), Some(expected));
    }
}
