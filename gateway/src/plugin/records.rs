//! What the library remembers beside components: which of them served last, and what came from which URL.
//!
//! A file for each record, so that a damaged one takes no other along.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::shelf::{Item, Shelf};

/// Records of one state folder.
#[derive(Debug, Clone)]
pub(super) struct Records(Shelf);

/// What served last under a plugin's name from a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastGood {
    pub(super) plugin: String,
    pub(super) source: String,
    pub(super) sha256: Digest,
}

/// What a URL led to, and the entity tag (RFC 9110 §8.8.3) by which to ask whether it still does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Download {
    pub(super) url: String,
    pub(super) sha256: Digest,
    pub(super) tag: String,
}

/// A record, and what it is found by.
pub(super) trait Record: Serialize + DeserializeOwned + PartialEq {
    /// Anything at all: the file's name is its digest.
    fn key(&self) -> String;
}

impl Record for LastGood {
    fn key(&self) -> String {
        Self::key_of(&self.plugin, &self.source)
    }
}

impl LastGood {
    /// No plugin's name contains a line break.
    pub(super) fn key_of(plugin: &str, source: &str) -> String {
        format!("plugin {plugin}\n{source}")
    }
}

impl Record for Download {
    fn key(&self) -> String {
        Self::key_of(&self.url)
    }
}

impl Download {
    pub(super) fn key_of(url: &str) -> String {
        format!("url {url}")
    }
}

impl Records {
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        Shelf::open(path).map(Self)
    }

    pub(super) fn folder(&self) -> &Path {
        self.0.folder()
    }

    /// Writes the record in the place of the one before it, unless that says the same.
    pub(super) fn write<R: Record>(&self, record: &R) -> io::Result<()> {
        let key = record.key();
        if self.read::<R>(&key).as_ref() == Some(record) {
            self.0.touch(&name(&key));
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(record).expect("a record is plain JSON");
        self.0.put(&name(&key), &text)
    }

    /// The record under the key. One that is damaged is said, and no record.
    pub(super) fn read<R: Record>(&self, key: &str) -> Option<R> {
        let path = self.0.path(&name(key));
        let record = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<R>(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
        };
        let record = record.and_then(|record| {
            if record.key() == key { Ok(record) } else { Err("it is about something else".to_owned()) }
        });
        record
            .inspect_err(|error| {
                tracing::warn!(path = %path.display(), %error, "a record of a component cannot be used");
            })
            .ok()
    }

    /// As [`Shelf::has_grown`].
    pub(super) fn has_grown(&self) -> bool {
        self.0.has_grown()
    }

    /// Those beyond the bound, which were used least recently.
    pub(super) fn superfluous(&self) -> io::Result<Vec<Item>> {
        let mut items = self.0.items()?;
        items.truncate(items.len().saturating_sub(RECORDS_MAX));
        Ok(items)
    }
}

fn name(key: &str) -> String {
    format!("{}.json", Digest::of(key.as_bytes()))
}

/// Far more than a gateway declares plugins, and some 300 bytes each.
const RECORDS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_damaged_record_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::open(folder.path().join("records")).unwrap();
        let record = Download { url: "https://a".to_owned(), sha256: Digest::of(b"1"), tag: "\"1\"".to_owned() };
        let another = serde_json::to_vec(&Download { url: "https://b".to_owned(), ..record.clone() }).unwrap();
        let path = records.0.path(&name(&record.key()));
        for damage in [b"".as_slice(), b"{", b"\xff\xfe", br#"{"url": "https://a"}"#, &another] {
            records.write(&record).unwrap();
            assert_eq!(records.read(&record.key()), Some(record.clone()));
            fs::write(&path, damage).unwrap();
            assert_eq!(records.read::<Download>(&record.key()), None);
        }
        records.write(&record).unwrap();
        assert_eq!(records.read(&record.key()), Some(record));
    }
}
