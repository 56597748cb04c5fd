//! Why a configuration is refused, and decoding it so that the message names the key.

use std::fmt;

use serde::de::DeserializeOwned;

/// Why a plugin refuses its configuration; the operator reads it beside the key that is at fault.
///
/// ```
/// use witgate_plugin::Error;
///
/// assert_eq!(Error::at("keys[2].id", "must not be empty").to_string(), "keys[2].id: must not be empty");
/// assert_eq!(Error::new("give `keys` or `table`").to_string(), "give `keys` or `table`");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    path: String,
    message: String,
}

impl Error {
    /// The configuration as a whole is wrong. Write lower case, no full stop, and name the thing.
    pub fn new(message: impl fmt::Display) -> Self {
        Error { path: String::new(), message: message.to_string() }
    }

    /// One key of the configuration is wrong: `path` leads to it from the top of `config`, such as `request.headers.set.x-a[1]`.
    pub fn at(path: impl Into<String>, message: impl fmt::Display) -> Self {
        Error { path: path.into(), message: message.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Decode the configuration of an attachment. An absent one arrives as `null`, which serves types of all-optional keys as well as `()`.
pub(crate) fn decode<C: DeserializeOwned>(json: &str) -> Result<C, Error> {
    match decode_as_is(json) {
        // The error is then about the keys that are missing, not about `null`, which the operator never wrote.
        Err(_) if json == "null" => decode_as_is("{}"),
        result => result,
    }
}

fn decode_as_is<C: DeserializeOwned>(json: &str) -> Result<C, Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|fault| {
        let path = match fault.path().to_string() {
            top if top == "." => String::new(),
            path => path,
        };
        // The operator wrote YAML: a line and column of the JSON made from it would mislead.
        let cause = fault.inner();
        let place = format!(" at line {} column {}", cause.line(), cause.column());
        let message = cause.to_string();
        Error { path, message: message.strip_suffix(&place).unwrap_or(&message).to_owned() }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde::Deserialize;

    use super::*;
    use crate::config::NoConfig;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(rename = "rules")]
        _rules: Vec<Rule>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Rule {
        #[serde(rename = "match")]
        _pattern: String,
    }

    #[test]
    fn a_fault_names_its_key_and_no_line() {
        for (config, expected) in [
            (r#"{"rules": [{"match": 3}]}"#, "rules[0].match: invalid type: integer `3`, expected a string"),
            (r#"{"rules": [{"match": "a"}, {}]}"#, "rules[1]: missing field `match`"),
            (r#"{"rules": [{"mtach": "a"}]}"#, "rules[0].mtach: unknown field `mtach`, expected `match`"),
            ("null", "missing field `rules`"),
            (r#"{"rules": 1, "rules": 2}"#, "rules: invalid type: integer `1`, expected a sequence"),
        ] {
            assert_eq!(decode::<Outer>(config).unwrap_err().to_string(), expected, "{config}");
        }
    }

    #[test]
    fn an_absent_configuration_is_an_empty_one() {
        decode::<NoConfig>("null").unwrap();
        decode::<NoConfig>("{}").unwrap();
        decode::<()>("null").unwrap();
        decode::<Option<Outer>>("null").unwrap();
        assert!(decode::<NoConfig>(r#"{"a": 1}"#).unwrap_err().to_string().contains("unknown field `a`"));
    }
}
