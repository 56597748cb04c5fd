//! The configuration as it is written: every key of the YAML with its type, and nothing about what must hold between them.
//!
//! Every key may be missing here, and every item of a list or a map may be a hole, because what was refused is cut out and the rest goes
//! on to be checked. `check` says what must be there. The comments on the keys are the descriptions of the JSON Schema.

mod control;
mod listeners;
mod overload;
mod plugins;
mod resources;
mod routes;
mod upstreams;
mod balancing;
mod health;
mod discovery;
mod telemetry;
mod traffic;
mod tls;
mod include;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub(super) use self::balancing::RawAffinity;
pub(super) use self::control::{RawAdmin, RawAdminToken, RawDrain, RawProbes, RawUpgrade};
pub(super) use self::discovery::RawDiscovery;
pub(super) use self::health::{RawHealthCheck, RawOutlierEjection};
pub(super) use self::include::{RawAllow, RawFollow, RawInclude};
pub(super) use self::listeners::{RawListener, RawListenerLimits, RawProxyProtocol};
pub(super) use self::overload::RawOverload;
pub(super) use self::plugins::{RawCanary, RawGrants, RawPlugin, RawPluginLimits, RawRecycle, RawRollbackWhen};
pub(super) use self::resources::{RawKeySet, RawLimiter, RawSecret, RawStore, RawTable};
pub(super) use self::routes::{RawDefaults, RawFilterUse, RawMatch, RawPathMatch, RawRespond, RawRoute};
pub(super) use self::telemetry::{
    RawAccessLog, RawBuckets, RawMetrics, RawOnly, RawRedact, RawRouteTracing, RawTelemetry, RawTracing,
};
pub(super) use self::tls::{RawAcme, RawCertificate, RawClientCertificates, RawListenerTls};
pub(super) use self::traffic::{RawHedge, RawRetries, RawUpstreamLimits, RawUpstreamTls};
pub(super) use self::upstreams::{RawEndpoint, RawUpstream, RawUpstreamTimeouts};
use super::scalar::{AutoOrWhole, Size, Span, Whole};

/// A list, `None` where an item was cut out.
pub(super) type Items<T> = Vec<Option<T>>;

/// A map by name, `None` where a value was cut out.
pub(super) type Entries<T> = BTreeMap<String, Option<T>>;

/// The configuration of a Witgate gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Config", extend("patternProperties" = { "^x-": true }))]
pub(super) struct RawConfig {
    /// The version of this format: 1.
    #[schemars(required, extend("const" = 1))]
    pub(super) version: Option<Whole>,
    /// Files of others that add to this one, within bounds.
    pub(super) include: Option<Items<RawInclude>>,
    /// How the gateway follows its configuration.
    pub(super) config: Option<RawFollow>,
    /// Data-plane threads; `auto` is one per core. Default: auto.
    pub(super) workers: Option<AutoOrWhole>,
    /// The folder for compiled plugins. A relative one is resolved against the folder of this file.
    pub(super) state_dir: Option<String>,
    /// Figures of the plugin engine that are fixed at start.
    pub(super) runtime: Option<RawRuntime>,
    /// What the gateway bears before it gives things up.
    pub(super) overload: Option<RawOverload>,
    /// The admin server. Default: there is none.
    pub(super) admin: Option<RawAdmin>,
    /// `/livez`, `/readyz` and `/metrics` at an address of their own.
    pub(super) probes: Option<RawProbes>,
    /// How requests in flight end when the gateway does.
    pub(super) drain: Option<RawDrain>,
    /// How another process takes this one's place.
    pub(super) upgrade: Option<RawUpgrade>,
    /// Where the number of the process that serves is written. Default: nowhere.
    pub(super) pid_file: Option<String>,
    /// Secrets by name: where they are, never what they are.
    pub(super) secrets: Option<Entries<RawSecret>>,
    /// Keys that tokens are verified with, by name.
    pub(super) key_sets: Option<Entries<RawKeySet>>,
    /// Look-up data by name, loaded again when its file changes.
    pub(super) tables: Option<Entries<RawTable>>,
    /// Where plugins and limiters keep values, by name.
    pub(super) stores: Option<Entries<RawStore>>,
    /// Limits that routes and plugins share, by name.
    pub(super) limiters: Option<Entries<RawLimiter>>,
    /// The addresses that are listened on.
    #[schemars(required, length(min = 1))]
    pub(super) listeners: Option<Items<RawListener>>,
    /// Plugins by name, declared once and attached to routes by that name.
    pub(super) plugins: Option<Entries<RawPlugin>>,
    /// Upstreams by name.
    pub(super) upstreams: Option<Entries<RawUpstream>>,
    /// Filter lists by name, to be reused.
    pub(super) chains: Option<Entries<Items<RawFilterUse>>>,
    /// What every route begins with.
    pub(super) defaults: Option<RawDefaults>,
    /// Which requests go where, and through which filters.
    pub(super) routes: Option<Items<RawRoute>>,
    /// What the gateway tells about itself.
    pub(super) telemetry: Option<RawTelemetry>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Runtime")]
pub(super) struct RawRuntime {
    /// Instances of all plugins that may live at once. Default: 1024.
    pub(super) slots: Option<Whole>,
    /// Largest component that is accepted. Default: 32MiB.
    pub(super) component: Option<Size>,
    /// Wall clock and CPU time for compiling one component. Default: 120s.
    pub(super) compile_timeout: Option<Span>,
    /// Address space for compiling one component. Default: 2GiB.
    pub(super) compile_memory: Option<Size>,
    /// Components that are compiled at once. Default: 2.
    pub(super) parallel_compiles: Option<Whole>,
    /// Compiled code and kept components in `state_dir`. Default: 1GiB.
    pub(super) cache: Option<Size>,
    /// CPU time in all plugins over one request. Default: 100ms.
    pub(super) request_deadline: Option<Span>,
}
