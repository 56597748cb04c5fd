//! The time, as the gateway has it. Needs no grant.
//!
//! `std::time` shows a plugin no time that is worth anything: a plugin has no system around it. In a test the clock stands
//! still until [`Harness::advance`](crate::test::Harness::advance) moves it.

use std::time::Duration;

use crate::host::clock;

/// The time since 1970-01-01T00:00:00Z, in whole milliseconds.
///
/// ```
/// # fn is_over(exp_s: u64) -> bool {
/// witgate_plugin::clock::unix_time().as_secs() >= exp_s
/// # }
/// ```
pub fn unix_time() -> Duration {
    Duration::from_millis(clock::unix_ms())
}

/// The time since some moment before the plugin was made, the same for all its instances; it never goes back.
///
/// ```
/// # use std::time::Duration;
/// # fn is_stale(fetched_at: Duration) -> bool {
/// witgate_plugin::clock::monotonic() - fetched_at > Duration::from_secs(60)
/// # }
/// ```
pub fn monotonic() -> Duration {
    Duration::from_nanos(clock::monotonic_ns())
}
