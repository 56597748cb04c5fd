//! Numbers that guests write for `/metrics`: one sheet for each plugin and worker, added up when somebody reads them.
//!
//! A sheet is written by its worker's thread alone and has no lock. Only a name that is new to it is asked for at the
//! plugin's list of names, which its workers share and which has a largest size.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// A number that a plugin wrote, over all workers.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestMetric {
    pub plugin: Arc<str>,
    /// `[a-z][a-z0-9_]*`
    pub name: Box<str>,
    pub value: GuestValue,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum GuestValue {
    Counter(u64),
    /// What the last worker that set it set it to.
    Gauge(f64),
}

/// What all plugins wrote.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GuestReadings {
    /// By plugin and name.
    pub metrics: Vec<GuestMetric>,
    /// For each plugin that wrote any: writes under names that are malformed, too many, or in use for the other kind, and
    /// attributes of spans that were refused.
    pub dropped: Vec<(Arc<str>, u64)>,
}

/// The metrics of all plugins, by plugin. They outlive declarations: a counter goes on after a swap.
pub(super) struct GuestMetrics {
    plugins: Mutex<BTreeMap<Arc<str>, Arc<Book>>>,
    /// Moments at which gauges are set count from here.
    start: Instant,
}

/// One worker's sheets, by plugin.
pub(super) struct WorkerMetrics {
    all: Arc<GuestMetrics>,
    sheets: Mutex<HashMap<Arc<str>, Arc<Sheet>>>,
}

/// What the instances of one plugin on one worker write to.
#[derive(Clone)]
pub(super) struct Page {
    book: Arc<Book>,
    sheet: Arc<Sheet>,
    start: Instant,
}

/// One plugin's names and sheets.
#[derive(Default)]
struct Book {
    names: Mutex<BTreeMap<Box<str>, Kind>>,
    sheets: Mutex<Sheets>,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Sheets {
    open: Vec<Arc<Sheet>>,
    /// The sum of those that nobody writes to any more.
    closed: BTreeMap<Box<str>, Sum>,
}

/// A list that only grows, so that it is read while it is written.
#[derive(Default)]
struct Sheet {
    first: OnceLock<Box<Slot>>,
}

struct Slot {
    name: Box<str>,
    kind: Kind,
    /// The count, or the bits of the gauge.
    value: AtomicU64,
    /// When the gauge was set, in nanoseconds since the start.
    set_at: AtomicU64,
    next: OnceLock<Box<Slot>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

#[derive(Clone, Copy)]
struct Sum {
    kind: Kind,
    value: u64,
    set_at: u64,
}

impl GuestMetrics {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { plugins: Mutex::default(), start: Instant::now() })
    }

    pub(super) fn read(&self) -> GuestReadings {
        let mut readings = GuestReadings::default();
        for (plugin, book) in lock(&self.plugins).iter() {
            readings.metrics.extend(book.read().into_iter().map(|(name, sum)| {
                let value = match sum.kind {
                    Kind::Counter => GuestValue::Counter(sum.value),
                    Kind::Gauge => GuestValue::Gauge(f64::from_bits(sum.value)),
                };
                GuestMetric { plugin: plugin.clone(), name, value }
            }));
            readings.dropped.push((plugin.clone(), book.dropped.load(Ordering::Relaxed)));
        }
        readings
    }
}

impl WorkerMetrics {
    pub(super) fn new(all: Arc<GuestMetrics>) -> Arc<Self> {
        Arc::new(Self { all, sheets: Mutex::default() })
    }

    /// Where the plugin's instances on this worker write. An instance asks at its first write.
    pub(super) fn page(&self, plugin: &Arc<str>) -> Page {
        let book = lock(&self.all.plugins).entry(plugin.clone()).or_default().clone();
        let sheet = lock(&self.sheets).entry(plugin.clone()).or_insert_with(|| book.open_sheet()).clone();
        Page { book, sheet, start: self.all.start }
    }
}

impl Page {
    pub(super) fn count(&self, name: &str, by: u64, names_max: usize) {
        if let Some(slot) = self.slot(name, Kind::Counter, names_max) {
            slot.value.fetch_add(by, Ordering::Relaxed);
        }
    }

    pub(super) fn gauge(&self, name: &str, value: f64, names_max: usize) {
        if let Some(slot) = self.slot(name, Kind::Gauge, names_max) {
            let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
            slot.value.store(value.to_bits(), Ordering::Relaxed);
            slot.set_at.store(now, Ordering::Relaxed);
        }
    }

    /// Something beside these numbers was told in vain.
    pub(super) fn drop_one(&self) {
        self.book.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn slot(&self, name: &str, kind: Kind, names_max: usize) -> Option<&Slot> {
        let mut place = &self.sheet.first;
        while let Some(slot) = place.get() {
            if *slot.name == *name && slot.kind == kind {
                return Some(slot);
            }
            place = &slot.next;
        }
        if !self.book.admits(name, kind, names_max) {
            self.drop_one();
            return None;
        }
        let slot = || Slot { name: name.into(), kind, value: 0.into(), set_at: 0.into(), next: OnceLock::new() };
        Some(place.get_or_init(|| Box::new(slot())))
    }
}

impl Book {
    /// Whether the plugin may write under this name.
    fn admits(&self, name: &str, kind: Kind, names_max: usize) -> bool {
        let mut names = lock(&self.names);
        if let Some(known) = names.get(name) {
            return *known == kind;
        }
        let admits = is_well_formed(name) && names.len() < names_max;
        if admits {
            names.insert(name.into(), kind);
        }
        admits
    }

    fn open_sheet(&self) -> Arc<Sheet> {
        let sheet = Arc::<Sheet>::default();
        let mut sheets = lock(&self.sheets);
        sheets.close_those_left();
        sheets.open.push(sheet.clone());
        sheet
    }

    fn read(&self) -> BTreeMap<Box<str>, Sum> {
        let sheets = lock(&self.sheets);
        let mut sums = sheets.closed.clone();
        sheets.open.iter().for_each(|sheet| sheet.add_to(&mut sums));
        sums
    }
}

impl Sheets {
    /// A worker that ended leaves its numbers; what configured an attachment was a worker for that long.
    fn close_those_left(&mut self) {
        let (left, open) = std::mem::take(&mut self.open).into_iter().partition(|sheet| Arc::strong_count(sheet) == 1);
        self.open = open;
        let left: Vec<Arc<Sheet>> = left;
        left.iter().for_each(|sheet| sheet.add_to(&mut self.closed));
    }
}

impl Sheet {
    fn add_to(&self, sums: &mut BTreeMap<Box<str>, Sum>) {
        let mut place = &self.first;
        while let Some(slot) = place.get() {
            let (value, set_at) = (slot.value.load(Ordering::Relaxed), slot.set_at.load(Ordering::Relaxed));
            let sum = sums.entry(slot.name.clone()).or_insert(Sum { kind: slot.kind, value: 0, set_at: 0 });
            match slot.kind {
                Kind::Counter => sum.value = sum.value.wrapping_add(value),
                Kind::Gauge if set_at >= sum.set_at => (sum.value, sum.set_at) = (value, set_at),
                Kind::Gauge => {}
            }
            place = &slot.next;
        }
    }
}

/// Prometheus's names without capitals and colons.
fn is_well_formed(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const NAME_BYTES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &GuestMetrics) -> Vec<(String, GuestValue)> {
        all.read()
            .metrics
            .into_iter()
            .map(|metric| (format!("{}.{}", metric.plugin, metric.name), metric.value))
            .collect()
    }

    #[test]
    fn workers_are_added_up_and_the_last_gauge_counts() {
        let all = GuestMetrics::new();
        let workers = [WorkerMetrics::new(all.clone()), WorkerMetrics::new(all.clone())];
        let [one, two] = workers.each_ref().map(|worker| worker.page(&"a".into()));
        one.count("hits", 2, 64);
        one.gauge("depth", 1.5, 64);
        two.count("hits", 3, 64);
        two.gauge("depth", 0.5, 64);
        workers[0].page(&"b".into()).count("hits", 7, 64);
        workers[0].page(&"a".into()).count("hits", 1, 64);
        let counts = |a, b| {
            [
                ("a.depth", GuestValue::Gauge(0.5)),
                ("a.hits", GuestValue::Counter(a)),
                ("b.hits", GuestValue::Counter(b)),
            ]
            .map(|(name, value)| (name.to_owned(), value))
        };
        assert_eq!(read(&all), counts(6, 7));
        // Nor does a number go when its worker does.
        drop((one, two, workers));
        assert_eq!(read(&all), counts(6, 7));
        let (a, b) = ("a".into(), "b".into());
        let another = WorkerMetrics::new(all.clone());
        another.page(&a).count("hits", 1, 64);
        another.page(&b).count("hits", 1, 64);
        assert_eq!(read(&all), counts(7, 8));
        assert_eq!(lock(&lock(&all.plugins)[&a].sheets).open.len(), 1);
    }

    #[test]
    fn names_are_few_and_well_formed() {
        let all = GuestMetrics::new();
        let workers = [WorkerMetrics::new(all.clone()), WorkerMetrics::new(all.clone())];
        let [one, two] = workers.each_ref().map(|worker| worker.page(&"a".into()));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", "_a", "1a", "A", "a-b", "a b", "a\"b", "ä", &long] {
            one.count(name, 1, 2);
        }
        one.count("a", 1, 2);
        two.count("b_2", 1, 2);
        two.count("c", 1, 2);
        two.gauge("a", 1.0, 2);
        two.count("a", 1, 2);
        let counts = [("a.a", 2), ("a.b_2", 1)].map(|(name, count)| (name.to_owned(), GuestValue::Counter(count)));
        assert_eq!(read(&all), counts);
        assert_eq!(all.read().dropped, [("a".into(), 11)]);
    }
}
