//! Times, counted by buckets: one writer, any reader, no lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Ascending bounds of buckets, in nanoseconds.
#[derive(PartialEq, Eq)]
pub struct Bounds(Box<[u64]>);

/// Times that one worker took.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Arc<Bounds>,
    /// One more than there are bounds: the last counts what is longer than all.
    counts: Box<[AtomicU64]>,
    sum_ns: AtomicU64,
    /// By bucket; empty until a request is traced. Nobody but a scrape contends for it.
    exemplars: Mutex<Vec<Option<Exemplar>>>,
}

/// Times of several, added up.
#[derive(Debug, Clone, Default)]
pub(crate) struct HistogramTotals {
    bounds: Option<Arc<Bounds>>,
    counts: Vec<u64>,
    sum_ns: u64,
    exemplars: Vec<Option<Exemplar>>,
}

/// A traced request, as an example of the times in its bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exemplar {
    /// In hex digits.
    pub(crate) trace: [u8; 32],
    pub(crate) took: Duration,
    pub(crate) at: SystemTime,
}

impl Bounds {
    /// Of bounds in seconds, ascending.
    pub fn of_seconds(seconds: &[f64]) -> Self {
        Self(
            seconds
                .iter()
                .map(|seconds| nanos(Duration::try_from_secs_f64(*seconds).unwrap_or(Duration::MAX)))
                .collect(),
        )
    }
}

impl fmt::Debug for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // On one line, however much room there is.
        let list = self.0.iter().map(|bound_ns| format!("{:?}", Duration::from_nanos(*bound_ns)));
        write!(f, "Bounds({})", list.collect::<Vec<_>>().join(" "))
    }
}

impl Histogram {
    pub(super) fn new(bounds: Arc<Bounds>) -> Self {
        let counts = (0..=bounds.0.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, sum_ns: AtomicU64::new(0), exemplars: Mutex::default() }
    }

    /// Counts a time. One thread alone may do so.
    pub(super) fn record(&self, took: Duration) {
        let took_ns = nanos(took);
        add(&self.counts[self.bucket(took_ns)], 1);
        add(&self.sum_ns, took_ns);
    }

    /// Keeps a traced request as the example of its bucket. While somebody reads them this one is passed over: nobody waits.
    pub(super) fn exemplify(&self, took: Duration, trace: [u8; 32]) {
        let Ok(mut exemplars) = self.exemplars.try_lock() else { return };
        exemplars.resize(self.counts.len(), None);
        exemplars[self.bucket(nanos(took))] = Some(Exemplar { trace, took, at: SystemTime::now() });
    }

    fn bucket(&self, took_ns: u64) -> usize {
        self.bounds.0.partition_point(|bound| *bound < took_ns)
    }

    pub(super) fn add_to(&self, totals: &mut HistogramTotals) {
        if totals.bounds.as_ref().is_none_or(|bounds| **bounds != *self.bounds) {
            // Counts by other bounds cannot be added; those that were begun later are what is wanted.
            let counts = vec![0; self.counts.len()];
            *totals = HistogramTotals { bounds: Some(self.bounds.clone()), counts, ..HistogramTotals::default() };
        }
        for (counter, total) in self.counts.iter().zip(&mut totals.counts) {
            *total += counter.load(Ordering::Relaxed);
        }
        totals.sum_ns += self.sum_ns.load(Ordering::Relaxed);
        totals.take_exemplars(&self.exemplars.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl HistogramTotals {
    /// Whether nothing was counted.
    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// Each bound with the count of what took no longer.
    pub(crate) fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bounds = self.bounds.iter().flat_map(|bounds| bounds.0.iter());
        let mut so_far = 0;
        bounds.zip(&self.counts).map(move |(bound_ns, count)| {
            so_far += count;
            (Duration::from_nanos(*bound_ns), so_far)
        })
    }

    /// That of a bucket.
    pub(crate) fn exemplar(&self, bucket: usize) -> Option<&Exemplar> {
        self.exemplars.get(bucket)?.as_ref()
    }

    /// Of two examples the later one stays.
    fn take_exemplars(&mut self, others: &[Option<Exemplar>]) {
        self.exemplars.resize(self.exemplars.len().max(others.len()), None);
        for (known, other) in self.exemplars.iter_mut().zip(others) {
            *known = [*known, *other].into_iter().flatten().max_by_key(|exemplar| exemplar.at);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        if other.bounds.is_none() {
            return;
        }
        if self.bounds != other.bounds {
            return self.clone_from(other);
        }
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum_ns += other.sum_ns;
        self.take_exemplars(&other.exemplars);
    }
}

/// Adds to a counter that this thread alone writes: no read-modify-write is needed, and none is paid for.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Ordering::Relaxed) + count, Ordering::Relaxed);
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(seconds: &[f64]) -> Histogram {
        Histogram::new(Arc::new(Bounds::of_seconds(seconds)))
    }

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        let times = histogram(&[0.001, 0.01]);
        for micros in [0, 1_000, 1_001, 10_000, 10_001] {
            times.record(Duration::from_micros(micros));
        }
        let mut totals = HistogramTotals::default();
        times.add_to(&mut totals);
        times.add_to(&mut totals);
        let cumulative: Vec<_> = totals.cumulative().collect();
        assert_eq!(cumulative, [(Duration::from_millis(1), 4), (Duration::from_millis(10), 8)]);
        assert_eq!((totals.count(), totals.sum()), (10, Duration::from_micros(44_004)));
    }

    #[test]
    fn times_by_other_bounds_take_the_place_of_the_older_ones() {
        let (old, new) = (histogram(&[1.0]), histogram(&[2.0, 3.0]));
        old.record(Duration::from_millis(1));
        new.record(Duration::from_millis(2));
        let mut totals = HistogramTotals::default();
        old.add_to(&mut totals);
        new.add_to(&mut totals);
        assert_eq!((totals.count(), totals.cumulative().count()), (1, 2));
    }
}
