//! Drawing lots: an endpoint at random by weight, at a cost that does not grow with their number (Vose's alias method).

use std::sync::Arc;
use std::time::Instant;

use super::EndpointState;

/// Lots over positions `0..n`.
#[derive(Debug)]
pub(super) struct Lots {
    columns: Box<[Column]>,
    /// By position: its weight as a multiple of the mean. Empty where all are the same.
    weights: Box<[f64]>,
}

/// Positions are drawn evenly, and in each place one of two gets it.
#[derive(Debug, Clone, Copy)]
struct Column {
    own: u32,
    /// The odds of `own`, in parts of 2^32.
    odds: u64,
    other: u32,
}

impl Lots {
    pub(super) fn new(weights: &[u32]) -> Self {
        let candidates = weights.iter().filter(|weight| **weight > 0).count();
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        #[allow(clippy::cast_precision_loss, reason = "endpoints are counted in thousands")]
        let mean = total / candidates.max(1) as f64;
        let relative: Vec<f64> = weights.iter().map(|weight| f64::from(*weight) / mean).collect();
        let is_even = weights.iter().all(|weight| *weight == weights[0]);
        Self { columns: columns(&relative), weights: if is_even { Box::default() } else { relative.into() } }
    }

    /// Positions at random, as many as are asked for; none when none has weight.
    pub(super) fn draws(&self, count: usize) -> impl Iterator<Item = usize> {
        let count = if self.columns.is_empty() { 0 } else { count };
        std::iter::repeat_with(|| self.draw()).take(count)
    }

    /// The better of two that are admitted: the first, unless `is_better` says so of the second.
    pub(super) fn better(
        &self,
        looks: usize,
        admitted: impl Fn(&usize) -> bool,
        is_better: impl Fn(usize, usize) -> bool,
    ) -> Option<usize> {
        let mut draws = self.draws(looks).filter(admitted);
        let first = draws.next()?;
        let second = if self.columns.len() > 1 { draws.find(|place| *place != first) } else { None };
        Some(second.filter(|second| is_better(*second, first)).unwrap_or(first))
    }

    /// Whether it has fewer tries under way for its weight.
    pub(super) fn is_less_busy(&self, one: usize, other: usize, states: &[Arc<EndpointState>]) -> bool {
        self.load(one, states) < self.load(other, states)
    }

    /// Whether it is expected to answer sooner: by its latency, as often as tries are under way. Who has no latency yet is
    /// judged by the tries alone.
    pub(super) fn is_faster(&self, one: usize, other: usize, states: &[Arc<EndpointState>]) -> bool {
        let now = Instant::now();
        let latency = |place: usize| states[place].latency.read(states[place].ticks(now));
        let (load, other_load) = (1.0 + self.load(one, states), 1.0 + self.load(other, states));
        match (latency(one), latency(other)) {
            (Some(latency), Some(other_latency)) => latency * load < other_latency * other_load,
            _ => load < other_load,
        }
    }

    fn load(&self, place: usize, states: &[Arc<EndpointState>]) -> f64 {
        let tries = f64::from(states[place].in_flight());
        self.weights.get(place).map_or(tries, |weight| tries / weight)
    }

    #[allow(clippy::cast_possible_truncation, reason = "one half gives the column, the other the odds")]
    fn draw(&self) -> usize {
        let random = fastrand::u64(..);
        let at = ((random >> 32) * self.columns.len() as u64) >> 32;
        let column = self.columns[at as usize];
        let place = if (random & u64::from(u32::MAX)) < column.odds { column.own } else { column.other };
        place as usize
    }
}

/// `weights` are multiples of the mean of those that are not 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "odds lie between 0 and 1")]
fn columns(weights: &[f64]) -> Box<[Column]> {
    let (mut poor, mut rich): (Vec<_>, Vec<_>) = (0u32..)
        .zip(weights.iter().copied())
        .filter(|(_, weight)| *weight > 0.0)
        .partition(|(_, weight)| *weight < 1.0);
    let mut columns = Vec::with_capacity(poor.len() + rich.len());
    while let (Some(&(own, weight)), Some(&(other, left))) = (poor.last(), rich.last()) {
        poor.pop();
        rich.pop();
        columns.push(Column { own, odds: (weight * ALWAYS as f64) as u64, other });
        let left = left - (1.0 - weight);
        if left < 1.0 { poor.push((other, left)) } else { rich.push((other, left)) }
    }
    // What is left has exactly the mean, but for rounding.
    columns.extend(poor.into_iter().chain(rich).map(|(own, _)| Column { own, odds: ALWAYS, other: own }));
    columns.into()
}

const ALWAYS: u64 = 1 << 32;
