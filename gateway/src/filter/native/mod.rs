//! Native filters: those written into the gateway.

mod headers;

pub use headers::Headers;

use std::sync::Arc;

use super::Filter;

/// Makes a native filter by its name in the configuration; `None` when there is none of that name.
///
/// # Errors
/// What is wrong with the config, naming the key.
pub fn build(name: &str, config: &serde_json::Value) -> Option<Result<Arc<dyn Filter>, String>> {
    match name {
        "headers" => Some(Headers::new(config).map(|filter| Arc::new(filter) as Arc<dyn Filter>)),
        _ => None,
    }
}
