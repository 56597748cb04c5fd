//! `mirror`: sends copies of requests to another upstream, whose answers nobody reads.
//!
//! The copy is of what the route's upstream is sent, after all filters. A request whose body is longer than `body` is not
//! copied; nor is one that comes while `in_flight` copies to that upstream are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use crate::config::scalar::{Share, Size, Whole};
use crate::filter::{Exchange, Filter, Mirroring, Step, Verdict};

/// The filter, checked: applying it cannot fail.
struct Mirror {
    mirroring: Arc<Mirroring>,
    /// Of 2³² requests that many are copied.
    share: u64,
    turn: AtomicU32,
}

/// Where copies of requests go, and of which.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Mirror")]
pub(super) struct Options {
    /// The name of the upstream that gets the copies.
    upstream: String,
    /// Share of the requests that are copied. Default: 100%.
    percent: Option<Share>,
    /// The longest body that is copied. Default: 64KiB.
    body: Option<Size>,
    /// Copies under way to that upstream, over all workers; further ones are dropped. Default: 64.
    in_flight: Option<Whole>,
}

impl super::Options for Options {
    fn build(self, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        context.upstream("upstream", &self.upstream)?;
        let Share(percent) = self.percent.unwrap_or(Share(100.0));
        if percent > 100.0 {
            return Err("percent: a share is at most 100%".to_owned());
        }
        let in_flight = self.in_flight.map_or(Ok(IN_FLIGHT), |Whole(number)| usize::try_from(number));
        let mirroring = Mirroring {
            upstream: self.upstream.into(),
            body_bytes_max: self.body.map_or(BODY_BYTES, |Size(size)| size.in_memory()),
            in_flight_max: in_flight.map_err(|_| "in_flight: this number is too small: at least 0 is needed")?,
        };
        Ok(Arc::new(Mirror { mirroring: Arc::new(mirroring), share: share_of(percent), turn: AtomicU32::new(0) }))
    }
}

/// Of 2³² requests, so many.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 2^32")]
fn share_of(percent: f64) -> u64 {
    (percent / 100.0 * 2f64.powi(32)) as u64
}

impl Mirror {
    /// Whether this request is one of the share: spread evenly, so that no burst is copied whole.
    fn is_chosen(&self) -> bool {
        let turn = self.turn.fetch_add(1, Relaxed);
        u64::from(turn.wrapping_mul(GOLDEN)) < self.share
    }
}

impl Filter for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if self.is_chosen() {
            exchange.mirrors.push(self.mirroring.clone());
        }
        Step::Done(Verdict::Next)
    }
}

/// What is copied of a body where nothing is said.
const BODY_BYTES: usize = 64 << 10;
const IN_FLIGHT: usize = 64;

/// 2³² divided by the golden ratio: its multiples fall evenly into every share of 32 bits.
const GOLDEN: u32 = 0x9e37_79b9;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::filter::native::tests::faults;

    #[test]
    fn a_share_of_the_requests_is_chosen() {
        let mirroring = Arc::new(Mirroring { upstream: "a".into(), body_bytes_max: 0, in_flight_max: 0 });
        for (percent, least, most) in [(0.0, 0, 0), (5.0, 480, 520), (50.0, 4980, 5020), (100.0, 10_000, 10_000)] {
            let mirror = Mirror { mirroring: mirroring.clone(), share: share_of(percent), turn: AtomicU32::new(0) };
            let chosen = (0..10_000).filter(|_| mirror.is_chosen()).count();
            assert!((least..=most).contains(&chosen), "{percent}: {chosen}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "upstream"),
            (json!({ "upstream": "b" }), "there is no upstream `b`"),
            (json!({ "upstream": "b", "body": 5 }), "body"),
            (json!({ "upstream": "b", "speed": 1 }), "speed"),
        ] {
            let error = faults("mirror", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
