//! The JSON Schema of the YAML, made from the types that read it.

use schemars::JsonSchema;
use serde_json::Value;

use super::raw::RawConfig;

/// JSON Schema (draft 2020-12) of a configuration file.
///
/// It says what an editor can check and complete; what must hold between values (names that exist, limits that make sense) only loading
/// can tell.
pub fn schema() -> Value {
    let mut schema = schema_of::<RawConfig>();
    schema["$id"] = "urn:witgate:config:1".into();
    tell_defaults(&mut schema);
    schema
}

/// JSON Schema of a type, in which `Option` means that a key may be left out and never that it may be null.
pub fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(T).to_value();
    remove_null(&mut schema);
    schema
}

/// Removes null as a choice: the types of `raw` have `Option` all over because faults are cut out, but no key may be left without a value.
fn remove_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(remove_null),
        Value::Object(object) => {
            object.values_mut().for_each(remove_null);
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_mut_slice() {
                    let only = only.take();
                    object.insert("type".to_owned(), only);
                }
            }
            let is_null = |choice: &Value| choice["type"] == "null";
            let Some(Value::Array(choices)) = object.get_mut("anyOf") else {
                return;
            };
            choices.retain(|choice| !is_null(choice));
            if let [Value::Object(only)] = choices.as_mut_slice() {
                let only = std::mem::take(only);
                object.remove("anyOf");
                object.extend(only);
            }
        }
        _ => {}
    }
}

/// Where a description tells a default that is a value, editors are told that as well.
fn tell_defaults(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tell_defaults),
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                for property in properties.values_mut() {
                    if let Some(value) = default_of(property) {
                        property["default"] = value;
                    }
                }
            }
            object.values_mut().for_each(tell_defaults);
        }
        _ => {}
    }
}

/// The value behind `Default: `. A word counts where it is one of those that may be written; others (`none`, `any`) only say what is so.
fn default_of(property: &Value) -> Option<Value> {
    let (_, text) = property["description"].as_str()?.split_once("Default: ")?;
    if let Some(list) = text.strip_prefix('[') {
        let items = list.split_once(']')?.0.split(',').map(|item| scalar(item.trim()));
        return Some(items.collect());
    }
    let (word, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let (word, is_last) = match word.strip_suffix(['.', ';']) {
        Some(word) => (word, true),
        None => (word, rest.is_empty()),
    };
    let is_listed = property["enum"].as_array().is_some_and(|words| words.iter().any(|one| one == word));
    let is_text = property["type"] == "string";
    match word {
        _ if !is_last => None,
        word if is_listed => Some(word.into()),
        "true" | "false" => Some(scalar(word)),
        word if word.starts_with(|first: char| first.is_ascii_digit()) => {
            Some(if is_text { word.into() } else { scalar(word) })
        }
        _ => None,
    }
}

fn scalar(word: &str) -> Value {
    match (word, word.parse::<u64>()) {
        ("true" | "false", _) => (word == "true").into(),
        (_, Ok(number)) => number.into(),
        _ => word.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_default_that_is_a_value_is_told() {
        let schema = schema();
        let default = |name: &str, key: &str| schema["$defs"][name]["properties"][key]["default"].clone();
        assert_eq!(default("Discovery", "refresh"), "30s");
        assert_eq!(default("PluginLimits", "attributes"), 64);
        assert_eq!(default("UpstreamTls", "verify"), true);
        assert_eq!(default("Upstream", "balance"), "round-robin");
        assert_eq!(default("Listener", "mode"), "0660");
        assert_eq!(default("Retries", "when"), json!(["connect-failure", "reset", 502, 503, 504]));
        for (name, key) in [("Match", "hosts"), ("Plugin", "grants"), ("ConfigSource", "reload"), ("Limiter", "burst")]
        {
            assert_eq!(default(name, key), Value::Null, "{key}");
        }
    }
}
