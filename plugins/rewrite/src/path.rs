//! `path: {strip_prefix, regex, add_prefix}`, applied in this order to the path without its query.

use std::borrow::Cow;

use regex_lite::{Captures, Regex};
use serde::Deserialize;
use witgate_plugin::config::{PathPrefix, PathTemplate, Piece, Template};
use witgate_plugin::{Error, Request, RequestText, Setup, schemars};

#[derive(Default, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "PathConfig")]
pub(crate) struct Config {
    /// Whole segments that the path loses, if it begins with them.
    strip_prefix: PathPrefix,
    /// What the path begins with afterwards.
    add_prefix: PathPrefix,
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

/// A prefix that is absent is empty.
pub(crate) struct Rewrite {
    strip_prefix: PathPrefix,
    regex: Option<(Regex, Vec<Part>)>,
    add_prefix: PathPrefix,
}

/// A piece of a replacement: a group of the regex, or text that is the same for the whole path.
enum Part {
    Group(usize),
    Text(RequestText),
}

impl Config {
    /// `None` when there is nothing to rewrite: then the path need not cross into the plugin.
    pub(crate) fn check(self, setup: &mut Setup) -> Result<Option<Rewrite>, Error> {
        let Config { strip_prefix, add_prefix, regex } = self;
        let regex = regex.map(|regex| regex.check(setup)).transpose()?;
        let idle = strip_prefix.is_empty() && add_prefix.is_empty() && regex.is_none();
        Ok((!idle).then_some(Rewrite { strip_prefix, regex, add_prefix }))
    }
}

impl RegexConfig {
    fn check(self, setup: &mut Setup) -> Result<(Regex, Vec<Part>), Error> {
        let regex = Regex::new(&self.pattern).map_err(|why| Error::at("request.path.regex.match", why))?;
        let part = |piece: &Piece| match piece {
            Piece::Variable(name) if name.starts_with(CAPTURE) => find_group(name, &regex).map(Part::Group),
            other => PathTemplate::try_from(Template::from(other.clone())).map(|text| Part::Text(text.want(setup))),
        };
        let parts: Result<_, _> = self.replace.pieces().iter().map(part).collect();
        let parts = parts.map_err(|why| Error::at("request.path.regex.replace", why))?;
        Ok((regex, parts))
    }
}

impl Rewrite {
    /// The new path, if it differs.
    pub(crate) fn apply(&self, old: &str, request: &Request<'_>) -> Option<String> {
        let mut rest = Cow::Borrowed(self.strip_prefix.strip(old).unwrap_or(old));
        if let Some((regex, parts)) = &self.regex {
            rest =
                Cow::Owned(regex.replace_all(&rest, |found: &Captures<'_>| fill(parts, found, request)).into_owned());
        }
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let path = [&*self.add_prefix, slash, &rest].concat();
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

/// `${capture.N}` and `${capture.NAME}` are groups of the regex.
fn find_group(name: &str, regex: &Regex) -> Result<usize, String> {
    let group = &name[CAPTURE.len()..];
    let by_number = || group.parse().ok().filter(|&number| number < regex.captures_len());
    let by_name = || regex.capture_names().position(|known| known == Some(group));
    by_name().or_else(by_number).ok_or_else(|| format!("`match` has no group `{group}`"))
}

const CAPTURE: &str = "capture.";
