//! How faults look: for people as rustc would show them, for programs as JSON.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use serde_json::json;

use super::fault::{FAULTS_MAX, Faults, File, Placed, Report, Severity};

/// Columns that a report fills; a longer line is trimmed around the underlined text.
const WIDTH_MAX: usize = 120;

/// A line beyond this is not shown at all, since trimming costs as much as the line is long.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Lines up to which two places share an excerpt; farther apart each has its own.
const SHARED_LINES_MAX: usize = 64;

impl Faults {
    /// All of them, as text; `color` adds ANSI sequences.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(WIDTH_MAX);
        let report = self.report();
        let lines = Lines::of(&report.files);
        let mut blocks: Vec<String> = Vec::new();
        for placed in &report.placed {
            let group = group(report, &lines, placed);
            blocks.push(renderer.render(&[group]));
        }
        if report.more {
            let note = Level::NOTE.secondary_title(format!("only the first {FAULTS_MAX} faults are shown"));
            blocks.push(renderer.render(&[Group::with_title(note)]));
        }
        blocks.join("\n\n") + "\n"
    }

    /// A list of objects with `severity`, `file`, `line`, `column` (both from 1, in characters; `null` for the file as a whole), `path`,
    /// `message` and `help` (or `null`).
    pub fn to_json(&self) -> serde_json::Value {
        let report = self.report();
        let lines = Lines::of(&report.files);
        let fault = |placed: &Placed| {
            let place = placed.bytes.as_ref().map(|bytes| lines[placed.file].line_and_column(bytes.start));
            json!({
                "severity": report.severity.word(),
                "file": report.files[placed.file].name,
                "line": place.map(|(line, _)| line),
                "column": place.map(|(_, column)| column),
                "path": placed.fault.path,
                "message": placed.fault.message,
                "help": placed.fault.help,
            })
        };
        report.placed.iter().map(fault).collect()
    }
}

/// One fault: title, excerpt with the underlined text, remedy.
fn group<'a>(report: &'a Report, lines: &[Lines<'a>], placed: &'a Placed) -> Group<'a> {
    let fault = &placed.fault;
    let level = match report.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(&*fault.message));
    let name = &*report.files[placed.file].name;
    let here = &lines[placed.file];
    let related = placed.related.as_ref().map(|related| {
        let bytes = lines[related.file].first_line_of(&related.bytes);
        (related.file, Mark { bytes, kind: AnnotationKind::Context, label: Some(related.label) })
    });
    let primary = placed.bytes.as_ref().map(|bytes| Mark {
        bytes: here.first_line_of(bytes),
        kind: AnnotationKind::Primary,
        label: fault.label.as_deref(),
    });
    group = match (primary, related) {
        (None, _) => group.element(Origin::path(name)),
        (Some(primary), None) => group.element(here.excerpt(name, &[primary])),
        (Some(primary), Some((file, related))) if file == placed.file && here.are_near(&primary, &related) => {
            group.element(here.excerpt(name, &[primary, related]))
        }
        (Some(primary), Some((file, related))) => group
            .element(here.excerpt(name, &[primary]))
            .element(lines[file].excerpt(&report.files[file].name, &[related])),
    };
    match &fault.help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    }
}

/// Underlined text, on one line.
struct Mark<'a> {
    bytes: Range<usize>,
    kind: AnnotationKind,
    label: Option<&'a str>,
}

/// The text and where its lines begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Of each file.
    fn of(files: &'a [File]) -> Vec<Self> {
        files.iter().map(|file| Self::new(&file.text)).collect()
    }

    fn new(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(byte, _)| byte + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    /// The index of the line that holds this byte, from 0.
    fn index(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte) - 1
    }

    /// Line and column of a byte, from 1; columns count characters.
    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        let index = self.index(byte);
        let column = self.text[self.starts[index]..byte].chars().count();
        (index + 1, column + 1)
    }

    /// The bytes of a line, without its line break.
    fn bytes(&self, index: usize) -> Range<usize> {
        let start = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        start..start + line.trim_end_matches('\r').len()
    }

    /// What of these bytes lies on their first line, without the space and the comment at its end.
    fn first_line_of(&self, bytes: &Range<usize>) -> Range<usize> {
        let line = self.bytes(self.index(bytes.start));
        if bytes.end <= line.end {
            return bytes.clone();
        }
        let start = bytes.start.min(line.end);
        let shown = &self.text[start..line.end];
        let shown = shown.split_once(" #").map_or(shown, |(before, _)| before);
        start..start + shown.trim_end().len()
    }

    fn are_near(&self, a: &Mark<'_>, b: &Mark<'_>) -> bool {
        let (a, b) = (self.index(a.bytes.start), self.index(b.bytes.start));
        let bytes = self.bytes(a.min(b)).start..self.bytes(a.max(b)).end;
        a.abs_diff(b) <= SHARED_LINES_MAX && bytes.len() <= LINE_BYTES_MAX
    }

    /// The place of the first mark, and the lines from the first one to the last.
    fn excerpt(&self, name: &'a str, marks: &[Mark<'a>]) -> Element<'a> {
        let line_of = |mark: &Mark<'_>| self.index(mark.bytes.start);
        let first = marks.iter().map(line_of).min().unwrap_or(0);
        let last = marks.iter().map(line_of).max().unwrap_or(0);
        let shown = self.bytes(first).start..self.bytes(last).end;
        if shown.len() > LINE_BYTES_MAX {
            let (line, column) = self.line_and_column(marks.first().map_or(shown.start, |mark| mark.bytes.start));
            return Origin::path(name).line(line).char_column(column).into();
        }
        let annotations = marks.iter().map(|mark| {
            let span = mark.bytes.start - shown.start..mark.bytes.end - shown.start;
            mark.kind.span(span).label(mark.label)
        });
        Snippet::source(&self.text[shown.clone()]).path(name).line_start(first + 1).annotations(annotations).into()
    }
}
