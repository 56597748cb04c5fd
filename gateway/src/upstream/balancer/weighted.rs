//! By weight and in turn, or by weight and hash: an endpoint of an upstream, an upstream of a route.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Weighted round-robin over positions `0..n`, shared by all workers.
///
/// The turns are spread out at construction: weights 3 and 1 give `0 0 1 0`, not `0 0 0 1`, so that no burst meets one
/// position only.
#[derive(Debug)]
pub struct Weighted {
    turns: Box<[u16]>,
    next: AtomicUsize,
    weights: Box<[u32]>,
}

impl Weighted {
    /// `weights` of 0 are never chosen; all 0, or none, and nothing ever is.
    pub fn new(weights: &[u32]) -> Self {
        Self { turns: spread(&scaled(weights)).into(), next: AtomicUsize::new(0), weights: weights.into() }
    }

    /// The next position, or `None` when none has weight.
    pub fn next(&self) -> Option<usize> {
        match &*self.turns {
            [] => None,
            [only] => Some(usize::from(*only)),
            turns => Some(usize::from(turns[self.next.fetch_add(1, Ordering::Relaxed) % turns.len()])),
        }
    }

    /// The position of a hash: the same for the same hash, and by weight over many. When weights change, as few hashes move as
    /// the order of the positions allows.
    pub fn of(&self, hash: u64) -> Option<usize> {
        let total: u64 = self.weights.iter().copied().map(u64::from).sum();
        let at = (u128::from(hash) * u128::from(total)) >> 64;
        let mut end = 0;
        self.weights.iter().position(|weight| {
            end += u128::from(*weight);
            at < end
        })
    }
}

/// Divides by the greatest common divisor, and scales down what would still make too many turns.
fn scaled(weights: &[u32]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd).max(1);
    let total: u64 = weights.iter().map(|weight| u64::from(weight / divisor)).sum();
    let shrink = total.div_ceil(TURNS_MAX).max(1);
    weights
        .iter()
        .map(|weight| u64::from(weight / divisor))
        .map(|weight| if weight == 0 { 0 } else { (weight / shrink).max(1) })
        .map(|weight| u32::try_from(weight).unwrap_or(u32::MAX))
        .collect()
}

/// One cycle of turns: at each, the position that is owed most goes (the "smooth" order that nginx made known).
fn spread(weights: &[u32]) -> Vec<u16> {
    let total: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
    let mut owed = vec![0i64; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (owed, weight) in owed.iter_mut().zip(weights) {
                *owed += i64::from(*weight);
            }
            let best = (0..owed.len()).rev().max_by_key(|at| owed[*at])?;
            owed[best] -= total;
            u16::try_from(best).ok()
        })
        .collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

const TURNS_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_and_are_spread() {
        for (weights, expected) in [
            (vec![], vec![]),
            (vec![0, 0], vec![]),
            (vec![7], vec![0]),
            (vec![5, 5], vec![0, 1]),
            (vec![3, 1], vec![0, 0, 1, 0]),
            (vec![95, 5], {
                let mut t = vec![0; 20];
                t[10] = 1;
                t
            }),
            (vec![1, 0, 1], vec![0, 2]),
        ] {
            let weighted = Weighted::new(&weights);
            let turns: Vec<usize> = (0..expected.len()).filter_map(|_| weighted.next()).collect();
            assert_eq!(turns.len(), expected.len());
            assert_eq!(*weighted.turns, *expected.iter().map(|at| *at as u16).collect::<Vec<_>>(), "{weights:?}");
        }
    }

    #[test]
    fn huge_weights_make_few_turns_and_lose_nobody() {
        let weighted = Weighted::new(&[u32::MAX, 1, u32::MAX / 2]);
        assert!(weighted.turns.len() <= TURNS_MAX as usize + 3);
        assert!((0..3).all(|at| weighted.turns.contains(&at)));
    }
}
