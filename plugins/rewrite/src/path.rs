//! `path: {strip_prefix, regex, add_prefix}`, applied in this order to the path without its query.

use std::borrow::Cow;

use regex_lite::{Captures, Regex};
use serde::Deserialize;
use witgate_plugin::config::{Piece, Template};
use witgate_plugin::{Error, Request, RequestText, Setup, schemars};

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "PathConfig")]
pub(crate) struct Config {
    /// Whole segments that the path loses, if it begins with them.
    strip_prefix: Option<String>,
    /// What the path begins with afterwards.
    add_prefix: Option<String>,
    /// Replaces every match.
    regex: Option<RegexConfig>,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct RegexConfig {
    /// A regular expression.
    #[serde(rename = "match")]
    pattern: String,
    /// `${capture.1}` and `${capture.name}` are what its groups matched.
    replace: Template,
}

/// Prefixes have lost the slash at their end, so `/api` and `/api/` mean the same, and an absent one is empty.
pub(crate) struct Rewrite {
    strip_prefix: String,
    regex: Option<(Regex, Vec<Part>)>,
    add_prefix: String,
}

/// A piece of a replacement: a group of the regex, or text that is the same for the whole path.
enum Part {
    Group(usize),
    Text(RequestText),
}

impl Config {
    /// `None` when there is nothing to rewrite: then the path need not cross into the plugin.
    pub(crate) fn check(self, setup: &mut Setup) -> Result<Option<Rewrite>, Error> {
        let strip_prefix = check_prefix("strip_prefix", self.strip_prefix)?;
        let add_prefix = check_prefix("add_prefix", self.add_prefix)?;
        let regex = self.regex.map(|regex| regex.check(setup)).transpose()?;
        let idle = strip_prefix.is_empty() && add_prefix.is_empty() && regex.is_none();
        Ok((!idle).then_some(Rewrite { strip_prefix, regex, add_prefix }))
    }
}

impl RegexConfig {
    fn check(self, setup: &mut Setup) -> Result<(Regex, Vec<Part>), Error> {
        let regex = Regex::new(&self.pattern).map_err(|why| Error::at("request.path.regex.match", why))?;
        let part = |piece: &Piece| match piece {
            Piece::Variable(name) if name.starts_with(CAPTURE) => find_group(name, &regex).map(Part::Group),
            other => RequestText::of(&other.clone().into(), setup).map(Part::Text),
        };
        let texts = self.replace.texts().try_for_each(|text| check_text(text, ""));
        let parts: Result<_, _> = texts.and_then(|()| self.replace.pieces().iter().map(part).collect());
        let parts = parts.map_err(|why| Error::at("request.path.regex.replace", why))?;
        Ok((regex, parts))
    }
}

impl Rewrite {
    /// The new path, if it differs.
    pub(crate) fn apply(&self, old: &str, request: &Request<'_>) -> Option<String> {
        // A prefix ends at a segment: `/api` is none of `/apix`.
        let stripped = old.strip_prefix(&self.strip_prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut rest = Cow::Borrowed(stripped.unwrap_or(old));
        if let Some((regex, parts)) = &self.regex {
            rest =
                Cow::Owned(regex.replace_all(&rest, |found: &Captures<'_>| fill(parts, found, request)).into_owned());
        }
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let path = [&self.add_prefix, slash, &rest].concat();
        (path != old).then_some(path)
    }
}

/// A group that took no part in the match is empty.
fn fill(parts: &[Part], found: &Captures<'_>, request: &Request<'_>) -> String {
    let mut whole = String::new();
    for part in parts {
        match part {
            Part::Group(group) => whole.push_str(found.get(*group).map_or("", |group| group.as_str())),
            Part::Text(text) => whole.push_str(&text.for_uri(request)),
        }
    }
    whole
}

fn check_prefix(key: &str, prefix: Option<String>) -> Result<String, Error> {
    let prefix = prefix.unwrap_or_else(|| "/".to_owned());
    let fault = |why| Error::at(format!("request.path.{key}"), why);
    if !prefix.starts_with('/') {
        return Err(fault(format!("{prefix:?} must begin with `/`")));
    }
    check_text(&prefix, "").map_err(fault)?;
    Ok(prefix.trim_end_matches('/').to_owned())
}

/// What may stand in a path or a parameter as it is, but for these; RFC 3986 §3.3 wants the rest percent-encoded.
pub(crate) fn check_text(text: &str, others: &str) -> Result<(), String> {
    let is_bad = |c: &char| !c.is_ascii_graphic() || "?#\\\"<>".contains(*c) || others.contains(*c);
    text.chars().find(is_bad).map_or(Ok(()), |c| Err(format!("{c:?} cannot stand there; percent-encode it")))
}

/// `${capture.N}` and `${capture.NAME}` are groups of the regex.
fn find_group(name: &str, regex: &Regex) -> Result<usize, String> {
    let group = &name[CAPTURE.len()..];
    let by_number = || group.parse().ok().filter(|&number| number < regex.captures_len());
    let by_name = || regex.capture_names().position(|known| known == Some(group));
    by_name().or_else(by_number).ok_or_else(|| format!("`match` has no group `{group}`"))
}

const CAPTURE: &str = "capture.";
