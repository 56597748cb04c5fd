//! What is wrong with the config of an attachment, with its place in there: as the schema of the plugin or native filter tells it, or
//! the filter itself.

use std::fmt;

use serde_json::Value;

use crate::config::{At, Fault, did_you_mean, nearest};
use crate::plugin::{SchemaFault, SchemaStep};

/// One fault of a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFault {
    /// From the top of the config; empty for the config as a whole.
    steps: Vec<SchemaStep>,
    is_key: bool,
    /// Complete, with the path in words.
    text: String,
    help: Option<String>,
}

impl ConfigFault {
    /// What the schema does not take.
    pub(super) fn by_schema(fault: SchemaFault) -> Self {
        let SchemaFault { steps, is_key, message, written, known, description } = fault;
        let suggested =
            written.and_then(|written| nearest(&written, known.iter().map(String::as_str)).map(did_you_mean));
        // The last step of an unknown key is the key itself, which the message names.
        let path = path(&steps);
        let text = if path.is_empty() { message } else { format!("{path}: {message}") };
        Self { steps, is_key, text, help: suggested.or(description) }
    }

    /// What the filter says itself: `PATH: MESSAGE`, as the SDK and native filters write it, or any other words.
    pub(super) fn by_filter(words: String, config: &Value) -> Self {
        let steps = located(&words, config);
        Self { is_key: words.contains("unknown field `"), steps, text: words, help: None }
    }

    /// As a fault of the configuration, whose entry of a filter list stands at `at`.
    pub(super) fn place(&self, at: &str, message: String) -> Fault {
        let path = format!("{at}.{}", path_below(&At::ROOT.key("config"), &self.steps));
        let fault = if self.is_key { Fault::key(path, message) } else { Fault::value(path, message) };
        match &self.help {
            Some(help) => fault.help(help),
            None => fault,
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn path(steps: &[SchemaStep]) -> String {
    path_below(&At::ROOT, steps)
}

fn path_below(at: &At<'_>, steps: &[SchemaStep]) -> String {
    match steps.split_first() {
        None => at.to_string(),
        Some((SchemaStep::Key(key), rest)) => path_below(&at.key(key), rest),
        Some((SchemaStep::Item(index), rest)) => path_below(&at.item(*index), rest),
    }
}

/// The path that the words begin with, as far as the config has it. Keys stand there as they are, with dots and all, so that
/// only the config tells where one ends.
fn located(words: &str, config: &Value) -> Vec<SchemaStep> {
    let mut steps = Vec::new();
    let (mut at, mut rest) = (config, words);
    while let Some((step, inner, after)) = step(at, rest, steps.is_empty()) {
        steps.push(step);
        (at, rest) = (inner, after);
    }
    let is_path = rest.starts_with(": ") || (!steps.is_empty() && rest.starts_with(['.', '[']));
    if is_path { steps } else { Vec::new() }
}

fn step<'v, 'w>(at: &'v Value, words: &'w str, is_first: bool) -> Option<(SchemaStep, &'v Value, &'w str)> {
    match at {
        Value::Object(map) => {
            let words = if is_first { words } else { words.strip_prefix('.')? };
            let found = map.iter().filter_map(|(key, inner)| {
                let after = words.strip_prefix(key.as_str())?;
                let ends = after.starts_with(['.', '[']) || after.starts_with(": ");
                ends.then_some((key, inner, after))
            });
            let (key, inner, after) = found.max_by_key(|(key, ..)| key.len())?;
            Some((SchemaStep::Key(key.clone()), inner, after))
        }
        Value::Array(items) => {
            let (index, after) = words.strip_prefix('[')?.split_once(']')?;
            let index = index.parse().ok()?;
            Some((SchemaStep::Item(index), items.get(index)?, after))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_words_of_a_plugin_find_their_place() {
        let config = json!({ "rules": [{ "match": 1 }], "a.b": { "c": 1 }, "a": 1, "headers": { "x a": [1, 2] } });
        for (words, place) in [
            ("rules[0].match: is wrong", "rules[0].match"),
            ("rules[0].mtach: unknown field", "rules[0]"),
            ("rules[7]: is wrong", "rules"),
            ("a.b.c: is wrong", r#"["a.b"].c"#),
            ("a: is wrong", "a"),
            ("headers.x a[1]: is wrong", r#"headers["x a"][1]"#),
            ("missing field `rules`", ""),
            ("a is wrong", ""),
            ("no: such key", ""),
            ("", ""),
        ] {
            assert_eq!(path(&ConfigFault::by_filter(words.to_owned(), &config).steps), place, "{words}");
        }
        let fault =
            ConfigFault::by_filter("a.b.c: is wrong".to_owned(), &config).place("routes[0].filters[1]", String::new());
        assert_eq!(fault.path, r#"routes[0].filters[1].config["a.b"].c"#);
    }

    #[test]
    fn a_near_name_is_better_help_than_a_description() {
        let fault = SchemaFault {
            steps: vec![SchemaStep::Key("vlaue".to_owned())],
            is_key: true,
            message: "unknown key `vlaue`".to_owned(),
            written: Some("vlaue".to_owned()),
            known: vec!["name".to_owned(), "value".to_owned()],
            description: Some("all about it".to_owned()),
        };
        let far = SchemaFault { known: vec!["name".to_owned()], ..fault.clone() };
        assert_eq!(ConfigFault::by_schema(fault).help.as_deref(), Some("did you mean `value`?"));
        assert_eq!(ConfigFault::by_schema(far).help.as_deref(), Some("all about it"));
    }
}
