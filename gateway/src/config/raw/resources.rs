//! `secrets`, `key_sets`, `tables`, `stores` and `limiters` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{Rate, Size, Span, Whole};

/// Exactly one of these keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Secret", extend("minProperties" = 1, "maxProperties" = 1))]
pub(in crate::config) struct RawSecret {
    /// The name of an environment variable.
    pub(in crate::config) env: Option<String>,
    /// A path. A relative one is resolved against the folder of this file.
    pub(in crate::config) file: Option<String>,
}

/// Exactly one of `jwks_url`, `jwks_file` and `secret`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "KeySet")]
pub(in crate::config) struct RawKeySet {
    /// Where a JSON Web Key Set is fetched: `https://…`, or `http://…` on this machine.
    pub(in crate::config) jwks_url: Option<String>,
    /// The path of a JSON Web Key Set.
    pub(in crate::config) jwks_file: Option<String>,
    /// `secret://NAME`: one key that both sides hold, for `algorithm`.
    #[schemars(regex(pattern = r"^secret://|\$\{"))]
    pub(in crate::config) secret: Option<String>,
    /// The algorithm of `secret`.
    #[schemars(extend("enum" = ["HS256", "HS384", "HS512"]))]
    pub(in crate::config) algorithm: Option<String>,
    /// Age at which the keys are loaded again. Default: 5m.
    pub(in crate::config) refresh: Option<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Table")]
pub(in crate::config) struct RawTable {
    /// A path. A relative one is resolved against the folder of this file.
    #[schemars(required)]
    pub(in crate::config) file: Option<String>,
}

/// Exactly one of `memory` and `redis`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Store")]
pub(in crate::config) struct RawStore {
    /// How much the store holds in the memory of the gateway.
    pub(in crate::config) memory: Option<Size>,
    /// `redis://HOST:PORT`.
    pub(in crate::config) redis: Option<String>,
    /// `secret://NAME`: the password of the Redis server, in the place of one in the URL. A new one takes effect when its file changes.
    #[schemars(regex(pattern = r"^secret://|\$\{"))]
    pub(in crate::config) password: Option<String>,
    /// For one operation of `redis`. Default: 50ms.
    pub(in crate::config) timeout: Option<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Limiter")]
pub(in crate::config) struct RawLimiter {
    /// How fast a bucket fills: `100/1m`.
    #[schemars(required)]
    pub(in crate::config) rate: Option<Rate>,
    /// The bucket's whole capacity. Default: the count of `rate`.
    pub(in crate::config) burst: Option<Whole>,
    /// The name of the store that keeps the buckets.
    pub(in crate::config) store: Option<String>,
    /// What is decided while the store cannot be reached. Default: local.
    #[schemars(extend("enum" = ["local", "open", "closed"]))]
    pub(in crate::config) on_store_error: Option<String>,
    /// Keys that have a bucket of their own at a time; beyond, new keys share one. Default: 100000.
    pub(in crate::config) keys: Option<Whole>,
}
