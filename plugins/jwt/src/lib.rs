//! `builtin:jwt`: lets in who has a valid JSON Web Token. The README says what its keys mean; what a token must say beyond
//! the gateway's own rules stands in `claims`.

mod claims;

use std::collections::BTreeMap;

use claims::Wanted;
use serde::Deserialize;
use witgate_plugin::config::{Duration, OneOrMany};
use witgate_plugin::credential::{Credentials, Found, Place};
use witgate_plugin::identity::{Inject, Scopes};
use witgate_plugin::jwt::{Refusal, Rules, Verifier};
use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin, schemars};

/// Who is let in, and what the upstream is told of them.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The key set of the configuration that tokens are verified with.
    key_set: String,
    /// `iss` must be one of these; `null` takes any.
    // Required, so that nobody trusts every issuer, or tokens that are meant for others, by leaving out a line; `null` says so aloud.
    #[serde(deserialize_with = "Option::deserialize")]
    issuer: Option<OneOrMany<String>>,
    /// `aud` must be, or contain, one of these; `null` takes tokens that are meant for anybody.
    #[serde(deserialize_with = "Option::deserialize")]
    audience: Option<OneOrMany<String>>,
    /// Such as `RS256` or `EdDSA`; all that fit the keys when empty.
    #[serde(default)]
    algorithms: Vec<String>,
    /// The claim must be one of these values; if it is a list, contain one.
    #[serde(default)]
    required_claims: BTreeMap<String, OneOrMany<serde_json::Value>>,
    /// All of these must be in `scope`, `scp` or `scopes` of the token.
    #[serde(default)]
    scopes: Scopes,
    /// Refuse tokens that never expire.
    #[serde(default = "default_true")]
    require_exp: bool,
    /// By how much clocks may differ.
    #[serde(default = "default_leeway")]
    leeway: Duration,
    /// Where the token may be.
    #[serde(default = "default_from")]
    from: OneOrMany<Place>,
    /// Headers for the upstream, by the claim that they get.
    #[serde(default)]
    inject: Inject,
    /// Whether the upstream gets the token, too.
    #[serde(default = "default_true")]
    forward: bool,
    /// About so many verified tokens are remembered; `0` remembers none.
    #[serde(default = "default_cache")]
    cache: u32,
}

/// One attachment.
pub struct Jwt {
    token: Credentials,
    verifier: Verifier,
    wanted: Wanted,
    forward: bool,
    /// The answer to a token that does not suffice, made ready.
    insufficient: String,
}

impl Plugin for Jwt {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        config.inject.own(setup);
        let verifier = Verifier::open(&config.key_set, &config.rules()?)?;
        let mut insufficient = format!(r#"{CHALLENGE}, error="insufficient_scope""#);
        if !config.scopes.is_empty() {
            insufficient += &format!(r#", scope="{}""#, config.scopes);
        }
        Ok(Jwt {
            token: Credentials::at(config.from.into_iter().collect(), setup),
            verifier,
            wanted: Wanted::new(config.inject, config.required_claims, config.scopes, config.cache > 0),
            forward: config.forward,
            insufficient,
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let token = match self.token.find(request) {
            Found::One(token) => token,
            // Who sent no token is not told of an error (RFC 6750 §3.1).
            Found::Nothing => return refuse(401, "a token is needed", CHALLENGE),
            Found::Several => return refuse(400, "there must be one token", INVALID_REQUEST),
        };
        let said = match self.wanted.said_by(&token, &self.verifier) {
            Ok(Some(said)) => said,
            Err(Refusal::Unavailable) => return Reply::problem(503, "tokens cannot be verified now").into(),
            // Which of the reasons it was would only help an attacker.
            Ok(None) | Err(_) => return refuse(401, "the token is not valid", INVALID_TOKEN),
        };
        if !said.suffices {
            return refuse(403, "the token does not suffice", &self.insufficient);
        }
        if !self.forward {
            self.token.remove(request);
        }
        request.apply(&said.edits);
        Verdict::Next
    }
}

export_plugin!(Jwt: describe, request);

impl Config {
    /// What the gateway is to check of every token.
    fn rules(&self) -> Result<Rules, Error> {
        let leeway_s = self.leeway.as_secs().try_into().map_err(|_| Error::at("leeway", "is too long"))?;
        let mut rules = Rules::new().leeway_s(leeway_s).cache(self.cache);
        rules = if self.require_exp { rules.requires("exp") } else { rules };
        rules = self.algorithms.iter().fold(rules, Rules::algorithm);
        rules = self.issuer.iter().flat_map(|list| list.iter()).fold(rules, Rules::issuer);
        Ok(self.audience.iter().flat_map(|list| list.iter()).fold(rules, Rules::audience))
    }
}

fn refuse(status: u16, detail: &str, challenge: &str) -> Verdict {
    Reply::problem(status, detail).header("www-authenticate", challenge).into()
}

fn default_true() -> bool {
    true
}

fn default_leeway() -> Duration {
    Duration::from_secs(30)
}

fn default_from() -> OneOrMany<Place> {
    Place::Bearer.into()
}

fn default_cache() -> u32 {
    1024
}

/// RFC 6750 §3.
const CHALLENGE: &str = r#"Bearer realm="gateway""#;
const INVALID_REQUEST: &str = r#"Bearer realm="gateway", error="invalid_request""#;
const INVALID_TOKEN: &str = r#"Bearer realm="gateway", error="invalid_token""#;
