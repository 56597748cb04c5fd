//! JSON in which no object says anything twice.
//!
//! Of two members with one name some readers take the first and some the last, and a token must not mean two things
//! (RFC 7515 §4, RFC 7519 §4: names must be unique).

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

pub(super) type Object = Map<String, Value>;

/// Reads an object.
pub(super) fn object(json: &[u8]) -> Result<Object, serde_json::Error> {
    match serde_json::from_slice(json)? {
        Unique(Value::Object(object)) => Ok(object),
        Unique(_) => Err(Error::custom("it is no object")),
    }
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format_args!("it says `{name}` twice")));
            }
            let Unique(value) = members.next_value()?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_object_is_read_as_it_is() {
        let text = br#"{"a": [1, -2, 1.5, null, true, "x", {"b": {}}], "c": "\u00e9"}"#;
        assert_eq!(Value::Object(object(text).unwrap()), serde_json::from_slice::<Value>(text).unwrap());
    }

    #[test]
    fn nothing_is_said_twice_at_any_depth() {
        for twice in
            [r#"{"a":1,"a":1}"#, r#"{"a":[{"b":1,"b":2}]}"#, r#"{"a":1,"\u0061":2}"#, r#"{"a":{"b":1,"c":2,"b":3}}"#]
        {
            assert!(object(twice.as_bytes()).unwrap_err().to_string().contains("twice"), "{twice}");
        }
    }

    #[test]
    fn other_things_are_no_object() {
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        for other in ["", "1", "[]", "null", "{", "{}x", "{\"a\":}", "\"{}\"", "{'a':1}", &deep] {
            assert!(object(other.as_bytes()).is_err(), "{}", &other[..other.len().min(9)]);
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err(), "not UTF-8");
    }
}
