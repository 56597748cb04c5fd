//! Write Witgate plugins in Rust.
//!
//! A plugin is a type with a configuration and some hooks. This one stamps a header on every request:
//!
//! ```
//! use serde::Deserialize;
//! use witgate_plugin::{Error, Plugin, Request, Setup, Verdict, export_plugin, schemars};
//!
//! #[derive(Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// What upstreams see in `x-stamp`.
//!     value: String,
//! }
//!
//! struct Stamp {
//!     value: String,
//! }
//!
//! impl Plugin for Stamp {
//!     type Config = Config;
//!
//!     fn configure(config: Config, _setup: &mut Setup) -> Result<Self, Error> {
//!         Ok(Stamp { value: config.value })
//!     }
//!
//!     fn on_request(&self, request: &mut Request) -> Verdict {
//!         request.set_header("x-stamp", &self.value);
//!         Verdict::Next
//!     }
//! }
//!
//! export_plugin!(Stamp: describe, request);
//!
//! // A test runs natively: no wasm, no gateway.
//! use witgate_plugin::test::{Harness, TestRequest, json};
//!
//! let mut plugin = Harness::<Stamp>::new(json!({ "value": "seen" }))?;
//! let outcome = plugin.request(TestRequest::get("/"));
//! assert_eq!(outcome.passed().value("x-stamp"), Some("seen"));
//! # Ok::<(), Error>(())
//! ```
//!
//! The crate's README tells how to build the component.
//!
//! # How it fits together
//!
//! The gateway configures an *attachment* (the plugin on one route, with one configuration) and then calls the hooks of that
//! attachment. A hook sees only what [`Plugin::configure`] asked for through [`Setup`], by the keys that it got there, and answers
//! with a [`Verdict`]; what it changed on the way travels back as one list of edits. Nothing crosses the boundary in between.
//!
//! # Code map, in reading order
//!
//! [`Plugin`] and [`export_plugin!`] are what an author writes; [`config`], [`Setup`], [`Request`], [`Response`], [`PreparedEdits`], [`HeaderRewrite`], [`QueryRewrite`], [`RequestValue`], [`RequestText`] and [`Reply`] what
//! an author holds, and with the body hooks [`Transform`] and [`Body`]. `condition` (with the feature `cel`) decides about requests by expressions. [`credential`] finds what a client shows, [`identity`] tells who it is, [`json`] reads parts of JSON. [`log`], [`metrics`], [`trace`], [`clock`], [`crypto`], [`kv`], [`table`], [`secret`], [`rate_limit`], [`http`] and [`jwt`] are what else the
//! gateway does for a plugin; what it does not use, its component does not import. `glue` turns calls of the gateway into calls of the plugin, natively just as on wasm. `wire` and `host` are the values
//! and the imports of the contract: on wasm the generated `bindings`, natively plain twins that [`test`](mod@test) plays the gateway behind.

#![deny(missing_docs)]

mod plugin;
mod export;

pub mod config;
mod setup;

mod prepared;
mod request;
mod response;
mod values;
mod text;
mod header_rules;
mod query_rules;
#[cfg(feature = "cel")]
pub mod condition;

mod reply;

mod body;

mod error;

pub mod credential;
pub mod identity;
pub mod json;
pub mod log;
pub mod metrics;
pub mod trace;
pub mod clock;
pub mod crypto;
pub mod kv;
pub mod table;
pub mod secret;
pub mod rate_limit;
pub mod http;
pub mod jwt;

#[doc(hidden)]
pub mod glue;
mod host;
mod wire;

#[cfg(any(test, all(target_arch = "wasm32", feature = "allocator", not(target_feature = "atomics"))))]
mod allocator;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod bindings;

#[cfg(not(target_arch = "wasm32"))]
pub mod test;

pub use body::{Body, End, Step, Transform};
pub use error::Error;
pub use export::{Described, Exported, Hooks};
pub use header_rules::HeaderRewrite;
pub use plugin::Plugin;
pub use prepared::PreparedEdits;
pub use query_rules::QueryRewrite;
pub use reply::{Reply, Verdict};
pub use request::Request;
pub use response::{Origin, Response};
/// The crate that makes JSON Schemas, so that a plugin need not depend on it: its derive macro wants it in scope, hence
/// `use witgate_plugin::schemars` and then `#[derive(schemars::JsonSchema)]`.
pub use schemars;
pub use setup::{Attribute, Param, Part, RequestHeader, ResponseHeader, Setup};
pub use text::{RequestText, RequestValue};

/// The plugins that documents show compile, and do what they say.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/request-hook.md")]
#[doc = include_str!("../docs/response-hook.md")]
#[doc = include_str!("../docs/request-body.md")]
#[doc = include_str!("../docs/response-body.md")]
#[doc = include_str!("../docs/whole-request.md")]
#[doc = include_str!("../docs/whole-response.md")]
#[doc = include_str!("../docs/lifetimes.md")]
#[doc = include_str!("../../plugins/README.md")]
#[doc = include_str!("../../README.md")]
struct Readmes;
