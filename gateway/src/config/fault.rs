//! Faults: what is wrong with a configuration, and all of them at once.
//!
//! A [`Fault`] names its place by path; [`Faults`] know the bytes of the file as well. How those look stands in `render`.

use std::fmt;
use std::ops::Range;
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
        Self { path: path.to_string(), target: Spot::Value, message: message.into(), label: None, help: None }
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

    /// The fault with every text passed through `edit`.
    pub(super) fn map_texts(mut self, edit: impl Fn(String) -> String) -> Self {
        self.message = edit(self.message);
        self.label = self.label.map(&edit);
        self.help = self.help.map(&edit);
        self
    }
}

/// A fault as the stages of this room hand it on: it may know its bytes already, and a second place that explains it.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) fault: Fault,
    /// Bytes to underline; where `None`, the path is looked up.
    pub(super) bytes: Option<Range<usize>>,
    pub(super) related: Option<Related>,
}

#[derive(Debug)]
pub(super) struct Related {
    pub(super) place: RelatedPlace,
    pub(super) label: &'static str,
}

#[derive(Debug)]
pub(super) enum RelatedPlace {
    Value(String),
    Bytes(Range<usize>),
}

impl From<Fault> for Finding {
    fn from(fault: Fault) -> Self {
        Self { fault, bytes: None, related: None }
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
    /// How the file is called in the report.
    pub(super) name: String,
    pub(super) text: Arc<str>,
    pub(super) placed: Vec<Placed>,
    /// Whether faults beyond [`FAULTS_MAX`] were dropped.
    pub(super) more: bool,
}

/// A fault and its bytes.
#[derive(Clone)]
pub(super) struct Placed {
    pub(super) fault: Fault,
    /// `None` where the fault is of the file as a whole.
    pub(super) bytes: Option<Range<usize>>,
    pub(super) related: Option<(Range<usize>, &'static str)>,
}

impl Faults {
    /// Sorts the faults by place and keeps the first [`FAULTS_MAX`]; the same fault twice counts once.
    pub(super) fn new(name: String, text: Arc<str>, mut placed: Vec<Placed>) -> Self {
        placed.sort_by_key(|placed| placed.bytes.as_ref().map(|bytes| (bytes.start, bytes.end)));
        placed.dedup_by(|a, b| a.bytes == b.bytes && a.fault == b.fault);
        let more = placed.len() > FAULTS_MAX;
        placed.truncate(FAULTS_MAX);
        Self(Box::new(Report { name, text, placed, more }))
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
