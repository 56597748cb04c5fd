//! Assembly: a running gateway, and how it changes. The only room that knows every other.
//!
//! ```text
//! mod           start, reload
//! engine        what runs plugins
//! listeners     what is listened on
//! drain         the end
//! record        what changes without anybody asking over the admin API
//! upgrade       another process takes this one's place
//! pid_file      which process serves
//! acme          certificates that are ordered, where the gateway was built with that
//! admin         the servers that operators use
//! certificates  that are renewed when their files change
//! commit        a new snapshot takes the old one's place: warmed on every worker, then one pointer moves
//! swap          one plugin's version takes another's place, at once or by degrees
//! overload      what is given up when memory or time runs out
//! flips         circuits that open and close
//! trials        what becomes of versions on trial
//! watch         plugins whose files are watched
//! source        the configuration: where it comes from, and what of it is held back
//! configure     the configuration, as operators ask for it
//! follow        sources that are followed, and secrets whose files change
//! outage        what is told of a source that fails again and again
//! upstreams     whose health is kept, and whose endpoints are discovered
//! operator      all of it, as the admin API asks for it
//! ```

mod engine;
mod listeners;
mod drain;
mod record;
mod upgrade;
mod pid_file;
#[cfg(feature = "acme")]
mod acme;
mod admin;
mod certificates;
mod commit;
mod flips;
mod operator;
mod overload;
mod swap;
mod trials;
mod watch;
mod upstreams;
mod source;
mod follow;
mod outage;
mod configure;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, broadcast};

use crate::config::model::{self as config, Config};
use crate::config::{Fault, Faults, Loaded, Texts};
use crate::control::{
    AdminError, Event, Exporter, HistoryError, Overrides, ReloadReport, SourceError, StateDir, StateDirError,
};
use crate::plugin::{Runtime, Version};
use crate::server::{self, Overload, Permits, WorkerHandle};
use crate::snapshot::{self, Choices, Snapshot};
use crate::sockets::Inheritance;
use crate::telemetry::{Metrics, Telemetry};
pub(crate) use engine::plugin_runtime;
use listeners::Listeners;
use outage::Outage;
use pid_file::PidFile;
pub use source::Source;
use source::{Attempt, First, Prepared, ToldConfig, Wanted, build};
use trials::Trials;
use upstreams::first_answers;

pub use drain::Ending;
pub use listeners::BindError;
pub use record::Cause;
pub use upgrade::{Program, UpgradeError};

/// A gateway that serves. Every clone is the same one.
#[derive(Clone)]
pub struct Gateway(Arc<Shared>);

struct Shared {
    runtime: Arc<Runtime>,
    current: Arc<ArcSwap<Snapshot>>,
    workers: Vec<WorkerHandle>,
    state_dir: PathBuf,
    source: Source,
    /// Held while something changes: one change at a time.
    running: tokio::sync::Mutex<Running>,
    /// Held for the whole of a reload, so that the configuration that was read last serves last.
    reloading: tokio::sync::Mutex<()>,
    /// What is told to whoever asks; locked for a moment only.
    told: Mutex<Told>,
    /// Plugins with a swap under way.
    swapping: Mutex<BTreeSet<String>>,
    /// Held while an operator puts another configuration in the file's place.
    replacing: tokio::sync::Mutex<()>,
    /// Tells that another configuration serves.
    committed: Notify,
    events: broadcast::Sender<Event>,
    started: Instant,
    is_draining: AtomicBool,
    /// The process that serves in this one's place; 0 while this one serves.
    successor: AtomicU32,
    ending: Notify,
    /// Held while another process is to take this one's place.
    upgrading: tokio::sync::Mutex<()>,
    /// Told when this process ends before the other serves.
    giving_up: Notify,
    /// What would be started for that.
    program: Program,
    pid_file: OnceLock<PidFile>,
    metrics: Metrics,
    overload: Arc<Overload>,
    /// What the workers tell of requests with.
    telemetry: Arc<Telemetry>,
    exporter: tokio::sync::Mutex<Exporter>,
    servers: tokio::sync::Mutex<admin::Servers>,
}

/// What the next change is made from.
struct Running {
    config: Config,
    /// What the configuration is written in.
    texts: Arc<Texts>,
    /// What its source had when it was read last, with what is held back.
    source_texts: Arc<Texts>,
    listeners: Listeners,
    overrides: Overrides,
    /// The version that served before, of plugins that were swapped: kept ready to go back to.
    previous: BTreeMap<String, Arc<Version>>,
    trials: Trials,
    upstreams: upstreams::Tasks,
}

/// What `status` and metrics say beside the snapshot.
#[derive(Default)]
struct Told {
    overrides: Overrides,
    previous: BTreeMap<String, Arc<Version>>,
    trials: Trials,
    /// By plugin: its source, as the configuration writes it.
    sources: BTreeMap<String, String>,
    last_reload_error: Option<String>,
    drain: config::Drain,
    config: ToldConfig,
    /// By listener: what counts its connections.
    permits: BTreeMap<Arc<str>, Permits>,
    /// Of the source of the configuration, when it cannot be read.
    source_outage: Option<Outage>,
    /// Of upstreams whose source last gave no good answer.
    discovery_outages: BTreeMap<String, Outage>,
}

/// Why a gateway does not start, or does not change.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    #[error("{0}")]
    Config(Faults),
    #[error("{0}")]
    Plugin(Faults),
    #[error(transparent)]
    Source(SourceError),
    #[error("{error}\n{damaged}")]
    Damaged { error: String, damaged: HistoryError },
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    #[error("cannot set up the plugin engine: {0}")]
    Engine(String),
    #[error("cannot start a worker: {0}")]
    Worker(std::io::Error),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error("cannot write `pid_file` {path}: {error}")]
    PidFile { path: PathBuf, error: std::io::Error },
    #[error("the gateway is draining")]
    Draining,
    #[error("{0}")]
    Warm(String),
}

impl Gateway {
    /// Builds everything, binds everything, and only then serves. What was inherited is used where it fits.
    ///
    /// `source` reads the configuration, now and at each reload; `compiler` is the binary that compiles components when
    /// called for it: this one; `program` is what takes its place when it is told to upgrade.
    ///
    /// # Errors
    /// Any [`GatewayError`]; nothing is left behind.
    pub async fn start(
        source: Source,
        compiler: PathBuf,
        program: Program,
        inheritance: &mut Inheritance,
    ) -> Result<Self, GatewayError> {
        let (first, attempt, source_outage) = First::of(&source, &compiler).await?;
        let First { loaded, state_dir, runtime, overrides, snapshot } = first;
        let snapshot = Arc::new(first_answers(snapshot, runtime.trust()).await);
        let workers_wanted = loaded.config.workers.unwrap_or_else(cores);
        let fresh = Listeners::default().bind(&snapshot.listeners, workers_wanted, inheritance)?;
        let current = Arc::new(ArcSwap::from(snapshot.clone()));
        let (telemetry, batches) = Telemetry::start().map_err(GatewayError::Worker)?;
        let telemetry = Arc::new(telemetry);
        let overload = overload::shared(workers_wanted, &loaded.config.overload);
        let workers = (0..workers_wanted)
            .map(|number| server::spawn(number, current.clone(), runtime.clone(), overload.clone(), telemetry.clone()))
            .collect::<Result<_, _>>()
            .map_err(GatewayError::Worker)?;
        let mut running = Running {
            config: loaded.config,
            texts: Arc::default(),
            source_texts: Arc::default(),
            listeners: Listeners::default(),
            overrides,
            previous: BTreeMap::new(),
            trials: Trials::default(),
            upstreams: upstreams::Tasks::default(),
        };
        running.trials.follow(&snapshot, &running.config, &running.overrides, &runtime);
        let exporter = Exporter::start(telemetry.spans.clone(), batches, runtime.trust().clone());
        let shared = Shared {
            runtime,
            current,
            workers,
            state_dir,
            source,
            told: Mutex::new(Told { source_outage, ..Told::default() }),
            swapping: Mutex::default(),
            replacing: tokio::sync::Mutex::default(),
            committed: Notify::new(),
            events: broadcast::channel(EVENTS_KEPT).0,
            started: Instant::now(),
            is_draining: AtomicBool::new(false),
            successor: AtomicU32::new(0),
            ending: Notify::new(),
            upgrading: tokio::sync::Mutex::default(),
            giving_up: Notify::new(),
            program,
            pid_file: OnceLock::new(),
            metrics: Metrics::new(),
            overload,
            telemetry,
            exporter: tokio::sync::Mutex::new(exporter),
            servers: tokio::sync::Mutex::default(),
            reloading: tokio::sync::Mutex::default(),
            running: tokio::sync::Mutex::new(running),
        };
        let gateway = Self(Arc::new(shared));
        gateway.open(&snapshot, attempt, fresh, inheritance).await?;
        gateway.keep_up();
        Ok(gateway)
    }

    /// Starts what goes on beside the requests, for as long as the gateway lives.
    fn keep_up(&self) {
        tokio::spawn(trials::keep_judging(Arc::downgrade(&self.0)));
        watch::start(&self.0);
        flips::start(&self.0);
        certificates::start(&self.0);
        overload::start(&self.0);
        #[cfg(feature = "acme")]
        acme::start(&self.0);
        follow::start(&self.0);
    }

    /// The last steps of a start. Clients come last, because nothing can fail any more then that would send them away.
    async fn open(
        &self,
        snapshot: &Arc<Snapshot>,
        attempt: Attempt,
        fresh: listeners::Fresh,
        inheritance: &mut Inheritance,
    ) -> Result<(), GatewayError> {
        let shared = &self.0;
        if inheritance.has_predecessor() {
            // There is time: the process before serves until this one does as well.
            shared.warm(&[], snapshot).await?;
        }
        {
            let mut running = shared.running.lock().await;
            running.upstreams = upstreams::Tasks::of(Arc::downgrade(shared), snapshot);
            shared.remember(&running, snapshot);
            shared.tell(&running);
            shared.note_texts(&mut running, attempt, "start");
            shared.metrics.reloaded("start", snapshot.generation);
        }
        self.serve_operators(inheritance).await?;
        let mut running = shared.running.lock().await;
        if let Some(path) = &running.config.pid_file {
            let fail = |error| GatewayError::PidFile { path: path.clone(), error };
            let written = PidFile::write(path).map_err(fail)?;
            shared.pid_file.get_or_init(|| written);
        }
        shared.servers.lock().await.own_files();
        shared.listen(&mut running.listeners, &snapshot.listeners, fresh, Duration::ZERO);
        Ok(())
    }

    /// Checks a configuration as far as is possible without serving it: patterns, plugins, and what they say to their config. Tells what to
    /// warn of beside what the configuration itself shows.
    ///
    /// # Errors
    /// Any [`GatewayError`] but the binding ones.
    pub async fn check(loaded: &Loaded, program: PathBuf) -> Result<Vec<Fault>, GatewayError> {
        let place = StateDir::place(loaded.config.state_dir.as_deref())?;
        // A check leaves nothing behind: it uses what a gateway has compiled, where there is one.
        let passing = tempfile::tempdir().map_err(GatewayError::Worker)?;
        let folder = if place.is_dir() { StateDir::open(Some(&place)).map(|_| &*place)? } else { passing.path() };
        let runtime = plugin_runtime(&loaded.config.runtime, folder, program)?;
        let snapshot = build(loaded, &Choices::new(), None, &runtime).await?;
        Ok(snapshot::expiring(&loaded.config, &snapshot))
    }

    /// Opens log files anew by their names, after what was there was moved away.
    pub fn reopen_logs(&self) {
        self.0.telemetry.access_log.reopen();
        tracing::info!("logs reopened");
    }

    /// Reads the configuration again, builds all of the new, swaps one pointer, retires the old.
    ///
    /// # Errors
    /// Any [`GatewayError`]; then nothing has changed.
    pub async fn reload(&self, cause: Cause) -> Result<ReloadReport, GatewayError> {
        self.reload_on(cause, Wanted::Read).await
    }

    /// The same with other texts.
    async fn reload_on(&self, cause: Cause, wanted: Wanted) -> Result<ReloadReport, GatewayError> {
        let reason = cause.word();
        let outcome = match self.0.reload(reason, wanted).await {
            Ok(reloaded) => self.serve_operators(&mut Inheritance::default()).await.map(|()| reloaded),
            Err(error) => Err(error),
        };
        self.0.told().last_reload_error = outcome.as_ref().err().map(GatewayError::to_string);
        match &outcome {
            Ok(ReloadReport { generation, .. }) => {
                self.0.metrics.reloaded(reason, *generation);
                tracing::info!(generation, source = reason, "reloaded");
                self.0.event("reload", [("generation", (*generation).into())]);
            }
            Err(error) => {
                self.0.metrics.reload_failed(reason);
                tracing::error!(%error, source = reason, "reload failed");
                self.0.event("reload", [("error", error.to_string().into())]);
            }
        }
        record::reload(cause, &outcome);
        outcome
    }
}

impl Shared {
    async fn reload(&self, reason: &str, wanted: Wanted) -> Result<ReloadReport, GatewayError> {
        let _turn = self.reloading.lock().await;
        let mut attempt = self.attempt(wanted).await?;
        let last = self.running.lock().await.texts.clone();
        let Prepared { loaded, snapshot, overrides, previous } = loop {
            match self.prepare(&attempt.texts).await {
                Err(error) if attempt.hold(&error, &last) => {}
                prepared => break prepared?,
            }
        };
        let mut running = self.running.lock().await;
        let (snapshot, overrides) = self.rebase(&running, &loaded, &previous, snapshot, overrides).await?;
        if self.is_draining() {
            return Err(GatewayError::Draining);
        }
        let fresh = running.listeners.bind(&snapshot.listeners, self.workers.len(), &mut Inheritance::default())?;
        let previous_generation = self.current.load().generation;
        let changes = record::changes((&last, &running.config), (&attempt.texts, &loaded));
        let snapshot = self.commit(&mut running, snapshot, loaded.config, overrides).await?;
        let linger = running.config.drain.idle;
        self.listen(&mut running.listeners, &snapshot.listeners, fresh, linger);
        let previous_sha256 = self.told().config.sha256.clone();
        self.note_texts(&mut running, attempt, reason);
        let (generation, sha256) = (snapshot.generation, self.told().config.sha256.clone());
        Ok(ReloadReport { generation, previous_generation, sha256, previous_sha256, changes })
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Events that a slow reader may lag behind.
const EVENTS_KEPT: usize = 256;
