//! The reference of all keys, as a page for people: made from the JSON Schema, so that it says what the gateway reads.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The page, in Markdown, of a schema as [`schema`](super::schema()) gives it.
pub fn reference(schema: &Value) -> String {
    let mut page = Page { defs: schema["$defs"].as_object().cloned().unwrap_or_default(), ..Page::default() };
    page.out.push_str(INTRODUCTION);
    page.table(schema);
    while let Some(name) = page.left.pop_front() {
        let Some(def) = page.defs.get(&name).cloned() else { continue };
        let _ = write!(page.out, "\n## {name}\n\n");
        if let Some(text) = def["description"].as_str() {
            let _ = write!(page.out, "{}\n\n", flat(text));
        }
        page.table(&def);
    }
    page.scalars();
    page.out
}

const INTRODUCTION: &str = "<!-- Made from the JSON Schema by a test: `UPDATE_GOLDENS=1 cargo test --workspace --test config` writes it anew. -->\n\n\
# Configuration: all keys\n\n\
Editors complete and check these keys when a file begins with this line, with the schema that `witgate schema > witgate.schema.json` writes:\n\n\
```yaml\n# yaml-language-server: $schema=witgate.schema.json\n```\n\n\
How files become one configuration is told in [Sources](sources.md), what filters take in their `config` in [Native filters](filters.md).\n\
Keys at top level that begin with `x-` are ignored: a home for YAML anchors. `${env:VAR}` and `${env:VAR:-default}` in any text are filled in when\n\
it is read; `$$` is a dollar sign.\n\n";

#[derive(Default)]
struct Page {
    out: String,
    defs: Map<String, Value>,
    /// Types that are referred to and not told yet.
    left: std::collections::VecDeque<String>,
    seen: BTreeSet<String>,
    /// Types of one value that are referred to.
    scalars: BTreeSet<String>,
}

impl Page {
    fn table(&mut self, object: &Value) {
        let Some(keys) = object["properties"].as_object() else { return };
        let required: BTreeSet<&str> =
            object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        self.out.push_str("| key | takes | |\n|---|---|---|\n");
        for (key, schema) in keys {
            let takes = self.takes(schema);
            let text = schema["description"].as_str().map(flat).unwrap_or_default();
            let needed = if required.contains(key.as_str()) { " **Required.**" } else { "" };
            let _ = writeln!(self.out, "| `{key}` | {takes} | {}{needed} |", text.replace('|', "\\|"));
        }
    }

    /// What a key takes, in a few words.
    fn takes(&mut self, schema: &Value) -> String {
        if let Some(values) = schema["enum"].as_array() {
            return values.iter().map(|value| format!("`{}`", plain(value))).collect::<Vec<_>>().join(", ");
        }
        if let Some(value) = schema.get("const") {
            return format!("`{}`", plain(value));
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
            return self.named(&name.replace("~1", "/"));
        }
        if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let choices: BTreeSet<String> = choices.iter().map(|choice| self.takes(choice)).collect();
            return choices.into_iter().collect::<Vec<_>>().join(" or ");
        }
        match schema["type"].as_str() {
            Some("string") => "text".to_owned(),
            Some("integer") => "whole number".to_owned(),
            Some("number") => "number".to_owned(),
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("array") => format!("list of {}", self.takes(&schema["items"])),
            Some("object") if schema["additionalProperties"].is_object() => {
                format!("map of names to {}", self.takes(&schema["additionalProperties"]))
            }
            Some("object") => "map".to_owned(),
            _ => "anything".to_owned(),
        }
    }

    fn named(&mut self, name: &str) -> String {
        let def = self.defs.get(name).cloned().unwrap_or_default();
        if def["properties"].is_object() {
            if self.seen.insert(name.to_owned()) {
                self.left.push_back(name.to_owned());
            }
            return format!("[{name}](#{})", name.to_ascii_lowercase());
        }
        if def["anyOf"].is_array() && !def["anyOf"].as_array().into_iter().flatten().all(is_scalar) {
            return self.takes(&def);
        }
        self.scalars.insert(name.to_owned());
        format!("[{name}](#values)")
    }

    fn scalars(&mut self) {
        self.out.push_str("\n## Values\n\n| | |\n|---|---|\n");
        for name in std::mem::take(&mut self.scalars) {
            let def = self.defs.get(&name).cloned().unwrap_or_default();
            let examples: Vec<String> = def["examples"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|example| format!("`{}`", plain(example)))
                .collect();
            let words = match (examples.as_slice(), name.as_str()) {
                ([], "Whole") => "a whole number; it may be quoted, as by `${env:VAR}`".to_owned(),
                ([], "Factor") => "a number, such as `2` or `1.5`".to_owned(),
                ([], "AutoOrWhole") => "`auto`, or a whole number".to_owned(),
                ([], "NumberOrWord") => "a word or a whole number".to_owned(),
                ([], _) => self.takes(&def),
                (examples, _) => examples.join(", "),
            };
            let _ = writeln!(self.out, "| {name} | {words} |");
        }
    }
}

fn is_scalar(schema: &Value) -> bool {
    matches!(schema["type"].as_str(), Some("string" | "integer" | "number" | "boolean"))
}

/// On one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
