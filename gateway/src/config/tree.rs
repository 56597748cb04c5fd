//! Text to a tree of values: what the YAML says, before anything in it has a meaning.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde_yaml::value::{Tag, TaggedValue};
use serde_yaml::{Mapping, Value};

/// Merges that may lie inside each other. A map that merges itself does not get this far: it is a recursive alias.
const MERGE_DEPTH_MAX: usize = 8;

/// A document.
#[derive(Debug)]
pub(super) struct Tree {
    /// With merges (`<<`) applied. Null for an empty document.
    pub(super) root: Value,
    /// Whether some map holds a key twice; the first counts.
    pub(super) duplicates: bool,
}

/// Reads one YAML document.
///
/// `serde_yaml` would stop at the first key that a map holds twice; here reading goes on, so that the other faults are found as well.
///
/// # Errors
///
/// Text that is no YAML, holds more than one document, nests deeper than 128 levels or repeats itself too often by aliases; a merge of
/// something that is no map.
pub(super) fn read(text: &str) -> Result<Tree, serde_yaml::Error> {
    let duplicates = Cell::new(false);
    let reader = Reader { duplicates: &duplicates };
    let mut root = reader.deserialize(serde_yaml::Deserializer::from_str(text))?;
    if text.contains("<<") {
        for _ in 0..MERGE_DEPTH_MAX {
            root.apply_merge()?;
        }
    }
    Ok(Tree { root, duplicates: duplicates.get() })
}

/// Builds a [`Value`] as `serde_yaml` does, apart from duplicate keys.
#[derive(Clone, Copy)]
struct Reader<'a> {
    duplicates: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    /// An empty document.
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, bool: bool) -> Result<Value, E> {
        Ok(bool.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = from.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Mapping::new();
        while let Some((key, value)) = from.next_entry_seed(self, self)? {
            if map.contains_key(&key) {
                self.duplicates.set(true);
            } else {
                map.insert(key, value);
            }
        }
        Ok(Value::Mapping(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        let (tag, content) = from.variant::<String>()?;
        if tag.is_empty() {
            return Err(de::Error::custom("a tag has no name"));
        }
        Ok(Value::Tagged(Box::new(TaggedValue { tag: Tag::new(tag), value: content.newtype_variant_seed(self)? })))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_yaml() {
        let text = "a: [1, -2, 3.5, yes, true, ~, '5', 0x10, &x {b: c}]\nd: *x\ne: !tag 5\nf: |\n  text\n18446744073709551615: g\n";
        let tree = read(text).unwrap();
        assert_eq!(tree.root, serde_yaml::from_str::<Value>(text).unwrap());
        assert!(!tree.duplicates);
    }

    #[test]
    fn of_duplicate_keys_the_first_counts() {
        let tree = read("a: 1\na: 2\nb: 3\n").unwrap();
        assert_eq!(tree.root, serde_yaml::from_str::<Value>("a: 1\nb: 3\n").unwrap());
        assert!(tree.duplicates);
    }

    #[test]
    fn merges_may_lie_inside_each_other() {
        let text = "x-a: &a { p: 1, q: 1 }\nx-b: &b { <<: *a, q: 2 }\nc: { <<: *b, r: 3 }\n";
        let c = read(text).unwrap().root["c"].clone();
        assert_eq!(c, serde_yaml::from_str::<Value>("{ p: 1, q: 2, r: 3 }").unwrap());
    }

    #[test]
    fn an_empty_document_is_null() {
        for text in ["", "# nothing\n", "---\n", "~"] {
            assert_eq!(read(text).unwrap().root, Value::Null, "{text:?}");
        }
    }

    #[test]
    fn bombs_and_recursion_are_refused() {
        let mut bomb = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            let items = vec![before; 9].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert!(read(&bomb).is_err());
        assert!(read("a: &a { b: *a }\n").is_err());
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
