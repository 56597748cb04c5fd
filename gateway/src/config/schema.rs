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
