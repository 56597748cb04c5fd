//! Limiters of the gateway's configuration, shared with routes and other plugins.
//!
//! Needs `grants: { limiters: [NAME] }`.
//!
//! ```
//! use witgate_plugin::rate_limit::Limiter;
//! use witgate_plugin::{Reply, Verdict};
//!
//! # fn check(limiter: &Limiter, user: &str) -> Verdict {
//! let decision = limiter.take(user, 1);
//! if decision.allowed {
//!     return Verdict::Next;
//! }
//! Reply::problem(429, "too many requests")
//!     .header("retry-after", decision.retry_after.as_secs().saturating_add(1).to_string())
//!     .into()
//! # }
//! ```

use std::time::Duration;

use crate::Error;
use crate::host::rate_limit;

/// A limiter of the configuration, opened.
#[derive(Debug)]
pub struct Limiter(rate_limit::Limiter);

/// What became of a wish for units.
///
/// ```
/// # use witgate_plugin::rate_limit::Decision;
/// # fn header(decision: &Decision) -> String {
/// format!("limit={}, remaining={}", decision.limit, decision.remaining)
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the units were there, and are taken.
    pub allowed: bool,
    /// How many units the key's bucket holds at most.
    pub limit: u32,
    /// How many it holds now.
    pub remaining: u32,
    /// How long until there are enough, in whole milliseconds: zero when allowed, and an age when the bucket never holds so many.
    pub retry_after: Duration,
}

impl Limiter {
    /// Open a limiter by its name in the configuration; do it in [`Plugin::configure`](crate::Plugin::configure), so that a wrong
    /// name is found before any request comes.
    ///
    /// # Errors
    ///
    /// The plugin's declaration is not granted this limiter.
    ///
    /// ```
    /// # use witgate_plugin::{Error, rate_limit::Limiter};
    /// # fn configure() -> Result<Limiter, Error> {
    /// Limiter::open("per-user")
    /// # }
    /// ```
    pub fn open(name: &str) -> Result<Limiter, Error> {
        rate_limit::Limiter::open(name).map(Limiter).map_err(Error::new)
    }

    /// Take `cost` units of the key's bucket, or none if there are not so many. A cost of 0 counts as 1.
    ///
    /// ```
    /// # use witgate_plugin::rate_limit::Limiter;
    /// # fn may_upload(limiter: &Limiter, user: &str, mib: u32) -> bool {
    /// limiter.take(user, mib).allowed
    /// # }
    /// ```
    pub fn take(&self, key: &str, cost: u32) -> Decision {
        let decision = self.0.take(key, cost);
        Decision {
            allowed: decision.allowed,
            limit: decision.limit,
            remaining: decision.remaining,
            retry_after: Duration::from_millis(decision.retry_after_ms),
        }
    }
}
