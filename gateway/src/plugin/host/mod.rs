//! What a guest may call: the imports of the WIT package, one file each, and the state they work on.
//!
//! A right that is not given here does not exist for a guest: WASI is linked because Rust's standard library asks for
//! it, over an empty context (no files, no sockets, no environment, output goes nowhere).

mod exchange;
mod log;
mod memory;
mod setup;

pub use exchange::View;

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::bindings::witgate::plugin::types;
use super::budget::Budget;
use super::declaration::Limits;
use super::grants::Grants;
use super::setup::Setup;
use log::LogPort;
use memory::MemoryCap;

/// The data of one store.
pub(in crate::plugin) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(in crate::plugin) budget: Budget,
    pub(in crate::plugin) memory: MemoryCap,
    pub(in crate::plugin) phase: Phase,
    log: LogPort,
    #[allow(dead_code, reason = "the capabilities that read it follow")]
    grants: Arc<Grants>,
}

impl State {
    pub(in crate::plugin) fn new(plugin: Arc<str>, budget: Budget, limits: &Limits, grants: Arc<Grants>) -> Self {
        Self {
            wasi: WasiCtx::builder().build(),
            table: ResourceTable::new(),
            budget,
            memory: MemoryCap::new(limits.memory_bytes, limits.table_elements),
            phase: Phase::Idle,
            log: LogPort::new(plugin, limits.log_lines),
            grants,
        }
    }
}

/// What the guest is doing, and so which imports have a meaning.
pub(in crate::plugin) enum Phase {
    Idle,
    // Boxed, so that entering and leaving the common phase moves a word, not a whole exchange.
    Configure(Box<Setup>),
    Hook(Box<View>),
}

impl types::Host for State {}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
