//! `overload` as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::{SizeOrShare, Span, Whole};

/// What the gateway bears before it gives things up: keep-alive, new requests, new connections.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Overload")]
pub(in crate::config) struct RawOverload {
    /// Memory of the process, as a size, or as a share of what it may have. Default: 90%.
    pub(in crate::config) memory: Option<SizeOrShare>,
    /// How late a worker may be for what is due. Default: 1s.
    pub(in crate::config) lag: Option<Span>,
    /// Open connections of all listeners. Default: half of the files that the process may open.
    pub(in crate::config) connections: Option<Whole>,
}
