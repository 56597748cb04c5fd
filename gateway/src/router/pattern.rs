//! What a route asks of the path, checked: a pattern that no normalised path could match is refused here.
//!
//! Templates and regexes have their own files; how patterns are looked up is left to `paths`.

use super::regex::PathRegex;
use super::template::Template;
use super::{Captures, PathSpec};
use crate::message::path::{PathError, normalise};

/// A [`PathSpec`] without faults.
pub(super) enum PathPattern {
    Exact(Box<str>),
    /// With the slash at its end, if there is one: `/users/` and `/users` differ.
    Prefix(Box<str>),
    Template(Template),
    Regex(PathRegex),
}

impl PathPattern {
    pub(super) fn parse(spec: &PathSpec) -> Result<Self, String> {
        match spec {
            PathSpec::Exact(path) => {
                check_literal(path)?;
                Ok(Self::Exact(path.as_str().into()))
            }
            PathSpec::Prefix(path) => {
                check_literal(path)?;
                check_depth(path)?;
                Ok(Self::Prefix(path.as_str().into()))
            }
            PathSpec::Template(template) => {
                check_depth(template)?;
                Template::parse(template).map(Self::Template)
            }
            PathSpec::Regex(regex) => PathRegex::parse(regex).map(Self::Regex),
        }
    }

    /// What is needed of the pattern once it is known to match.
    pub(super) fn into_captures(self) -> Captures {
        match self {
            Self::Exact(_) | Self::Prefix(_) => Captures::Nothing,
            Self::Template(template) => Captures::Template(template),
            Self::Regex(regex) => regex.into_captures(),
        }
    }
}

/// Refuses literal text that is not spelled as a request's path arrives: it would never match, and silently.
pub(super) fn check_literal(path: &str) -> Result<(), String> {
    match normalise(path) {
        Ok(normal) if normal == path => Ok(()),
        Ok(normal) => Err(format!("`{path}` would never match, because such a path arrives as `{normal}`; write that")),
        Err(PathError::NotAbsolute) => Err(format!("`{path}` does not begin with `/`")),
        Err(error) => Err(format!("`{path}` would never match, because {error}, and such requests are refused")),
    }
}

/// The tree is walked by recursion, one call for each segment.
fn check_depth(path: &str) -> Result<(), String> {
    let segments = path.matches('/').count();
    if segments > SEGMENTS_MAX {
        return Err(format!("the path has {segments} segments, of {SEGMENTS_MAX} allowed"));
    }
    Ok(())
}

/// Segments of a prefix or a template.
pub(super) const SEGMENTS_MAX: usize = 128;
