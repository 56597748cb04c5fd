//! Types for the fields of a [`Plugin::Config`](crate::Plugin::Config) that check themselves while they are decoded, so that the error
//! names the key without a line of code in the plugin.

mod duration;
mod part;
mod schema;
mod template;
mod text;

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor, value::SeqAccessDeserializer};

pub use duration::Duration;
pub use part::{Authority, Method, ParameterName, PathPrefix, Status};
pub use template::{Piece, Template};
pub use text::{HeaderTemplate, PathTemplate, QueryTemplate};

pub use crate::header_rules::HeaderRules;
pub use crate::query_rules::QueryRules;

/// The configuration of a plugin that has nothing to configure: no `config` or an empty one; any key is an error.
///
/// ```
/// use witgate_plugin::config::NoConfig;
///
/// assert!(serde_json::from_str::<NoConfig>("{}").is_ok());
/// assert!(serde_json::from_str::<NoConfig>(r#"{"a": 1}"#).is_err());
/// ```
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(description = "There is nothing to configure.")]
pub struct NoConfig {}

/// The name of a header that a plugin may write: a token (RFC 9110 §5.6.2), in lower case.
///
/// Headers by which the gateway itself frames and routes messages (`content-length`, `transfer-encoding`, `connection`, `host` and
/// such) are refused: written by a plugin, they would split or misdirect messages.
///
/// ```
/// use witgate_plugin::config::HeaderName;
///
/// let name: HeaderName = serde_json::from_str(r#""X-Tenant""#)?;
/// assert_eq!(&*name, "x-tenant");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(String);

/// The value of a header: no control characters but tabs, no space around it (RFC 9110 §5.5).
///
/// In a configuration `$$` is a dollar sign. A `${…}` is refused rather than sent as it stands: a [`Template`] takes values that are
/// computed from the request.
///
/// ```
/// use witgate_plugin::config::HeaderValue;
///
/// let value: HeaderValue = serde_json::from_str(r#""5 $$ off""#)?;
/// assert_eq!(&*value, "5 $ off");
/// assert!(serde_json::from_str::<HeaderValue>(r#""${request.path}""#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderValue(String);

/// One `T`, or a list of at least one.
///
/// ```
/// use witgate_plugin::config::OneOrMany;
///
/// let one: OneOrMany<u16> = serde_json::from_str("1")?;
/// let many: OneOrMany<u16> = serde_json::from_str("[1, 2]")?;
/// assert_eq!((one.len(), many.len()), (1, 2));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

/// Names that belong to the framing or routing of a message (RFC 9110 §7.2, §7.6.1, §8.6).
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl TryFrom<String> for HeaderName {
    type Error = String;

    fn try_from(mut name: String) -> Result<Self, String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            return Err(format!("{name:?} is no header name"));
        }
        name.make_ascii_lowercase();
        if RESERVED.contains(&name.as_str()) {
            return Err(format!("`{name}` is written by the gateway itself"));
        }
        Ok(HeaderName(name))
    }
}

impl TryFrom<String> for HeaderValue {
    type Error = String;

    fn try_from(value: String) -> Result<Self, String> {
        let value = Template::try_from(value.as_str())?.into_text().map_err(|name| {
            format!("this value cannot be computed from `${{{name}}}`; for a plain `${{` write `$${{`")
        })?;
        let control = |c: char| c.is_ascii_control() && c != '\t';
        if value.contains(control) || value.trim_matches([' ', '\t']) != value {
            return Err(format!("{value:?} is no header value"));
        }
        Ok(HeaderValue(value))
    }
}

/// Strings to look at, and strings in the configuration.
macro_rules! checked_string {
    ($($name:ident)+) => {$(
        impl std::ops::Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.try_into().map_err(de::Error::custom)
            }
        }
    )+};
}
use checked_string;

checked_string!(HeaderName HeaderValue);

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// For a default.
impl<T> From<T> for OneOrMany<T> {
    fn from(one: T) -> Self {
        OneOrMany(vec![one])
    }
}

impl<T> IntoIterator for OneOrMany<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrManyVisitor(PhantomData)).map(OneOrMany)
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one value or a list of them")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Vec<T>, E> {
        T::deserialize(de::value::StrDeserializer::new(value)).map(|one| vec![one])
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Vec<T>, E> {
        T::deserialize(de::value::U64Deserializer::new(value)).map(|one| vec![one])
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Vec<T>, E> {
        T::deserialize(de::value::I64Deserializer::new(value)).map(|one| vec![one])
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Vec<T>, E> {
        T::deserialize(de::value::F64Deserializer::new(value)).map(|one| vec![one])
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Vec<T>, E> {
        T::deserialize(de::value::BoolDeserializer::new(value)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<T>, A::Error> {
        let many = Vec::deserialize(SeqAccessDeserializer::new(list))?;
        if many.is_empty() {
            return Err(de::Error::invalid_length(0, &"at least one value"));
        }
        Ok(many)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::decode;

    type Headers = BTreeMap<HeaderName, OneOrMany<HeaderValue>>;

    #[test]
    fn names_and_values_check_themselves() {
        for (config, expected) in [
            (r#"{"X-A": "1", "x-b": ["2", "a\tb", "", "ü"]}"#, "ok"),
            (r#"{"x-a": 1}"#, "x-a: invalid type: integer `1`, expected a string"),
            (r#"{"x-a": ["1", true]}"#, "x-a[1]: invalid type: boolean `true`, expected a string"),
            (r#"{"x-a": []}"#, "x-a: invalid length 0, expected at least one value"),
            (r#"{"x-a": {}}"#, "x-a: invalid type: map, expected one value or a list of them"),
            (r#"{"x-a": "1\r\nx-b: 2"}"#, r#"x-a: "1\r\nx-b: 2" is no header value"#),
            (r#"{"x-a": ["1", " 2"]}"#, r#"x-a[1]: " 2" is no header value"#),
            (r#"{"x-a": "\u007f"}"#, r#"x-a: "\u{7f}" is no header value"#),
            (
                r#"{"x-a": "${request.path}"}"#,
                "x-a: this value cannot be computed from `${request.path}`; for a plain `${` write `$${`",
            ),
            (r#"{"x-a": "5$"}"#, "x-a: a lone `$`: write `$$` for a dollar sign, `${name}` for a variable"),
            (r#"{"x a": "1"}"#, r#"x a: "x a" is no header name"#),
            (r#"{"": "1"}"#, r#""" is no header name"#),
            (r#"{"Host": "1"}"#, "Host: `host` is written by the gateway itself"),
        ] {
            let outcome = decode::<Headers>(config).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
            assert_eq!(outcome, expected, "{config}");
        }
    }

    #[test]
    fn a_dollar_sign_is_doubled_in_configurations() {
        let value = decode::<HeaderValue>(r#""$$5 and $${x}""#);
        assert_eq!(value.as_deref(), Ok("$5 and ${x}"));
    }
}
