//! What a guest may call: the imports of the WIT package, and the state they work on.
//!
//! A right that is not given here does not exist for a guest: WASI is linked because Rust's standard library asks for
//! it, over an empty context (no files, no sockets, no environment, output goes nowhere).

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName};
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::witgate::plugin::{exchange, log, setup, types};
use super::budget::Budget;
use super::failure::LimitHit;
use super::setup::{Setup, WANTS_MAX, Want};

/// The data of one store.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) budget: Budget,
    pub(super) memory: MemoryCap,
    pub(super) phase: Phase,
    log: LogPort,
}

impl State {
    pub(super) fn new(plugin: Arc<str>, budget: Budget, memory_bytes_max: usize, log_lines_max: u32) -> Self {
        Self {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            budget,
            memory: MemoryCap { bytes: 0, bytes_max: memory_bytes_max },
            phase: Phase::Idle,
            log: LogPort { plugin, lines_max: log_lines_max, lines: 0, dropped: 0, since: None },
        }
    }

    fn setup(&mut self) -> wasmtime::Result<&mut Setup> {
        match &mut self.phase {
            Phase::Configure(setup) => Ok(setup),
            Phase::Idle | Phase::Hook(_) => Err(wasmtime::Error::msg("`setup` may be called in `configure` only")),
        }
    }

    fn want(&mut self, want: Want) -> wasmtime::Result<u16> {
        self.setup()?.key(want).ok_or_else(too_many)
    }

    fn view(&self) -> wasmtime::Result<&View> {
        match &self.phase {
            Phase::Hook(view) => Ok(view),
            Phase::Idle | Phase::Configure(_) => Err(wasmtime::Error::msg("`exchange` may be called in a hook only")),
        }
    }
}

/// What the guest is doing, and so which imports have a meaning.
pub(super) enum Phase {
    Idle,
    // Boxed, so that entering and leaving the common phase moves a word, not a whole exchange.
    Configure(Box<Setup>),
    Hook(Box<View>),
}

/// The exchange as `exchange` shows it: a copy, made for the length of a call, and only for components that import it.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub request: HeaderMap,
    /// Empty in a request hook.
    pub response: HeaderMap,
    pub listener: Arc<str>,
}

impl setup::Host for State {
    fn want_method(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Method)
    }

    fn want_scheme(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Scheme)
    }

    fn want_authority(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Authority)
    }

    fn want_path(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Path)
    }

    fn want_client(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Client)
    }

    fn want_route(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Route)
    }

    fn want_request_id(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::RequestId)
    }

    fn want_param(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::Param(name.into()))
    }

    fn want_request_header(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::RequestHeader(header_name(&name)?))
    }

    fn want_response_header(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::ResponseHeader(header_name(&name)?))
    }

    fn want_attribute(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::Attribute(name.into()))
    }

    fn own_header(&mut self, name: String) -> wasmtime::Result<()> {
        let name = header_name(&name)?;
        let owned = &mut self.setup()?.owned_headers;
        if owned.len() >= WANTS_MAX {
            return Err(too_many());
        }
        owned.push(name);
        Ok(())
    }

    fn may_fail_open(&mut self) -> wasmtime::Result<()> {
        self.setup()?.may_fail_open = true;
        Ok(())
    }
}

impl exchange::Host for State {
    fn request_header(&mut self, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        Ok(values(&self.view()?.request, &name))
    }

    fn response_header(&mut self, name: String) -> wasmtime::Result<Vec<Vec<u8>>> {
        Ok(values(&self.view()?.response, &name))
    }

    fn listener(&mut self) -> wasmtime::Result<String> {
        Ok(self.view()?.listener.as_ref().to_owned())
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.log.write(level, &message);
        Ok(())
    }
}

impl types::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().map(|value| value.as_bytes().to_vec()).collect()
}

fn header_name(name: &str) -> wasmtime::Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| wasmtime::Error::msg(format!("`{name}` is not a header name")))
}

fn too_many() -> wasmtime::Error {
    wasmtime::Error::msg(format!("an attachment may want {WANTS_MAX} values at most"))
}

/// The memory of one instance, over all its linear memories (`limits.memory`).
pub(super) struct MemoryCap {
    pub(super) bytes: usize,
    bytes_max: usize,
}

impl ResourceLimiter for MemoryCap {
    fn memory_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes + (desired - current);
        if bytes > self.bytes_max {
            let detail = format!("the guest asked for {bytes} bytes, {} are allowed", self.bytes_max);
            return Err(wasmtime::Error::new(LimitHit { name: "limits.memory", detail }));
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS_MAX {
            let detail = format!("the guest asked for {desired} elements, {TABLE_ELEMENTS_MAX} are allowed");
            return Err(wasmtime::Error::new(LimitHit { name: "table elements", detail }));
        }
        Ok(true)
    }
}

/// Writes a guest's lines to the gateway's log, so many a second (`limits.log_lines`).
struct LogPort {
    plugin: Arc<str>,
    lines_max: u32,
    lines: u32,
    dropped: u64,
    since: Option<Instant>,
}

impl LogPort {
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

const TABLE_ELEMENTS_MAX: usize = 20_000;
const LOG_LINE_CHARS_MAX: usize = 4096;
const LOG_WINDOW: Duration = Duration::from_secs(1);
