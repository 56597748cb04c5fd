//! Numbers for the gateway's `/metrics`, where they stand under the plugin's name; those of all workers are added up.
//!
//! A name is `[a-z][a-z0-9_]*`. The gateway drops, and counts, what is written under other names, and under more names than
//! the plugin may have (`limits.metrics`). Needs no grant.
//!
//! ```
//! use witgate_plugin::metrics;
//!
//! # fn on_login(sessions: usize) {
//! metrics::count("logins", 1);
//! metrics::gauge("sessions", sessions as f64);
//! # }
//! ```

use crate::host::metrics;

/// Add to `witgate_guest_counter_total{plugin,name}`.
///
/// ```
/// # fn refuse() {
/// witgate_plugin::metrics::count("refused", 1);
/// # }
/// ```
pub fn count(name: &str, by: u64) {
    metrics::count(name, by);
}

/// Set `witgate_guest_gauge{plugin,name}`.
///
/// ```
/// # fn report(load: f64) {
/// witgate_plugin::metrics::gauge("load", load);
/// # }
/// ```
pub fn gauge(name: &str, value: f64) {
    metrics::gauge(name, value);
}
