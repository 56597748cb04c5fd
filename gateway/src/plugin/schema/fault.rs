//! What is wrong with a configuration by its schema, in the words of the gateway's other faults.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::types::JsonType;
use serde_json::Value;

use super::limits::shortened;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaFault {
    /// Where, from the top of the configuration.
    pub steps: Vec<SchemaStep>,
    /// Whether it is the key that is wrong, or else the value.
    pub is_key: bool,
    /// Lower case, no full stop.
    pub message: String,
    /// What was written where only some names are known, and these, for those who suggest one.
    pub written: Option<String>,
    pub known: Vec<String>,
    /// What the schema says of the place.
    pub description: Option<String>,
}

/// A step down a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaStep {
    Key(String),
    Item(usize),
}

/// Adds what an error of the validator says: one fault, or one for each of several keys.
pub(super) fn add(error: &ValidationError<'_>, schema: &Value, config: &Value, faults: &mut Vec<SchemaFault>) {
    let steps = steps(error.instance_path().as_str(), config);
    let node = node(error, schema);
    let description = node.and_then(|node| node.get("description")?.as_str()).map(shortened);
    let fault =
        SchemaFault { steps, is_key: false, message: String::new(), written: None, known: Vec::new(), description };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let keys_of = |key: &str| node.and_then(|node| node.get(key)?.as_object());
            let known: Vec<String> = keys_of("properties").into_iter().flatten().map(|(key, _)| key.clone()).collect();
            faults.extend(unexpected.iter().map(|key| unknown_key(&fault, key, &known)));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            match meant(context, error) {
                Some(branch) => branch.iter().for_each(|error| add(error, schema, config, faults)),
                None => faults.push(SchemaFault { message: forms(context), ..fault }),
            }
        }
        ValidationErrorKind::Required { property } => {
            let key = property.as_str().unwrap_or_default();
            let message = format!("the key `{}` is missing", shortened(key));
            faults.push(SchemaFault { is_key: true, message, description: None, ..fault });
        }
        ValidationErrorKind::Enum { options } => {
            let known: Vec<String> = options.as_array().into_iter().flatten().map(plain).collect();
            let written = error.instance().as_str().map(str::to_owned);
            let message = format!("expected {}", alternatives(&known));
            faults.push(SchemaFault { message, written, known, ..fault });
        }
        ValidationErrorKind::Constant { expected_value } => {
            faults.push(SchemaFault { message: format!("expected `{}`", plain(expected_value)), ..fault });
        }
        ValidationErrorKind::Type { kind } => {
            let message = format!("expected {}, found {}", expected(kind), found(error.instance()));
            faults.push(SchemaFault { message, ..fault });
        }
        ValidationErrorKind::Pattern { pattern } => {
            faults.push(SchemaFault { message: format!("does not match `{}`", shortened(pattern)), ..fault });
        }
        // Where no key at all is taken, the validator says no more than that.
        ValidationErrorKind::FalseSchema if error.schema_path().as_str().ends_with("/additionalProperties") => {
            let keys = config.pointer(error.instance_path().as_str()).and_then(Value::as_object);
            faults.extend(keys.into_iter().flatten().map(|(key, _)| unknown_key(&fault, key, &[])));
        }
        ValidationErrorKind::FalseSchema => {
            faults.push(SchemaFault { message: "must not be here".to_owned(), ..fault })
        }
        // The value itself is left out: it stands beside the message, and may be a secret.
        _ => faults.push(SchemaFault { message: shortened(&error.masked().to_string()), ..fault }),
    }
}

fn unknown_key(at: &SchemaFault, key: &str, known: &[String]) -> SchemaFault {
    let mut steps = at.steps.clone();
    steps.push(SchemaStep::Key(key.to_owned()));
    let message = match known {
        [] => format!("unknown key `{}`", shortened(key)),
        _ => format!("unknown key `{}`: expected {}", shortened(key), alternatives(known)),
    };
    SchemaFault {
        steps,
        is_key: true,
        message,
        written: Some(key.to_owned()),
        known: known.to_vec(),
        description: None,
    }
}

/// The one of several forms that was probably meant: the others fail already by the value's type, or by the tag that names
/// the form.
fn meant<'c>(
    context: &'c [Vec<ValidationError<'static>>],
    whole: &ValidationError<'_>,
) -> Option<&'c [ValidationError<'static>]> {
    let is_other = |error: &ValidationError<'_>| match error.kind() {
        ValidationErrorKind::Type { .. } => error.instance_path() == whole.instance_path(),
        ValidationErrorKind::Constant { .. } | ValidationErrorKind::Enum { .. } => true,
        _ => false,
    };
    let mut candidates = context.iter().filter(|branch| !branch.iter().any(is_other));
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// What would fit, where that can be said of each form in a few words.
fn forms(context: &[Vec<ValidationError<'static>>]) -> String {
    let word = |branch: &Vec<ValidationError<'static>>| match branch.first()?.kind() {
        ValidationErrorKind::Type { kind } => Some(expected(kind)),
        ValidationErrorKind::Constant { expected_value } => Some(format!("`{}`", plain(expected_value))),
        ValidationErrorKind::Enum { options } => {
            Some(alternatives(&options.as_array()?.iter().map(plain).collect::<Vec<_>>()))
        }
        _ => None,
    };
    match context.iter().map(word).collect::<Option<Vec<_>>>() {
        Some(words) if !words.is_empty() => format!("expected {}", words.join(" or ")),
        _ => format!("fits none of the {} forms it may have", context.len()),
    }
}

/// The part of the schema that holds the keyword which failed.
fn node<'s>(error: &ValidationError<'_>, schema: &'s Value) -> Option<&'s Value> {
    let (node, _keyword) = error.schema_path().as_str().rsplit_once('/')?;
    schema.pointer(node)
}

/// A JSON pointer (RFC 6901) into a configuration.
fn steps(pointer: &str, config: &Value) -> Vec<SchemaStep> {
    let mut at = Some(config);
    let step = |token: &str| {
        let token = token.replace("~1", "/").replace("~0", "~");
        match at {
            Some(Value::Array(items)) => {
                let index = token.parse().unwrap_or_default();
                at = items.get(index);
                SchemaStep::Item(index)
            }
            _ => {
                at = at.and_then(|map| map.get(&token));
                SchemaStep::Key(token)
            }
        }
    };
    pointer.split('/').skip(1).map(step).collect()
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => type_name(*one).to_owned(),
        // That a key may have nothing, as it may be left out, helps nobody who gave it something.
        TypeKind::Multiple(set) => {
            let something = set.iter().filter(|kind| *kind != JsonType::Null);
            something.map(type_name).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// In the words of YAML.
fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "nothing",
        JsonType::Boolean => "`true` or `false`",
        JsonType::Integer => "an integer",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "a list",
        JsonType::Object => "a map",
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(bool) => format!("`{bool}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

fn alternatives(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().take(NAMES_MAX).map(|name| format!("`{}`", shortened(name))).collect();
    match quoted.as_slice() {
        [all @ .., last] if !all.is_empty() && names.len() <= NAMES_MAX => format!("{} or {last}", all.join(", ")),
        _ if names.len() > NAMES_MAX => format!("{} or another of {}", quoted.join(", "), names.len()),
        _ => quoted.concat(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| shortened(&value.to_string()), shortened)
}

/// Names that are listed in a message.
const NAMES_MAX: usize = 12;
