//! What a schema may be, so that neither reading it nor checking a configuration by it can hurt: bounded in bytes, depth,
//! patterns and in the checks that one value takes, and about nothing but itself.

use std::collections::HashMap;

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::{Map, Value};

/// Why the schema that a component tells is not taken; a sentence without its subject, the schema.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("has {0} bytes, more than {SCHEMA_BYTES_MAX}")]
    TooLarge(usize),
    #[error("is not JSON: {0}")]
    NotJson(String),
    #[error("nests deeper than {SCHEMA_DEPTH_MAX} levels")]
    TooDeep,
    #[error("has more than {PATTERNS_MAX} patterns")]
    TooManyPatterns,
    #[error("refers to `{0}`: only references into the schema itself, such as `#/$defs/NAME`, are followed")]
    Reference(String),
    #[error("uses `{0}`, which is not supported")]
    Unsupported(&'static str),
    #[error("applies itself to the same value without end")]
    Endless,
    #[error("checks one value in more than {CHECKS_MAX} ways")]
    TooBroad,
    #[error("is no valid JSON Schema: {0}")]
    Invalid(String),
}

impl SchemaError {
    pub(super) fn invalid(error: &ValidationError<'_>) -> Self {
        let at = match error.instance_path().as_str() {
            "" => String::new(),
            at => format!(" (at `{at}`)"),
        };
        let why = match error.kind() {
            ValidationErrorKind::Format { format } if format == "regex" => {
                "a pattern is no regular expression, too large, or beyond what takes linear time (look-around, back-references)"
                    .to_owned()
            }
            _ => error.masked().to_string(),
        };
        Self::Invalid(format!("{}{at}", shortened(&why)))
    }
}

pub(super) fn check_size(text: &str) -> Result<(), SchemaError> {
    if text.len() > SCHEMA_BYTES_MAX { Err(SchemaError::TooLarge(text.len())) } else { Ok(()) }
}

pub(super) fn check(schema: &Value) -> Result<(), SchemaError> {
    let mut survey = Survey { root: schema, patterns: 0, nodes: Vec::new(), costs: HashMap::new() };
    survey.look(schema, 0)?;
    for node in std::mem::take(&mut survey.nodes) {
        survey.cost(node, 0)?;
    }
    Ok(())
}

/// Every object of a schema counts as a node: which of them is a schema, and which a map of schemas, need not be known.
struct Survey<'s> {
    root: &'s Value,
    patterns: usize,
    nodes: Vec<&'s Map<String, Value>>,
    /// By the address of a node; `None` while it is being counted.
    costs: HashMap<*const Map<String, Value>, Option<Cost>>,
}

/// What a node costs each value that it is applied to.
#[derive(Debug, Clone, Copy)]
struct Cost {
    checks: u64,
    /// The longest chain of nodes that apply each other.
    height: usize,
}

impl<'s> Survey<'s> {
    fn look(&mut self, value: &'s Value, depth: usize) -> Result<(), SchemaError> {
        if depth > SCHEMA_DEPTH_MAX {
            return Err(SchemaError::TooDeep);
        }
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.look(item, depth + 1)),
            Value::Object(node) => {
                self.look_at(node, depth)?;
                node.values().try_for_each(|value| self.look(value, depth + 1))
            }
            _ => Ok(()),
        }
    }

    fn look_at(&mut self, node: &'s Map<String, Value>, depth: usize) -> Result<(), SchemaError> {
        self.nodes.push(node);
        let text = |key: &str| node.get(key).and_then(Value::as_str);
        if let Some(key) = UNSUPPORTED.into_iter().find(|key| text(key).is_some()) {
            return Err(SchemaError::Unsupported(key));
        }
        if depth > 0 && text("$id").is_some() {
            return Err(SchemaError::Unsupported("$id below the top"));
        }
        if let Some(reference) = text("$ref").filter(|reference| self.target(reference).is_none()) {
            return Err(SchemaError::Reference(shortened(reference)));
        }
        let keyed = node.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
        self.patterns += keyed + usize::from(text("pattern").is_some());
        if self.patterns > PATTERNS_MAX { Err(SchemaError::TooManyPatterns) } else { Ok(()) }
    }

    fn target(&self, reference: &str) -> Option<&'s Value> {
        let pointer = reference.strip_prefix('#')?;
        self.root.pointer(&percent_encoding::percent_decode_str(pointer).decode_utf8().ok()?)
    }

    fn cost(&mut self, node: &'s Map<String, Value>, depth: usize) -> Result<Cost, SchemaError> {
        if depth > CHAIN_MAX {
            return Err(SchemaError::TooDeep);
        }
        let address = std::ptr::from_ref(node);
        match self.costs.get(&address) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => return Err(SchemaError::Endless),
            None => drop(self.costs.insert(address, None)),
        }
        let mut cost = Cost { checks: 1, height: 1 };
        for applied in self.applied(node) {
            let inner = self.cost(applied, depth + 1)?;
            cost.checks = cost.checks.saturating_add(inner.checks);
            cost.height = cost.height.max(inner.height + 1);
        }
        if cost.checks > CHECKS_MAX {
            return Err(SchemaError::TooBroad);
        }
        if cost.height > CHAIN_MAX {
            return Err(SchemaError::TooDeep);
        }
        self.costs.insert(address, Some(cost));
        Ok(cost)
    }

    /// The nodes that are applied to the very value that this one is applied to.
    fn applied(&self, node: &'s Map<String, Value>) -> Vec<&'s Map<String, Value>> {
        let mut applied = Vec::new();
        for (key, value) in node {
            match (key.as_str(), value) {
                ("allOf" | "anyOf" | "oneOf", Value::Array(items)) => applied.extend(items),
                ("not" | "if" | "then" | "else", one) => applied.push(one),
                ("dependentSchemas" | "dependencies", Value::Object(each)) => applied.extend(each.values()),
                ("$ref", Value::String(reference)) => applied.extend(self.target(reference)),
                _ => {}
            }
        }
        applied.into_iter().filter_map(Value::as_object).collect()
    }
}

/// Foreign text in a message, at a length that a terminal bears.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The text of a schema.
pub(super) const SCHEMA_BYTES_MAX: usize = 256 << 10;
/// Objects and lists inside each other.
const SCHEMA_DEPTH_MAX: usize = 64;
/// Nodes that apply each other to one value, as in a chain of references.
const CHAIN_MAX: usize = 64;
/// Nodes that are applied to one value, each as often as it is.
const CHECKS_MAX: u64 = 10_000;
const PATTERNS_MAX: usize = 128;
/// The compiled form of one pattern.
pub(super) const PATTERN_BYTES_MAX: usize = 256 << 10;
const QUOTED_CHARS_MAX: usize = 200;

/// References whose target is known only when a value is checked, and names by which others refer.
const UNSUPPORTED: [&str; 5] = ["$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$recursiveAnchor"];
