//! `include` and `config` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::Whole;
use super::Items;

/// Files of others that add to this one.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Include")]
pub(in crate::config) struct RawInclude {
    /// A path, in which each `*` stands for any part of a name. A relative one is resolved against the folder of this file.
    #[schemars(required)]
    pub(in crate::config) path: Option<String>,
    /// The bounds of these files: with them, they hold routes, upstreams and chains alone. Default: there are none.
    pub(in crate::config) allow: Option<RawAllow>,
    /// `reject`: a fault in these files is one of the whole configuration. `keep-last`: their last good version stays, and the rest goes on.
    /// Default: reject.
    #[schemars(extend("enum" = ["reject", "keep-last"]))]
    pub(in crate::config) on_fault: Option<String>,
}

/// What the routes of included files may use beside what these files bring themselves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Allow")]
pub(in crate::config) struct RawAllow {
    /// Hosts, and wildcards with all that is below them. A route that names none gets all of these. Default: any.
    pub(in crate::config) hosts: Option<Items<String>>,
    /// Listeners. A route that names none gets all of these. Default: any.
    pub(in crate::config) listeners: Option<Items<String>>,
    /// Declared plugins; native filters need no line here. Default: none.
    pub(in crate::config) plugins: Option<Items<String>>,
    /// Upstreams of others. Default: none.
    pub(in crate::config) upstreams: Option<Items<String>>,
    /// Chains of others. Default: none.
    pub(in crate::config) chains: Option<Items<String>>,
    /// Those of `defaults.filters` that a route may leave out. Default: none.
    pub(in crate::config) skip: Option<Items<String>>,
}

/// How the gateway follows its configuration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ConfigSource")]
pub(in crate::config) struct RawFollow {
    /// `watch`: a change of what the configuration is read from takes effect by itself. Default: manual for files, watch for servers.
    #[schemars(extend("enum" = ["manual", "watch"]))]
    pub(in crate::config) reload: Option<String>,
    /// Configurations that served and are kept in `state_dir`, to go back to. Default: 10.
    pub(in crate::config) history: Option<Whole>,
}
