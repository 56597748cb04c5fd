//! `admin`, `probes`, `drain` and `upgrade` as they are written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::scalar::Span;
use super::Items;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub(in crate::config) struct RawAdmin {
    /// Address and port (`127.0.0.1:9901`), or `unix:PATH`.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// Who may do what. Needed unless the address is a loopback address or a socket file.
    pub(in crate::config) tokens: Option<Items<RawAdminToken>>,
    /// Names, without a port, that requests may have in `Host` besides the address and `localhost`.
    pub(in crate::config) allowed_hosts: Option<Items<String>>,
    /// Whether a plugin may be swapped without a change of the configuration. Default: allow.
    #[schemars(extend("enum" = ["allow", "deny"]))]
    pub(in crate::config) overrides: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AdminToken")]
pub(in crate::config) struct RawAdminToken {
    /// Stands in the audit log.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// `secret://NAME`, one of `secrets`.
    #[schemars(required, regex(pattern = r"^secret://|\$\{"))]
    pub(in crate::config) token: Option<String>,
    /// `viewer`: read. `operator`: reload, drain, roll back and promote as well. `deployer`: upload code as well.
    #[schemars(required, extend("enum" = ["viewer", "operator", "deployer"]))]
    pub(in crate::config) role: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Probes")]
pub(in crate::config) struct RawProbes {
    /// Address and port (`127.0.0.1:9902`), or `unix:PATH`.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Drain")]
pub(in crate::config) struct RawDrain {
    /// From `/readyz` saying no to the closing of the listeners: balancers need time to notice. Default: 0s.
    pub(in crate::config) delay: Option<Span>,
    /// How long an idle HTTP/1.1 connection may still bring one more request, whose response tells it to go. Default: 1s.
    pub(in crate::config) idle: Option<Span>,
    /// For requests in flight, from the closing of the listeners on; what is left then is cut off. Default: 30s.
    pub(in crate::config) deadline: Option<Span>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upgrade")]
pub(in crate::config) struct RawUpgrade {
    /// For the new process to be ready; one that takes longer is ended, and the old one serves on. Default: 60s.
    pub(in crate::config) timeout: Option<Span>,
}
