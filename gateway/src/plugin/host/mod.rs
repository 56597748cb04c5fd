//! What a guest may call: the imports of the WIT package, one file each, and the state they work on.
//!
//! A right that is not given here does not exist for a guest: WASI is linked because Rust's standard library asks for
//! it, over an empty context (no files, no sockets, no environment, output goes nowhere).

mod setup;
mod edits;
mod exchange;
mod log;
mod metrics;
mod trace;
mod clock;
mod crypto;
mod kv;
mod tables;
mod secrets;
mod rate_limit;
mod http;
mod jwt;
mod memory;

pub use exchange::{Copied, View};

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use self::http::HttpPort;
use super::bindings::witgate::plugin::{body_types, types};
use super::budget::Budget;
use super::declaration::Declaration;
use super::failure::Failure;
use super::gate::WorkerGate;
use super::grants::Grants;
use super::setup::Setup;
use edits::EditsPort;
use log::LogPort;
use memory::MemoryCap;
use metrics::MetricsPort;
use trace::TracePort;

/// The data of one store.
pub(in crate::plugin) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(in crate::plugin) budget: Budget,
    pub(in crate::plugin) memory: MemoryCap,
    pub(in crate::plugin) phase: Phase,
    pub(in crate::plugin) edits: EditsPort,
    trace: TracePort,
    plugin: Arc<str>,
    log: LogPort,
    metrics: MetricsPort,
    /// For plugins that may send requests.
    http: Option<HttpPort>,
    grants: Arc<Grants>,
    host_calls: u32,
    host_calls_max: u32,
}

impl State {
    pub(in crate::plugin) fn new(declaration: &Declaration, budget: Budget, gate: &WorkerGate) -> Self {
        let Declaration { name, limits, grants, .. } = declaration;
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles);
        Self {
            wasi: WasiCtx::builder().build(),
            table,
            budget,
            memory: MemoryCap::new(limits.memory_bytes, limits.table_elements),
            phase: Phase::Idle,
            edits: EditsPort::default(),
            trace: TracePort::new(limits),
            log: LogPort::new(declaration),
            metrics: MetricsPort::new(declaration, gate.metrics.clone()),
            http: grants.http.is_some().then(|| HttpPort::new(gate.outbound.clone(), limits)),
            plugin: name.clone(),
            grants: grants.clone(),
            host_calls: 0,
            host_calls_max: limits.host_calls,
        }
    }

    /// Begins to count anew: a call has begun, and may take so long by the clock on the wall.
    pub(in crate::plugin) fn begin(&mut self, timeout: Duration) {
        self.host_calls = 0;
        if let Some(http) = &mut self.http {
            http.begin(timeout);
        }
    }

    /// A hook's call begins: this is what its imports show meanwhile.
    pub(in crate::plugin) fn lend(&mut self, view: View) {
        let Some(shown) = view.shown() else { return };
        if let Some(copied) = shown.copied {
            self.phase = Phase::Hook(copied);
        }
        self.trace.lend(shown.span, shown.trace_state);
    }

    /// The call is over; what it was lent goes.
    pub(in crate::plugin) fn end(&mut self) -> Phase {
        self.budget.stop();
        self.trace.take_back();
        self.edits.close();
        std::mem::replace(&mut self.phase, Phase::Idle)
    }

    /// Counts a call of the guest to the host. Those of `setup` have a bound of their own.
    fn host_call(&mut self) -> wasmtime::Result<()> {
        self.host_calls += 1;
        if self.host_calls <= self.host_calls_max {
            return Ok(());
        }
        let detail = format!("the guest made more than {} calls to the host in one of its own", self.host_calls_max);
        Err(wasmtime::Error::new(Failure::Limit { limit: "limits.host_calls", detail }))
    }
}

fn not_granted(thing: &str, name: &str) -> String {
    format!("this plugin is granted no {thing} `{name}`")
}

/// What the guest is doing, and so which imports have a meaning.
pub(in crate::plugin) enum Phase {
    Idle,
    // Boxed, so that entering and leaving the common phase moves a word, not a whole exchange.
    Configure(Box<Setup>),
    Hook(Box<Copied>),
}

impl types::Host for State {}

impl body_types::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
