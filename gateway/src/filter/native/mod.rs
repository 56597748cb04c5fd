//! Native filters: those written into the gateway.

mod headers;
mod mirror;

pub use headers::Headers;
pub use mirror::Mirror;

use std::sync::Arc;

use super::Filter;

/// Makes a native filter by its name in the configuration; `None` when there is none of that name. `upstreams` are the names
/// of all upstreams.
///
/// # Errors
/// What is wrong with the config, naming the key.
pub fn build(name: &str, config: &serde_json::Value, upstreams: &[&str]) -> Option<Result<Arc<dyn Filter>, String>> {
    match name {
        "headers" => Some(Headers::new(config).map(|filter| Arc::new(filter) as Arc<dyn Filter>)),
        "mirror" => Some(Mirror::new(config, upstreams).map(|filter| Arc::new(filter) as Arc<dyn Filter>)),
        _ => None,
    }
}
