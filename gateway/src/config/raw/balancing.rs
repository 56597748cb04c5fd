//! `affinity` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::Span;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Affinity")]
pub(in crate::config) struct RawAffinity {
    /// The name of the cookie that the gateway sets. Its value says nothing about endpoints.
    #[schemars(required)]
    pub(in crate::config) cookie: Option<String>,
    /// How long clients keep it. Default: until they are closed.
    pub(in crate::config) ttl: Option<Span>,
}
