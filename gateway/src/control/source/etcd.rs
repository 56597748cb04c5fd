//! A prefix of keys in etcd: read at one revision, and watched from there on.
//!
//! A watch only tells that something has changed; then all is read again, which is right also after a compaction, a restart of the server
//! or a stream that broke off.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::SourceError;
use super::address::Address;
use super::remote::{Entries, KEYS_MAX, RemoteError};
use crate::outbound::{AskError, Etcd, KeyValue, Login, Mark, Trust};

pub(super) struct Prefix {
    etcd: Etcd,
    /// Of what was read last.
    mark: Mutex<Option<Mark>>,
}

impl Prefix {
    pub(super) fn new(address: &Address, trust: &Trust) -> Result<Self, SourceError> {
        let user = address.user.clone();
        let login = user.map(|user| Login { user, password: address.credential.clone() });
        Ok(Self { etcd: Etcd::new(address.server(trust)?, login, &address.prefix), mark: Mutex::default() })
    }

    pub(super) async fn read(&self) -> Result<Entries, RemoteError> {
        // One more than may be tells that there are too many, also where some are not below the prefix.
        let range = self.etcd.read(Some(KEYS_MAX + 1)).await?;
        if range.kvs.len() > KEYS_MAX {
            return Err(RemoteError::TooManyKeys);
        }
        let mark = range.mark();
        let decoded =
            |text: &str| BASE64.decode(text).map_err(|error| AskError::Malformed(format!("it is not base64: {error}")));
        let entry = |entry: &KeyValue| {
            let key = String::from_utf8_lossy(&decoded(&entry.key)?).into_owned();
            Ok((key, decoded(&entry.value)?))
        };
        let entries: Result<Entries, AskError> = range.kvs.iter().map(entry).collect();
        let entries = entries?;
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        Ok(entries)
    }

    /// Comes when something may have changed since it was read.
    pub(super) async fn changed(&self) -> Result<(), RemoteError> {
        let mark = *self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mark) = mark {
            self.etcd.changed(mark).await?;
            tokio::time::sleep(DEBOUNCE).await;
        }
        Ok(())
    }
}

/// Several keys are often written one after the other.
const DEBOUNCE: Duration = Duration::from_millis(200);
