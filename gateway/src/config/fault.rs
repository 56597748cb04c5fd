//! Faults: what is wrong with a configuration, and all of them at once.
//!
//! A [`Fault`] names its place by path; [`Faults`] know the bytes of the file as well. How those look stands in `render`.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Faults that are reported at once; what lies beyond is left for the next try.
pub const FAULTS_MAX: usize = 100;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where, in the grammar of [`At`](super::At): `routes[3].match.path.regex`. A place that the file does not hold (a default, a key
    /// that is missing) counts as the nearest one above it that it does hold.
    pub path: String,
    /// Which part of that place to underline.
    pub target: Spot,
    /// The title: lower case, no full stop, complete without the rest.
    pub message: String,
    /// A few words beside the underlined text.
    pub label: Option<String>,
    /// The remedy.
    pub help: Option<String>,
    /// The path of a second value that explains it, and a few words beside that one.
    pub related: Option<(String, &'static str)>,
}

/// The part of an entry that a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// The key; an item of a list has none and is underlined itself.
    Key,
    /// The value; of one that goes over several lines, the first.
    Value,
}

impl Fault {
    /// A fault of the value at `path`.
    pub fn value(path: impl fmt::Display, message: impl Into<String>) -> Self {
        let (path, message) = (path.to_string(), message.into());
        Self { path, target: Spot::Value, message, label: None, help: None, related: None }
    }

    /// A fault of the key at `path`, or of the entry as a whole.
    pub fn key(path: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { target: Spot::Key, ..Self::value(path, message) }
    }

    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a second place.
    #[must_use]
    pub fn related(mut self, path: impl fmt::Display, label: &'static str) -> Self {
        self.related = Some((path.to_string(), label));
        self
    }

    /// Whether it says the same of the same place, whatever else explains it.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.path == other.path && self.message == other.message
    }

    /// The fault with every text passed through `edit`.
    pub(super) fn map_texts(mut self, edit: impl Fn(String) -> String) -> Self {
        self.message = edit(self.message);
        self.label = self.label.map(&edit);
        self.help = self.help.map(&edit);
        self
    }
}

/// A fault as the stages of this room hand it on: it may know its file and bytes already.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) fault: Fault,
    /// The file whose own paths the fault is told in; `None` for those of the whole configuration.
    pub(super) file: Option<usize>,
    /// Bytes of that file to underline; where `None`, the path is looked up.
    pub(super) bytes: Option<Range<usize>>,
    /// Bytes of that file which explain it, where the fault names no second place.
    pub(super) related: Option<(Range<usize>, &'static str)>,
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        Self { fault, file: None, bytes: None, related: None }
    }
}

impl Finding {
    /// The fault of one file, in that file's own paths.
    pub(super) fn of_file(file: usize, fault: Fault) -> Self {
        Self { file: Some(file), ..fault.into() }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing can be made of this configuration.
    Error,
    /// It is legal, but probably not meant.
    Warning,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Every fault that was found in a configuration, in the order of the file. Never empty.
///
/// `Display` renders them without colour.
#[derive(Clone)]
pub struct Faults(Box<Report>);

/// The content of [`Faults`], boxed because it travels in the error half of every `Result` of this room.
#[derive(Clone)]
pub(super) struct Report {
    pub(super) files: Arc<[File]>,
    pub(super) severity: Severity,
    pub(super) placed: Vec<Placed>,
    /// Whether faults beyond [`FAULTS_MAX`] were dropped.
    pub(super) more: bool,
}

/// A text that a configuration, or a part of it, came from.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// How it is called in reports.
    pub(super) name: String,
    pub(super) text: Arc<str>,
    /// Where relative paths in it are meant from.
    pub(super) folder: PathBuf,
    /// The include that brought it.
    pub(super) include: Option<Arc<Include>>,
}

/// What the files of one `include` share.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Include {
    /// With the folder that it is meant from.
    pub(super) pattern: PathBuf,
    /// Whether its last good version stands in for one with faults.
    pub(super) keeps_last: bool,
}

/// A fault and its bytes.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) fault: Fault,
    pub(super) file: usize,
    /// `None` where the fault is of the file as a whole.
    pub(super) bytes: Option<Range<usize>>,
    pub(super) related: Option<Marked>,
}

/// A second place.
#[derive(Clone)]
pub(super) struct Marked {
    pub(super) file: usize,
    pub(super) bytes: Range<usize>,
    pub(super) label: &'static str,
}

impl Faults {
    /// Sorts the faults by place and keeps the first [`FAULTS_MAX`]; the same fault twice counts once.
    pub(super) fn new(files: Arc<[File]>, severity: Severity, mut placed: Vec<Placed>) -> Self {
        placed.sort_by_key(|placed| (placed.file, placed.bytes.as_ref().map(|bytes| (bytes.start, bytes.end))));
        placed.dedup_by(|a, b| a.file == b.file && a.bytes == b.bytes && a.fault.is_same(&b.fault));
        let more = placed.len() > FAULTS_MAX;
        placed.truncate(FAULTS_MAX);
        Self(Box::new(Report { files, severity, placed, more }))
    }

    /// The includes that hold a fault and may be kept as they were: by their patterns.
    pub fn keepable(&self) -> BTreeSet<PathBuf> {
        let report = &self.0;
        let places = report
            .placed
            .iter()
            .flat_map(|placed| std::iter::once(placed.file).chain(placed.related.as_ref().map(|related| related.file)));
        let includes = places.filter_map(|file| report.files[file].include.as_ref());
        includes.filter(|include| include.keeps_last).map(|include| include.pattern.clone()).collect()
    }

    /// Those of one include; `None` where it has none.
    #[must_use]
    pub fn of_include(&self, pattern: &Path) -> Option<Self> {
        let report = &self.0;
        let is_here = |file: usize| report.files[file].include.as_ref().is_some_and(|one| one.pattern == pattern);
        let placed: Vec<Placed> = report.placed.iter().filter(|placed| is_here(placed.file)).cloned().collect();
        (!placed.is_empty()).then(|| Self::new(report.files.clone(), report.severity, placed))
    }

    /// How many there are: at least 1, at most [`FAULTS_MAX`].
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.0.placed.len()
    }

    /// The faults themselves, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.placed.iter().map(|placed| &placed.fault)
    }

    pub(super) fn report(&self) -> &Report {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faults(\n{self})")
    }
}

impl std::error::Error for Faults {}
