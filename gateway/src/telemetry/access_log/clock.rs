//! The time of the day as text. Requests of one second share all of it but the milliseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that was written.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    /// `2026-11-30T06:28:01`
    rfc3339: String,
    /// `30/Nov/2026:06:28:01 +0000`
    common: String,
}

impl Clock {
    /// In the form of RFC 3339, with milliseconds, in UTC.
    pub(super) fn rfc3339(&mut self, line: &mut Vec<u8>, time: SystemTime) {
        let since_epoch = self.turn_to(time);
        line.extend_from_slice(self.rfc3339.as_bytes());
        let ms = since_epoch.subsec_millis();
        let digit = |value: u32| b'0' + (value % 10) as u8;
        line.extend_from_slice(&[b'.', digit(ms / 100), digit(ms / 10), digit(ms), b'Z']);
    }

    /// In the form of the Common Log Format.
    pub(super) fn common(&mut self, line: &mut Vec<u8>, time: SystemTime) {
        self.turn_to(time);
        line.extend_from_slice(self.common.as_bytes());
    }

    fn turn_to(&mut self, time: SystemTime) -> Duration {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = since_epoch.as_secs();
        if second != self.second || self.rfc3339.is_empty() {
            self.second = second;
            // What lies beyond the year 9999 has no such form.
            let time = UNIX_EPOCH + Duration::from_secs(second.min(SECONDS_MAX));
            let mut text = humantime::format_rfc3339_seconds(time).to_string();
            text.truncate(19);
            let month = text[5..7].parse::<usize>().unwrap_or(1);
            self.common = format!("{}/{}/{}:{} +0000", &text[8..10], MONTHS[month - 1], &text[..4], &text[11..]);
            self.rfc3339 = text;
        }
        since_epoch
    }
}

const SECONDS_MAX: u64 = 253_402_300_799;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_both_forms() {
        let mut clock = Clock::default();
        for (ms, rfc3339, common) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (1_796_020_081_042, "2026-11-30T06:28:01.042Z", "30/Nov/2026:06:28:01 +0000"),
            (1_796_020_081_999, "2026-11-30T06:28:01.999Z", "30/Nov/2026:06:28:01 +0000"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(ms);
            let (mut one, mut other) = (Vec::new(), Vec::new());
            clock.rfc3339(&mut one, time);
            clock.common(&mut other, time);
            assert_eq!(String::from_utf8_lossy(&one), rfc3339);
            assert_eq!(String::from_utf8_lossy(&other), common);
        }
        clock.rfc3339(&mut Vec::new(), UNIX_EPOCH + Duration::from_secs(u64::MAX / 2_000_000_000));
    }
}
