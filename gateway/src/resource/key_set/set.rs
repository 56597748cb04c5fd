//! A named key set, kept fresh in the background while tokens are verified by the keys that are there.
//!
//! What fails to load leaves the last good keys in use (stale-while-revalidate, RFC 5861 §3).

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderValue, Uri};
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::AbortHandle;

use super::algorithm::SecretAlgorithm;
use super::document::{DOCUMENT_BYTES_MAX, DocumentError, Keys, Secrets};
use super::verifier::{Rules, RulesError, Shared, Verifier};
use crate::outbound::{Fetch, FetchError, Fetched, Fetcher, Trust};
use crate::resource::Secret;

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum KeySetSource {
    /// A JWK Set, looked at every two seconds.
    File(PathBuf),
    /// A JWK Set, fetched again when it is as old as `refresh`.
    Url { url: Uri, refresh: Duration },
    /// One key that both sides hold.
    Secret { secret: Arc<Secret>, algorithm: SecretAlgorithm },
}

/// Why there is no key set.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeySetError(LoadError);

/// How a key set does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySetStatus {
    /// Keys in use; 0 while none could be loaded.
    pub keys: usize,
    /// All that have ended, and those of them that failed.
    pub loads: u64,
    pub failures: u64,
    /// When a load last found good keys, changed or not.
    pub last_good: Option<SystemTime>,
}

/// The keys under one name of the configuration.
pub struct KeySet {
    pub name: Arc<str>,
    source: KeySetSource,
    /// Written by the keeper alone; held for the clone of an `Arc`, and seldom: see [`Self::generation`].
    current: RwLock<(u64, Option<Arc<Keys>>)>,
    generation: AtomicU64,
    loading: Mutex<Loading>,
    /// Counts the loads that have ended, well or badly.
    ended: watch::Sender<u64>,
    wanted: Arc<Notify>,
    waiting: Semaphore,
    failures: AtomicU64,
    verifiers: Mutex<HashMap<Rules, Weak<Shared>>>,
    keeper: OnceLock<AbortHandle>,
}

/// Whether keys are on their way, and when somebody last asked for them.
#[derive(Default)]
struct Loading {
    is_under_way: bool,
    asked: Option<Instant>,
    /// What the last load failed of, so that the log says it once.
    fault: Option<String>,
    last_good: Option<SystemTime>,
}

/// Loads documents, and remembers the last one that was good.
struct Loader {
    from: Location,
    tag: Option<HeaderValue>,
    digest: Option<Vec<u8>>,
}

enum Location {
    File(PathBuf),
    Url { url: Uri, refresh: Duration, fetcher: Box<Fetcher> },
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot read {0}: {1}")]
    Read(String, std::io::Error),
    #[error("cannot fetch {0}: {1}")]
    Fetch(Uri, FetchError),
    #[error("cannot use {0}: {1}")]
    Document(String, DocumentError),
}

impl KeySetSource {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Url { url, refresh }, Self::Url { url: other, refresh: every }) => url == other && refresh == every,
            (Self::Secret { secret, algorithm }, Self::Secret { secret: other, algorithm: by }) => {
                Arc::ptr_eq(secret, other) && algorithm == by
            }
            _ => false,
        }
    }
}

impl KeySet {
    /// Opens a set. A file must be there and good; a URL may come later, and is waited for a moment.
    ///
    /// The set is kept fresh by a task of the runtime this is called on, until it is dropped.
    ///
    /// # Errors
    /// A file that gives no keys, or a secret that is too short.
    pub async fn open(name: Arc<str>, source: KeySetSource, trust: &Trust) -> Result<Arc<Self>, KeySetError> {
        let set = Arc::new(Self {
            name,
            source: source.clone(),
            current: RwLock::default(),
            generation: AtomicU64::new(0),
            loading: Mutex::default(),
            ended: watch::Sender::default(),
            wanted: Arc::default(),
            waiting: Semaphore::new(WAITING_MAX),
            failures: AtomicU64::new(0),
            verifiers: Mutex::default(),
            keeper: OnceLock::new(),
        });
        let from = match source {
            KeySetSource::Secret { secret, algorithm } => {
                let keys = Keys::secret(secret.expose(), algorithm);
                let keys = keys.map_err(|error| {
                    KeySetError(LoadError::Document(format!("the secret `{}`", secret.name), error))
                })?;
                set.adopt(keys);
                return Ok(set);
            }
            KeySetSource::File(path) => Location::File(path),
            KeySetSource::Url { url, refresh } => Location::Url { url, refresh, fetcher: Box::new(trust.fetcher()) },
        };
        let mut loader = Loader { from, tag: None, digest: None };
        let mut ended = set.ended.subscribe();
        let is_file = matches!(loader.from, Location::File(_));
        if is_file {
            let loaded = loader.load().await.map_err(KeySetError)?;
            set.settle(Ok(loaded));
        }
        let pause = is_file.then_some(FILE_INTERVAL);
        let keeper = tokio::spawn(keep(Arc::downgrade(&set), set.wanted.clone(), loader, pause));
        let _ = set.keeper.set(keeper.abort_handle());
        if !is_file && tokio::time::timeout(FIRST_LOAD_WAIT, ended.changed()).await.is_err() {
            tracing::warn!(key_set = &*set.name, "a key set is not there yet; its tokens are refused until it is");
        }
        Ok(set)
    }

    /// Whether it comes from there, so that a new snapshot may keep it.
    pub fn is_from(&self, source: &KeySetSource) -> bool {
        self.source.is_same(source)
    }

    /// A verifier by these rules.
    ///
    /// # Errors
    /// [`RulesError::TooMany`].
    pub fn verifier(self: &Arc<Self>, rules: Rules) -> Result<Verifier, RulesError> {
        let mut verifiers = self.verifiers.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = match verifiers.get(&rules).and_then(Weak::upgrade) {
            Some(shared) => shared,
            None => {
                verifiers.retain(|_, shared| shared.strong_count() > 0);
                if verifiers.len() >= VERIFIERS_MAX {
                    return Err(RulesError::TooMany(VERIFIERS_MAX));
                }
                let shared = Arc::new(Shared::new(rules.clone()));
                verifiers.insert(rules, Arc::downgrade(&shared));
                shared
            }
        };
        Ok(Verifier::new(self.clone(), shared))
    }

    pub fn status(&self) -> KeySetStatus {
        KeySetStatus {
            keys: self.keys().1.map_or(0, |keys| keys.len()),
            loads: *self.ended.borrow(),
            failures: self.failures.load(Ordering::Relaxed),
            last_good: self.loading().last_good,
        }
    }

    /// Counts the times that the keys changed: whoever has seen this one has the newest keys.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn keys(&self) -> (u64, Option<Arc<Keys>>) {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the keys loaded again, and waits for the end of that. Says whether there was a load to wait for: nobody can
    /// make the gateway load more often than every ten seconds, nor hold more than so many calls up.
    pub(super) async fn reload(&self) -> bool {
        let Ok(_place) = self.waiting.try_acquire() else { return false };
        let mut ended = self.ended.subscribe();
        if !self.ask() {
            return false;
        }
        matches!(tokio::time::timeout(WAIT_MAX, ended.changed()).await, Ok(Ok(())))
    }

    fn ask(&self) -> bool {
        if self.keeper.get().is_none() {
            return false;
        }
        let mut loading = self.loading();
        if loading.is_under_way {
            return true;
        }
        if loading.asked.is_some_and(|asked| asked.elapsed() < ASK_INTERVAL) {
            return false;
        }
        loading.asked = Some(Instant::now());
        loading.is_under_way = true;
        self.wanted.notify_one();
        true
    }

    fn settle(&self, loaded: Result<Option<(Keys, Vec<String>)>, LoadError>) {
        let key_set = &*self.name;
        let before = self.loading().fault.take();
        match loaded {
            Ok(changed) => {
                self.loading().last_good = Some(SystemTime::now());
                if let Some((keys, left_out)) = changed {
                    tracing::info!(key_set, keys = keys.len(), ?left_out, "loaded a key set");
                    self.adopt(keys);
                } else if before.is_some() {
                    tracing::info!(key_set, "a key set can be loaded again, and is unchanged");
                }
            }
            Err(error) => {
                let fault = error.to_string();
                self.failures.fetch_add(1, Ordering::Relaxed);
                if before.as_ref() != Some(&fault) {
                    match self.keys().1 {
                        Some(_) => {
                            tracing::warn!(
                                key_set,
                                error = fault,
                                "a key set cannot be loaded; the last good keys stay in use"
                            );
                        }
                        None => {
                            tracing::warn!(key_set, error = fault, "a key set cannot be loaded; its tokens are refused")
                        }
                    }
                }
                self.loading().fault = Some(fault);
            }
        }
        self.loading().is_under_way = false;
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn adopt(&self, keys: Keys) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = (current.0 + 1, Some(Arc::new(keys)));
        self.generation.store(current.0, Ordering::Release);
    }

    fn loading(&self) -> std::sync::MutexGuard<'_, Loading> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keeper: loads when it is time or when somebody asks. It holds the set only between two waits, so that the last owner's
/// drop ends both.
async fn keep(set: Weak<KeySet>, wanted: Arc<Notify>, mut loader: Loader, mut pause: Option<Duration>) {
    loop {
        if let Some(pause) = pause {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = wanted.notified() => {}
            }
        }
        let Some(this) = set.upgrade() else { return };
        this.loading().is_under_way = true;
        drop(this);
        let loaded = loader.load().await;
        pause = Some(loader.pause(loaded.is_ok()));
        let Some(this) = set.upgrade() else { return };
        this.settle(loaded);
    }
}

impl Loader {
    fn pause(&self, is_well: bool) -> Duration {
        match &self.from {
            Location::File(_) => FILE_INTERVAL,
            Location::Url { refresh, .. } if is_well => *refresh,
            Location::Url { refresh, .. } => RETRY_INTERVAL.min(*refresh),
        }
    }

    /// The keys, and why some are left out; `None` when nothing changed since the last good load.
    async fn load(&mut self) -> Result<Option<(Keys, Vec<String>)>, LoadError> {
        let (name, secrets, document, tag) = match &self.from {
            Location::File(path) => {
                let document = read(path).await.map_err(|error| LoadError::Read(path.display().to_string(), error))?;
                (path.display().to_string(), Secrets::Allowed, document.into(), None)
            }
            Location::Url { url, fetcher, .. } => {
                let bytes_max = DOCUMENT_BYTES_MAX as u64;
                let fetch = Fetch { url, known: self.tag.as_ref(), bytes_max, timeout: FETCH_TIMEOUT };
                match fetcher.fetch(fetch).await.map_err(|error| LoadError::Fetch(url.clone(), error))? {
                    Fetched::Unchanged => return Ok(None),
                    Fetched::Document { body, tag } => (url.to_string(), Secrets::Refused, body, tag),
                }
            }
        };
        let digest = digest(&SHA256, &document).as_ref().to_vec();
        if self.digest.as_ref() == Some(&digest) {
            return Ok(None);
        }
        let keys = Keys::read(&document, secrets).map_err(|error| LoadError::Document(name, error))?;
        (self.digest, self.tag) = (Some(digest), tag);
        Ok(Some(keys))
    }
}

/// A byte more than is taken is enough to see that there are too many.
async fn read(path: &PathBuf) -> std::io::Result<Vec<u8>> {
    let mut document = Vec::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut document).await?;
    Ok(document)
}

impl Drop for KeySet {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("name", &self.name).field("source", &self.source).finish_non_exhaustive()
    }
}

const FILE_INTERVAL: Duration = Duration::from_secs(2);
const FETCH_TIMEOUT: Duration = Duration::from_secs(15);
/// After a load that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// How long a start or reload waits for a URL.
const FIRST_LOAD_WAIT: Duration = Duration::from_secs(3);
/// Between two loads that tokens asked for.
const ASK_INTERVAL: Duration = Duration::from_secs(10);
/// How long a token waits for a load, and how many do at a time.
const WAIT_MAX: Duration = Duration::from_secs(2);
const WAITING_MAX: usize = 64;
const VERIFIERS_MAX: usize = 256;
