//! A document: the text that a configuration came from, kept so that later faults can point into it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::fault::{Fault, Faults, Finding, Placed, RelatedPlace, Spot};
use super::path;
use super::place::Places;

/// The text of a configuration, and what was put in place of its variables.
#[derive(Clone)]
pub struct Document {
    name: PathBuf,
    text: Arc<str>,
    /// Values from the environment and what stands for them in the file; the longest first, so that no part of one is taken for another.
    hidden: Vec<(String, String)>,
}

impl Document {
    pub(super) fn new(name: &Path, text: String) -> Self {
        Self { name: name.to_owned(), text: text.into(), hidden: Vec::new() }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn hide(&mut self, hidden: impl IntoIterator<Item = (String, String)>) {
        self.hidden.extend(hidden);
        self.hidden.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    }

    /// Turns faults that later stages found (a regex that the router refused, a plugin that refused its config) into positioned ones.
    ///
    /// Values of environment variables are taken out of every text, so that a stage may quote a string of the configuration as a whole.
    ///
    /// # Panics
    ///
    /// If there is no fault: check that first.
    pub fn faults(&self, faults: Vec<Fault>) -> Faults {
        assert!(!faults.is_empty(), "faults are reported only where there are some");
        self.report(faults.into_iter().map(Finding::from).collect(), None)
    }

    /// The same for what this room found; `places` if they have been looked up already.
    pub(super) fn report(&self, findings: Vec<Finding>, places: Option<&Places>) -> Faults {
        let read;
        let places = match places {
            Some(places) => places,
            None => {
                read = Places::read(&self.text);
                &read
            }
        };
        let placed = findings.into_iter().map(|finding| self.place(finding, places)).collect();
        Faults::new(self.name.display().to_string(), self.text.clone(), placed)
    }

    fn place(&self, finding: Finding, places: &Places) -> Placed {
        let segments = path::parse(&finding.fault.path);
        let bytes = finding.bytes.or_else(|| places.find(&segments, finding.fault.target));
        let related = finding.related.and_then(|related| {
            let bytes = match related.place {
                RelatedPlace::Bytes(bytes) => Some(bytes),
                RelatedPlace::Value(path) => places.find(&path::parse(&path), Spot::Value),
            };
            Some((bytes?, related.label))
        });
        Placed { fault: finding.fault.map_texts(|text| self.conceal(text)), bytes, related }
    }

    /// The text with what came from the environment replaced by what the file has in its place.
    fn conceal(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, (value, written)| {
            let text = replace_whole(&text, value, written);
            // A text may also quote the value as a string literal.
            let escaped = value.escape_debug().to_string();
            if escaped == *value { text } else { replace_whole(&text, &escaped, written) }
        })
    }
}

/// Replaces every occurrence of `value`; of a short one only where no letter or digit adjoins it, since "1" is in every other number.
fn replace_whole(text: &str, value: &str, by: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for (start, found) in text.match_indices(value) {
        let end = start + found.len();
        let adjoins = text[..start].ends_with(char::is_alphanumeric) || text[end..].starts_with(char::is_alphanumeric);
        if start < done || (adjoins && value.len() < SECRET_BYTES_MIN) {
            continue;
        }
        replaced.push_str(&text[done..start]);
        replaced.push_str(by);
        done = end;
    }
    replaced.push_str(&text[done..]);
    replaced
}

/// What is shorter is no secret that could be recognised inside a word.
const SECRET_BYTES_MIN: usize = 4;

impl fmt::Debug for Document {
    /// Shows the name alone: the rest is long, and may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut document = Document::new(Path::new("a.yaml"), String::new());
        let hidden = [("s3cret", "${env:A}"), ("s3cret-long", "${env:B}"), ("7", "${env:C}"), ("a\"b\n", "${env:D}")];
        document.hide(hidden.map(|(value, written)| (value.to_owned(), written.to_owned())));
        let faults = document.faults(vec![Fault::value("", text)]);
        assert_eq!(faults.iter().next().map(|fault| fault.message.as_str()), Some(expected));
    }

    #[test]
    fn what_came_from_the_environment_is_shown_as_it_is_written() {
        check("no `s3cret` here", "no `${env:A}` here");
        check("xs3cretx", "x${env:A}x");
        check("s3cret-long, s3cret", "${env:B}, ${env:A}");
        check("7 of 77, 7", "${env:C} of 77, ${env:C}");
        check("refused \"a\\\"b\\n\"", "refused \"${env:D}\"");
        check("nothing", "nothing");
    }
}
