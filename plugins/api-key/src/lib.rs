//! `builtin:api-key`: lets in who has a known key. The README says what its keys mean; how a key is found stands in `keys`.

mod keys;

use keys::{Entry, Keys};
use serde::Deserialize;
use witgate_plugin::config::HeaderName;
use witgate_plugin::credential::{Credentials, Found, Place};
use witgate_plugin::identity::{Inject, Scopes};
use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin, log, schemars};

/// Who is let in, and what the upstream is told of them.
#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The header that carries the key; `x-api-key` where neither this nor `query` is given.
    header: Option<HeaderName>,
    /// The parameter that carries the key.
    query: Option<String>,
    /// The keys; this or `table`.
    keys: Option<Vec<Entry>>,
    /// A table of the configuration that holds the keys; this or `keys`.
    table: Option<String>,
    /// What the key must be allowed to do for this route: all of these.
    #[serde(default)]
    scopes: Scopes,
    /// Headers for the upstream, by `id`, `scopes` or the name of `context` that they get.
    #[serde(default)]
    inject: Inject,
    /// Whether the upstream gets the key, too.
    #[serde(default = "default_true")]
    forward: bool,
}

/// One attachment.
pub struct ApiKey {
    key: Credentials,
    keys: Keys,
    scopes: Scopes,
    forward: bool,
}

impl Plugin for ApiKey {
    type Config = Config;

    fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
        config.inject.own(setup);
        let mut places: Vec<_> = config.header.map(Place::Header).into_iter().collect();
        places.extend(config.query.map(Place::Query));
        if places.is_empty() {
            places.push(Place::Header(HeaderName::try_from("x-api-key".to_owned()).map_err(Error::new)?));
        }
        Ok(ApiKey {
            key: Credentials::at(places, setup),
            keys: Keys::open(config.keys, config.table, config.inject)?,
            scopes: config.scopes,
            forward: config.forward,
        })
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        let key = match self.key.find(request) {
            Found::One(key) => key,
            Found::Nothing => return unauthorized("a key is needed"),
            Found::Several => return unauthorized("there must be one key"),
        };
        let client = match self.keys.find(&key) {
            Ok(Some(client)) => client,
            Ok(None) => return unauthorized("the key is not valid"),
            Err(error) => {
                log::error(&format!("an entry of the table cannot be used: {error}"));
                return Reply::problem(500, "the key cannot be checked").into();
            }
        };
        if !self.scopes.are_in(&client.scope) {
            return Reply::problem(403, "the key may not be used here").into();
        }
        if !self.forward {
            self.key.remove(request);
        }
        request.apply(&client.edits);
        Verdict::Next
    }
}

export_plugin!(ApiKey: describe, request);

fn unauthorized(detail: &str) -> Verdict {
    Reply::problem(401, detail).header("www-authenticate", "ApiKey realm=\"gateway\"").into()
}

fn default_true() -> bool {
    true
}
