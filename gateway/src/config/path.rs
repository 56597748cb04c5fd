//! Paths: how a fault names its place in the configuration, written and read.
//!
//! Grammar: steps from the top, `routes[3].match.path.regex`. An item of a list is its index in brackets, from 0; an entry of a map is its
//! key after a dot. A key that is empty or holds a dot, a bracket, a quote, white space or a control character stands in brackets as a
//! JSON string instead: `plugins["audit.v2"].source`. The empty path is the whole document. Where a path lies in the file says `place`.

use std::fmt;

/// A path that grows on the stack as the configuration is walked: it costs nothing until it is displayed.
///
/// ```
/// use witgate::config::At;
/// let path = At::ROOT.key("routes").item(3).key("match").to_string();
/// assert_eq!(path, "routes[3].match");
/// assert_eq!(At::ROOT.key("plugins").key("audit.v2").to_string(), r#"plugins["audit.v2"]"#);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The path above and the step from there; `None` for the root.
    from: Option<(&'a At<'a>, Step<'a>)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

impl<'a> At<'a> {
    /// The whole document.
    pub const ROOT: At<'static> = At { from: None };

    /// The entry of this map under `key`.
    pub fn key(&'a self, key: &'a str) -> At<'a> {
        At { from: Some((self, Step::Key(key))) }
    }

    /// The item of this list at `index`, from 0.
    pub fn item(&'a self, index: usize) -> At<'a> {
        At { from: Some((self, Step::Item(index))) }
    }

    fn write(&self, path: &mut String) {
        if let Some((above, step)) = self.from {
            above.write(path);
            push(path, step);
        }
    }

    pub(super) fn is_item(&self) -> bool {
        matches!(self.from, Some((_, Step::Item(_))))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = String::new();
        self.write(&mut path);
        f.write_str(&path)
    }
}

/// Adds a step to a path that is written already.
pub(super) fn push(path: &mut String, step: Step<'_>) {
    match step {
        Step::Item(index) => path.push_str(&format!("[{index}]")),
        Step::Key(key) if !is_bare(key) => {
            let quoted = serde_json::Value::from(key);
            path.push_str(&format!("[{quoted}]"));
        }
        Step::Key(key) => {
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(key);
        }
    }
}

fn is_bare(key: &str) -> bool {
    let quoted = |c: char| matches!(c, '.' | '[' | ']' | '"') || c.is_whitespace() || c.is_control();
    !key.is_empty() && !key.contains(quoted)
}

/// One step of a path that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Item(usize),
}

/// The segments of a path; what does not follow the grammar ends it, so that a fault still lands near its place.
pub(super) fn parse(path: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut rest = path;
    while let Some((segment, after)) = next(rest) {
        segments.push(segment);
        rest = after;
    }
    segments
}

fn next(rest: &str) -> Option<(Segment, &str)> {
    if let Some(inside) = rest.strip_prefix('[') {
        if inside.starts_with('"') {
            let mut json = serde_json::Deserializer::from_str(inside).into_iter::<String>();
            let key = json.next()?.ok()?;
            let after = inside.get(json.byte_offset()..)?.strip_prefix(']')?;
            return Some((Segment::Key(key), after));
        }
        let (index, after) = inside.split_once(']')?;
        return Some((Segment::Item(index.parse().ok()?), after));
    }
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    (end > 0).then(|| (Segment::Key(rest[..end].to_owned()), &rest[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_path_ends_it() {
        let users = || Segment::Key("users".to_owned());
        assert_eq!(parse("users[x]"), [users()]);
        assert_eq!(parse("users[\"x"), [users()]);
        assert_eq!(parse("users."), [users()]);
        assert_eq!(parse(""), []);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(a in ".*", index in 0..20_usize, b in ".*") {
            let top = At::ROOT.key(&a);
            let path = top.item(index).key(&b).to_string();
            prop_assert_eq!(parse(&path), [Segment::Key(a.clone()), Segment::Item(index), Segment::Key(b.clone())]);
        }
    }
}
