//! What the field types of configurations are in JSON Schema. A schema says at least what an operator's editor can check;
//! decoding stays the judge.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{
    Authority, Duration, HeaderName, HeaderTemplate, HeaderValue, Method, OneOrMany, ParameterName, PathPrefix,
    PathTemplate, QueryTemplate, Status, Template,
};
use crate::credential::Place;

/// A string of the configuration: its name as a type, what it is, and the pattern that it matches.
macro_rules! string_schema {
    ($type:ident, $description:literal, $pattern:literal) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                // Short, and as the key of a map it must show its pattern.
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_id() -> Cow<'static, str> {
                concat!("witgate_plugin::config::", stringify!($type)).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "description": $description, "pattern": $pattern })
            }
        }
    };
}

string_schema!(
    HeaderName,
    "the name of a header: letters, digits and !#$%&'*+-.^_`|~",
    r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$"
);

string_schema!(
    HeaderValue,
    "the value of a header: no control characters, no space around it; `$$` is a dollar sign",
    r"^([^\x00-\x20\x7f]([^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?$"
);

string_schema!(
    Template,
    "text with variables: `${name}` is a variable, `$$` a dollar sign",
    r"^([^$]|\$\$|\$\{[^}]*\})*$"
);

string_schema!(
    HeaderTemplate,
    "the value of a header: `${name}` is a variable, `$$` a dollar sign",
    r"^([^$\x00-\x08\x0a-\x1f\x7f]|\$\$|\$\{[^}]*\})*$"
);

string_schema!(
    PathTemplate,
    "a piece of a path: `${name}` is a variable, `$$` a dollar sign",
    r#"^([^$?#\\"<>\x00-\x20\x7f]|\$\$|\$\{[^}]*\})*$"#
);

string_schema!(
    QueryTemplate,
    "the value of a parameter: `${name}` is a variable, `$$` a dollar sign",
    r#"^([^$&?#\\"<>\x00-\x20\x7f]|\$\$|\$\{[^}]*\})*$"#
);

string_schema!(Method, "a method, such as `GET`", r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$");

string_schema!(Authority, "a host, or host and port", r"^[0-9A-Za-z.\-_:\[\]]+$");

string_schema!(PathPrefix, "whole segments of a path, such as `/api`", r"^/");

string_schema!(ParameterName, "the name of a parameter, as it stands in a query", r#"^[^&=?#\\"<>\x00-\x20\x7f]*$"#);

impl JsonSchema for Status {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Status".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "description": "a status code", "minimum": 200, "maximum": 599 })
    }
}

string_schema!(Duration, "a duration with its unit, such as `250ms` or `10s`", r"^[0-9]+(ms|s|m|h|d)$");

string_schema!(
    Place,
    "where a credential is: `header` (`Authorization: Bearer …`), `header:NAME`, `cookie:NAME` or `query:NAME`",
    r"^(header|(header|cookie|query):.+)$"
);

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_of_{}", T::schema_name()).into()
    }

    fn schema_id() -> Cow<'static, str> {
        format!("witgate_plugin::config::OneOrMany<{}>", T::schema_id()).into()
    }

    /// Told apart by `if` rather than `anyOf`, so that a fault is that of the item, and not that neither fits.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({
            "if": { "type": "array" },
            "then": { "items": one, "minItems": 1 },
            "else": one,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::config::NoConfig;
    use crate::schemars;

    /// What a plugin takes.
    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Config {
        /// Set before anything else.
        headers: BTreeMap<HeaderName, OneOrMany<HeaderValue>>,
        to: Option<Template>,
    }

    fn schema<C: JsonSchema>() -> Value {
        schemars::schema_for!(C).to_value()
    }

    #[test]
    fn comments_become_descriptions() {
        let schema = schema::<Config>();
        assert_eq!(schema["description"], "What a plugin takes.");
        assert_eq!(schema["properties"]["headers"]["description"], "Set before anything else.");
        assert_eq!(schema["required"], json!(["headers"]));
    }

    #[test]
    fn a_map_by_header_name_tells_which_keys_it_takes() {
        let schema = schema::<Config>();
        let headers = &schema["properties"]["headers"];
        assert_eq!(headers["additionalProperties"], json!(false));
        let patterns = headers["patternProperties"].as_object().unwrap();
        let (pattern, values) = patterns.iter().next().unwrap();
        assert!(pattern.starts_with("^[!#$"), "{pattern}");
        assert_eq!(values["then"]["minItems"], 1);
        assert_eq!(values["else"]["type"], "string");
    }

    #[test]
    fn nothing_to_configure_is_an_empty_map() {
        assert_eq!(schema::<NoConfig>()["additionalProperties"], json!(false));
    }
}
