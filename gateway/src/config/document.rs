//! A document: the texts that a configuration came from, kept so that later faults can point into them.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::fault::{Fault, Faults, File, Finding, Marked, Placed, Severity, Spot};
use super::origin::Origin;
use super::path::{self, At, Segment};
use super::place::Places;

/// The texts of a configuration, how they became one, and what was put in place of variables.
#[derive(Clone)]
pub struct Document {
    files: Arc<[File]>,
    /// Which part of the whole stands where.
    origin: Arc<Origin>,
    /// Values from the environment and what stands for them in the file; the longest first, so that no part of one is taken for another.
    hidden: Vec<(String, String)>,
}

impl Document {
    /// Of several files, which are one by `origin`.
    pub(super) fn new(files: Vec<File>, origin: Origin) -> Self {
        Self { files: files.into(), origin: Arc::new(origin), hidden: Vec::new() }
    }

    /// Of one text.
    pub(super) fn single(name: &Path, text: String) -> Self {
        let folder = name.parent().unwrap_or(Path::new("")).to_owned();
        Self::new(
            vec![File { name: name.display().to_string(), text: text.into(), folder, include: None }],
            Origin::whole(0),
        )
    }

    pub(super) fn hide(&mut self, hidden: impl IntoIterator<Item = (String, String)>) {
        self.hidden.extend(hidden);
        self.hidden.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    }

    /// The folder that a relative path at this place is meant from.
    pub(super) fn folder(&self, at: &At<'_>) -> &Path {
        match &*self.files {
            [only] => &only.folder,
            files => &files[self.origin.find(&path::parse(&at.to_string())).0].folder,
        }
    }

    /// Where paths stand: as `FILE:LINE`, from 1.
    pub fn lines<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Vec<String> {
        let places = LookedUp::new(&self.files);
        let line = |path: &str| {
            let (file, segments) = self.origin.find(&path::parse(path));
            let File { name, text, .. } = &self.files[file];
            let start = places.find(file, &segments, Spot::Value).map_or(0, |bytes| bytes.start);
            format!("{name}:{}", text[..start].matches('\n').count() + 1)
        };
        paths.into_iter().map(line).collect()
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
        self.report(faults.into_iter().map(Finding::from).collect())
    }

    /// The same for what is legal, but probably not meant; `None` where there is nothing of the kind.
    pub fn warnings(&self, warnings: Vec<Fault>) -> Option<Faults> {
        let findings: Vec<Finding> = warnings.into_iter().map(Finding::from).collect();
        (!findings.is_empty()).then(|| self.placed(findings, Severity::Warning))
    }

    /// The same for what this room found.
    pub(super) fn report(&self, findings: Vec<Finding>) -> Faults {
        self.placed(findings, Severity::Error)
    }

    fn placed(&self, findings: Vec<Finding>, severity: Severity) -> Faults {
        let looked_up = LookedUp::new(&self.files);
        let placed = findings.into_iter().map(|finding| self.place(finding, &looked_up)).collect();
        Faults::new(self.files.clone(), severity, placed)
    }

    fn place(&self, finding: Finding, places: &LookedUp<'_>) -> Placed {
        let fault = finding.fault;
        let segments = path::parse(&fault.path);
        let (file, segments) = match finding.file {
            Some(file) => (file, segments),
            None => self.origin.find(&segments),
        };
        let bytes = finding.bytes.or_else(|| places.find(file, &segments, fault.target));
        let related = match (&fault.related, finding.related) {
            (Some((path, label)), _) => {
                let (file, segments) = self.origin.find(&path::parse(path));
                places.find(file, &segments, Spot::Value).map(|bytes| Marked { file, bytes, label })
            }
            (None, Some((bytes, label))) => Some(Marked { file, bytes, label }),
            (None, None) => None,
        };
        Placed { fault: fault.map_texts(|text| self.conceal(text)), file, bytes, related }
    }

    /// The text with what came from the environment replaced by what the file has in its place.
    pub(super) fn conceal(&self, text: String) -> String {
        self.hidden.iter().fold(text, |text, (value, written)| {
            let text = replace_whole(&text, value, written);
            // A text may also quote the value as a string literal.
            let escaped = value.escape_debug().to_string();
            if escaped == *value { text } else { replace_whole(&text, &escaped, written) }
        })
    }
}

/// The places of each file, read once something is to be found there.
struct LookedUp<'a> {
    files: &'a [File],
    places: Vec<OnceCell<Places>>,
}

impl<'a> LookedUp<'a> {
    fn new(files: &'a [File]) -> Self {
        Self { files, places: files.iter().map(|_| OnceCell::new()).collect() }
    }

    fn find(&self, file: usize, path: &[Segment], spot: Spot) -> Option<Range<usize>> {
        self.places[file].get_or_init(|| Places::read(&self.files[file].text)).find(path, spot)
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
    /// Shows the names alone: the rest is long, and may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        f.debug_struct("Document").field("files", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let mut document = Document::single(Path::new("a.yaml"), String::new());
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
