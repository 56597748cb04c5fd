//! Reading a few members of a JSON object: the others are passed over and never built.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::Error;

/// The members of an object under these names, in their order; `None` for what is not there. Of a name that the object has twice,
/// the last counts.
///
/// An attribute such as `claims` is a long object of which a plugin mostly reads two members; this costs a fraction of decoding all.
///
/// # Errors
///
/// `object` is no JSON object.
///
/// ```
/// use witgate_plugin::json::pick;
///
/// let claims = r#"{"sub": "ada", "email": "ada@example.com", "roles": ["admin"]}"#;
/// let [sub, roles, plan] = pick(claims, ["sub", "roles", "plan"])?;
/// assert_eq!(sub, Some("ada".into()));
/// assert_eq!(roles, Some(vec!["admin"].into()));
/// assert_eq!(plan, None);
/// # Ok::<(), witgate_plugin::Error>(())
/// ```
pub fn pick<const N: usize>(object: &str, names: [&str; N]) -> Result<[Option<Value>; N], Error> {
    let mut picked = [const { None }; N];
    pick_into(object, |name| names.iter().position(|wanted| *wanted == name), &mut picked)?;
    Ok(picked)
}

/// The same for names that are known only when the plugin is configured.
///
/// # Errors
///
/// As [`pick`].
///
/// ```
/// use witgate_plugin::json::pick_all;
///
/// let wanted = vec!["sub".to_owned()];
/// assert_eq!(pick_all(r#"{"sub": "ada", "roles": []}"#, &wanted)?, [Some("ada".into())]);
/// # Ok::<(), witgate_plugin::Error>(())
/// ```
pub fn pick_all(object: &str, names: &[String]) -> Result<Vec<Option<Value>>, Error> {
    let mut picked = vec![None; names.len()];
    pick_into(object, |name| names.iter().position(|wanted| wanted == name), &mut picked)?;
    Ok(picked)
}

fn pick_into(object: &str, place: impl Fn(&str) -> Option<usize>, picked: &mut [Option<Value>]) -> Result<(), Error> {
    let mut deserializer = serde_json::Deserializer::from_str(object);
    deserializer.deserialize_map(Pick { place, picked }).and_then(|()| deserializer.end()).map_err(Error::new)
}

struct Pick<'p, F> {
    place: F,
    picked: &'p mut [Option<Value>],
}

impl<'de, F: Fn(&str) -> Option<usize>> Visitor<'de> for Pick<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(place) = members.next_key_seed(Name(&self.place))? {
            match place {
                Some(place) => self.picked[place] = Some(members.next_value()?),
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A member's name, which becomes its place without a copy.
struct Name<'f, F>(&'f F);

impl<'de, F: Fn(&str) -> Option<usize>> DeserializeSeed<'de> for Name<'_, F> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<F: Fn(&str) -> Option<usize>> Visitor<'_> for Name<'_, F> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        Ok((self.0)(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_found_whatever_stands_around_them() {
        let object = r#" {"a": {"b": 1}, "b": [1, {"b": 2}], "\u0063": null, "b2": "x"} "#;
        assert_eq!(pick(object, ["b", "c", "d"]).unwrap(), [Some(json!([1, { "b": 2 }])), Some(Value::Null), None]);
        assert_eq!(pick("{}", ["a"]).unwrap(), [None]);
        assert_eq!(pick(r#"{"a": 1, "a": 2}"#, ["a"]).unwrap(), [Some(json!(2))]);
    }

    #[test]
    fn other_things_are_no_object() {
        for other in ["", "[]", "\"a\"", "{", "{} x", "{\"a\": }"] {
            assert!(pick(other, ["a"]).is_err(), "{other}");
        }
    }
}
