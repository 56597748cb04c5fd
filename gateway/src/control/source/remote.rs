//! A configuration on a server: what etcd and Consul have in common. What may be below a prefix, when it is asked again after a failure, and what
//! that failure was.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::Address;
use super::{SourceError, consul, etcd};
use crate::config::{TEXTS_BYTES_MAX, Text};
use crate::outbound::{AskError, Trust, pause};

/// Why a server has no configuration to give.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("there is nothing below this prefix")]
    Empty,
    #[error("there are more than {KEYS_MAX} keys below this prefix")]
    TooManyKeys,
    #[error("what is below this prefix is larger than {} MiB", TEXTS_BYTES_MAX >> 20)]
    TooLarge,
    #[error("the value of `{0}` is not text in UTF-8")]
    NotText(String),
}

/// A prefix of keys on a server.
pub(super) struct Remote {
    address: Address,
    store: Store,
    state: Mutex<State>,
}

enum Store {
    Etcd(etcd::Prefix),
    Consul(consul::Prefix),
}

#[derive(Default)]
struct State {
    /// Failures in a row.
    failures: u32,
    /// Why waiting for a change came to nothing, until somebody has been told.
    failed: Option<RemoteError>,
}

/// Keys with their values, in the order of the keys.
pub(super) type Entries = Vec<(String, Vec<u8>)>;

impl Remote {
    pub(super) fn etcd(word: &str, trust: &Trust) -> Result<Self, SourceError> {
        let address = Address::parse(word, 2379)?;
        Ok(Self { store: Store::Etcd(etcd::Prefix::new(&address, trust)?), address, state: Mutex::default() })
    }

    pub(super) fn consul(word: &str, trust: &Trust) -> Result<Self, SourceError> {
        let address = Address::parse(word, 8500)?;
        Ok(Self { store: Store::Consul(consul::Prefix::new(&address, trust)?), address, state: Mutex::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.address.name
    }

    /// What metrics and the log call such a source.
    pub(super) fn kind(&self) -> &'static str {
        match self.store {
            Store::Etcd(_) => "etcd",
            Store::Consul(_) => "consul",
        }
    }

    /// All of it, as it is now.
    pub(super) async fn read(&self) -> Result<Vec<Text>, RemoteError> {
        let read = match &self.store {
            Store::Etcd(prefix) => prefix.read().await,
            Store::Consul(prefix) => prefix.read().await,
        };
        self.noted(read)
    }

    /// What came of waiting for a change: all of it, or why there is nothing.
    pub(super) async fn take(&self) -> Result<Vec<Text>, RemoteError> {
        let failed = self.state().failed.take();
        let read = match (failed, &self.store) {
            (Some(error), _) => Err(error),
            (None, Store::Etcd(prefix)) => prefix.read().await,
            (None, Store::Consul(prefix)) => prefix.take().await,
        };
        self.noted(read)
    }

    /// Comes when something may have changed since it was read; after failures, when it is time to try again.
    pub(super) async fn changed(&self) {
        let failures = self.state().failures;
        if failures > 0 {
            return tokio::time::sleep(pause(failures)).await;
        }
        let changed = match &self.store {
            Store::Etcd(prefix) => prefix.changed().await,
            Store::Consul(prefix) => prefix.changed().await,
        };
        self.state().failed = changed.err();
    }

    /// What this failure is to whoever reads several sources.
    pub(super) fn failed(&self, error: RemoteError) -> SourceError {
        SourceError::Remote { name: self.name().to_owned(), error }
    }

    fn noted(&self, read: Result<Entries, RemoteError>) -> Result<Vec<Text>, RemoteError> {
        let texts = read.and_then(|entries| self.texts(entries));
        let mut state = self.state();
        state.failures = if texts.is_ok() { 0 } else { state.failures.saturating_add(1) };
        texts
    }

    /// The texts of keys below the prefix, as many and as large as may be.
    fn texts(&self, entries: Entries) -> Result<Vec<Text>, RemoteError> {
        let (mut texts, mut bytes) = (Vec::new(), 0);
        for (key, value) in entries {
            // A key that ends in a slash is a folder's own.
            if !self.address.has(&key) || (key.ends_with('/') && value.is_empty()) {
                continue;
            }
            bytes += value.len();
            match (texts.len(), bytes) {
                (KEYS_MAX, _) => return Err(RemoteError::TooManyKeys),
                (_, bytes) if bytes > TEXTS_BYTES_MAX => return Err(RemoteError::TooLarge),
                _ => texts.push(self.text(&key, value)?),
            }
        }
        // Nothing at all is taken for a mistake: a prefix that is misspelt, or somebody who is about to write.
        if texts.is_empty() { Err(RemoteError::Empty) } else { Ok(texts) }
    }

    /// The text of a key. Relative paths in it are meant from where the gateway was started.
    fn text(&self, key: &str, value: Vec<u8>) -> Result<Text, RemoteError> {
        let (scheme, rest) = self.name().split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        let text = String::from_utf8(value).map_err(|_| RemoteError::NotText(key.to_owned()))?;
        let name = format!("{scheme}://{host}/{}", key.trim_start_matches('/'));
        Ok(Text { name, folder: PathBuf::new(), text, unread: None })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RemoteError {
    /// What of it people need to be told apart.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Ask(error) => error.kind(),
            Self::Empty => "empty",
            Self::TooManyKeys | Self::TooLarge => "too large",
            Self::NotText(_) => "malformed",
        }
    }
}

/// Keys below one prefix.
pub(super) const KEYS_MAX: usize = 1024;
/// Values come in base64, with their keys.
pub(super) const ANSWER_BYTES_MAX: usize = TEXTS_BYTES_MAX / 3 * 4 + (1 << 20);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_so_much_and_no_more() {
        let remote = Remote::etcd("etcd://h/a/", &Trust::default()).unwrap();
        let texts = |keys: usize, value: usize| {
            let entries = (0..keys).map(|number| (format!("/a/{number}"), vec![b'x'; value]));
            remote.texts(entries.collect()).map(|texts| texts.len()).map_err(|error| error.to_string())
        };
        assert_eq!(texts(KEYS_MAX, 1), Ok(KEYS_MAX));
        assert!(texts(KEYS_MAX + 1, 1).unwrap_err().contains("more than 1024 keys"));
        assert_eq!(texts(4, TEXTS_BYTES_MAX / 4), Ok(4));
        assert!(texts(5, TEXTS_BYTES_MAX / 4).unwrap_err().contains("larger than 64 MiB"));
        assert!(texts(0, 1).unwrap_err().contains("nothing below"));
        let binary = vec![("/a/x".to_owned(), vec![0xff]), ("/b".to_owned(), vec![0xff])];
        assert!(remote.texts(binary).unwrap_err().to_string().contains("`/a/x` is not text"));
    }
}
