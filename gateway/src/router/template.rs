//! Path templates such as `/users/{id}/files/{*rest}`: their syntax, and what they take from a path.
//!
//! Whether a template matches is left to `tree`, which tries all templates of a host at once.

use std::collections::HashSet;

use super::Params;
use super::pattern::check_literal;

/// A template, split at its slashes.
pub(super) struct Template {
    segments: Box<[Segment]>,
}

/// What a template has between two slashes.
pub(super) enum Segment {
    /// Empty only as the last one: the template ends with a slash, and so must the path.
    Literal(Box<str>),
    /// One segment that is not empty.
    Param(Box<str>),
    /// All that is left of the path, if that is not empty. Always the last.
    Rest(Box<str>),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("`{text}` does not begin with `/`"));
        };
        let segments = relative.split('/').map(Segment::parse).collect::<Result<Box<[_]>, _>>()?;

        let mut names = HashSet::new();
        for (at, segment) in segments.iter().enumerate() {
            let is_last = at + 1 == segments.len();
            match segment {
                Segment::Literal(literal) if literal.is_empty() && !is_last => {
                    return Err(format!("`{text}` would never match, because `//` arrives as `/`"));
                }
                Segment::Rest(name) if !is_last => {
                    return Err(format!("`{{*{name}}}` takes the rest of the path, so nothing may follow it"));
                }
                Segment::Param(name) | Segment::Rest(name) if !names.insert(name) => {
                    return Err(format!("`{text}` has two parameters named `{name}`"));
                }
                _ => {}
            }
        }
        Ok(Self { segments })
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How many segments are literal; a slash at the end makes none.
    pub(super) fn literals(&self) -> usize {
        let is_literal = |segment: &&Segment| matches!(segment, Segment::Literal(text) if !text.is_empty());
        self.segments.iter().filter(is_literal).count()
    }

    pub(super) fn has_rest(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(_)))
    }

    /// The parameters' values in `path`, which matches this template.
    pub(super) fn params<'r>(&'r self, path: &'r str) -> Params<'r> {
        let mut params = Params::default();
        let mut rest = path.get(1..).unwrap_or_default();
        for segment in &self.segments {
            let (value, after) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                Segment::Literal(_) => {}
                Segment::Param(name) => params.push(name, value),
                Segment::Rest(name) => params.push(name, rest),
            }
            rest = after;
        }
        params
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match inside {
            Some(name) => match name.strip_prefix('*') {
                Some(name) => check_name(text, name).map(|()| Self::Rest(name.into())),
                None => check_name(text, name).map(|()| Self::Param(name.into())),
            },
            None if text.contains(['{', '}']) => Err(format!(
                "`{text}` mixes text and a parameter; a parameter takes a whole segment, a regex can take less"
            )),
            None => check_literal(&format!("/{text}")).map(|()| Self::Literal(text.into())),
        }
    }
}

/// Names are written as `${param.NAME}` elsewhere, so they are kept plain.
fn check_name(segment: &str, name: &str) -> Result<(), String> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    if name.is_empty() || !is_plain {
        return Err(format!("`{segment}` is no parameter; its name may have letters, digits, `_` and `-`"));
    }
    Ok(())
}
