//! The JSON Schema of a plugin's configuration, as its component tells it, and what is wrong with a configuration by it.
//!
//! A component comes from anywhere, and so does its schema: `limits` refuses one that could hurt before anything is made of
//! it. How a fault is worded stands in `fault`.

mod fault;
mod limits;

use std::fmt;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

pub use fault::{SchemaFault, SchemaStep};
pub use limits::SchemaError;

/// A schema that was read and found harmless.
pub struct Schema {
    value: Value,
    validator: Validator,
}

/// Faults of one configuration that are told; what lies beyond is left for the next try.
const FAULTS_MAX: usize = 50;

impl Schema {
    /// Reads the schema that a component told.
    ///
    /// # Errors
    /// Every [`SchemaError`].
    pub(super) fn read(text: &str) -> Result<Self, SchemaError> {
        limits::check_size(text)?;
        let value = serde_json::from_str(text).map_err(|error| SchemaError::NotJson(error.to_string()))?;
        limits::check(&value)?;
        // An engine that takes linear time, whatever the pattern, and nobody who would fetch anything.
        let patterns =
            PatternOptions::regex().size_limit(limits::PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_CACHE_BYTES);
        let validator = jsonschema::options().with_pattern_options(patterns).offline().build(&value);
        let validator = validator.map_err(|error| SchemaError::invalid(&error))?;
        Ok(Self { value, validator })
    }

    /// A schema of ours, made from types.
    ///
    /// # Panics
    /// When it is none.
    pub fn of(value: Value) -> Self {
        let validator = jsonschema::options().offline().build(&value);
        Self { validator: validator.expect("types make valid schemas"), value }
    }

    /// The schema as JSON.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What is wrong with a configuration, at most 50 faults; nothing when it fits. An absent configuration (null) counts as
    /// an empty one, as the SDK takes it.
    pub fn check(&self, config: &Value) -> Vec<SchemaFault> {
        let empty = Value::Object(serde_json::Map::new());
        let config = if config.is_null() && !self.validator.is_valid(config) { &empty } else { config };
        let mut faults: Vec<SchemaFault> = Vec::new();
        for error in self.validator.iter_errors(config).take(FAULTS_MAX) {
            fault::add(&error, &self.value, config, &mut faults);
        }
        faults.truncate(FAULTS_MAX);
        faults
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.value).finish()
    }
}

const PATTERN_CACHE_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests;
