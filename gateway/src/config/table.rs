//! Files of tables: a map of keys to anything, in YAML or, with the ending `.json`, in JSON.
//!
//! They hold data and no settings: there are no variables in them, and a fault is told by its place alone, because a key may
//! be somebody's secret.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

/// Entries by key, each as JSON.
pub type TableEntries = HashMap<Box<str>, Box<str>>;

/// Why a file is no table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error("it has more than {TABLE_BYTES_MAX} bytes")]
    TooLarge,
    #[error(transparent)]
    Yaml(#[from] serde_yaml::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Reads a table.
///
/// # Errors
/// Any [`TableError`].
pub fn load_table(path: &Path) -> Result<TableEntries, TableError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TABLE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TABLE_BYTES_MAX {
        return Err(TableError::TooLarge);
    }
    let is_json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    let Table(entries) = if is_json { serde_json::from_slice(&bytes)? } else { serde_yaml::from_slice(&bytes)? };
    Ok(entries)
}

struct Table(TableEntries);

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = TableEntries;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of keys to entries")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TableEntries, A::Error> {
                let mut entries = HashMap::new();
                while let Some(Key(key)) = map.next_key()? {
                    // To text at once: a table of values would take several times the room.
                    let value: serde_json::Value = map.next_value()?;
                    let number = entries.len() + 1;
                    match entries.entry(key) {
                        Entry::Vacant(place) => drop(place.insert(value.to_string().into())),
                        Entry::Occupied(_) => {
                            return Err(de::Error::custom(format!("entry {number} has the key of an earlier one")));
                        }
                    }
                }
                Ok(entries)
            }

            /// A file of comments alone.
            fn visit_none<E>(self) -> Result<TableEntries, E> {
                Ok(HashMap::new())
            }
        }

        deserializer.deserialize_any(Map).map(Table)
    }
}

/// A key as it is written; YAML takes `42` for a number.
struct Key(Box<str>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Box<str>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key of text, or a whole number")
            }

            fn visit_str<E>(self, text: &str) -> Result<Box<str>, E> {
                Ok(text.into())
            }

            fn visit_u64<E>(self, number: u64) -> Result<Box<str>, E> {
                Ok(number.to_string().into())
            }

            fn visit_i64<E>(self, number: i64) -> Result<Box<str>, E> {
                Ok(number.to_string().into())
            }
        }

        deserializer.deserialize_any(Text).map(Key)
    }
}

/// A million entries of 64 bytes.
const TABLE_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn load(name: &str, text: &str) -> Result<Vec<(String, String)>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let entries = load_table(&path).map_err(|error| error.to_string())?;
        let mut entries: Vec<_> = entries.into_iter().map(|(key, json)| (key.into(), json.into())).collect();
        entries.sort();
        Ok(entries)
    }

    #[test]
    fn both_forms_give_the_same_entries() {
        let expected = [("42", "true"), ("ada", "{\"id\":1,\"scopes\":[\"read\"]}"), ("bob", "\"x\"")];
        let expected = expected.map(|(key, json)| (key.to_owned(), json.to_owned()));
        let yaml = "# clients\nada: { id: 1, scopes: [read] }\nbob: x\n42: true\n";
        let json = r#"{"ada": {"scopes": ["read"], "id": 1}, "bob": "x", "42": true}"#;
        for (name, text) in [("t.yaml", yaml), ("t.yaml", json), ("t.json", json), ("t.JSON", json)] {
            assert_eq!(load(name, text).unwrap(), expected, "{name}: {text}");
        }
        assert_eq!(load("t.yaml", "# nothing yet\n").unwrap(), []);
    }

    #[test]
    fn what_is_no_table_is_told_by_its_place_and_without_its_keys() {
        for (name, text, words) in [
            ("t.yaml", "- a\n- b\n", "expected a map of keys to entries"),
            ("t.yaml", "hunter2: 1\nx: 2\nhunter2: 3\n", "entry 3 has the key of an earlier one"),
            ("t.json", "{\"hunter2\": 1, \"hunter2\": 2}", "entry 2 has the key of an earlier one at line 1"),
            ("t.json", "{\"hunter2\": 1", "EOF while parsing"),
            ("t.json", "hunter2: 1", "line 1"),
            ("t.yaml", "hunter2: [", "line 2"),
        ] {
            let error = load(name, text).unwrap_err();
            assert!(error.contains(words) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_table_has_a_largest_size() {
        let padding = "#".repeat(usize::try_from(TABLE_BYTES_MAX).unwrap() - 4);
        assert_eq!(load("t.yaml", &format!("{padding}\na: 1")).unwrap_err(), TableError::TooLarge.to_string());
        assert_eq!(load("t.yaml", &format!("{padding}\na: ")).unwrap().len(), 1);
    }
}
