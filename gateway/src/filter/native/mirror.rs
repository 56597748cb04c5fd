//! `mirror`: sends copies of requests to another upstream, whose answers nobody reads.
//!
//! The copy is of what the route's upstream is sent, after all filters. A request whose body is longer than `body` is not
//! copied; nor is one that comes while `in_flight` copies to that upstream are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::scalar::{Share, Size, Whole};
use crate::filter::{Exchange, Filter, Mirroring, Step, Verdict};

/// The filter, checked: applying it cannot fail.
#[derive(Debug)]
pub struct Mirror {
    mirroring: Arc<Mirroring>,
    /// Of 2³² requests that many are copied.
    share: u64,
    turn: AtomicU32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The name of the upstream that gets the copies.
    upstream: String,
    /// Share of the requests that are copied. Default: 100%.
    percent: Option<Share>,
    /// The longest body that is copied. Default: 64KiB.
    body: Option<Size>,
    /// Copies under way to that upstream, over all workers; further ones are dropped. Default: 64.
    in_flight: Option<Whole>,
}

impl Mirror {
    /// # Errors
    /// What is wrong with the config, naming the key.
    pub fn new(config: &serde_json::Value, upstreams: &[&str]) -> Result<Self, String> {
        let options: Options = serde_path_to_error::deserialize(config).map_err(|error| error.to_string())?;
        if !upstreams.contains(&options.upstream.as_str()) {
            return Err(format!("upstream: there is no upstream `{}`", options.upstream));
        }
        let Share(percent) = options.percent.unwrap_or(Share(100.0));
        if percent > 100.0 {
            return Err("percent: a share is at most 100%".to_owned());
        }
        let in_flight = options.in_flight.map_or(Ok(IN_FLIGHT), |Whole(number)| usize::try_from(number));
        let mirroring = Mirroring {
            upstream: options.upstream.into(),
            body_bytes_max: options.body.map_or(BODY_BYTES, |Size(size)| size.in_memory()),
            in_flight_max: in_flight.map_err(|_| "in_flight: this number is too small: at least 0 is needed")?,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between 0 and 2^32")]
        let share = (percent / 100.0 * 2f64.powi(32)) as u64;
        Ok(Self { mirroring: Arc::new(mirroring), share, turn: AtomicU32::new(0) })
    }

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

    #[test]
    fn a_share_of_the_requests_is_chosen() {
        for (percent, least, most) in [("0%", 0, 0), ("5%", 480, 520), ("50%", 4980, 5020), ("100%", 10_000, 10_000)] {
            let mirror = Mirror::new(&json!({ "upstream": "a", "percent": percent }), &["a"]).expect("valid");
            let chosen = (0..10_000).filter(|_| mirror.is_chosen()).count();
            assert!((least..=most).contains(&chosen), "{percent}: {chosen}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "upstream"),
            (json!({ "upstream": "b" }), "there is no upstream `b`"),
            (json!({ "upstream": "a", "percent": "101%" }), "percent"),
            (json!({ "upstream": "a", "body": 5 }), "body"),
            (json!({ "upstream": "a", "speed": 1 }), "speed"),
        ] {
            let error = Mirror::new(&config, &["a"]).expect_err("invalid");
            assert!(error.contains(expected), "{error}");
        }
    }
}
