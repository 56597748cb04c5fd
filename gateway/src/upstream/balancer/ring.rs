//! Ring hashing: every endpoint has points on a ring, and a hash belongs to the next point (Karger et al., "Consistent
//! Hashing and Random Trees", STOC 1997).

use std::sync::Arc;

use super::super::Endpoint;
use super::mixed;
use crate::message::hash;

/// Points in their order on the ring, and whose they are.
#[derive(Debug)]
pub(super) struct Ring {
    points: Box<[u64]>,
    owners: Box<[u16]>,
}

impl Ring {
    pub(super) fn new(endpoints: &[Arc<Endpoint>], weights: &[u32]) -> Self {
        let largest = u64::from(weights.iter().copied().max().unwrap_or_default());
        let mut points = Vec::new();
        for ((endpoint, owner), weight) in endpoints.iter().zip(0u16..).zip(weights) {
            let seed = hash(endpoint.to_string().as_bytes());
            let count = (POINTS_PER_ENDPOINT * u64::from(*weight)).div_ceil(largest.max(1));
            points.extend((0..count).map(|number| (mixed(seed.wrapping_add(mixed(number + 1))), owner)));
        }
        points.sort_unstable();
        let (points, owners): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        Self { points: points.into(), owners: owners.into() }
    }

    /// The endpoint of a hash, and after it those of the points that follow.
    pub(super) fn places(&self, hash: u64) -> impl Iterator<Item = usize> {
        let at = self.points.partition_point(|point| *point < hash);
        let (before, from) = self.owners.split_at(at);
        let mut last = None;
        // A point of the same endpoint says nothing new.
        let news = move |owner: &&u16| last.replace(**owner) != Some(**owner);
        from.iter().chain(before).filter(news).map(|owner| usize::from(*owner))
    }
}

/// Of the one with the largest weight; the others have fewer. Shares stay within some tenths of what they should be.
const POINTS_PER_ENDPOINT: u64 = 160;
