//! Warnings: what is legal, but probably not meant. They never keep a configuration from serving.
//!
//! Only what can be told for certain from the configuration is told: a warning that is wrong teaches people to look away.

mod routes;
mod unused;
mod limits;
mod order;
mod exposed;

use super::fault::Fault;
use super::model::Config;

/// Everything about a configuration that its author should look at again.
pub fn warnings(config: &Config) -> Vec<Fault> {
    let mut warnings = Vec::new();
    routes::find(config, &mut warnings);
    unused::find(config, &mut warnings);
    limits::find(config, &mut warnings);
    order::find(config, &mut warnings);
    exposed::find(config, &mut warnings);
    warnings
}
