//! The one wasmtime engine of a process, with what all plugins share.
//!
//! Its settings stand in `settings`, what ends endless loops in `clock`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Engine, InstanceAllocationStrategy};

use super::bindings::Plugin;
use super::clock::Clock;
use super::compile::{CompileLimits, Compiler};
use super::gate::WorkerGate;
use super::host::State;
use super::library::Library;
use super::metrics::{GuestMetrics, GuestReadings, WorkerMetrics};
use super::settings::{code_settings, pool_settings};
use super::stats::Registry;
use crate::outbound::{Fetcher, Trust};

/// How the engine is set up; fixed for the life of the process.
#[derive(Clone)]
pub struct EngineOptions {
    /// Component instances that may live at once, over all plugins and workers.
    pub slots: u32,
    /// The folder that keeps components and compiled code; the gateway's alone, because what lies in it is executed.
    pub state_dir: PathBuf,
    /// What components and compiled code may take there (`runtime.cache`).
    pub cache_bytes: u64,
    /// The program that compiles when called with [`super::compile_child`]'s argument: this binary.
    pub compiler: PathBuf,
    pub compile_limits: CompileLimits,
    /// Whose certificates are believed, when components are fetched and by guests' own requests.
    pub trust: Trust,
}

/// Everything that plugins share: engine, linker, library, compiler, clock.
pub struct Runtime {
    pub(super) engine: Engine,
    pub(super) linker: Linker<State>,
    library: Library,
    trust: Trust,
    pub(super) compiler: Compiler,
    pub(super) clock: Arc<Clock>,
    metrics: Arc<GuestMetrics>,
    /// The number of the next attachment.
    pub(super) attachment_ids: AtomicU32,
    /// What all pools count.
    pub(super) registry: Arc<Registry>,
}

impl Runtime {
    /// Reserves the pool's address space (nothing of it is resident yet) and starts the clock.
    pub fn new(options: EngineOptions) -> wasmtime::Result<Self> {
        let mut config = code_settings();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool_settings(options.slots)));
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        // The asynchronous WASI: the synchronous one blocks on the runtime and panics there (wasmtime#11339).
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Plugin::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let clock = Clock::start(engine.weak());
        let library = Library::open(&options.state_dir, options.cache_bytes)?;
        let code = library.code().clone();
        let compiler = Compiler::new(&engine, options.compiler, code, options.compile_limits);
        let trust = options.trust;
        Ok(Self {
            engine,
            linker,
            library,
            trust,
            compiler,
            clock,
            metrics: GuestMetrics::new(),
            attachment_ids: AtomicU32::new(1),
            registry: Arc::default(),
        })
    }

    /// Components that were loaded before, and which of them served last.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Whom the gateway's own requests believe.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The certificates are read when the first component is fetched from the web.
    pub(super) fn fetcher(&self) -> Fetcher {
        self.trust.fetcher()
    }

    /// What the pools of one worker share.
    pub fn worker_gate(&self) -> WorkerGate {
        let metrics = WorkerMetrics::new(self.metrics.clone());
        WorkerGate::new(self.clock.clone(), self.registry.clone(), metrics, self.trust.client())
    }

    /// What guests wrote for `/metrics` so far.
    pub fn guest_metrics(&self) -> GuestReadings {
        self.metrics.read()
    }

    /// The counters of all plugins.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}
