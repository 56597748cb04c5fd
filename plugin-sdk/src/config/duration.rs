//! A duration with its unit, as the gateway's own configuration writes it.

use std::fmt;
use std::ops::Deref;
use std::time;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration with its unit: `250ms`, `10s`, `5m`, `1h` or `7d`, as everywhere in the gateway's configuration. Without one it is an error.
///
/// ```
/// use witgate_plugin::config::Duration;
///
/// let leeway: Duration = serde_json::from_str(r#""30s""#)?;
/// assert_eq!(leeway, Duration::from_secs(30));
/// assert!(serde_json::from_str::<Duration>("30").is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(time::Duration);

impl Duration {
    /// So many seconds, for a default.
    pub const fn from_secs(seconds: u64) -> Self {
        Duration(time::Duration::from_secs(seconds))
    }
}

impl Deref for Duration {
    type Target = time::Duration;

    fn deref(&self) -> &time::Duration {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with its unit, such as `250ms` or `10s`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map(Duration).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

fn parse(text: &str) -> Option<time::Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let count: u64 = digits.parse().ok()?;
    count.checked_mul(unit_ms).map(time::Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::decode;

    #[test]
    fn a_duration_is_a_number_and_its_unit() {
        for (text, ms) in [("250ms", 250), ("0s", 0), ("2m", 120_000), ("1h", 3_600_000), ("7d", 604_800_000)] {
            assert_eq!(parse(text), Some(time::Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "1 s", "1.5s", "1w", "99999999999999999999s", "9999999999999999999d"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let error = decode::<Duration>("30").err().map(|error| error.to_string());
        let expected = "invalid type: integer `30`, expected a duration with its unit, such as `250ms` or `10s`";
        assert_eq!(error.as_deref(), Some(expected));
    }
}
