//! How many lines the guests of a plugin may log (`limits.log_lines`): all of them together, so that a guest which logs and
//! then traps, and is given a new instance each time, gets no more than one that behaves.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The lines of one declaration. Its workers share it: a line is written under a lock anyway.
#[derive(Debug, Default)]
pub struct LogRate(Mutex<Window>);

/// The second that is being counted.
#[derive(Debug, Default)]
struct Window {
    since: Option<Instant>,
    lines: u32,
    dropped: u64,
}

impl LogRate {
    /// Asks for a line: whether it may be written, and how many were dropped in the second that is over, said once.
    pub(super) fn take(&self, lines_max: u32, now: Instant) -> (bool, u64) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut dropped_before = 0;
        if window.since.is_none_or(|since| now.saturating_duration_since(since) >= WINDOW) {
            dropped_before = window.dropped;
            *window = Window { since: Some(now), ..Window::default() };
        }
        let is_admitted = window.lines < lines_max;
        if is_admitted {
            window.lines += 1;
        } else {
            window.dropped += 1;
        }
        (is_admitted, dropped_before)
    }
}

const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_lines_a_second_pass_and_the_others_are_counted() {
        let (rate, start) = (LogRate::default(), Instant::now());
        let at = |ms| rate.take(2, start + Duration::from_millis(ms));
        assert_eq!([at(0), at(1), at(2), at(999)], [(true, 0), (true, 0), (false, 0), (false, 0)]);
        assert_eq!([at(1000), at(1001)], [(true, 2), (true, 0)]);
        assert_eq!(LogRate::default().take(0, start), (false, 0), "0 silences a plugin");
    }
}
