//! `log`: a guest's lines in the gateway's log, so many a second.

use std::sync::Arc;
use std::time::Instant;

use super::State;
use crate::plugin::bindings::witgate::plugin::log;
use crate::plugin::declaration::Declaration;
use crate::plugin::log_rate::LogRate;

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.host_call()?;
        self.log.write(level, &message);
        Ok(())
    }
}

/// Writes a guest's lines to the gateway's log.
pub(super) struct LogPort {
    plugin: Arc<str>,
    lines_max: u32,
    rate: Arc<LogRate>,
}

impl LogPort {
    pub(super) fn new(declaration: &Declaration) -> Self {
        let Declaration { name, limits, log_rate, .. } = declaration;
        Self { plugin: name.clone(), lines_max: limits.log_lines, rate: log_rate.clone() }
    }

    fn write(&self, level: log::Level, message: &str) {
        let plugin = self.plugin.as_ref();
        let (is_admitted, dropped) = self.rate.take(self.lines_max, Instant::now());
        if dropped > 0 {
            tracing::warn!(plugin, lines = dropped, "log lines of a plugin were dropped");
        }
        if !is_admitted {
            return;
        }
        let line: String = message.chars().take(LOG_LINE_CHARS_MAX).flat_map(visible).collect();
        match level {
            log::Level::Error => tracing::error!(target: "witgate::guest", plugin, "{line}"),
            log::Level::Warn => tracing::warn!(target: "witgate::guest", plugin, "{line}"),
            log::Level::Info => tracing::info!(target: "witgate::guest", plugin, "{line}"),
            log::Level::Debug => tracing::debug!(target: "witgate::guest", plugin, "{line}"),
        }
    }
}

/// A guest must not forge lines of the log: its control characters are written out.
fn visible(c: char) -> impl Iterator<Item = char> {
    let (plain, escaped) = if c.is_control() { (None, Some(c.escape_default())) } else { (Some(c), None) };
    plain.into_iter().chain(escaped.into_iter().flatten())
}

const LOG_LINE_CHARS_MAX: usize = 4096;
