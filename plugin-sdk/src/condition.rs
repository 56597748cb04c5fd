//! Conditions on requests, in the Common Expression Language. Needs the feature `cel`.
//!
//! A condition is a field of the configuration: `validate` tells a fault in it with line and column, and what it may read of a request
//! stands in it, so that only this is asked of the gateway.
//!
//! ```
//! use witgate_plugin::condition::{Condition, Inputs};
//! # use witgate_plugin::{Error, Plugin, Reply, Request, Setup, Verdict, export_plugin};
//!
//! # #[derive(serde::Deserialize)]
//! struct Config {
//!     deny: Condition,
//! }
//!
//! struct Deny {
//!     condition: Condition,
//!     inputs: Inputs,
//! }
//!
//! impl Plugin for Deny {
//!     type Config = Config;
//!
//!     fn configure(config: Config, setup: &mut Setup) -> Result<Self, Error> {
//!         Ok(Deny { inputs: Inputs::of([&config.deny], setup), condition: config.deny })
//!     }
//!
//!     fn on_request(&self, request: &mut Request) -> Verdict {
//!         match self.condition.holds(&self.inputs.read(request)) {
//!             Ok(false) => Verdict::Next,
//!             Ok(true) | Err(_) => Reply::problem(403, "not here").into(),
//!         }
//!     }
//! }
//! # export_plugin!(Deny: request);
//! # use witgate_plugin::test::{Harness, TestRequest, json};
//! let config = json!({ "deny": "request.method != 'GET' || params.id.matches('^0')" });
//! let mut plugin = Harness::<Deny>::new(config)?;
//! plugin.request(TestRequest::get("/").param("id", "42")).passed();
//! assert_eq!(plugin.request(TestRequest::new("PUT", "/")).reply().status(), 403);
//! # Ok::<(), Error>(())
//! ```
//!
//! | name | type | what it is |
//! |---|---|---|
//! | `request.method`, `request.scheme`, `request.path`, `request.query`, `request.id` | text | as [`RequestValue`](crate::RequestValue) tells |
//! | `request.host` | text | in lower case, without the port |
//! | `request.client_ip`, `route` | text | the client's address, after trusted proxies; the name of the route |
//! | `request.headers.NAME`, `request.headers["x-name"]` | text | several values are joined by `, ` |
//! | `params.NAME` | text | what the route's path captured |
//! | `attributes.NAME`, `user` | text, or what its JSON says | set by earlier filters |
//! | `claims.NAME`, `user.NAME` | any | a member of the attribute `claims`; `claims` is all of them |
//! | `scopes` | list of text | the words of the attribute `scopes` |
//!
//! Of the language there are all operators and macros, and the functions `size`, `contains`, `startsWith`, `endsWith`, `matches`, `type`, `dyn` and the
//! conversions between types. The pattern of `matches` must stand in the condition; it takes linear time, as [`regex_lite`] does.

mod inputs;
mod names;
mod types;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{IdedExpr, Value};
use regex_lite::Regex;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer};

use self::inputs::Input;
pub use self::inputs::{Inputs, Values};
use self::names::Names;
use crate::Setup;

/// An expression that is true or false of a request; as a field of a configuration it checks itself.
///
/// ```
/// use witgate_plugin::condition::Condition;
///
/// assert!(Condition::try_from(r#"request.method == "GET" && "admin" in claims.roles"#).is_ok());
/// let fault = Condition::try_from("request.path > 3").map(drop);
/// assert_eq!(fault, Err("line 1, column 1: `>` does not take text and int".to_owned()));
/// ```
#[derive(Debug, Clone)]
pub struct Condition {
    /// Each input of it is one name, such as `request.headers.x-team`.
    expression: IdedExpr,
    inputs: Vec<Input>,
    /// What `matches` looks for.
    patterns: Arc<BTreeMap<String, Regex>>,
}

/// Why a condition is neither true nor false of a request: most often it compares what the request does not have.
///
/// ```
/// use witgate_plugin::condition::Undecided;
///
/// /// Shows a page to everybody whom nothing is known of.
/// fn is_shown(outcome: Result<bool, Undecided>) -> bool {
///     outcome.unwrap_or(true)
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided(String);

impl Condition {
    /// Whether it is true of a request, of which [`Inputs::read`] of inputs that know this condition gives the values.
    ///
    /// # Errors
    ///
    /// [`Undecided`]. Who decides about access by a condition must not take that for an answer.
    ///
    /// ```
    /// # use witgate_plugin::condition::{Condition, Undecided, Values};
    /// /// Whether to refuse: also what cannot be decided.
    /// fn refuses(condition: &Condition, values: &Values<'_>) -> bool {
    ///     condition.holds(values).unwrap_or_else(|why: Undecided| {
    ///         witgate_plugin::warn!("refused, because {why}");
    ///         true
    ///     })
    /// }
    /// ```
    pub fn holds(&self, values: &Values<'_>) -> Result<bool, Undecided> {
        let context = values.context(&self.patterns);
        let value = Value::resolve_val(&self.expression, &context).map_err(|error| Undecided(error.to_string()))?;
        match value.downcast_ref::<CelBool>() {
            Some(verdict) => Ok(*verdict.inner()),
            None => Err(Undecided(format!("it is of the type {}, not bool", value.get_type().name()))),
        }
    }
}

impl Condition {
    /// What reads nothing of a request can be tried before there is one.
    fn check_constant(&self) -> Result<(), Undecided> {
        if !self.inputs.is_empty() {
            return Ok(());
        }
        // It asks for nothing.
        let inputs = Inputs::of([self], &mut Setup { _private: () });
        self.holds(&inputs.nothing()).map(drop)
    }
}

impl TryFrom<&str> for Condition {
    /// Line, column, and what is wrong there.
    type Error = String;

    fn try_from(source: &str) -> Result<Self, String> {
        let mut expression = PrattParser::new().parse(source).map_err(|faults| match faults.errors.first() {
            Some(fault) => format!("line {}, column {}: {}", fault.pos.0, fault.pos.1, fault.msg),
            None => "is no expression".to_owned(),
        })?;
        let mut names = Names::default();
        names.resolve_condition(&mut expression).map_err(|fault| fault.in_source(source))?;
        let condition = Condition { expression, inputs: names.inputs, patterns: Arc::new(names.patterns) };
        condition
            .check_constant()
            .map_err(|why| format!("line 1, column 1: is the same for all requests, and fails: {why}"))?;
        Ok(condition)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let source = String::deserialize(deserializer)?;
        Condition::try_from(source.as_str()).map_err(de::Error::custom)
    }
}

impl JsonSchema for Condition {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a condition in the Common Expression Language (CEL)" })
    }
}

impl fmt::Display for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Undecided {}
