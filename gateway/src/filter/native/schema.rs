//! The configs of native filters in the JSON Schema of a configuration file, so that editors complete and check them too.

use serde_json::{Value, json};

use super::KINDS;

/// Adds to a schema of the configuration what each native filter takes.
pub fn describe_in(schema: &mut Value) {
    for kind in KINDS {
        let mut config = (kind.schema)();
        let Some(object) = config.as_object_mut() else { continue };
        object.remove("$schema");
        // Scalars have the same definition everywhere; all else has a name of its own.
        if let Some(Value::Object(definitions)) = object.remove("$defs") {
            for (name, definition) in definitions {
                schema["$defs"][name] = definition;
            }
        }
        let definition = format!("filter-{}", kind.name);
        let reference = json!({ "$ref": format!("#/$defs/{definition}") });
        schema["$defs"][definition] = config;
        let rule = json!({
            "if": { "properties": { "use": { "const": kind.name } }, "required": ["use"] },
            "then": { "properties": { "config": reference } },
        });
        match &mut schema["$defs"]["FilterUse"]["allOf"] {
            Value::Array(rules) => rules.push(rule),
            rules => *rules = json!([rule]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn an_editor_can_check_the_config_of_a_native_filter() {
        let mut schema = config::schema();
        describe_in(&mut schema);
        let validator = jsonschema::validator_for(&schema).expect("every reference leads somewhere");
        let with = |filter: Value| {
            validator.is_valid(&json!({
                "version": 1,
                "listeners": [{ "name": "http", "address": "127.0.0.1:0" }],
                "routes": [{ "name": "r", "respond": {}, "filters": [filter] }],
            }))
        };
        assert!(with(json!({ "use": "rate-limit", "config": { "key": "client-ip", "rate": "1/1s" } })));
        assert!(!with(json!({ "use": "rate-limit", "config": { "kye": "client-ip" } })));
        assert!(with(json!({ "use": "my-plugin", "config": { "kye": "client-ip" } })));
    }
}
