//! Tables: look-up data that stays at the host, such as the keys of a hundred thousand clients.
//!
//! What a table holds is replaced as a whole; whoever reads the file does that.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

/// Entries by key, each as JSON.
pub struct Table {
    pub name: Arc<str>,
    /// Where the entries come from.
    pub file: PathBuf,
    /// Held for one look, and for the moment in which others take its place.
    entries: RwLock<Entries>,
}

type Entries = HashMap<Box<str>, Box<str>>;

impl Table {
    pub fn new(name: Arc<str>, file: PathBuf, entries: Entries) -> Self {
        Self { name, file, entries: RwLock::new(entries) }
    }

    /// The entry as JSON.
    pub fn get(&self, key: &str) -> Option<String> {
        self.entries().get(key).map(|json| json.as_ref().to_owned())
    }

    /// Puts these entries in the place of all that there were. Whether they differ.
    pub fn replace(&self, entries: Entries) -> bool {
        let differ = *self.entries() != entries;
        if differ {
            let old = std::mem::replace(&mut *self.entries.write().unwrap_or_else(PoisonError::into_inner), entries);
            // After the lock: there may be a million of them.
            drop(old);
        }
        differ
    }

    pub fn len(&self) -> usize {
        self.entries().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entries(&self) -> RwLockReadGuard<'_, Entries> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the two could be told apart.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.file == other.file && *self.entries() == *other.entries()
    }
}

/// Without the entries: they are many, and may be keys of clients.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).field("entries", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Table {
        Table::new(
            "clients".into(),
            "clients.yaml".into(),
            entries.iter().map(|(key, json)| ((*key).into(), (*json).into())).collect(),
        )
    }

    #[test]
    fn entries_are_found_by_key_and_stay_out_of_messages() {
        let one = table(&[("a", "{\"id\":1}"), ("b", "2")]);
        let get = |key| one.get(key);
        assert_eq!((get("a").as_deref(), get("b").as_deref(), get("c")), (Some("{\"id\":1}"), Some("2"), None));
        assert_eq!(format!("{one:?}"), "Table { name: \"clients\", entries: 2 }");
        assert!(one.is_same(&table(&[("b", "2"), ("a", "{\"id\":1}")])));
        assert!(!one.is_same(&table(&[("a", "{\"id\":1}"), ("b", "3")])));
        assert!(!one.is_same(&Table { file: "other.yaml".into(), ..table(&[("b", "2"), ("a", "{\"id\":1}")]) }));
        let entries = || HashMap::from([("c".into(), "3".into())]);
        assert!(one.replace(entries()) && !one.replace(entries()));
        assert_eq!((one.get("a"), one.get("c").as_deref(), one.len()), (None, Some("3"), 1));
    }
}
