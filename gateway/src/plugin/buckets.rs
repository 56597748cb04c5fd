//! Buckets of call times: two an octave, from a microsecond up.

use std::time::Duration;

/// Bounds grow by half an octave from a microsecond on; the last bucket takes what is longer than 100 ms.
pub(super) fn bucket_of(took_ns: u64) -> usize {
    let units = took_ns / FIRST_BOUND_NS;
    if units == 0 {
        return 0;
    }
    let octave = units.ilog2() as usize;
    if octave >= BUCKETS / 2 {
        return BUCKETS - 1;
    }
    let upper_half = usize::from(took_ns >= bound_ns(octave * 2 + 1));
    (octave * 2 + 1 + upper_half).min(BUCKETS - 1)
}

/// The longest time that is counted in a bucket; the last bucket's is that of the longest bound.
pub fn bucket_bound(bucket: usize) -> Duration {
    Duration::from_nanos(bound_ns(bucket.min(BUCKETS - 1)))
}

fn bound_ns(bucket: usize) -> u64 {
    let octave = FIRST_BOUND_NS << (bucket / 2);
    if bucket.is_multiple_of(2) { octave } else { octave + octave / 2 }
}

const FIRST_BOUND_NS: u64 = 1000;
/// Up to 131 ms, and one for what is longer.
pub const BUCKETS: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_holds_it() {
        for (took_ns, bound_us) in [
            (0, 1),
            (999, 1),
            (1_000, 1),
            (1_200, 1),
            (1_499, 1),
            (1_500, 2),
            (1_999, 2),
            (2_000, 3),
            (2_999, 3),
            (3_000, 4),
            (5_999, 6),
            (6_000, 8),
        ] {
            let bucket = bucket_of(took_ns);
            assert!(bound_ns(bucket) >= took_ns, "{took_ns}: {bound_us}");
            assert!(bucket == 0 || bound_ns(bucket - 1) <= took_ns, "{took_ns}: {bound_us}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }
}
