//! Sources: where a configuration is read from, now and when it has changed.
//!
//! ```text
//! files      files and folders, and when the system says that they have changed
//! remote     what etcd and Consul have in common: how they are named, asked and waited for
//! etcd       the keys below a prefix, read at one revision and watched from there
//! consul     the keys below a prefix, by blocking queries
//! history    configurations that served, kept in the state folder
//! ```
//!
//! A source yields texts and judges none. Whoever follows one reads again whenever something *may* have changed, and compares.

mod files;
mod remote;
mod etcd;
mod consul;
mod history;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use futures_util::future::select_all;

use self::consul::Consul;
use self::etcd::Etcd;
use self::files::Watch;
pub use self::history::{Edition, History, HistoryError};
use self::remote::Address;
pub use self::remote::RemoteError;
use crate::config::{Faults, Text, Texts, quick};
use crate::outbound::Trust;

/// One or several sources, each of which is laid over those before it.
pub struct Sources {
    name: String,
    places: Vec<Place>,
    /// What each of them had last.
    last: Mutex<Vec<Vec<Text>>>,
}

enum Place {
    /// Given by the command line itself.
    Fixed(Text),
    Path(PathBuf),
    Etcd(Box<Etcd>),
    Consul(Box<Consul>),
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// As the command line names it, it cannot be one.
    #[error("`{word}` is no source: {why}\nhelp: {help}")]
    Word { word: String, why: String, help: &'static str },
    /// It is not there, or does not answer.
    #[error("cannot read {name}: {error}")]
    Remote { name: String, error: RemoteError },
    #[error("{0}")]
    Texts(Faults),
}

impl Sources {
    /// Sources as the command line names them: `FILE`, `FOLDER`, `etcd://HOST:PORT/PREFIX`, `consul://HOST:PORT/PREFIX`.
    ///
    /// # Errors
    /// [`SourceError::Word`].
    pub fn parse(words: &[String], trust: &Trust) -> Result<Self, SourceError> {
        let places = words.iter().map(|word| Place::parse(word, trust)).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<String> = words.iter().map(|word| Address::shown(word)).collect();
        Ok(Self { name: names.join(", "), last: Mutex::new(vec![Vec::new(); places.len()]), places })
    }

    /// Everything that comes to `listen` goes to the endpoint `to`.
    pub fn quick(listen: SocketAddr, to: &str) -> Self {
        let places = vec![Place::Fixed(quick(listen, to))];
        Self { name: "the command line".to_owned(), places, last: Mutex::new(vec![Vec::new()]) }
    }

    /// What `status` calls them.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether some of it is on a server.
    pub fn is_remote(&self) -> bool {
        self.places.iter().any(|place| matches!(place, Place::Etcd(_) | Place::Consul(_)))
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
        for place in 0..self.places.len() {
            self.read_again(place).await?;
        }
        self.texts()
    }

    /// What they had when they were read last, with the files that they include as those are now.
    fn texts(&self) -> Result<Texts, SourceError> {
        let own: Vec<Text> = self.last.lock().unwrap_or_else(PoisonError::into_inner).concat();
        let mut texts = Texts { own, ..Texts::default() };
        texts.read_included();
        texts.check_size().map_err(SourceError::Texts)?;
        Ok(texts)
    }

    async fn read_again(&self, number: usize) -> Result<(), SourceError> {
        let remote = |name: &str| {
            let name = name.to_owned();
            move |error| SourceError::Remote { name, error }
        };
        let texts = match &self.places[number] {
            Place::Fixed(text) => vec![text.clone()],
            Place::Path(path) => Texts::read_path(path).map_err(SourceError::Texts)?,
            Place::Etcd(etcd) => etcd.read().await.map_err(remote(etcd.name()))?,
            Place::Consul(consul) => consul.read().await.map_err(remote(consul.name()))?,
        };
        self.last.lock().unwrap_or_else(PoisonError::into_inner)[number] = texts;
        Ok(())
    }
}

/// Follows sources: waits until something may have changed, and reads that.
pub struct Follower {
    watch: Watch,
}

/// Comes with the kind of source that may have changed, and the numbers of such.
type Waiting<'w> = Pin<Box<dyn Future<Output = (&'static str, Vec<usize>)> + Send + 'w>>;

/// What was found when something may have changed.
pub struct Found {
    /// What is followed: `watch` for files, `etcd`, `consul`.
    pub source: &'static str,
    pub texts: Result<Texts, SourceError>,
}

impl Follower {
    pub fn new() -> Self {
        Self { watch: Watch::new() }
    }

    /// Comes when some source may have changed. `known` tells which folders have files in them that count.
    pub async fn next(&mut self, sources: &Sources, known: &Texts) -> Found {
        let has_files =
            sources.places.iter().any(|place| matches!(place, Place::Path(_))) || !known.included.is_empty();
        let mut waits: Vec<Waiting<'_>> = Vec::new();
        for (number, place) in sources.places.iter().enumerate() {
            match place {
                Place::Etcd(etcd) => waits.push(Box::pin(async move {
                    etcd.changed().await;
                    ("etcd", vec![number])
                })),
                Place::Consul(consul) => waits.push(Box::pin(async move {
                    consul.changed().await;
                    ("consul", vec![number])
                })),
                Place::Fixed(_) | Place::Path(_) => {}
            }
        }
        if has_files {
            let paths = |place: &Place| matches!(place, Place::Path(_));
            let numbers = sources.places.iter().enumerate().filter(|(_, place)| paths(place)).map(|(number, _)| number);
            let numbers: Vec<usize> = numbers.collect();
            let folders = sources.folders(known);
            let watch = &mut self.watch;
            waits.push(Box::pin(async move {
                watch.changed(folders).await;
                ("watch", numbers)
            }));
        }
        if waits.is_empty() {
            return std::future::pending().await;
        }
        let ((source, numbers), ..) = select_all(waits).await;
        for number in numbers {
            if let Err(error) = sources.read_again(number).await {
                return Found { source, texts: Err(error) };
            }
        }
        Found { source, texts: sources.texts() }
    }
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
            Place::Fixed(_) | Place::Etcd(_) | Place::Consul(_) => None,
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
            Some(("etcd" | "etcds", _)) => Ok(Self::Etcd(Box::new(Etcd::new(Address::parse(word, 2379)?, trust)?))),
            Some(("consul" | "consuls", _)) => {
                Ok(Self::Consul(Box::new(Consul::new(Address::parse(word, 8500)?, trust)?)))
            }
            Some((scheme, _)) => Err(SourceError::Word {
                word: word.to_owned(),
                why: format!("nothing is read by `{scheme}`"),
                help: "write a path, `etcd://HOST:2379/PREFIX` or `consul://HOST:8500/PREFIX`",
            }),
        }
    }
}
