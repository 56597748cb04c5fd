//! `${env:VAR}`, `${env:VAR:-default}` and `$$` in the strings of a tree; and what no string, key or value of a configuration may be.
//!
//! A variable always yields text, never YAML: it cannot add a key or a list. Keys of the gateway that want a number read it from text.
//!
//! # Who un-escapes `$$`
//!
//! `$$` is a dollar sign, so that `$${env:X}` is the text `${env:X}`. Outside the `config` of filters nothing else ever looks for dollars,
//! so that all of it is resolved here, once. A filter's `config`, though, may hold templates (`${request.path}`, `${capture.1}` …) that the
//! filter evaluates per request, and it must not mistake text for a template, whether the file escaped it or a variable brought it.
//! So a string of a `config` that still holds `${` once it is resolved is handed on as a *template*, in which every dollar that is text is
//! written `$$`; any other string is handed on as plain text. A filter can tell by looking for `${`: where there is none, the string is
//! final; where there is one, `$$` stands for a dollar sign.
//!
//! | in the file | `PRICE` | as an ordinary value | in a `config` | |
//! |---|---|---|---|---|
//! | `a$$b` | | `a$b` | `a$b` | plain |
//! | `${env:PRICE}` | `5$$` | `5$$` | `5$$` | plain |
//! | `$${request.path}` | | `${request.path}` | `$${request.path}` | a template for that very text |
//! | `${env:PRICE} ${request.path}` | `5$$` | `5$$ ${request.path}` | `5$$$$ ${request.path}` | template |
//! | `${env:PRICE}` | `${request.path}` | `${request.path}` | `$${request.path}` | a template for that very text |

use std::collections::HashMap;

use serde_yaml::{Mapping, Value};

use super::fault::{Fault, Finding};
use super::path::At;

/// What a walk through a tree found.
#[derive(Default)]
pub(super) struct Walked {
    /// What was refused is null from then on.
    pub(super) findings: Vec<Finding>,
    /// What came from the environment, with what the file has in its place: no message may show the former.
    pub(super) hidden: HashMap<String, String>,
}

/// Resolves every string below `root`, and refuses tags, keys that are no strings, keys without a value, numbers that JSON cannot hold.
pub(super) fn resolve(root: &mut Value, env: &dyn Fn(&str) -> Option<String>) -> Walked {
    let mut walk = Walk { env, walked: Walked::default() };
    walk.value(root, &At::ROOT, Area::Ordinary);
    walk.walked
}

/// What the strings of a place may hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Area {
    /// Keys that the gateway itself reads.
    Ordinary,
    /// The `config` of a filter: any JSON, with templates. So is the format of the access log.
    Config,
}

struct Walk<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    walked: Walked,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, at: &At<'_>, area: Area) {
        match value {
            Value::Null if area == Area::Ordinary => {
                let fault = Fault::key(at, "this entry has no value").help("give it a value, or remove it");
                self.refuse(value, fault);
            }
            Value::Tagged(tagged) => {
                let message = format!("tags such as `{}` have no meaning here", tagged.tag);
                self.refuse(value, Fault::value(at, message).help("remove the tag"));
            }
            Value::Number(number) if !number.is_i64() && !number.is_u64() && !number.is_finite() => {
                self.refuse(value, Fault::value(at, "this is no number that can be counted with"));
            }
            Value::String(text) if text.contains('$') => match self.text(text, area) {
                Ok(resolved) => *text = resolved,
                Err(problem) => {
                    let fault = Fault::value(at, problem.message).help(problem.help);
                    self.refuse(value, fault);
                }
            },
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, &at.item(index), area);
                }
            }
            Value::Mapping(map) => self.map(map, at, area),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn map(&mut self, map: &mut Mapping, at: &At<'_>, area: Area) {
        if area == Area::Config && map.keys().any(Value::is_i64) {
            *map = std::mem::take(map).into_iter().map(|(key, value)| (whole_as_text(key), value)).collect();
        }
        if map.keys().any(|key| !key.is_string()) {
            self.refuse_keys(map, at);
        }
        for (key, value) in map.iter_mut() {
            let key = key.as_str().unwrap_or_default();
            // Filters are the only items of a list that have a `config`.
            let is_config = key == "config" && at.is_item();
            let is_format = key == "format" && at.to_string() == "telemetry.access_log";
            let area = if is_config || is_format { Area::Config } else { area };
            self.value(value, &at.key(key), area);
        }
    }

    fn refuse_keys(&mut self, map: &mut Mapping, at: &At<'_>) {
        map.retain(|key, _| {
            let text = match key {
                Value::String(_) => return true,
                Value::Bool(bool) => bool.to_string(),
                Value::Number(number) => number.to_string(),
                _ => {
                    let fault = Fault::key(at, "a key of this map is not a string");
                    self.walked.findings.push(fault.into());
                    return false;
                }
            };
            let fault = Fault::key(at.key(&text), format!("the key `{text}` is not a string"));
            self.walked.findings.push(fault.help(format!("quote it: `\"{text}\"`")).into());
            false
        });
    }

    fn refuse(&mut self, value: &mut Value, fault: Fault) {
        *value = Value::Null;
        self.walked.findings.push(fault.into());
    }

    fn text(&mut self, text: &str, area: Area) -> Result<String, Problem> {
        let pieces = pieces(text)?;
        let mut plain = String::new();
        let mut template = String::new();
        let mut from_env = false;
        for piece in pieces {
            match piece {
                Piece::Text(text) | Piece::PerRequest(text) => {
                    plain.push_str(text);
                    template.push_str(text);
                }
                Piece::Dollar => {
                    plain.push('$');
                    template.push_str("$$");
                }
                Piece::Variable { name, default, written } => {
                    let value = self.variable(name, default, written)?;
                    from_env |= value.is_some();
                    let value = value.as_deref().or(default).unwrap_or_default();
                    plain.push_str(value);
                    template.push_str(&value.replace('$', "$$"));
                }
            }
        }
        let resolved = match area {
            Area::Config if plain.contains("${") => template,
            Area::Config | Area::Ordinary => plain,
        };
        if from_env {
            self.hide(&resolved, text);
        }
        Ok(resolved)
    }

    /// The value of a variable; `None` where its default stands in for it.
    fn variable(&mut self, name: &str, default: Option<&str>, written: &str) -> Result<Option<String>, Problem> {
        match ((self.env)(name), default) {
            (Some(value), Some(_)) if value.is_empty() => Ok(None),
            (Some(value), _) => {
                self.hide(&value, written);
                Ok(Some(value))
            }
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Problem {
                message: format!("the environment variable `{name}` is not set"),
                help: format!("set it, or write a default: `${{env:{name}:-…}}`"),
            }),
        }
    }

    fn hide(&mut self, value: &str, written: &str) {
        if !value.is_empty() {
            self.walked.hidden.insert(value.to_owned(), written.to_owned());
        }
    }
}

/// Why a string cannot be resolved.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    message: String,
    help: String,
}

/// A part of a string.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// `$$`
    Dollar,
    /// `${…}` that is not ours to resolve.
    PerRequest(&'a str),
    Variable {
        name: &'a str,
        default: Option<&'a str>,
        /// As it stands in the file.
        written: &'a str,
    },
}

/// Splits a string at its dollars. A dollar before anything but `$` and `{` is text.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Problem> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(dollar) = rest.find("$") {
        let (before, from) = rest.split_at(dollar);
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let (piece, length) = if from.starts_with("$$") {
            (Piece::Dollar, 2)
        } else if let Some(inside) = from.strip_prefix("${") {
            let written = inside.find('}').map(|end| &from[..end + 3]);
            (placeholder(written, inside)?, written.map_or(from.len(), str::len))
        } else {
            (Piece::Text("$"), 1)
        };
        pieces.push(piece);
        rest = &from[length..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// One `${…}`: `written` is all of it, or `None` where no brace closes it; `inside` is what follows the brace that opens it.
fn placeholder<'a>(written: Option<&'a str>, inside: &'a str) -> Result<Piece<'a>, Problem> {
    let Some(written) = written else {
        return Err(Problem {
            message: "`${` is never closed".to_owned(),
            help: "add the `}`, or write `$${` for the text itself".to_owned(),
        });
    };
    let inside = &inside[..written.len() - 3];
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let Some(variable) = inside.strip_prefix("env:") else {
        // Shells and other gateways write variables so; per-request names are in lower case.
        if is_name(inside) && !inside.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(Problem {
                message: format!("`{written}` is not filled in by anything"),
                help: format!(
                    "for the environment variable write `${{env:{inside}}}`, for the text itself `${written}`"
                ),
            });
        }
        return Ok(Piece::PerRequest(written));
    };
    let (name, default) = match variable.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (variable, None),
    };
    if !is_name(name) {
        return Err(Problem {
            message: format!("`{written}` does not name an environment variable"),
            help: "write `${env:NAME}` or `${env:NAME:-default}`".to_owned(),
        });
    }
    Ok(Piece::Variable { name, default, written })
}

/// Configs are JSON to filters, where every key is text, and `404: 200` says what it means all the same.
fn whole_as_text(key: Value) -> Value {
    match key.as_i64() {
        Some(whole) => Value::String(whole.to_string()),
        None => key,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn resolved(text: &str, area: Area) -> Result<String, Problem> {
        let env = |name: &str| match name {
            "PRICE" => Some("5$$".to_owned()),
            "TEMPLATE" => Some("${request.path}".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let mut walk = Walk { env: &env, walked: Walked::default() };
        walk.text(text, area)
    }

    fn check(text: &str, ordinary: &str, config: &str) {
        assert_eq!(resolved(text, Area::Ordinary).unwrap(), ordinary, "{text}");
        assert_eq!(resolved(text, Area::Config).unwrap(), config, "{text} in a config");
    }

    #[test]
    fn dollars_are_resolved_once() {
        check("a$$b", "a$b", "a$b");
        check("^/a$", "^/a$", "^/a$");
        check("$1 $", "$1 $", "$1 $");
        check("${env:PRICE}", "5$$", "5$$");
        check("${env:EMPTY}.", ".", ".");
        check("$${env:PRICE}", "${env:PRICE}", "$${env:PRICE}");
        check("$$$${env:PRICE}", "$${env:PRICE}", "$$$${env:PRICE}");
        check("$$${env:PRICE}", "$5$$", "$5$$");
    }

    #[test]
    fn templates_are_left_to_those_who_evaluate_them() {
        check("${request.path}", "${request.path}", "${request.path}");
        check("$${request.path}", "${request.path}", "$${request.path}");
        check("${env:TEMPLATE}", "${request.path}", "$${request.path}");
        check("${env:PRICE} ${param.id}", "5$$ ${param.id}", "5$$$$ ${param.id}");
        check("$$ ${capture.1}$", "$ ${capture.1}$", "$$ ${capture.1}$");
    }

    #[test]
    fn defaults_stand_in_for_what_is_unset_or_empty() {
        check("${env:NONE:-a:-b}", "a:-b", "a:-b");
        check("${env:EMPTY:-x}", "x", "x");
        check("${env:NONE:-}", "", "");
        check("${env:PRICE:-x}", "5$$", "5$$");
    }

    #[test]
    fn whole_numbers_are_keys_of_configs_alone() {
        let keys = |area| {
            let mut value: Value = serde_yaml::from_str("{ 404: a, -1: b, x: c, 1.5: d, true: e }").unwrap();
            let mut walk = Walk { env: &|_| None, walked: Walked::default() };
            walk.value(&mut value, &At::ROOT, area);
            let map = value.as_mapping().unwrap();
            (map.keys().map(|key| key.as_str().unwrap().to_owned()).collect::<Vec<_>>(), walk.walked.findings.len())
        };
        assert_eq!(keys(Area::Config), (["404", "-1", "x"].map(str::to_owned).to_vec(), 2));
        assert_eq!(keys(Area::Ordinary), (vec!["x".to_owned()], 4));
    }

    #[test]
    fn what_nothing_fills_in_is_refused() {
        for text in ["${env:NONE}", "${env:}", "${env:A B}", "${env:1}", "${HOME}", "${", "a${env:PRICE", "${env:}}"] {
            assert!(resolved(text, Area::Ordinary).is_err(), "{text}");
        }
    }
}
