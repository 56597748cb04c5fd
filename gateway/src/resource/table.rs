//! Tables: large look-up data, loaded whole and never changed; a reload that finds another file makes another table.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Entries by key, each as JSON.
pub struct Table {
    pub name: Arc<str>,
    entries: HashMap<Box<str>, Box<str>>,
}

impl Table {
    pub fn new(name: Arc<str>, entries: HashMap<Box<str>, Box<str>>) -> Self {
        Self { name, entries }
    }

    /// The entry as JSON.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(AsRef::as_ref)
    }

    /// Whether the two could be told apart.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.entries == other.entries
    }
}

/// Without the entries: they are many, and may be keys of clients.
impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name).field("entries", &self.entries.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(&str, &str)]) -> Table {
        Table::new("clients".into(), entries.iter().map(|(key, json)| ((*key).into(), (*json).into())).collect())
    }

    #[test]
    fn entries_are_found_by_key_and_stay_out_of_messages() {
        let one = table(&[("a", "{\"id\":1}"), ("b", "2")]);
        assert_eq!((one.get("a"), one.get("b"), one.get("c")), (Some("{\"id\":1}"), Some("2"), None));
        assert_eq!(format!("{one:?}"), "Table { name: \"clients\", entries: 2 }");
        assert!(one.is_same(&table(&[("b", "2"), ("a", "{\"id\":1}")])));
        assert!(!one.is_same(&table(&[("a", "{\"id\":1}"), ("b", "3")])));
    }
}
