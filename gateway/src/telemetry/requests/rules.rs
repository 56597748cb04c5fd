//! What is measured, and by which buckets.

use std::sync::Arc;

use super::histogram::Bounds;

/// The buckets of each kind of time.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRules {
    /// Whole requests.
    pub request: Arc<Bounds>,
    /// Tries at upstreams.
    pub upstream: Arc<Bounds>,
    /// The gateway's own time.
    pub overhead: Arc<Bounds>,
    /// Filters.
    pub filter: Arc<Bounds>,
    /// Whether times are told by route; else they are told for all routes together.
    pub by_route: bool,
    /// Whether filters are measured at all.
    pub by_filter: bool,
}

impl Default for MetricRules {
    fn default() -> Self {
        let (long, short) = (Arc::new(Bounds::of_seconds(&LONG)), Arc::new(Bounds::of_seconds(&SHORT)));
        Self {
            request: long.clone(),
            upstream: long,
            overhead: short.clone(),
            filter: short,
            by_route: true,
            by_filter: false,
        }
    }
}

/// Seconds, for times in which others have part.
const LONG: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Seconds, for times that are the gateway's own.
const SHORT: [f64; 16] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.000_5,
    0.001,
    0.002_5,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
];
