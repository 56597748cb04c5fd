//! Counters of all workers under their names, and of what is gone.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Counters that can be added up.
pub(super) trait Counted {
    type Totals: Default + Clone;

    fn add_to(&self, totals: &mut Self::Totals);
}

/// Counters of one kind: those that workers still write, and the sums of those that were let go of. A sum is kept, so that
/// what comes back under its name goes on counting, until more than [`RETIRED_MAX`] others went after it.
#[derive(Debug)]
pub(super) struct Shelf<K, T: Counted> {
    live: Vec<(K, Arc<T>)>,
    retired: BTreeMap<K, T::Totals>,
    /// In the order of their retirement.
    order: Vec<K>,
    /// How many live ones there may be before it is looked after those that are gone, whether or not somebody asks.
    crowd: usize,
}

impl<K, T: Counted> Default for Shelf<K, T> {
    fn default() -> Self {
        Self { live: Vec::new(), retired: BTreeMap::new(), order: Vec::new(), crowd: CROWD_LEAST }
    }
}

impl<K: Ord + Clone, T: Counted> Shelf<K, T> {
    /// Keeps counters for as long as somebody else does, and their sums after.
    pub(super) fn put(&mut self, key: K, counters: T) -> Arc<T> {
        if self.live.len() >= self.crowd {
            self.retire();
            self.crowd = CROWD_LEAST.max(2 * self.live.len());
        }
        let counters = Arc::new(counters);
        self.live.push((key, counters.clone()));
        counters
    }

    /// Everything, by name.
    pub(super) fn totals(&mut self) -> BTreeMap<K, T::Totals> {
        self.retire();
        let mut totals = self.retired.clone();
        for (key, counters) in &self.live {
            counters.add_to(totals.entry(key.clone()).or_default());
        }
        totals
    }

    /// Folds in the counters that nobody writes any more.
    fn retire(&mut self) {
        for (key, counters) in std::mem::take(&mut self.live) {
            if Arc::strong_count(&counters) > 1 {
                self.live.push((key, counters));
                continue;
            }
            counters.add_to(self.retired.entry(key.clone()).or_default());
            self.order.retain(|known| *known != key);
            self.order.push(key);
        }
        // What is in use again under its name must not be forgotten, or it would count backwards.
        let excess = self.order.len().saturating_sub(RETIRED_MAX);
        let (live, mut left) = (&self.live, excess);
        let forgotten: Vec<K> = self
            .order
            .extract_if(.., |key| {
                let goes = left > 0 && !live.iter().any(|(known, _)| known == key);
                left -= usize::from(goes);
                goes
            })
            .collect();
        forgotten.iter().for_each(|key| drop(self.retired.remove(key)));
    }
}

/// Names of a kind whose counters outlive them.
const RETIRED_MAX: usize = 256;
const CROWD_LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    impl Counted for AtomicU64 {
        type Totals = u64;

        fn add_to(&self, totals: &mut u64) {
            *totals += self.load(Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_gone_counts_on_and_is_forgotten_in_the_end() {
        let mut shelf = Shelf::default();
        let workers = [shelf.put("a".to_owned(), AtomicU64::new(1)), shelf.put("a".to_owned(), AtomicU64::new(2))];
        assert_eq!(shelf.totals()["a"], 3);
        drop(workers);
        assert_eq!(shelf.totals()["a"], 3);
        let back = shelf.put("a".to_owned(), AtomicU64::new(4));
        for name in 0..RETIRED_MAX + 1 {
            drop(shelf.put(format!("b{name}"), AtomicU64::new(1)));
        }
        let totals = shelf.totals();
        assert_eq!((totals["a"], totals.len()), (7, RETIRED_MAX), "that it serves again keeps it");
        drop(back);
        assert_eq!(shelf.totals()["a"], 7, "now it is the newest of those that went");
    }
}
