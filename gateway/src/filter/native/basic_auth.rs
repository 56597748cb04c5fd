//! `basic-auth`: names and passwords (RFC 7617), for tools that know nothing better.
//!
//! Passwords are kept as hashes that are slow to try. Such a hash is computed on a thread of its own, for a few clients at a time, and a
//! password that was right is remembered, by a digest that is good in this process alone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::Context;
use crate::filter::{Exchange, Filter, Reply, Step, Verdict};

/// Who may pass, with which password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BasicAuth")]
pub(super) struct Options {
    /// What browsers show when they ask for the password. Default: `restricted`.
    realm: Option<String>,
    /// By name, the hash of the password: bcrypt (`$2b$…`), argon2 (`$argon2id$…`), or `sha256:HEX` for long random ones.
    #[serde(default)]
    users: BTreeMap<String, String>,
    /// `secret://NAME`: lines of `name:hash`, as `htpasswd -B` writes them.
    htpasswd: Option<String>,
    /// Whether the upstream sees the `Authorization` field. Default: false.
    #[serde(default)]
    forward: bool,
}

/// The filter.
struct BasicAuth(Arc<Users>);

struct Users {
    challenge: HeaderValue,
    forward: bool,
    hashes: HashMap<Box<str>, Hash>,
    /// What is tried for a name that nobody has, so that it takes as long as for others.
    decoy: Hash,
    salt: [u8; 32],
    known: Mutex<Known>,
    hashing: Semaphore,
}

#[derive(Clone)]
enum Hash {
    Bcrypt(Box<str>),
    Argon2(Box<str>),
    Sha256([u8; 32]),
}

/// Digests of names with passwords that were right, and until when that is believed.
#[derive(Default)]
struct Known(HashMap<[u8; 32], Instant>);

impl super::Options for Options {
    fn build(self, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let realm = self.realm.as_deref().unwrap_or("restricted");
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", realm.replace(['"', '\\'], "_"));
        let challenge =
            HeaderValue::try_from(challenge).map_err(|_| "realm: it has characters that no header may carry")?;
        let mut hashes = HashMap::new();
        for (name, hash) in &self.users {
            let at = format!("users.{name}");
            check_name(name).map_err(|why| format!("{at}: {why}"))?;
            hashes.insert(name.as_str().into(), Hash::parse(hash).map_err(|why| format!("{at}: {why}"))?);
        }
        if let Some(reference) = &self.htpasswd {
            let secret = reference.strip_prefix("secret://").and_then(|name| context.offer.secrets.get(name));
            let secret = secret.ok_or("htpasswd: write `secret://NAME`, the name of a secret")?;
            let text = std::str::from_utf8(secret.expose()).map_err(|_| "htpasswd: the secret is not text")?;
            for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            {
                let fault = |why: &str| format!("htpasswd: line {number}: {why}");
                let (name, hash) = line.split_once(':').ok_or_else(|| fault("it is not `name:hash`"))?;
                hashes.insert(name.into(), Hash::parse(hash).map_err(|why| fault(&why))?);
            }
        }
        let decoy = hashes.values().next().cloned().ok_or("nobody has a password: add `users` or `htpasswd`")?;
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(|error| format!("the system gives no random numbers: {error}"))?;
        Ok(Arc::new(BasicAuth(Arc::new(Users {
            challenge,
            forward: self.forward,
            hashes,
            decoy,
            salt,
            known: Mutex::default(),
            hashing: Semaphore::new(HASHINGS_MAX),
        }))))
    }
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.contains(':') { Err("a name is not empty and has no colon") } else { Ok(()) }
}

impl Hash {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(hex) = text.strip_prefix("sha256:") {
            let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(at * 2..at * 2 + 2)?, 16).ok());
            let bytes: Option<Vec<u8>> = bytes.collect();
            let digest = bytes.filter(|_| hex.len() == 64).and_then(|bytes| bytes.try_into().ok());
            return digest.map(Self::Sha256).ok_or_else(|| "`sha256:` is followed by 64 hexadecimal digits".to_owned());
        }
        if text.starts_with("$argon2") {
            let parts: Vec<&str> = text.split('$').collect();
            let is_whole = parts.len() == 6 && parts.iter().skip(1).all(|part| !part.is_empty());
            return if is_whole {
                Ok(Self::Argon2(text.into()))
            } else {
                Err("this is no whole argon2 hash".to_owned())
            };
        }
        // 2y is PHP's and htpasswd's name for what others call 2b.
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            return match text.parse::<bcrypt::HashParts>() {
                Ok(_) => Ok(Self::Bcrypt(text.into())),
                Err(error) => Err(format!("this is no bcrypt hash: {error}")),
            };
        }
        Err("passwords are written as bcrypt, argon2 or `sha256:HEX`, never as they are".to_owned())
    }

    fn is_slow(&self) -> bool {
        !matches!(self, Self::Sha256(_))
    }

    fn fits(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => argon2::verify_encoded(hash, password).unwrap_or(false),
            Self::Sha256(known) => {
                let digest = digest::digest(&digest::SHA256, password);
                constant_time::verify_slices_are_equal(digest.as_ref(), known).is_ok()
            }
        }
    }
}

impl Filter for BasicAuth {
    fn name(&self) -> &'static str {
        "basic-auth"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let users = &self.0;
        let Some((name, password)) = exchange.headers.get(AUTHORIZATION).and_then(credentials) else {
            return Step::Done(Verdict::Respond(Box::new(users.refusal(exchange))));
        };
        let hash = users.hashes.get(&*name);
        if hash.unwrap_or(&users.decoy).is_slow() {
            let digest = users.digest(&name, &password);
            if hash.is_some() && users.knows(&digest) {
                return Step::Done(users.admit(name, exchange));
            }
            return Step::Later(Box::pin(self.try_slowly(name, password, digest, exchange)));
        }
        let fits = hash.unwrap_or(&users.decoy).fits(&password);
        Step::Done(if fits && hash.is_some() {
            users.admit(name, exchange)
        } else {
            Verdict::Respond(Box::new(users.refusal(exchange)))
        })
    }
}

impl BasicAuth {
    async fn try_slowly(&self, name: String, password: Vec<u8>, digest: [u8; 32], exchange: &mut Exchange) -> Verdict {
        let users = &self.0;
        // Whoever cannot wait for so long is better told at once than kept.
        let permit = tokio::time::timeout(HASHING_WAIT_MAX, users.hashing.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            let detail = "too many passwords are being tried";
            let mut reply = Reply::problem(StatusCode::SERVICE_UNAVAILABLE, detail, &exchange.request_id);
            reply.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return Verdict::Respond(Box::new(reply));
        };
        let is_user = users.hashes.contains_key(&*name);
        let hash = users.hashes.get(&*name).unwrap_or(&users.decoy).clone();
        let fits = tokio::task::spawn_blocking(move || hash.fits(&password)).await.unwrap_or(false);
        if fits && is_user {
            users.remember(digest);
            return users.admit(name, exchange);
        }
        Verdict::Respond(Box::new(users.refusal(exchange)))
    }
}

impl Users {
    fn admit(&self, name: String, exchange: &mut Exchange) -> Verdict {
        if !self.forward {
            exchange.headers.remove(AUTHORIZATION);
        }
        exchange.set_attribute("user".into(), name.into());
        Verdict::Next
    }

    fn refusal(&self, exchange: &Exchange) -> Reply {
        let detail = "a name and a password are needed";
        let mut reply = Reply::problem(StatusCode::UNAUTHORIZED, detail, &exchange.request_id);
        reply.headers.insert(WWW_AUTHENTICATE, self.challenge.clone());
        reply
    }

    fn digest(&self, name: &str, password: &[u8]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.salt);
        // A name has no colon.
        context.update(name.as_bytes());
        context.update(b":");
        context.update(password);
        context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    fn knows(&self, digest: &[u8; 32]) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.0.get(digest).is_some_and(|until| Instant::now() < *until)
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0.len() >= KNOWN_MAX {
            let now = Instant::now();
            known.0.retain(|_, until| now < *until);
        }
        // What finds no room is tried again next time.
        if known.0.len() < KNOWN_MAX {
            known.0.insert(digest, Instant::now() + KNOWN_FOR);
        }
    }
}

/// RFC 7617 §2: `Basic`, and in base64 the name, a colon and the password.
fn credentials(value: &HeaderValue) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    Some((name, decoded[colon + 1..].to_vec()))
}

/// Slow hashes of one filter that are computed at a time.
const HASHINGS_MAX: usize = 2;
const HASHING_WAIT_MAX: Duration = Duration::from_secs(5);
/// Right passwords that are remembered, and for how long.
const KNOWN_MAX: usize = 1024;
const KNOWN_FOR: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    /// `open sesame` by bcrypt, argon2 and SHA-256, at the least cost.
    fn config() -> serde_json::Value {
        let sha256 = digest::digest(&digest::SHA256, b"open sesame");
        let hex: String = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let bcrypt = bcrypt::hash("open sesame", 4).expect("a hash").replacen("$2b$", "$2y$", 1);
        json!({ "users": { "ada": bcrypt, "bob": ARGON2, "eve": format!("sha256:{hex}") } })
    }

    const ARGON2: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$";

    async fn pass(filter: &dyn Filter, user_and_password: &str) -> Result<Exchange, Box<Reply>> {
        let value = format!("Basic {}", STANDARD.encode(user_and_password));
        let mut exchange = exchange("GET", "/", &[("authorization", &value)]);
        let verdict = match filter.on_request(&mut exchange) {
            Step::Done(verdict) => verdict,
            Step::Later(verdict) => verdict.await,
        };
        match verdict {
            Verdict::Next => Ok(exchange),
            Verdict::Respond(reply) => Err(reply),
            Verdict::Fail(error) => panic!("{error}"),
        }
    }

    #[tokio::test]
    async fn the_right_password_passes_and_the_upstream_does_not_see_it() {
        let mut config = config();
        config["users"]["bob"] = argon2_of("open sesame").into();
        let filter = filter("basic-auth", config);
        for user in ["ada", "bob", "eve"] {
            for _ in 0..2 {
                let exchange =
                    pass(&*filter, &format!("{user}:open sesame")).await.unwrap_or_else(|_| panic!("{user}"));
                assert_eq!(exchange.attribute("user"), Some(user));
                assert!(!exchange.headers.contains_key(AUTHORIZATION));
            }
        }
        for wrong in ["ada:open", "bob:", "eve:open sesame ", "mallory:open sesame", "ada", ":open sesame"] {
            let Err(reply) = pass(&*filter, wrong).await else { panic!("{wrong}") };
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
            assert_eq!(reply.headers[WWW_AUTHENTICATE], "Basic realm=\"restricted\", charset=\"UTF-8\"");
        }
    }

    fn argon2_of(password: &str) -> String {
        let least = argon2::Config { mem_cost: 8, time_cost: 1, ..argon2::Config::default() };
        argon2::hash_encoded(password.as_bytes(), b"some salt", &least).expect("a hash")
    }

    #[tokio::test]
    async fn what_is_no_basic_authorization_is_refused() {
        let filter =
            filter("basic-auth", json!({"users": {"ada": bcrypt::hash("x", 4).expect("a hash")}, "realm": "a \"b\""}));
        for value in ["", "Basic", "Basic !", "Bearer YTpi", "Basic YWRh"] {
            let mut exchange = exchange("GET", "/", &[("authorization", value)]);
            let Step::Done(Verdict::Respond(reply)) = filter.on_request(&mut exchange) else { panic!("{value}") };
            assert_eq!(reply.headers[WWW_AUTHENTICATE], "Basic realm=\"a _b_\", charset=\"UTF-8\"");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "nobody has a password"),
            (json!({"users": {"ada": "open sesame"}}), "users.ada: passwords are written as"),
            (json!({"users": {"ada": "sha256:00"}}), "users.ada: `sha256:`"),
            (json!({"users": {"ada": "$2b$x"}}), "users.ada: this is no bcrypt hash"),
            (json!({"users": {"ada": ARGON2}}), "users.ada: this is no whole argon2 hash"),
            (json!({"users": {"a:b": "x"}}), "users.a:b: a name"),
            (json!({"htpasswd": "secret://none"}), "htpasswd: write `secret://NAME`"),
        ] {
            let error = faults("basic-auth", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
