//! The latency of an endpoint, as an average in which old samples fade and slow ones count at once ("peak EWMA").

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// An average and the time of its last sample, in one word: the one in microseconds, the other in ticks that wrap.
///
/// Two workers that record at the same moment may lose a sample, which an average survives.
#[derive(Debug, Default)]
pub(super) struct Latency(AtomicU64);

impl Latency {
    /// The unit of `now`; it wraps after five days.
    pub(super) const TICK: Duration = Duration::from_micros(100);

    pub(super) fn record(&self, sample: Duration, now: u32) {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX).max(1);
        let (average, since) = halves(self.0.load(Relaxed));
        let next = if sample >= average {
            sample
        } else {
            let weight = 1.0 - (-f64::from(now.wrapping_sub(since)) / FADE_TICKS).exp();
            let faded = f64::from(average) - f64::from(average - sample) * weight;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it lies between two of these")]
            let faded = faded as u32;
            faded.max(1)
        };
        self.0.store(u64::from(next) << 32 | u64::from(now), Relaxed);
    }

    /// In seconds; `None` before the first sample. An endpoint that nobody asks is forgiven by and by.
    pub(super) fn read(&self, now: u32) -> Option<f64> {
        let (average, since) = halves(self.0.load(Relaxed));
        let age = f64::from(now.wrapping_sub(since)) / FADE_TICKS;
        (average > 0).then(|| f64::from(average) / 1e6 / (1.0 + age))
    }
}

#[allow(clippy::cast_possible_truncation, reason = "it is taken apart")]
fn halves(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

/// Ten seconds: after which a sample counts for a third.
const FADE_TICKS: f64 = 100_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(latency: &Latency, now: u32) -> f64 {
        latency.read(now).expect("a sample was recorded") * 1e3
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        assert_eq!(latency.read(0), None);
        latency.record(Duration::from_millis(1), 0);
        latency.record(Duration::from_millis(100), 10);
        assert!((millis(&latency, 10) - 100.0).abs() < 0.1);
        latency.record(Duration::from_millis(1), 100_010);
        let third = millis(&latency, 100_010);
        assert!((36.0..39.0).contains(&third), "{third}");
    }

    #[test]
    fn what_nobody_asks_is_forgiven() {
        let latency = Latency::default();
        latency.record(Duration::from_millis(100), u32::MAX);
        assert!((millis(&latency, 99_999) - 50.0).abs() < 0.1, "the clock has wrapped");
        assert!(millis(&latency, 1_000_000) < 10.0);
    }
}
