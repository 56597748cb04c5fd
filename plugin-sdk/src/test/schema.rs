//! The configuration of a test against the schema that the component carries, as the gateway checks it before the plugin sees any of it.

use jsonschema::PatternOptions;
use serde_json::{Value, json};

use crate::Error;

/// A schema that refuses what `Config` decodes would surprise an operator, and not the plugin's author.
pub(super) fn check(schema: &str, config: &Value) -> Result<(), Error> {
    let schema = serde_json::from_str(schema).expect("a schema is JSON");
    let options = jsonschema::options().with_pattern_options(PatternOptions::regex()).offline();
    let validator = options.build(&schema).map_err(|fault| Error::new(format!("the schema is none: {fault}")))?;
    let empty = json!({});
    // An absent configuration counts as an empty one.
    let config = if config.is_null() && !validator.is_valid(config) { &empty } else { config };
    match validator.iter_errors(config).next() {
        None => Ok(()),
        Some(fault) => {
            let path = fault.instance_path().to_string().trim_start_matches('/').replace('/', ".");
            Err(Error::at(path, format!("the component's schema refuses it: {fault}")))
        }
    }
}
