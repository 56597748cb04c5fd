//! Assembly: a running gateway, and how it changes. The only file that knows every room.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

use crate::config::model::Config;
use crate::config::{Document, Faults, Loaded};
use crate::control::{StateDir, StateDirError};
use crate::plugin::{CompileLimits, EngineOptions, Runtime};
use crate::server::{self, BindError, Order, Permits, Sockets, WorkerHandle};
use crate::snapshot::{self, BuildError, Listener, Snapshot};

/// A gateway that serves.
pub struct Gateway {
    runtime: Arc<Runtime>,
    current: Arc<ArcSwap<Snapshot>>,
    workers: Vec<WorkerHandle>,
    /// What is bound, by the listeners' names: the addresses as configured, where a port may be 0.
    listening: BTreeMap<Arc<str>, SocketAddr>,
}

/// Why a gateway does not start, or does not change.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{0}")]
    Config(Faults),
    #[error("{0}")]
    Plugin(Faults),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error("cannot set up the plugin engine: {0}")]
    Engine(String),
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
}

impl Gateway {
    /// Builds everything, binds everything, and only then serves.
    ///
    /// `program` is the binary that compiles components when called for it: this one.
    ///
    /// # Errors
    /// Any [`GatewayError`]; nothing is left behind.
    pub async fn start(loaded: &Loaded, program: PathBuf) -> Result<Self, GatewayError> {
        let runtime = Arc::new(plugin_runtime(&loaded.config, program)?);
        let snapshot = Arc::new(build(loaded, None, &runtime).await?);
        let workers_wanted = loaded.config.workers.unwrap_or_else(cores);
        let sockets = bind(&snapshot.listeners, workers_wanted)?;
        let current = Arc::new(ArcSwap::from(snapshot));
        let workers = (0..workers_wanted)
            .map(|number| server::spawn(number, current.clone(), runtime.clone()))
            .collect::<Result<_, _>>()
            .map_err(GatewayError::Worker)?;
        let mut gateway = Self { runtime, current, workers, listening: BTreeMap::new() };
        gateway.listen(sockets);
        Ok(gateway)
    }

    /// Checks a configuration as far as is possible without serving it: patterns, plugins, and what they say to their config.
    ///
    /// # Errors
    /// Any [`GatewayError`] but the binding ones.
    pub async fn check(loaded: &Loaded, program: PathBuf) -> Result<(), GatewayError> {
        let runtime = plugin_runtime(&loaded.config, program)?;
        build(loaded, None, &runtime).await.map(drop)
    }

    /// Builds all of the new, swaps one pointer, retires the old. Returns the new generation's number.
    ///
    /// # Errors
    /// Any [`GatewayError`]; then nothing has changed.
    pub async fn reload(&mut self, loaded: &Loaded) -> Result<u64, GatewayError> {
        let snapshot = Arc::new(build(loaded, Some(&self.current.load_full()), &self.runtime).await?);
        let fresh: Vec<Arc<Listener>> =
            snapshot.listeners.iter().filter(|listener| !self.is_bound(listener)).cloned().collect();
        let sockets = bind(&fresh, self.workers.len())?;
        let generation = snapshot.generation;
        self.current.store(snapshot.clone());
        self.settle(|done| Order::Adopt { done }, None).await;
        let kept = |name: &str, at: SocketAddr| {
            snapshot.listeners.iter().any(|listener| *listener.name == *name && listener.address == at)
        };
        let gone: Vec<Arc<str>> = self
            .listening
            .iter()
            .filter(|(name, address)| !kept(name, **address))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.listening.remove(&name);
            self.workers.iter().for_each(|worker| worker.order(Order::Unlisten { listener: name.clone() }));
        }
        self.listen(sockets);
        Ok(generation)
    }

    /// Stops accepting, ends what is in flight, and says whether all of it ended before the deadline.
    pub async fn drain(&mut self, deadline: Duration) -> bool {
        self.settle(|done| Order::Drain { done }, Some(deadline)).await
    }

    fn is_bound(&self, listener: &Listener) -> bool {
        self.listening.get(&listener.name) == Some(&listener.address)
    }

    /// Hands each worker its socket of each listener.
    fn listen(&mut self, bound: Vec<(Arc<Listener>, Sockets)>) {
        for (listener, Sockets { address, sockets }) in bound {
            let permits = Permits::default();
            for (worker, socket) in self.workers.iter().zip(sockets) {
                let (listener, permits) = (listener.clone(), permits.clone());
                worker.order(Order::Listen { listener, socket, permits });
            }
            tracing::info!(listener = &*listener.name, %address, "listening");
            self.listening.insert(listener.name.clone(), listener.address);
        }
    }

    /// Gives every worker an order, and awaits every worker's word.
    async fn settle(&self, order: impl Fn(oneshot::Sender<()>) -> Order, deadline: Option<Duration>) -> bool {
        let mut words = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (done, word) = oneshot::channel();
            worker.order(order(done));
            words.push(word);
        }
        let all = async {
            for word in words {
                // A worker that is gone has nothing left to settle.
                let _ = word.await;
            }
        };
        tokio::time::timeout(deadline.unwrap_or(ADOPT_TIMEOUT), all).await.is_ok()
    }
}

async fn build(loaded: &Loaded, previous: Option<&Snapshot>, runtime: &Runtime) -> Result<Snapshot, GatewayError> {
    let document: &Document = &loaded.document;
    snapshot::build(&loaded.config, previous, runtime).await.map_err(|error| match error {
        BuildError::Config(faults) => GatewayError::Config(document.faults(faults)),
        BuildError::Plugin(faults) => GatewayError::Plugin(document.faults(faults)),
    })
}

fn bind(listeners: &[Arc<Listener>], workers: usize) -> Result<Vec<(Arc<Listener>, Sockets)>, BindError> {
    listeners
        .iter()
        .map(|listener| Ok((listener.clone(), Sockets::bind(&listener.name, listener.address, workers)?)))
        .collect()
}

fn plugin_runtime(config: &Config, program: PathBuf) -> Result<Runtime, GatewayError> {
    let state_dir = StateDir::open(config.state_dir.as_deref())?;
    let options = EngineOptions {
        slots: config.runtime.slots,
        state_dir: state_dir.path().to_owned(),
        cache_bytes: CACHE_BYTES_MAX,
        compiler: program,
        compile_limits: CompileLimits {
            timeout: config.runtime.compile_timeout,
            memory_bytes: config.runtime.compile_memory.0,
            parallel: PARALLEL_COMPILES_MAX,
        },
    };
    Runtime::new(options).map_err(|error| GatewayError::Engine(format!("{error:#}")))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What kept components and their machine code may take in the state folder.
const CACHE_BYTES_MAX: u64 = 1 << 30;
const PARALLEL_COMPILES_MAX: usize = 2;
/// How long a reload waits for the workers to take the new snapshot up before it reports anyway: they take it up with
/// their next request at the latest.
const ADOPT_TIMEOUT: Duration = Duration::from_secs(5);
