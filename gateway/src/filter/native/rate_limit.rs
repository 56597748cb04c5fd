//! `rate-limit`: so many requests in so much time, for each client, user or whatever else tells them apart.
//!
//! Who is within the limit learns how much is left, and who is not, when to come back (draft-ietf-httpapi-ratelimit-headers).

use std::io::Write as _;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Context;
use super::scope::Scope;
use super::states::{Counting, Tally};
use crate::config::scalar::{Rate, Whole};
use crate::filter::{Exchange, Filter, Flag, Reply, Step, Verdict};
use crate::resource::{Decision, Limiter, LimiterOptions};

/// One limit, or several in `limits`, of which each must let a request pass.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimit")]
pub(super) struct Options {
    /// Who has a bucket of their own: `client-ip`, `header:NAME`, `cookie:NAME`, `query:NAME`, `attribute:NAME`, or a list of them.
    key: Option<KeyOption>,
    /// How fast a bucket fills: `10/1s`. This route alone counts then.
    rate: Option<Rate>,
    /// The bucket's whole capacity. Default: the count of `rate`.
    burst: Option<Whole>,
    /// Keys that have a bucket of their own at a time; beyond, new keys share one. Default: 100000.
    keys: Option<Whole>,
    /// The name of a limiter that other routes and plugins share, in the place of `rate`.
    limiter: Option<String>,
    /// What a request costs: `attribute:NAME`, a whole number that a plugin has set. Default: 1.
    cost: Option<String>,
    /// Several limits, in the order in which they are asked.
    limits: Option<Vec<LimitOptions>>,
}

/// One of several limits.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimitOfSeveral")]
struct LimitOptions {
    /// Who has a bucket of their own, as above.
    key: KeyOption,
    /// How fast a bucket fills: `10/1s`.
    rate: Option<Rate>,
    /// The bucket's whole capacity. Default: the count of `rate`.
    burst: Option<Whole>,
    /// Keys that have a bucket of their own at a time. Default: 100000.
    keys: Option<Whole>,
    /// The name of a limiter, in the place of `rate`.
    limiter: Option<String>,
    /// What a request costs: `attribute:NAME`. Default: 1.
    cost: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "RateLimitKey")]
enum KeyOption {
    One(String),
    Several(Vec<String>),
}

/// The filter.
struct RateLimit {
    limits: Box<[Limit]>,
    /// What `RateLimit-Policy` says; it is the same for every response.
    policy: HeaderValue,
    tally: Arc<Tally>,
}

struct Limit {
    scope: Scope,
    /// The attribute that has the cost.
    cost: Option<Box<str>>,
    limiter: Arc<Limiter>,
    /// As a structured field's string (RFC 9651 §3.3.3), with its quotes.
    name: String,
}

/// What a response says of the limit that is nearest to its end.
struct Told {
    limit: usize,
    remaining: u32,
    reset: Duration,
}

impl super::Options for Options {
    fn build(self, context: &mut Context<'_>) -> Result<Arc<dyn Filter>, String> {
        let Self { key, rate, burst, keys, limiter, cost, limits } = self;
        let limits = match (key, limits) {
            (Some(key), None) => vec![LimitOptions { key, rate, burst, keys, limiter, cost }.build("", 0, context)?],
            (None, Some(limits)) if !limits.is_empty() => {
                if rate.is_some() || burst.is_some() || keys.is_some() || limiter.is_some() || cost.is_some() {
                    return Err(
                        "limits: each of them has its own `rate`, `burst`, `keys`, `limiter` and `cost`".to_owned()
                    );
                }
                let several = limits.into_iter().enumerate();
                several
                    .map(|(at, limit)| limit.build(&format!("limits[{at}]."), at, context))
                    .collect::<Result<_, String>>()?
            }
            (None, Some(_)) => return Err("limits: there is no limit in here".to_owned()),
            (Some(_), Some(_)) => return Err("limits: write either `key` or `limits`".to_owned()),
            (None, None) => return Err("the key `key` is missing".to_owned()),
        };
        let policy: Vec<String> = limits.iter().map(Limit::policy).collect();
        let policy = HeaderValue::try_from(policy.join(", ")).expect("names and numbers are ASCII");
        let tally = context.states.tally(context.route);
        Ok(Arc::new(RateLimit { limits: limits.into(), policy, tally }))
    }
}

impl LimitOptions {
    /// `at` is the path of these options, with a dot at its end; `number` tells several of one filter apart.
    fn build(self, at: &str, number: usize, context: &mut Context<'_>) -> Result<Limit, String> {
        let (texts, is_one) = match self.key {
            KeyOption::One(text) => (vec![text], true),
            KeyOption::Several(texts) => (texts, false),
        };
        if texts.is_empty() {
            return Err(format!("{at}key: nothing tells clients apart"));
        }
        let scope = Scope::parse(&texts).map_err(|(index, why)| match is_one {
            true => format!("{at}key: {why}"),
            false => format!("{at}key[{index}]: {why}"),
        })?;
        let cost = self.cost.map(|cost| match cost.strip_prefix("attribute:") {
            Some(name) if !name.is_empty() => Ok(Box::from(name)),
            _ => Err(format!("{at}cost: `{cost}` is not `attribute:NAME`")),
        });
        let limiter = match (self.rate, self.limiter) {
            (None, Some(name)) => {
                if self.burst.is_some() || self.keys.is_some() {
                    return Err(format!("{at}limiter: `burst` and `keys` are told where the limiter `{name}` is"));
                }
                context.limiter(&format!("{at}limiter"), &name)?
            }
            (Some(rate), None) => own(rate, self.burst, self.keys, at, number, context)?,
            (Some(_), Some(_)) => return Err(format!("{at}limiter: write either `rate` or `limiter`")),
            (None, None) => return Err(format!("{}: a limit has a `rate` or a `limiter`", at.trim_end_matches('.'))),
        };
        let name = if limiter.name.is_empty() { texts.join("+") } else { limiter.name.to_string() };
        let name = format!("\"{}\"", name.replace(['"', '\\'], "_"));
        Ok(Limit { scope, cost: cost.transpose()?, limiter, name })
    }
}

/// A limiter of this route alone. It has no name.
fn own(
    rate: Rate,
    burst: Option<Whole>,
    keys: Option<Whole>,
    at: &str,
    number: usize,
    context: &mut Context<'_>,
) -> Result<Arc<Limiter>, String> {
    let Rate(rate) = rate;
    let units = NonZeroU32::new(rate.count).filter(|_| !rate.per.is_zero());
    let units = units.ok_or_else(|| format!("{at}rate: neither part of a rate may be zero"))?;
    let burst = match burst {
        None => units,
        Some(Whole(burst)) => u32::try_from(burst)
            .ok()
            .and_then(NonZeroU32::new)
            .ok_or_else(|| format!("{at}burst: a bucket holds between 1 and {} units", u32::MAX))?,
    };
    let keys_max = match keys {
        None => LimiterOptions::KEYS_MAX,
        Some(Whole(keys)) => usize::try_from(keys)
            .ok()
            .filter(|keys| (1..=KEYS_MAX).contains(keys))
            .ok_or_else(|| format!("{at}keys: between 1 and {KEYS_MAX} keys are kept"))?,
    };
    let options = LimiterOptions { units, period: rate.per, burst, keys_max };
    let identity = format!("{} #{number}", context.identity);
    let make = || Limiter::new("".into(), options);
    context.states.limiter(context.route, identity, make).map_err(|error| format!("{at}rate: {error}"))
}

impl Filter for RateLimit {
    fn name(&self) -> &'static str {
        "rate-limit"
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let mut told: Option<Told> = None;
        for (at, limit) in self.limits.iter().enumerate() {
            let Some(decision) = limit.limiter.try_take(&limit.scope.key(exchange), limit.cost(exchange)) else {
                // Another machine has to be asked.
                return Step::Later(Box::pin(self.ask(exchange, at, told)));
            };
            if let Some(reply) = self.judge(at, decision, &mut told, exchange) {
                return Step::Done(Verdict::Respond(Box::new(reply)));
            }
        }
        self.pass(told, exchange);
        Step::Done(Verdict::Next)
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        if let Some(told) = exchange.unstash::<Told>() {
            let headers = &mut exchange.response.headers;
            headers.append(RATELIMIT_POLICY, self.policy.clone());
            headers.append(RATELIMIT, self.limits[told.limit].field(&told));
        }
        Step::Done(Verdict::Next)
    }
}

impl RateLimit {
    /// Asks the limits from `first` on, those before it having let the request pass.
    async fn ask(&self, exchange: &mut Exchange, first: usize, mut told: Option<Told>) -> Verdict {
        for (at, limit) in self.limits.iter().enumerate().skip(first) {
            let key = limit.scope.key(exchange);
            let decision = limit.limiter.take(&key, limit.cost(exchange)).await;
            if let Some(reply) = self.judge(at, decision, &mut told, exchange) {
                return Verdict::Respond(Box::new(reply));
            }
        }
        self.pass(told, exchange);
        Verdict::Next
    }

    fn pass(&self, told: Option<Told>, exchange: &mut Exchange) {
        self.tally.count(exchange, Counting::Allowed);
        if let Some(told) = told {
            exchange.stash(told);
        }
    }

    /// The answer, where a limit has been reached. The limits before it keep what they took.
    fn judge(&self, at: usize, decision: Decision, told: &mut Option<Told>, exchange: &mut Exchange) -> Option<Reply> {
        let limiter = &self.limits[at].limiter;
        let remaining = decision.remaining;
        // Not even a full bucket holds what some requests cost.
        let wait = decision.retry_after.min(limiter.options.fill());
        if decision.allowed {
            if told.as_ref().is_none_or(|told| remaining < told.remaining) {
                let missing = limiter.options.burst.get().saturating_sub(remaining);
                *told = Some(Told { limit: at, remaining, reset: limiter.options.interval() * missing });
            }
            return None;
        }
        let (counting, status, detail) = if decision.is_unavailable {
            (
                Counting::Unavailable,
                StatusCode::SERVICE_UNAVAILABLE,
                "the gateway cannot tell whether a limit is reached",
            )
        } else {
            (Counting::Limited, StatusCode::TOO_MANY_REQUESTS, "too many requests")
        };
        self.tally.count(exchange, counting);
        let mut reply = Reply::problem(status, detail, &exchange.request_id);
        reply.headers.insert(RETRY_AFTER, seconds(wait).max(1).into());
        if !decision.is_unavailable {
            exchange.flags.insert(Flag::RateLimited);
            exchange.stash(Told { limit: at, remaining, reset: wait });
        }
        Some(reply)
    }
}

impl Limit {
    /// `q` is what the bucket holds, `w` how long an empty one takes to fill.
    fn policy(&self) -> String {
        let options = &self.limiter.options;
        format!("{};q={};w={}", self.name, options.burst, seconds(options.fill()).max(1))
    }

    fn field(&self, told: &Told) -> HeaderValue {
        let mut text = Vec::with_capacity(self.name.len() + 32);
        // A vector takes everything.
        let _ = write!(text, "{};r={};t={}", self.name, told.remaining, seconds(told.reset));
        HeaderValue::from_maybe_shared(Bytes::from(text)).expect("a name of visible ASCII and numbers")
    }

    fn cost(&self, exchange: &Exchange) -> u32 {
        let cost = self.cost.as_ref().and_then(|name| exchange.attribute(name)?.parse().ok());
        cost.unwrap_or(1)
    }
}

/// Rounded up: who comes back then finds its units.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Memory for more is taken for a mistake.
const KEYS_MAX: usize = 100_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use serde_json::json;

    use crate::filter::native::tests::{exchange, faults, filter};
    use crate::filter::native::{Natives, Offer};
    use crate::filter::{Exchange, Filter, Step, Verdict};

    fn pass(filter: &dyn Filter, exchange: &mut Exchange) -> Option<u16> {
        let status = match filter.on_request(exchange) {
            Step::Done(Verdict::Next) => None,
            Step::Done(Verdict::Respond(reply)) => {
                assert!(reply.headers.contains_key("retry-after"));
                Some(reply.status.as_u16())
            }
            _ => panic!("decided at once"),
        };
        assert!(matches!(filter.on_response(exchange), Step::Done(Verdict::Next)));
        status
    }

    #[test]
    fn each_key_has_its_bucket_and_responses_tell_what_is_left() {
        let filter = filter("rate-limit", json!({"key": "header:x-user", "rate": "1/1h", "burst": 2}));
        let ask = |user: &str| {
            let mut exchange = exchange("GET", "/", &[("x-user", user)]);
            let status = pass(&*filter, &mut exchange);
            let field = |name| exchange.response.headers[name].to_str().unwrap().to_owned();
            (status, field("ratelimit"), field("ratelimit-policy"))
        };
        let policy = "\"header:x-user\";q=2;w=7200".to_owned();
        assert_eq!(ask("ada"), (None, "\"header:x-user\";r=1;t=3600".to_owned(), policy.clone()));
        assert_eq!(ask("ada"), (None, "\"header:x-user\";r=0;t=7200".to_owned(), policy.clone()));
        assert_eq!(ask("ada"), (Some(429), "\"header:x-user\";r=0;t=3600".to_owned(), policy.clone()));
        assert_eq!(ask("bob").0, None);
    }

    #[test]
    fn of_several_limits_the_nearest_is_told_and_each_can_refuse() {
        let limits = json!({"limits": [
            {"key": "client-ip", "rate": "5/1h"},
            {"key": ["client-ip", "query:q"], "rate": "2/1h", "cost": "attribute:units"},
        ]});
        let filter = filter("rate-limit", limits);
        let ask = |query: &str, units: &str| {
            let mut exchange = exchange("GET", query, &[]);
            exchange.set_attribute("units".into(), units.into());
            let status = pass(&*filter, &mut exchange);
            (status, exchange.response.headers["ratelimit"].to_str().unwrap().to_owned())
        };
        assert_eq!(ask("/?q=a", "none"), (None, "\"client-ip+query:q\";r=1;t=1800".to_owned()));
        assert_eq!(ask("/?q=b", "2"), (None, "\"client-ip+query:q\";r=0;t=3600".to_owned()));
        assert_eq!(ask("/?q=b", "2").0, Some(429));
        assert_eq!(ask("/?q=c", "1"), (None, "\"client-ip\";r=1;t=2880".to_owned()));
        assert_eq!(ask("/?q=d", "1").0, None);
        assert_eq!(ask("/?q=e", "1"), (Some(429), "\"client-ip\";r=0;t=720".to_owned()));
    }

    #[test]
    fn buckets_outlive_a_reload_that_leaves_the_filter_as_it_is() {
        let config = json!({"key": "client-ip", "rate": "1/1h"});
        let route = "r".into();
        let build = |natives: &mut Natives, config| natives.build(&route, "rate-limit", config).unwrap().unwrap();
        let mut first = Natives::new(Offer::default(), None);
        let (one, other) = (build(&mut first, &config), build(&mut first, &config));
        assert_eq!(pass(&*one, &mut exchange("GET", "/", &[])), None);
        assert_eq!(pass(&*other, &mut exchange("GET", "/", &[])), None, "another filter, though of the same config");
        let first = Arc::new(first.finish());
        let mut second = Natives::new(Offer::default(), Some(first));
        let same = build(&mut second, &config);
        assert_eq!(pass(&*same, &mut exchange("GET", "/", &[])), Some(429));
        let changed = build(&mut second, &json!({"key": "client-ip", "rate": "2/1h"}));
        assert_eq!(pass(&*changed, &mut exchange("GET", "/", &[])), None);
        let counted = second.finish().counted().next().unwrap();
        assert_eq!(counted.decisions, [("allowed", 3), ("limited", 1), ("unavailable", 0)]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, expected) in [
            (json!({}), "the key `key` is missing"),
            (json!({"key": "client-ip"}), ": a limit has a `rate` or a `limiter`"),
            (json!({"key": "client"}), "key: `client` is no part of a request"),
            (json!({"key": ["client-ip", "header:"], "rate": "1/1s"}), "key[1]: "),
            (json!({"key": "client-ip", "rate": "0/1s"}), "rate: neither part"),
            (json!({"key": "client-ip", "rate": "1/1s", "burst": 0}), "burst: a bucket holds"),
            (json!({"key": "client-ip", "rate": "1/36500d", "burst": 2}), "rate: filling a bucket"),
            (json!({"key": "client-ip", "rate": "1/1s", "limiter": "x"}), "limiter: write either"),
            (json!({"key": "client-ip", "limiter": "x"}), "limiter: there is no limiter `x`"),
            (json!({"limits": [{"key": "client-ip", "rate": "1/1s", "cost": "x"}]}), "limits[0].cost: `x`"),
            (json!({"key": "client-ip", "rate": "fast"}), "does not match"),
        ] {
            let error = faults("rate-limit", config);
            assert!(error.contains(expected), "{error}");
        }
    }
}
