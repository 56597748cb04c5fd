//! Native filters: those written into the gateway, one file each. The table in here is the list of them.
//!
//! ```text
//! context      what a filter finds when it is made: limiters, secrets, upstreams, and the state that it carries on
//! states       that state: buckets, circuits, counts; it outlives a snapshot where nothing about it changed
//! template     values with `${…}`
//! schema       what editors know of their configs
//! scope        which part of a request something is about: `client-ip`, `header:NAME` …
//! circuit      the breaker itself: when it opens, and when it closes again
//! ```

mod context;
mod states;
mod template;
mod scope;
mod schema;

mod headers;
mod mirror;
mod cors;
mod ip_access;
mod request_limits;
mod timeout;
mod redirect;
mod basic_auth;
mod forward_auth;
mod compress;
mod rate_limit;
mod circuit;
mod circuit_breaker;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::circuit::{Circuit, CircuitState, Flip};
pub use self::context::{Context, Offer};
pub use self::schema::describe_in;
use self::states::Carried;
pub use self::states::{Counted, States};
use super::Filter;
use crate::config;
use crate::plugin::{Schema, SchemaFault};

/// The options of a kind of native filter, as its `config` writes them: a schema, and the filter that they make.
trait Options: DeserializeOwned + JsonSchema {
    /// Makes the filter.
    ///
    /// # Errors
    /// `PATH: MESSAGE`, what no schema can tell.
    fn build(self, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String>;
}

/// One kind of native filter.
struct Kind {
    name: &'static str,
    schema: fn() -> Value,
    build: Make,
}

/// Makes a filter from a config that its schema takes.
type Make = fn(Value, &mut Context<'_>) -> Result<Arc<dyn Filter>, String>;

/// All kinds. `config` knows their names too, because it reads the configuration without this room; a test holds the two together.
const KINDS: &[Kind] = &[
    kind::<basic_auth::Options>("basic-auth"),
    kind::<circuit_breaker::Options>("circuit-breaker"),
    kind::<compress::Options>("compress"),
    kind::<cors::Options>("cors"),
    kind::<forward_auth::Options>("forward-auth"),
    kind::<headers::Options>("headers"),
    kind::<ip_access::Options>("ip-access"),
    kind::<mirror::Options>("mirror"),
    kind::<rate_limit::Options>("rate-limit"),
    kind::<redirect::Options>("redirect"),
    kind::<request_limits::Options>("request-limits"),
    kind::<timeout::Options>("timeout"),
];

const fn kind<O: Options>(name: &'static str) -> Kind {
    Kind { name, schema: config::schema_of::<O>, build: make::<O> }
}

fn make<O: Options>(config: Value, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
    let options: O = serde_path_to_error::deserialize(config).map_err(|error| error.to_string())?;
    options.build(context)
}

/// What is wrong with the config of a native filter.
#[derive(Debug)]
pub enum ConfigError {
    /// What its schema does not take.
    Schema(Vec<SchemaFault>),
    /// What the filter does not take: `PATH: MESSAGE`.
    Filter(String),
}

/// Makes the native filters of one snapshot.
pub struct Natives {
    offer: Offer,
    states: Carried,
    /// By name: a schema is made ready once for all that use it.
    schemas: BTreeMap<&'static str, Schema>,
}

impl Natives {
    /// From what the snapshot has, after one with these states.
    pub fn new(offer: Offer, previous: Option<Arc<States>>) -> Self {
        Self { offer, states: Carried::after(previous), schemas: BTreeMap::new() }
    }

    /// Makes a filter of a route by its name in the configuration; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn build(
        &mut self,
        route: &Arc<str>,
        name: &str,
        config: &Value,
    ) -> Option<Result<Arc<dyn Filter>, ConfigError>> {
        let kind = KINDS.iter().find(|kind| kind.name == name)?;
        let schema = self.schemas.entry(kind.name).or_insert_with(|| Schema::of((kind.schema)()));
        // Absent means empty, as for plugins.
        let config = if config.is_null() { Value::Object(serde_json::Map::new()) } else { config.clone() };
        let faults = schema.check(&config);
        if !faults.is_empty() {
            return Some(Err(ConfigError::Schema(faults)));
        }
        let identity = format!("{name} {config}");
        let mut context = Context { route, identity: &identity, offer: &self.offer, states: &mut self.states };
        Some((kind.build)(config, &mut context).map_err(ConfigError::Filter))
    }

    /// What the filters that were made carry on.
    pub fn finish(self) -> States {
        self.states.finish()
    }
}

#[cfg(test)]
mod tests;
