//! `timeout`: another time for some requests of a route: those that pass this filter.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::Context;
use crate::config::scalar::Span;
use crate::filter::{Exchange, Filter, Step, Verdict};

/// How long a request may take.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Timeout")]
pub(super) struct Options {
    /// From here to the response's head, in the place of the route's `timeout`, be that longer or shorter.
    timeout: Span,
}

/// The filter.
struct Timeout(Duration);

impl super::Options for Options {
    fn build(self, _: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let Span(timeout) = self.timeout;
        if timeout.is_zero() {
            return Err("timeout: a duration of zero would let nothing pass".to_owned());
        }
        Ok(Arc::new(Timeout(timeout)))
    }
}

impl Filter for Timeout {
    fn name(&self) -> &'static str {
        "timeout"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        exchange.deadline = Instant::now() + self.0;
        Step::Done(Verdict::Next)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::{exchange, faults, filter};

    #[test]
    fn the_deadline_is_moved() {
        let mut exchange = exchange("GET", "/", &[]);
        let before = Instant::now();
        let filter = filter("timeout", json!({"timeout": "1h"}));
        assert!(matches!(filter.on_request(&mut exchange), Step::Done(Verdict::Next)));
        assert!(exchange.deadline >= before + Duration::from_secs(3600));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(faults("timeout", json!({})).contains("`timeout` is missing"));
        assert!(faults("timeout", json!({"timeout": "0s"})).contains("timeout: a duration of zero"));
    }
}
