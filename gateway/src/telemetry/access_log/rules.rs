//! Which lines are written, how they look, and where they go.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;

use super::format::{Format, FormatError, Headers};
use super::redact::Redact;
use crate::telemetry::flags::Flags;

/// An access log as the configuration wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessLog {
    pub format: Format,
    pub output: Output,
    pub redact: Redact,
    /// Which share of the lines is written, from 0 to 1.
    pub sample: f64,
    /// Which requests have a line at all; `None` is every one.
    pub only: Option<Only>,
    /// No line is longer.
    pub line_bytes_max: usize,
    /// Lines that wait to be written, over all workers; further ones are given up.
    pub queue_bytes_max: usize,
    headers: Headers,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    Stdout,
    File(PathBuf),
}

/// A request has a line when any of these is true of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    pub statuses: Vec<Statuses>,
    pub slower_than: Option<Duration>,
    pub flags: Flags,
}

/// `404`, or `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statuses {
    One(u16),
    /// The first digit.
    Class(u16),
}

impl AccessLog {
    /// JSON lines with these fields, `None` being the usual ones, and `more` after them.
    ///
    /// # Errors
    /// All names that are no field's, with their places in `fields` and `more` taken as one list.
    pub fn json(fields: Option<&[String]>, more: &[String]) -> Result<Self, Vec<FormatError>> {
        let mut headers = Headers::default();
        Format::json(fields, more, &mut headers).map(|format| Self::new(format, headers))
    }

    /// `common`, `combined`, or a text with places for fields.
    ///
    /// # Errors
    /// The text has no place for a field, or one for something else.
    pub fn text(text: &str) -> Result<Self, FormatError> {
        let mut headers = Headers::default();
        Format::text(text, &mut headers).map(|format| Self::new(format, headers))
    }

    fn new(format: Format, headers: Headers) -> Self {
        Self {
            format,
            output: Output::Stdout,
            redact: Redact::default(),
            sample: 1.0,
            only: None,
            line_bytes_max: 8 << 10,
            queue_bytes_max: 4 << 20,
            headers,
        }
    }

    /// The fewest bytes that a line may be limited to: in fewer no value would have room.
    pub fn line_bytes_least(&self) -> usize {
        self.format.fixed_bytes() + 256
    }

    /// The bytes of a line that its values may take.
    pub(super) fn room(&self) -> usize {
        self.line_bytes_max.saturating_sub(self.format.fixed_bytes())
    }

    /// Fields of requests that are to be noted for a line.
    pub fn request_headers(&self) -> &[HeaderName] {
        &self.headers.request
    }

    /// Fields of responses that are to be noted for a line.
    pub fn response_headers(&self) -> &[HeaderName] {
        &self.headers.response
    }

    /// Whether lines tell the filters' times.
    pub fn tells_filters(&self) -> bool {
        self.format.tells_filters()
    }

    /// Whether a request may have a line, as far as chance decides.
    pub fn is_sampled(&self) -> bool {
        self.sample >= 1.0 || fastrand::f64() < self.sample
    }
}

impl Only {
    /// Whether this request has a line.
    pub fn admits(&self, status: u16, duration: Duration, flags: Flags) -> bool {
        self.statuses.iter().any(|statuses| statuses.contain(status))
            || self.slower_than.is_some_and(|bound| duration > bound)
            || self.flags.meet(flags)
    }
}

impl Statuses {
    fn contain(self, status: u16) -> bool {
        match self {
            Self::One(one) => one == status,
            Self::Class(class) => class == status / 100,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::flags::Flag;

    #[test]
    fn any_reason_is_enough_for_a_line() {
        let one = |flag| {
            let mut flags = Flags::default();
            flags.insert(flag);
            flags
        };
        let (none, timeout) = (Flags::default(), one(Flag::UpstreamTimeout));
        let only = Only {
            statuses: vec![Statuses::One(404), Statuses::Class(5)],
            slower_than: Some(Duration::from_millis(500)),
            flags: timeout,
        };
        let fast = Duration::from_millis(500);
        for (status, duration, flags, expected) in [
            (200, fast, none, false),
            (404, fast, none, true),
            (400, fast, none, false),
            (503, fast, none, true),
            (200, fast + Duration::from_nanos(1), none, true),
            (200, fast, timeout, true),
            (200, fast, one(Flag::ConnectFailure), false),
        ] {
            assert_eq!(only.admits(status, duration, flags), expected, "{status} {duration:?} {flags}");
        }
    }
}
