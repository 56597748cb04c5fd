//! The configuration of a gateway: read from its source, made one, and held back where a team's files have faults that must not block the
//! others.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::commit::now;
use super::outage::Outage;
use super::upstreams::first_answers;
use super::{GatewayError, Running, Shared, plugin_runtime};
use crate::config::{Faults, Loaded, Texts, assemble, environment};
use crate::control::{Edition, History, Overrides, SourceError, Sources, StateDir};
use crate::plugin::Runtime;
use crate::snapshot::{self, BuildError, Choices, Snapshot};

/// Where the configuration comes from, and what is made of it before it counts.
pub struct Source {
    pub sources: Sources,
    finish: Box<dyn Fn(Loaded) -> Result<Loaded, Faults> + Send + Sync>,
}

impl Source {
    pub fn new(sources: Sources) -> Self {
        Self::with(sources, Ok)
    }

    /// A source whose configurations pass through `finish`.
    pub fn with(sources: Sources, finish: impl Fn(Loaded) -> Result<Loaded, Faults> + Send + Sync + 'static) -> Self {
        Self { sources, finish: Box::new(finish) }
    }

    /// The configuration that texts say.
    pub(super) fn load(&self, texts: &Texts) -> Result<Loaded, GatewayError> {
        let loaded = assemble(texts, &environment).map_err(GatewayError::Config)?;
        (self.finish)(loaded).map_err(GatewayError::Config)
    }
}

/// Texts on their way to a snapshot. Faults of files that are included with `on_fault: keep-last` put the last good ones in their place.
pub(super) struct Attempt {
    pub(super) texts: Arc<Texts>,
    /// As they were read, before any of them was held back; `None` where the source has others, and somebody went back to these.
    read: Option<Arc<Texts>>,
    /// By pattern: what is wrong with the files that are held back.
    pub(super) held: BTreeMap<PathBuf, String>,
}

impl Attempt {
    pub(super) fn of(texts: Texts) -> Self {
        Self::again(Arc::new(texts))
    }

    /// With texts that were tried before.
    pub(super) fn again(texts: Arc<Texts>) -> Self {
        Self { read: Some(texts.clone()), texts, held: BTreeMap::new() }
    }

    /// With texts that are not those of the source now.
    pub(super) fn back(texts: Arc<Texts>) -> Self {
        Self { texts, read: None, held: BTreeMap::new() }
    }

    /// Holds back what has these faults, as far as it may be; `false` where nothing is left to be held back. Where there is no last good
    /// version, those files are left out.
    pub(super) fn hold(&mut self, error: &GatewayError, last: &Texts) -> bool {
        let (GatewayError::Config(faults) | GatewayError::Plugin(faults)) = error else { return false };
        let mut is_other = false;
        for pattern in faults.keepable() {
            if self.held.contains_key(&pattern) {
                continue;
            }
            let told = faults.of_include(&pattern).map_or_else(String::new, |faults| faults.to_string());
            let good = last.included.get(&pattern).cloned().unwrap_or_default();
            Arc::make_mut(&mut self.texts).included.insert(pattern.clone(), good);
            self.held.insert(pattern, told);
            is_other = true;
        }
        is_other
    }
}

/// What a gateway starts with.
pub(super) struct First {
    pub(super) loaded: Loaded,
    pub(super) state_dir: PathBuf,
    pub(super) runtime: Arc<Runtime>,
    pub(super) overrides: Overrides,
    pub(super) snapshot: Snapshot,
}

impl First {
    /// What the source has. Where a server is gone or has nothing of use, what served last, and that is said loudly.
    pub(super) async fn of(source: &Source, program: &Path) -> Result<(Self, Attempt, Option<Outage>), GatewayError> {
        let read = source.sources.read().await;
        let outage = match &read {
            Err(SourceError::Remote { error, .. }) => {
                Some((error.kind(), read.as_ref().err().map(ToString::to_string)))
            }
            _ => None,
        };
        let error = match read.map_err(GatewayError::from) {
            Ok(texts) => match Self::on(source, texts, program).await {
                Ok((first, attempt)) => return Ok((first, attempt, None)),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let is_of_source = matches!(error, GatewayError::Source(_) | GatewayError::Config(_) | GatewayError::Plugin(_));
        if !source.sources.is_remote() || !is_of_source {
            return Err(error);
        }
        let Some(texts) = source.served_last(&error)? else { return Err(error) };
        let (first, attempt) = Self::on(source, texts, program).await?;
        let outage = outage.map(|(kind, text)| {
            let mut outage = Outage::default();
            outage.note(kind, text.unwrap_or_default());
            outage
        });
        Ok((first, attempt, outage))
    }

    async fn on(source: &Source, texts: Texts, program: &Path) -> Result<(Self, Attempt), GatewayError> {
        let mut attempt = Attempt::of(texts);
        let last = source.last_kept(&attempt.texts);
        loop {
            match Self::prepare(source, &attempt.texts, program.to_owned()).await {
                Err(error) if attempt.hold(&error, &last) => {}
                first => return first.map(|first| (first, attempt)),
            }
        }
    }

    async fn prepare(source: &Source, texts: &Texts, program: PathBuf) -> Result<Self, GatewayError> {
        let loaded = source.load(texts)?;
        let state_dir = StateDir::open(loaded.config.state_dir.as_deref())?.path().to_owned();
        let runtime = Arc::new(plugin_runtime(&loaded.config.runtime, &state_dir, program)?);
        let overrides = Overrides::load(&state_dir).under(&loaded.config);
        let snapshot = build(&loaded, &overrides.choices(), None, &runtime).await?;
        Ok(Self { loaded, state_dir, runtime, overrides, snapshot })
    }
}

/// Which texts a reload takes.
pub(super) enum Wanted {
    /// What the source has now.
    Read,
    /// What the source had when it was read last: by whoever has read it since, if anybody has.
    Found,
    /// What serves.
    Again,
    /// What served before.
    Kept(Texts),
}

impl Shared {
    pub(super) async fn attempt(&self, wanted: Wanted) -> Result<Attempt, GatewayError> {
        Ok(match wanted {
            Wanted::Read => Attempt::of(self.source.sources.read().await?),
            Wanted::Found => Attempt::of(self.source.sources.latest().await?),
            Wanted::Kept(texts) => Attempt::back(Arc::new(texts)),
            Wanted::Again => {
                let running = self.running.lock().await;
                let is_rolled_back = self.told().config.is_rolled_back;
                if is_rolled_back {
                    Attempt::back(running.texts.clone())
                } else {
                    Attempt::again(running.source_texts.clone())
                }
            }
        })
    }
}

/// What a configuration became, before it serves.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    pub(super) snapshot: Snapshot,
    pub(super) overrides: Overrides,
    /// What it was built after.
    pub(super) previous: Arc<Snapshot>,
}

impl Source {
    /// What served last, because there is nothing else to start on; `None` where nothing is kept.
    fn served_last(&self, error: &GatewayError) -> Result<Option<Texts>, GatewayError> {
        let Ok(folder) = StateDir::place(None) else { return Ok(None) };
        let (kept, mut damaged) = History::of(&folder, self.sources.name()).latest();
        let Some((edition, texts)) = kept else {
            let newest = if damaged.is_empty() { None } else { Some(damaged.swap_remove(0)) };
            return newest.map_or(Ok(None), |damaged| {
                Err(GatewayError::Damaged { error: error.to_string().trim_end().to_owned(), damaged })
            });
        };
        for damaged in damaged {
            tracing::error!(error = %damaged, "a kept configuration is passed over");
        }
        let (number, since) = (edition.number, edition.since);
        if matches!(error, GatewayError::Source(_)) {
            tracing::error!(%error, number, since, "the source of the configuration is gone: what it served last is started on");
        } else {
            tracing::error!(%error, number, since, "what the source of the configuration has is refused: what it served last is started on");
        }
        Ok(Some(texts))
    }

    /// What served last, for includes that are kept at a start; nothing where there are none.
    pub(super) fn last_kept(&self, texts: &Texts) -> Texts {
        if texts.included.is_empty() {
            return Texts::default();
        }
        let own = Texts { own: texts.own.clone(), ..Texts::default() };
        let state_dir = self.load(&own).ok().and_then(|loaded| loaded.config.state_dir);
        let folder = StateDir::place(state_dir.as_deref());
        let kept = folder.ok().and_then(|folder| History::of(&folder, self.sources.name()).latest().0);
        kept.map(|(_, texts)| texts).unwrap_or_default()
    }
}

impl Shared {
    /// A snapshot that was built after `previous`, or, when something was swapped meanwhile, another after what serves now:
    /// that one finds everything fetched and compiled.
    pub(super) async fn rebase(
        &self,
        running: &Running,
        loaded: &Loaded,
        previous: &Arc<Snapshot>,
        snapshot: Snapshot,
        overrides: Overrides,
    ) -> Result<(Snapshot, Overrides), GatewayError> {
        let (now, overrides_now) = (self.current.load_full(), running.overrides.under(&loaded.config));
        if Arc::ptr_eq(&now, previous) && overrides_now == overrides {
            return Ok((snapshot, overrides));
        }
        let snapshot = build(loaded, &overrides_now.choices(), Some(&now), &self.runtime).await?;
        Ok((snapshot, overrides_now))
    }

    /// Builds what texts say; nothing that serves is touched.
    pub(super) async fn prepare(&self, texts: &Texts) -> Result<Prepared, GatewayError> {
        let loaded = self.source.load(texts)?;
        let overrides = self.running.lock().await.overrides.under(&loaded.config);
        let previous = self.current.load_full();
        // Fetching and compiling hold nothing up.
        let snapshot = build(&loaded, &overrides.choices(), Some(&previous), &self.runtime).await?;
        let snapshot = first_answers(snapshot, self.runtime.trust()).await;
        Ok(Prepared { loaded, snapshot, overrides, previous })
    }

    /// Notes what serves now: for `status`, and for those who want it back.
    pub(super) fn note_texts(&self, running: &mut Running, attempt: Attempt, reason: &str) {
        let Attempt { texts, read, held } = attempt;
        for (include, faults) in &held {
            tracing::error!(include = %include.display(), "its last good version stays: {faults}");
        }
        let edition = match &read {
            // Whoever goes back finds what is kept already.
            None => self.history().of_texts(&texts),
            Some(_) => self.keep(&texts, reason, running.config.follow.history),
        };
        let sha256 = texts.sha256();
        running.texts = texts;
        let is_rolled_back = read.is_none();
        running.source_texts = read.unwrap_or_else(|| running.source_texts.clone());
        let mut told = self.told();
        let number = edition.map(|edition| edition.number);
        told.config = ToldConfig { sha256, edition: number, held, is_rolled_back };
        drop(told);
        self.committed.notify_one();
    }
}

impl Shared {
    /// Keeps what serves now, to go back to.
    fn keep(&self, texts: &Texts, reason: &str, most: usize) -> Option<Edition> {
        let sources = &self.source.sources;
        if sources.is_fixed() {
            return None;
        }
        let keep = |folder: &Path| {
            let kept = History::of(folder, sources.name()).keep(texts, reason, now(), most);
            kept.unwrap_or_else(|error| {
                tracing::error!(%error, folder = %folder.display(), "the configuration cannot be kept");
                None
            })
        };
        // At a start without its server, a gateway knows no other folder than the default one.
        if sources.is_remote()
            && let Ok(folder) = StateDir::place(None)
            && folder != self.state_dir
        {
            keep(&folder);
        }
        keep(&self.state_dir)
    }
}

impl From<SourceError> for GatewayError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Texts(faults) => Self::Config(faults),
            error => Self::Source(error),
        }
    }
}

/// Builds what a configuration says, after what serves.
pub(super) async fn build(
    loaded: &Loaded,
    choices: &Choices,
    previous: Option<&Snapshot>,
    runtime: &Runtime,
) -> Result<Snapshot, GatewayError> {
    let document = &loaded.document;
    snapshot::build(&loaded.config, choices, previous, runtime).await.map_err(|error| match error {
        BuildError::Config(faults) => GatewayError::Config(document.faults(faults)),
        BuildError::Plugin(faults) => GatewayError::Plugin(document.faults(faults)),
    })
}

/// What `status` says of the configuration.
#[derive(Debug, Default)]
pub(super) struct ToldConfig {
    pub(super) sha256: String,
    /// Its number among those that are kept.
    pub(super) edition: Option<u64>,
    /// Includes whose last good version stays, and why.
    pub(super) held: BTreeMap<PathBuf, String>,
    /// Whether somebody went back to this one, while the source has another.
    pub(super) is_rolled_back: bool,
}
