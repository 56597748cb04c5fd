//! Keys that may be written in two shapes: a plain text, or a map that says more.
//!
//! By hand, because serde's `untagged` would lose the path to whatever is wrong inside.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::scalar::Whole;

/// `upstream`: a name, or names with weights in the order of the file.
#[derive(Debug)]
pub(super) enum UpstreamForm {
    Name(String),
    Weights(Vec<(String, Option<Whole>)>),
}

/// What a header or a query parameter must be: a value, or a rule.
#[derive(Debug)]
pub(super) enum FieldForm {
    Equals(String),
    Rule(FieldRule),
}

/// Exactly one of these keys.
#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct FieldRule {
    /// A regular expression for the whole value.
    pub(super) regex: Option<String>,
    /// Whether it is there at all.
    pub(super) present: Option<bool>,
}

/// `on_error`: one word for every kind of failure, or a word for each.
#[derive(Debug)]
pub(super) enum OnErrorForm {
    All(String),
    ByKind(OnErrorByKind),
}

#[derive(Debug, serde::Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OnErrorByKind")]
pub(super) struct OnErrorByKind {
    /// The plugin has no instance that could serve. Default: closed.
    #[schemars(extend("enum" = ["closed", "open"]))]
    pub(super) load: Option<String>,
    /// The plugin crashed. Default: closed.
    #[schemars(extend("enum" = ["closed", "open"]))]
    pub(super) trap: Option<String>,
    /// The plugin took too long. Default: closed.
    #[schemars(extend("enum" = ["closed", "open"]))]
    pub(super) deadline: Option<String>,
    /// The plugin reached one of its limits: never open.
    #[schemars(extend("enum" = ["closed"]))]
    pub(super) limit: Option<String>,
}

/// A type of two shapes.
trait Form: Sized {
    /// Completes "expected …".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Self;

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error>;
}

impl Form for UpstreamForm {
    const EXPECTED: &'static str = "the name of an upstream, or a map of names and weights";

    fn from_text(text: &str) -> Self {
        Self::Name(text.to_owned())
    }

    fn from_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let mut weights = Vec::new();
        while let Some(weight) = map.next_entry()? {
            weights.push(weight);
        }
        Ok(Self::Weights(weights))
    }
}

impl Form for FieldForm {
    const EXPECTED: &'static str = "a string, `{ regex: … }` or `{ present: … }`";

    fn from_text(text: &str) -> Self {
        Self::Equals(text.to_owned())
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Self::Rule)
    }
}

impl Form for OnErrorForm {
    const EXPECTED: &'static str = "`closed`, `open`, or a map of kinds of failure";

    fn from_text(text: &str) -> Self {
        Self::All(text.to_owned())
    }

    fn from_map<'de, A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Self::ByKind)
    }
}

/// Reads any [`Form`]. Serde makes "…, expected …" of whatever this refuses.
struct FormVisitor<T>(PhantomData<T>);

impl<'de, T: Form> Visitor<'de> for FormVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::from_text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::from_map(map)
    }
}

/// Wires a form to serde and to the schema: a string, or what `$map` makes.
macro_rules! form {
    ($type:ty, $name:literal, $text:tt, $map:expr) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(FormVisitor(PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let map: fn(&mut SchemaGenerator) -> Schema = $map;
                let map = map(generator);
                json_schema!({ "anyOf": [$text, map] })
            }
        }
    };
}

form!(UpstreamForm, "UpstreamChoice", { "type": "string" }, |generator| {
    let weight = generator.subschema_for::<Whole>();
    json_schema!({ "type": "object", "minProperties": 1, "additionalProperties": weight })
});
form!(FieldForm, "FieldMatch", { "type": "string" }, |generator| {
    generator.subschema_for::<FieldRule>()
});
form!(OnErrorForm, "OnError", { "enum": ["closed", "open"] }, |generator| {
    generator.subschema_for::<OnErrorByKind>()
});
