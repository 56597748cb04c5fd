//! From one text to its tree: a map, as YAML has it, and a finding that points into the text where it is none.

use serde_yaml::Value;

use super::fault::{Fault, Finding};
use super::place::Places;
use super::tree;

/// The root of a text, a map without the keys that are the user's own; and a finding for each key that is there twice.
pub(super) fn parse(file: usize, text: &str, may_be_empty: bool, findings: &mut Vec<Finding>) -> Option<Value> {
    let tree = match tree::read(text) {
        Ok(tree) => tree,
        Err(error) => {
            let finding = not_yaml(&error, text, &Places::read(text));
            findings.push(Finding { file: Some(file), ..finding });
            return None;
        }
    };
    let mut root = tree.root;
    if may_be_empty && root.is_null() {
        root = Value::Mapping(serde_yaml::Mapping::new());
    }
    let Value::Mapping(map) = &mut root else {
        let message = match root {
            Value::Null => "the configuration is empty",
            _ => "a configuration is a map of keys and values",
        };
        findings.push(Finding::of_file(file, Fault::value("", message).help("begin with `version: 1`")));
        return None;
    };
    map.retain(|key, value| {
        let is_own = key.as_str().is_some_and(|key| key.starts_with("x-"));
        // `plugins:` with every entry commented out is a map without entries, and no more a fault than `plugins: {}`.
        !is_own && !value.is_null()
    });
    if tree.duplicates {
        findings.extend(duplicates(text).map(|finding| Finding { file: Some(file), ..finding }));
    }
    Some(root)
}

/// A text that is no YAML. `saphyr-parser` tells better where and why, but only `serde_yaml` decides.
fn not_yaml(error: &serde_yaml::Error, text: &str, places: &Places) -> Finding {
    if let Some((byte, why)) = &places.broken {
        return broken_at(*byte, why, text);
    }
    let error_text = error.to_string();
    let why = match error_text.split(" at line ").next().unwrap_or_default() {
        "recursion limit exceeded" => "it nests too deeply, or contains itself",
        "repetition limit exceeded" => "its aliases repeat too much",
        why => why,
    };
    match (error.location(), places.bad_merge()) {
        (Some(location), _) => broken_at(location.index(), why, text),
        (None, Some(bytes)) => Finding {
            bytes: Some(bytes),
            ..Fault::value("", "`<<` merges a map, or a list of maps, and this is neither").into()
        },
        (None, None) => Fault::value("", format!("this is not valid YAML: {why}")).into(),
    }
}

/// The character that begins at `byte` or around it.
fn broken_at(byte: usize, why: &str, text: &str) -> Finding {
    let start = text.floor_char_boundary(byte.min(text.len()));
    let length = text[start..].chars().next().filter(|char| *char != '\n').map_or(0, char::len_utf8);
    Finding { bytes: Some(start..start + length), ..Fault::value("", format!("this is not valid YAML: {why}")).into() }
}

fn duplicates(text: &str) -> impl Iterator<Item = Finding> {
    let finding = |duplicate: super::place::Duplicate| Finding {
        bytes: Some(duplicate.again),
        related: Some((duplicate.first, "first here")),
        ..Fault::key(&duplicate.path, format!("the key `{}` is here twice", duplicate.key))
            .help("remove one of them")
            .into()
    };
    Places::read(text).duplicates.into_iter().map(finding)
}
