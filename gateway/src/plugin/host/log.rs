//! `log`: a guest's lines in the gateway's log, so many a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::State;
use crate::plugin::bindings::witgate::plugin::log;

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.host_call()?;
        self.log.write(level, &message);
        Ok(())
    }
}

/// Writes a guest's lines to the gateway's log, so many a second (`limits.log_lines`).
pub(super) struct LogPort {
    plugin: Arc<str>,
    lines_max: u32,
    lines: u32,
    dropped: u64,
    since: Option<Instant>,
}

impl LogPort {
    pub(super) fn new(plugin: Arc<str>, lines_max: u32) -> Self {
        Self { plugin, lines_max, lines: 0, dropped: 0, since: None }
    }

    fn write(&mut self, level: log::Level, message: &str) {
        if !self.admit() {
            return;
        }
        let line: String = message.chars().take(LOG_LINE_CHARS_MAX).flat_map(visible).collect();
        let plugin = self.plugin.as_ref();
        match level {
            log::Level::Error => tracing::error!(target: "witgate::guest", plugin, "{line}"),
            log::Level::Warn => tracing::warn!(target: "witgate::guest", plugin, "{line}"),
            log::Level::Info => tracing::info!(target: "witgate::guest", plugin, "{line}"),
            log::Level::Debug => tracing::debug!(target: "witgate::guest", plugin, "{line}"),
        }
    }

    fn admit(&mut self) -> bool {
        if self.since.is_none_or(|since| since.elapsed() >= LOG_WINDOW) {
            if self.dropped > 0 {
                tracing::warn!(
                    plugin = self.plugin.as_ref(),
                    lines = self.dropped,
                    "log lines of a plugin were dropped"
                );
            }
            (self.since, self.lines, self.dropped) = (Some(Instant::now()), 0, 0);
        }
        self.lines += 1;
        if self.lines > self.lines_max {
            self.dropped += 1;
        }
        self.lines <= self.lines_max
    }
}

/// A guest must not forge lines of the log: its control characters are written out.
fn visible(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

const LOG_LINE_CHARS_MAX: usize = 4096;
const LOG_WINDOW: Duration = Duration::from_secs(1);
