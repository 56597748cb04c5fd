//! Requests, counted: each worker has sheets of its own that only it writes, and a scrape adds them up.
//!
//! ```text
//! labels     what requests are told apart by
//! histogram  times by buckets
//! rules      which buckets
//! sheet      one route over one listener
//! shelf      all of a kind by their names, also those that are gone
//! table      a worker's sheets by the places of the snapshot: found by an index, made at the first request
//! ```

mod labels;
mod histogram;
mod rules;
mod sheet;
mod shelf;
mod table;

pub use histogram::Bounds;
pub use labels::{UNKNOWN_METHOD, method_of};
pub use rules::MetricRules;
pub use sheet::Ended;
pub use table::{Meter, Names, RouteNames, Table};

pub(super) use histogram::{Exemplar, HistogramTotals};
pub(super) use labels::{CLASSES, METHODS, code_name};

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use histogram::Histogram;
use sheet::{RequestSheet, RequestTotals};
use shelf::Shelf;

/// The sheets of all workers.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Shelves>);

#[derive(Debug, Default)]
struct Shelves {
    /// By listener and route.
    requests: Shelf<(Arc<str>, Arc<str>), RequestSheet>,
    upstreams: Shelf<Arc<str>, Histogram>,
    /// By route and filter.
    filters: Shelf<(Arc<str>, Arc<str>), Histogram>,
    in_flight: Vec<Arc<AtomicU64>>,
}

/// All that was counted, by names.
#[derive(Debug, Clone, Default)]
pub struct RequestSamples {
    /// By listener and route.
    pub(super) requests: BTreeMap<(Arc<str>, Arc<str>), RequestTotals>,
    /// Their times, by route, over all listeners.
    pub(super) times: BTreeMap<Arc<str>, RequestTotals>,
    pub(super) upstreams: BTreeMap<Arc<str>, HistogramTotals>,
    /// By route and filter.
    pub(super) filters: BTreeMap<(Arc<str>, Arc<str>), HistogramTotals>,
    pub(super) in_flight: u64,
}

impl Requests {
    /// Everything, now. `rules` are those that serve.
    pub fn samples(&self, rules: &MetricRules) -> RequestSamples {
        let (requests, upstreams, filters, in_flight) = self.shelves(|shelves| {
            let in_flight = shelves.in_flight.iter().map(|worker| worker.load(Ordering::Relaxed)).sum();
            (shelves.requests.totals(), shelves.upstreams.totals(), shelves.filters.totals(), in_flight)
        });
        let mut times: BTreeMap<Arc<str>, RequestTotals> = BTreeMap::new();
        let all: Arc<str> = ALL_ROUTES.into();
        for ((_, route), totals) in &requests {
            times.entry(if rules.by_route { route.clone() } else { all.clone() }).or_default().add_times(totals);
        }
        RequestSamples { requests, times, upstreams, filters, in_flight }
    }

    fn shelves<T>(&self, work: impl FnOnce(&mut Shelves) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The label `route` of requests that no route took. No route can have this name.
const NO_ROUTE: &str = "-";

/// The label `route` of times that are not told by route. No route can have this name.
const ALL_ROUTES: &str = "*";
