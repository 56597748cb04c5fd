//! A worker's sheets: found by the places of the snapshot that serves, kept by their names from one snapshot to the next.

use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::Histogram;
use super::rules::MetricRules;
use super::sheet::{Ended, RequestSheet};
use super::{NO_ROUTE, Requests};

/// One worker's sheets by name.
pub struct Meter {
    all: Arc<Requests>,
    in_flight: Arc<AtomicU64>,
    known: RefCell<Known>,
}

#[derive(Default)]
struct Known {
    rules: MetricRules,
    requests: HashMap<(Arc<str>, Arc<str>), Arc<RequestSheet>>,
    upstreams: HashMap<Arc<str>, Arc<Histogram>>,
    filters: HashMap<(Arc<str>, Arc<str>), Arc<Histogram>>,
}

/// The names at the places of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Names {
    pub listeners: Vec<Arc<str>>,
    pub routes: Arc<RouteNames>,
    pub upstreams: Vec<Arc<str>>,
}

/// The names of routes. There may be ten thousands of them, so all workers share what the control plane made.
#[derive(Debug, Default)]
pub struct RouteNames {
    by_place: Box<[Arc<str>]>,
    all: HashSet<Arc<str>>,
}

/// One worker's sheets by place, for one snapshot. What nobody asks for is not made.
pub struct Table {
    meter: Rc<Meter>,
    names: Names,
    measures_filters: bool,
    /// A row of routes for each listener, and in it one more for requests that no route took.
    requests: Box<[OnceCell<Arc<RequestSheet>>]>,
    upstreams: Box<[OnceCell<Arc<Histogram>>]>,
    /// By route and position in its chain.
    filters: RefCell<HashMap<(usize, usize), Arc<Histogram>>>,
}

impl RouteNames {
    /// Of routes in the order of their places.
    pub fn new(by_place: impl IntoIterator<Item = Arc<str>>) -> Arc<Self> {
        let by_place: Box<[_]> = by_place.into_iter().collect();
        Arc::new(Self { all: by_place.iter().cloned().collect(), by_place })
    }
}

impl Meter {
    /// The sheets of one more worker.
    pub fn new(all: Arc<Requests>) -> Rc<Self> {
        let in_flight = Arc::new(AtomicU64::new(0));
        all.shelves(|shelves| shelves.in_flight.push(in_flight.clone()));
        Rc::new(Self { all, in_flight, known: RefCell::default() })
    }

    /// The sheets for a snapshot with these names. Those of other names are let go of.
    pub fn table(self: &Rc<Self>, names: Names, rules: &MetricRules) -> Rc<Table> {
        let known = &mut *self.known.borrow_mut();
        if known.rules != *rules {
            // They have other buckets, and only new sheets can.
            *known = Known { rules: rules.clone(), ..Known::default() };
        }
        let has = |listed: &[Arc<str>], name: &Arc<str>| listed.contains(name);
        let routes = &names.routes.all;
        known.requests.retain(|(listener, route), _| {
            has(&names.listeners, listener) && (routes.contains(route) || **route == *NO_ROUTE)
        });
        known.upstreams.retain(|upstream, _| has(&names.upstreams, upstream));
        known.filters.retain(|(route, _), _| routes.contains(route));
        let places = names.listeners.len() * (names.routes.by_place.len() + 1);
        Rc::new(Table {
            meter: self.clone(),
            measures_filters: rules.by_filter,
            requests: (0..places).map(|_| OnceCell::new()).collect(),
            upstreams: names.upstreams.iter().map(|_| OnceCell::new()).collect(),
            filters: RefCell::default(),
            names,
        })
    }

    fn requests(&self, listener: &Arc<str>, route: &Arc<str>) -> Arc<RequestSheet> {
        let Known { rules, requests, .. } = &mut *self.known.borrow_mut();
        let key = (listener.clone(), route.clone());
        let new = |key| self.all.shelves(|shelves| shelves.requests.put(key, RequestSheet::new(rules)));
        requests.entry(key.clone()).or_insert_with(|| new(key)).clone()
    }
}

impl Table {
    /// A request is under way, until [`Table::end`].
    pub fn begin(&self) {
        let in_flight = &self.meter.in_flight;
        in_flight.store(in_flight.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Counts a request that is over. No route is `None`; a listener that this snapshot does not have is known by its name alone.
    pub fn end(&self, listener: (usize, &Arc<str>), route: Option<usize>, ended: &Ended) {
        let in_flight = &self.meter.in_flight;
        in_flight.store(in_flight.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        let routes = &self.names.routes.by_place;
        let (place, name) = listener;
        let column = route.unwrap_or(routes.len());
        let sheet = || match routes.get(column) {
            Some(route) => self.meter.requests(name, route),
            None => self.meter.requests(name, &NO_ROUTE.into()),
        };
        if place < self.names.listeners.len() {
            self.requests[place * (routes.len() + 1) + column].get_or_init(sheet).record(ended);
        } else {
            sheet().record(ended);
        }
    }

    /// Counts the time of a try at an upstream.
    pub fn tried(&self, upstream: usize, took: Duration) {
        let sheet = self.upstreams[upstream].get_or_init(|| {
            let name = self.names.upstreams[upstream].clone();
            let Known { rules, upstreams, .. } = &mut *self.meter.known.borrow_mut();
            let new = || {
                let histogram = Histogram::new(rules.upstream.clone());
                self.meter.all.shelves(|shelves| shelves.upstreams.put(name.clone(), histogram))
            };
            upstreams.entry(name.clone()).or_insert_with(new).clone()
        });
        sheet.record(took);
    }

    /// Whether [`Table::filtered`] is wanted.
    pub fn measures_filters(&self) -> bool {
        self.measures_filters
    }

    /// Counts the time of a filter: the one at `position` of its route's chain.
    pub fn filtered(&self, route: usize, position: usize, filter: &str, took: Duration) {
        let make = || {
            let Known { rules, filters, .. } = &mut *self.meter.known.borrow_mut();
            let key = (self.names.routes.by_place[route].clone(), Arc::<str>::from(filter));
            let new = |key| {
                let histogram = Histogram::new(rules.filter.clone());
                self.meter.all.shelves(|shelves| shelves.filters.put(key, histogram))
            };
            filters.entry(key.clone()).or_insert_with(|| new(key)).clone()
        };
        self.filters.borrow_mut().entry((route, position)).or_insert_with(make).record(took);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const ENDED: Ended = Ended {
        method: 0,
        status: StatusCode::OK,
        duration: Duration::from_millis(3),
        overhead: Duration::from_micros(20),
        trace: None,
    };

    fn names(routes: &[&str]) -> Names {
        let named = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<_>>();
        let routes = RouteNames::new(named(routes));
        Names { listeners: named(&["http"]), routes, upstreams: named(&["origin"]) }
    }

    fn counted(all: &Requests, route: &str) -> u64 {
        let samples = all.samples(&MetricRules::default());
        samples.requests.get(&("http".into(), route.into())).map_or(0, |totals| totals.requests.values().sum())
    }

    #[test]
    fn workers_add_up_and_a_reload_takes_nothing_away() {
        let all = Arc::new(Requests::default());
        let workers = [Meter::new(all.clone()), Meter::new(all.clone())];
        let http = "http".into();
        for routes in [&["a", "b"][..], &["b", "a"], &["b"]] {
            for worker in &workers {
                let table = worker.table(names(routes), &MetricRules::default());
                let place = routes.iter().position(|route| *route == "b");
                table.begin();
                table.end((0, &http), place, &ENDED);
                table.begin();
                table.end((0, &http), None, &ENDED);
            }
        }
        assert_eq!((counted(&all, "b"), counted(&all, NO_ROUTE), counted(&all, "a")), (6, 6, 0));
        assert_eq!(all.samples(&MetricRules::default()).in_flight, 0);
    }

    #[test]
    fn other_buckets_keep_the_counts_of_requests() {
        let all = Arc::new(Requests::default());
        let worker = Meter::new(all.clone());
        let coarse = Arc::new(super::super::Bounds::of_seconds(&[1.0]));
        for rules in [MetricRules::default(), MetricRules { request: coarse, ..MetricRules::default() }] {
            let table = worker.table(names(&["a"]), &rules);
            table.begin();
            table.end((0, &"http".into()), Some(0), &ENDED);
        }
        let samples = all.samples(&MetricRules::default());
        let times = &samples.times[&Arc::<str>::from("a")];
        assert_eq!(counted(&all, "a"), 2);
        assert_eq!((times.durations[1].count(), times.durations[1].cumulative().count()), (1, 1));
    }

    #[test]
    fn tries_and_filters_are_counted_under_their_names() {
        let all = Arc::new(Requests::default());
        let worker = Meter::new(all.clone());
        let table = worker.table(names(&["a"]), &MetricRules { by_filter: true, ..MetricRules::default() });
        table.tried(0, Duration::from_millis(1));
        table.filtered(0, 0, "cors", Duration::from_micros(1));
        table.filtered(0, 1, "cors", Duration::from_micros(1));
        let samples = all.samples(&MetricRules::default());
        assert_eq!(samples.upstreams[&Arc::<str>::from("origin")].count(), 1);
        assert_eq!(samples.filters[&("a".into(), "cors".into())].count(), 2);
    }
}
