//! Sources: where a configuration is read from, now and when it has changed.
//!
//! ```text
//! files      files and folders, and when the system says that they have changed
//! address    how a prefix of keys on a server is named, and what it takes to be let in
//! remote     what etcd and Consul have in common: how much may be there, and what comes after a failure
//! etcd       the keys below a prefix, read at one revision and watched from there
//! consul     the keys below a prefix, by blocking queries
//! history    configurations that served, kept in the state folder
//! ```
//!
//! A source yields texts and judges none. Whoever follows one reads again whenever something *may* have changed, and compares.

mod files;
mod address;
mod remote;
mod etcd;
mod consul;
mod history;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use self::address::Address;
use self::files::Watch;
pub use self::history::{Edition, History, HistoryError};
use self::remote::Remote;
pub use self::remote::RemoteError;
use crate::config::{Faults, Text, Texts, quick};
use crate::outbound::Trust;

/// One or several sources, each of which is laid over those before it.
pub struct Sources {
    name: String,
    places: Vec<Place>,
    /// What each of them had last.
    last: Mutex<Vec<Vec<Text>>>,
    /// Held while one is read, so that what was read last is what it had last.
    reading: tokio::sync::Mutex<()>,
}

enum Place {
    /// Given by the command line itself.
    Fixed(Text),
    Path(PathBuf),
    Remote(Arc<Remote>),
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// As the command line names it, it cannot be one.
    #[error("`{word}` is no source: {why}\nhelp: {help}")]
    Word { word: String, why: String, help: &'static str },
    /// It is not there, or does not answer.
    #[error("cannot read {name}: {error}{}", hint(error))]
    Remote { name: String, error: RemoteError },
    #[error("{0}")]
    Texts(Faults),
}

/// What helps where TLS fails: its own words name no option.
fn hint(error: &RemoteError) -> &'static str {
    let error = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    if has(&["UnknownIssuer", "CaUsedAsEndEntity", "BadSignature"]) {
        "\nhelp: its certificate is signed by an authority that is not trusted here: name it by `ca=PATH`"
    } else if has(&["CertificateRequired", "BadCertificate", "UnknownCA", "alert: AccessDenied"]) {
        "\nhelp: the server wants another certificate of the gateway's: name it by `cert=PATH` and `key=PATH`"
    } else {
        ""
    }
}

impl SourceError {
    /// What of it people need to be told apart: a reason that changes within a kind is no news.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Word { .. } => "word",
            Self::Remote { error, .. } => error.kind(),
            Self::Texts(_) => "files",
        }
    }
}

impl Sources {
    /// Sources as the command line names them: `FILE`, `FOLDER`, `etcd://HOST:PORT/PREFIX`, `consul://HOST:PORT/PREFIX`.
    ///
    /// # Errors
    /// [`SourceError::Word`].
    pub fn parse(words: &[String], trust: &Trust) -> Result<Self, SourceError> {
        let places = words.iter().map(|word| Place::parse(word, trust)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = words.iter().map(|word| Address::shown(word)).collect();
        Ok(Self::of(names.join(", "), places))
    }

    /// Everything that comes to `listen` goes to the endpoint `to`.
    pub fn quick(listen: SocketAddr, to: &str) -> Self {
        Self::of("the command line".to_owned(), vec![Place::Fixed(quick(listen, to))])
    }

    fn of(name: String, places: Vec<Place>) -> Self {
        let last = Mutex::new(vec![Vec::new(); places.len()]);
        Self { name, places, last, reading: tokio::sync::Mutex::default() }
    }

    /// What `status` calls them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether some of it is on a server.
    pub fn is_remote(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Remote(_)))
    }

    /// Whether the command line itself says all of it.
    pub fn is_fixed(&self) -> bool {
        self.places.iter().all(|place| matches!(place, Place::Fixed(_)))
    }

    /// The one file that all of it is, where that is so.
    pub fn only_file(&self) -> Option<&Path> {
        match self.places.as_slice() {
            [Place::Path(path)] if !path.is_dir() => Some(path),
            _ => None,
        }
    }

    /// Reads all of them.
    ///
    /// # Errors
    /// [`SourceError`], of the first that cannot be read.
    pub async fn read(&self) -> Result<Texts, SourceError> {
        let _turn = self.reading.lock().await;
        for (number, place) in self.places.iter().enumerate() {
            let texts = match place {
                Place::Fixed(text) => vec![text.clone()],
                Place::Path(path) => read_path(path).await?,
                Place::Remote(remote) => remote.read().await.map_err(|error| remote.failed(error))?,
            };
            self.keep(number, texts);
        }
        self.latest().await
    }

    /// What they had when they were read last, with the files that they include as those are now.
    ///
    /// # Errors
    /// It is too much.
    pub async fn latest(&self) -> Result<Texts, SourceError> {
        let own: Vec<Text> = self.last.lock().unwrap_or_else(PoisonError::into_inner).concat();
        let mut texts = Texts { own, ..Texts::default() };
        let texts = aside(move || {
            texts.read_included();
            texts
        });
        let texts = texts.await;
        texts.check_size().map_err(SourceError::Texts)?;
        Ok(texts)
    }

    /// Reads those that may have changed.
    async fn read_changed(&self, changed: &Changed) -> Result<Texts, SourceError> {
        let _turn = self.reading.lock().await;
        for (number, place) in self.places.iter().enumerate() {
            match (place, changed) {
                (Place::Path(path), Changed::Files) => self.keep(number, read_path(path).await?),
                (Place::Remote(remote), Changed::Remote(_, one)) if *one == number => {
                    self.keep(number, remote.take().await.map_err(|error| remote.failed(error))?);
                }
                _ => {}
            }
        }
        self.latest().await
    }

    fn keep(&self, number: usize, texts: Vec<Text>) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[number] = texts;
    }
}

/// Follows sources: waits until something may have changed, and reads that.
pub struct Follower {
    watch: Watch,
    /// Of the sources on servers, each by its number: nothing else ends a wait for one.
    waiting: FuturesUnordered<Waiting>,
    waited_for: BTreeSet<usize>,
}

/// Comes when a source on a server may have changed.
type Waiting = Pin<Box<dyn Future<Output = Changed> + Send>>;

/// What may have changed.
enum Changed {
    Files,
    /// One on a server, and what kind of server it is.
    Remote(&'static str, usize),
}

/// What was found when something may have changed.
pub struct Found {
    /// What is followed: `watch` for files, `etcd`, `consul`.
    pub source: &'static str,
    pub texts: Result<Texts, SourceError>,
}

impl Follower {
    pub fn new() -> Self {
        Self { watch: Watch::new(), waiting: FuturesUnordered::new(), waited_for: BTreeSet::new() }
    }

    /// Comes when some source may have changed. `known` tells which folders have files in them that count.
    pub async fn next(&mut self, sources: &Sources, known: &Texts) -> Found {
        for (number, place) in sources.places.iter().enumerate() {
            if let Place::Remote(remote) = place
                && self.waited_for.insert(number)
            {
                let remote = remote.clone();
                self.waiting.push(Box::pin(async move {
                    remote.changed().await;
                    Changed::Remote(remote.kind(), number)
                }));
            }
        }
        let has_files =
            sources.places.iter().any(|place| matches!(place, Place::Path(_))) || !known.included.is_empty();
        let changed = tokio::select! {
            Some(changed) = self.waiting.next() => changed,
            () = self.watch.changed(sources.folders(known)), if has_files => Changed::Files,
            else => return std::future::pending().await,
        };
        let texts = sources.read_changed(&changed).await;
        let source = match changed {
            Changed::Files => "watch",
            Changed::Remote(kind, number) => {
                self.waited_for.remove(&number);
                kind
            }
        };
        Found { source, texts }
    }
}

async fn read_path(path: &Path) -> Result<Vec<Text>, SourceError> {
    let path = path.to_owned();
    aside(move || Texts::read_path(&path)).await.map_err(SourceError::Texts)
}

/// Files may be large, slow, or pipes: nothing else of the control plane waits for them.
async fn aside<T: Send + 'static>(reading: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(reading)
        .await
        .expect("reading files does not panic, and the runtime outlives its tasks")
}

impl Default for Follower {
    fn default() -> Self {
        Self::new()
    }
}

impl Sources {
    /// The folders of the files that these sources are, or were.
    fn folders(&self, known: &Texts) -> BTreeSet<PathBuf> {
        let paths = self.places.iter().filter_map(|place| match place {
            Place::Path(path) if path.is_dir() => Some(path.clone()),
            Place::Path(path) => path.parent().map(Path::to_owned),
            Place::Fixed(_) | Place::Remote(_) => None,
        });
        let included = known.included.iter().flat_map(|(pattern, texts)| {
            let parents = texts.iter().map(|text| text.folder.clone());
            parents.chain(pattern.parent().map(Path::to_owned))
        });
        let here = |path: PathBuf| if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        paths.chain(included).map(here).collect()
    }
}

impl Place {
    fn parse(word: &str, trust: &Trust) -> Result<Self, SourceError> {
        match word.split_once("://") {
            None => Ok(Self::Path(word.into())),
            Some(("etcd" | "etcds", _)) => Ok(Self::Remote(Arc::new(Remote::etcd(word, trust)?))),
            Some(("consul" | "consuls", _)) => Ok(Self::Remote(Arc::new(Remote::consul(word, trust)?))),
            Some((scheme, _)) => Err(SourceError::Word {
                word: word.to_owned(),
                why: format!("nothing is read by `{scheme}`"),
                help: "write a path, `etcd://HOST:2379/PREFIX` or `consul://HOST:8500/PREFIX`",
            }),
        }
    }
}
