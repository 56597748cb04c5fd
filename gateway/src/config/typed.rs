//! A tree becomes typed: every value that its key does not allow is found, not only the first.
//!
//! Serde stops at the first. So whatever it refuses is noted and cut out of the tree (a key that nobody knows goes, any other value becomes
//! null, so that the indices of lists stay those of the file), and reading starts again, until all the rest is in order.

use std::collections::HashSet;

use serde::Deserialize;
use serde_path_to_error::Segment;
use serde_yaml::Value;

use super::fault::{FAULTS_MAX, Fault, Finding};
use super::path::{Step, push};
use super::raw::RawConfig;
use super::suggest::{did_you_mean, nearest};

/// Reads the tree, whose root is a map; adds to `findings` what was refused, and to `cut` the paths that are no more.
///
/// `None` where there is too much to refuse.
pub(super) fn read(root: &mut Value, findings: &mut Vec<Finding>, cut: &mut HashSet<String>) -> Option<RawConfig> {
    // Most configurations have no fault, and to keep track of the path would take twice as long.
    if let Ok(raw) = RawConfig::deserialize(&*root) {
        return Some(raw);
    }
    for _ in 0..=FAULTS_MAX {
        let refusal = match serde_path_to_error::deserialize::<_, RawConfig>(&*root) {
            Ok(raw) => return Some(raw),
            Err(refusal) => refusal,
        };
        let steps: Vec<&Segment> = refusal.path().iter().collect();
        let message = refusal.inner().to_string();
        let is_unknown = message.starts_with("unknown field ");
        let fault = if is_unknown {
            unknown_key(&message, &steps, cut)
        } else {
            wrong_value(&message, &steps, value_at(root, &steps))
        };
        findings.push(fault.into());
        if !cut_out(root, &steps, is_unknown) {
            return None;
        }
        cut.insert(path_of(&steps));
    }
    None
}

/// A key that the map does not have. Serde lists those it has, in backticks.
fn unknown_key(message: &str, steps: &[&Segment], cut: &mut HashSet<String>) -> Fault {
    let key = last_key(steps);
    let (_, list) = message.rsplit_once(", expected ").unwrap_or(("", message));
    let known: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    let fault = Fault::key(path_of(steps), format!("unknown key `{key}`"));
    let Some(meant) = nearest(key, known.iter().copied()) else {
        return fault.help(format!("known here: {}", known.join(", ")));
    };
    // The key that was meant is not missing as well.
    let mut path = path_of(&steps[..steps.len() - 1]);
    push(&mut path, Step::Key(meant));
    cut.insert(path);
    fault.help(did_you_mean(meant))
}

/// A value that its key does not allow. What serde says it found is dropped: it would not be in the words of the file.
fn wrong_value(message: &str, steps: &[&Segment], value: Option<&Value>) -> Fault {
    let (_, expected) = message.rsplit_once("expected ").unwrap_or(("", "something else"));
    let expected = match expected {
        "a sequence" => "a list",
        "a boolean" => "`true` or `false`",
        "a map" => "a map",
        other if other.starts_with("struct ") => "a map",
        other => other,
    };
    let found = value.map_or_else(|| "nothing".to_owned(), describe);
    let key = last_key(steps);
    let subject = match steps.last() {
        Some(Segment::Seq { .. }) => "invalid item of",
        _ => "invalid value for",
    };
    let fault = Fault::value(path_of(steps), format!("{subject} `{key}`: expected {expected}, found {found}"));
    let is_scalar = matches!(value, Some(Value::Bool(_) | Value::Number(_)));
    if is_scalar && expected.starts_with("a string") { fault.help("quote it, so that it is text") } else { fault }
}

fn path_of(steps: &[&Segment]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Segment::Seq { index } => push(&mut path, Step::Item(*index)),
            Segment::Map { key } | Segment::Enum { variant: key } => push(&mut path, Step::Key(key)),
            Segment::Unknown => {}
        }
    }
    path
}

/// The key nearest to the end: that of the list, for an item.
fn last_key<'a>(steps: &[&'a Segment]) -> &'a str {
    let key = |step: &&'a Segment| match step {
        Segment::Map { key } | Segment::Enum { variant: key } => Some(key.as_str()),
        Segment::Seq { .. } | Segment::Unknown => None,
    };
    steps.iter().rev().find_map(key).unwrap_or_default()
}

/// What a value is, and what it says if that is short.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(bool) => format!("`{bool}`"),
        Value::Number(number) => format!("the number `{number}`"),
        Value::String(text) if text.chars().count() <= TEXT_SHOWN_CHARS_MAX => {
            format!("the text `{text}`")
        }
        Value::String(_) => "a long text".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a map".to_owned(),
        Value::Tagged(_) => "a tag".to_owned(),
    }
}

const TEXT_SHOWN_CHARS_MAX: usize = 60;

fn value_at<'a>(root: &'a Value, steps: &[&Segment]) -> Option<&'a Value> {
    steps.iter().try_fold(root, |value, step| match step {
        Segment::Seq { index } => value.get(index),
        Segment::Map { key } | Segment::Enum { variant: key } => value.get(key),
        Segment::Unknown => None,
    })
}

/// Takes out what is at the path; false where there is nothing to be taken out.
fn cut_out(root: &mut Value, steps: &[&Segment], with_key: bool) -> bool {
    let Some((last, above)) = steps.split_last() else {
        return false;
    };
    let above = above.iter().try_fold(root, |value, step| match step {
        Segment::Seq { index } => value.get_mut(index),
        Segment::Map { key } | Segment::Enum { variant: key } => value.get_mut(key),
        Segment::Unknown => None,
    });
    let Some(above) = above else {
        return false;
    };
    match (above, last) {
        (Value::Mapping(map), Segment::Map { key }) if with_key => map.remove(key.as_str()).is_some(),
        (above, Segment::Map { key } | Segment::Enum { variant: key }) => nullify(above.get_mut(key)),
        (above, Segment::Seq { index }) => nullify(above.get_mut(index)),
        (_, Segment::Unknown) => false,
    }
}

/// False where the value is null already: then cutting does not get any further.
fn nullify(value: Option<&mut Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(value) => {
            *value = Value::Null;
            true
        }
    }
}
