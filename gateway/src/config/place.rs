//! Places: which bytes of the file a path stands for.
//!
//! Runs only once something is wrong. Positions come from the events of `saphyr-parser`, values never: what a scalar means is decided by
//! `tree` alone, so the two parsers cannot disagree about it.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, Span};

use super::fault::{FAULTS_MAX, Spot};
use super::path::{Segment, Step, push};

/// The nodes of a document with their bytes.
pub(super) struct Places {
    /// Children stand after their parent; the root is the first.
    nodes: Vec<Node>,
    /// Keys that a map holds twice, in the order of the file.
    pub(super) duplicates: Vec<Duplicate>,
    /// Where the text stops to be YAML (a byte index), and why.
    pub(super) broken: Option<(usize, String)>,
}

pub(super) struct Duplicate {
    /// The path of the entry.
    pub(super) path: String,
    pub(super) key: String,
    pub(super) first: Range<usize>,
    pub(super) again: Range<usize>,
}

struct Node {
    bytes: Range<usize>,
    shape: Shape,
}

enum Shape {
    Scalar,
    List(Vec<usize>),
    Map(Vec<Entry>),
    /// The node that the anchor stands at.
    Alias(Option<usize>),
}

struct Entry {
    /// `None` for a key that is no scalar.
    key: Option<String>,
    bytes: Range<usize>,
    value: usize,
}

/// Aliases and merges that are followed for one path: a document may merge a map into itself.
const DETOURS_MAX: usize = 64;

impl Places {
    pub(super) fn read(text: &str) -> Self {
        let offsets = Offsets::new(text);
        let mut reader = Reader::default();
        let mut broken = None;
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            match event {
                Ok((Event::DocumentStart(_), span)) => {
                    documents += 1;
                    if documents > 1 {
                        let why = "a second document begins here, and a file holds one".to_owned();
                        broken = Some((offsets.byte(span.start.index()), why));
                        break;
                    }
                }
                Ok((event, span)) => reader.event(event, trimmed(text, offsets.bytes(span))),
                Err(error) => {
                    broken = Some((offsets.byte(error.marker().index()), error.info().to_owned()));
                    break;
                }
            }
        }
        Self { nodes: reader.nodes, duplicates: reader.duplicates, broken }
    }

    /// The bytes to underline for a path: those of its own place, or else of the nearest one above that the file holds.
    pub(super) fn find(&self, path: &[Segment], spot: Spot) -> Option<Range<usize>> {
        let mut bytes = self.nodes.first()?.bytes.clone();
        let mut at = 0;
        for segment in path {
            let Some((key, value)) = self.child(at, segment, DETOURS_MAX) else {
                return Some(bytes);
            };
            at = value;
            bytes = match key {
                Some(key) if spot == Spot::Key => key,
                _ => self.nodes[value].bytes.clone(),
            };
        }
        Some(bytes)
    }

    /// The bytes of all scalars that are wanted, by the keys above them and their text. Lists leave no trace in the keys.
    pub(super) fn values(&self, wanted: &dyn Fn(&[String], &str) -> bool, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        // By hand, since how deep a text nests is not ours to say.
        let mut left = if self.nodes.is_empty() { Vec::new() } else { vec![(0, Vec::new())] };
        while let Some((at, keys)) = left.pop() {
            match &self.nodes[at].shape {
                Shape::Scalar => {
                    let bytes = self.nodes[at].bytes.clone();
                    let value = text[bytes.clone()].trim_matches(['"', '\'']);
                    if wanted(&keys, value) {
                        found.push(bytes);
                    }
                }
                Shape::List(items) => left.extend(items.iter().map(|item| (*item, keys.clone()))),
                Shape::Map(entries) => left.extend(entries.iter().map(|entry| {
                    let mut below = keys.clone();
                    below.extend(entry.key.clone());
                    (entry.value, below)
                })),
                Shape::Alias(_) => {}
            }
        }
        found
    }

    /// The bytes of the first merge (`<<`) that does not name a map, for an error that does not say where it was.
    pub(super) fn bad_merge(&self) -> Option<Range<usize>> {
        let entries = self.nodes.iter().flat_map(|node| match &node.shape {
            Shape::Map(entries) => entries.as_slice(),
            Shape::Scalar | Shape::List(_) | Shape::Alias(_) => &[],
        });
        let mut merges = entries.filter(|entry| entry.key.as_deref() == Some("<<"));
        let merge = merges.find(|merge| {
            let list = [merge.value];
            let merged = match self.anchored(merge.value) {
                Shape::List(items) => items.as_slice(),
                _ => &list,
            };
            merged.iter().any(|node| !matches!(self.anchored(*node), Shape::Map(_)))
        });
        merge.map(|merge| self.nodes[merge.value].bytes.clone())
    }

    /// The shape of a node, or of the one that it is an alias of. No anchor stands at an alias.
    fn anchored(&self, node: usize) -> &Shape {
        match &self.nodes[node].shape {
            Shape::Alias(Some(anchored)) => &self.nodes[*anchored].shape,
            shape => shape,
        }
    }

    /// One step down: the bytes of the key, if the step has one, and the node of the value.
    fn child(&self, at: usize, step: &Segment, detours: usize) -> Option<(Option<Range<usize>>, usize)> {
        let detours = detours.checked_sub(1)?;
        match (&self.nodes[at].shape, step) {
            (Shape::Alias(Some(anchored)), _) => self.child(*anchored, step, detours),
            (Shape::List(items), Segment::Item(index)) => Some((None, *items.get(*index)?)),
            (Shape::Map(entries), Segment::Key(wanted)) => {
                let own = entries.iter().find(|entry| entry.key.as_ref() == Some(wanted));
                match own {
                    Some(entry) => Some((Some(entry.bytes.clone()), entry.value)),
                    None => self.merged(entries, step, detours),
                }
            }
            // A merge may name a list of maps; the first that holds the key counts.
            (Shape::List(items), Segment::Key(_)) if detours < DETOURS_MAX - 1 => {
                items.iter().find_map(|item| self.child(*item, step, detours))
            }
            _ => None,
        }
    }

    /// The same step in the maps that are merged into this one with `<<`.
    fn merged(&self, entries: &[Entry], step: &Segment, detours: usize) -> Option<(Option<Range<usize>>, usize)> {
        let merges = entries.iter().filter(|entry| entry.key.as_deref() == Some("<<"));
        merges.into_iter().find_map(|merge| self.child(merge.value, step, detours))
    }
}

/// Turns the events of one document into nodes.
#[derive(Default)]
struct Reader {
    nodes: Vec<Node>,
    /// The collections that are open, outermost first.
    open: Vec<Open>,
    anchors: HashMap<usize, usize>,
    duplicates: Vec<Duplicate>,
}

/// A collection whose end has not come yet.
struct Open {
    node: usize,
    /// The key that waits for its value, if the collection is a map.
    key: Option<(Option<String>, Range<usize>)>,
    /// The keys so far, with their bytes.
    seen: HashMap<String, Range<usize>>,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, bytes: Range<usize>) {
        match event {
            Event::Scalar(text, _, anchor, _) => {
                self.add(bytes, Shape::Scalar, anchor, Some(text.into_owned()));
            }
            Event::Alias(anchor) => {
                let anchored = self.anchors.get(&anchor).copied();
                self.add(bytes, Shape::Alias(anchored), 0, None);
            }
            Event::SequenceStart(anchor, _) => self.open(bytes, Shape::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.open(bytes, Shape::Map(Vec::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let node = &mut self.nodes[open.node];
                    node.bytes.end = node.bytes.end.max(bytes.end);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, bytes: Range<usize>, shape: Shape, anchor: usize) {
        let node = self.add(bytes, shape, anchor, None);
        self.open.push(Open { node, key: None, seen: HashMap::new() });
    }

    /// Adds a node to the collection that is open. A node that turns out to be a key stays in the arena without a parent.
    fn add(&mut self, bytes: Range<usize>, shape: Shape, anchor: usize, text: Option<String>) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node { bytes: bytes.clone(), shape });
        // Anchor 0 is no anchor.
        if anchor > 0 {
            self.anchors.insert(anchor, node);
        }
        let Some(open) = self.open.last_mut() else {
            return node;
        };
        match &mut self.nodes[open.node].shape {
            Shape::List(items) => items.push(node),
            Shape::Map(entries) => match open.key.take() {
                Some((key, bytes)) => entries.push(Entry { key, bytes, value: node }),
                None => {
                    open.key = Some((text.clone(), bytes.clone()));
                    if let Some(key) = text {
                        self.note_key(key, bytes);
                    }
                }
            },
            Shape::Scalar | Shape::Alias(_) => {}
        }
        node
    }

    fn note_key(&mut self, key: String, bytes: Range<usize>) {
        let Some(open) = self.open.last_mut() else {
            return;
        };
        let Some(first) = open.seen.get(&key) else {
            open.seen.insert(key, bytes);
            return;
        };
        // One more than can be reported, so that the report knows that there were more.
        if self.duplicates.len() <= FAULTS_MAX {
            self.duplicates.push(Duplicate { first: first.clone(), path: self.path_of_key(&key), key, again: bytes });
        }
    }

    /// The path of `key` in the innermost open collection. No recursion: how deep a text nests is not ours to say.
    fn path_of_key(&self, key: &str) -> String {
        let mut path = String::new();
        for open in &self.open[..self.open.len().saturating_sub(1)] {
            match &self.nodes[open.node].shape {
                Shape::List(items) => push(&mut path, Step::Item(items.len().saturating_sub(1))),
                Shape::Map(entries) => {
                    let key = entries.last().and_then(|entry| entry.key.as_deref());
                    push(&mut path, Step::Key(key.unwrap_or_default()));
                }
                Shape::Scalar | Shape::Alias(_) => {}
            }
        }
        push(&mut path, Step::Key(key));
        path
    }
}

/// The span without the space at its end: that of a closing brace reaches as far as the next token.
fn trimmed(text: &str, bytes: Range<usize>) -> Range<usize> {
    bytes.start..bytes.start + text[bytes.clone()].trim_end().len()
}

/// The byte at which each character begins: `saphyr-parser` counts characters.
struct Offsets {
    /// `None` where every character is one byte.
    bytes: Option<Vec<usize>>,
    len: usize,
}

impl Offsets {
    fn new(text: &str) -> Self {
        let bytes = (!text.is_ascii()).then(|| text.char_indices().map(|(byte, _)| byte).collect());
        Self { bytes, len: text.len() }
    }

    fn byte(&self, char: usize) -> usize {
        match &self.bytes {
            Some(bytes) => bytes.get(char).copied().unwrap_or(self.len),
            None => char.min(self.len),
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let start = self.byte(span.start.index());
        start..self.byte(span.end.index()).max(start)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::path;

    const TEXT: &str = "\
x-base: &base { timeout: 1s, deep: { k: ü } }
routes:
  - <<: *base
    name: 'ä'
  - <<: [{ name: other }, *base]
  - *base
\"a.b\": [1,
  22]
";

    fn check(path: &str, spot: Spot, expected: &str) {
        let places = Places::read(TEXT);
        let bytes = places.find(&path::parse(path), spot).unwrap();
        assert_eq!(&TEXT[bytes], expected, "{path}");
    }

    #[test]
    fn keys_and_values_have_their_bytes() {
        check("routes[0].name", Spot::Key, "name");
        check("routes[0].name", Spot::Value, "'ä'");
        check("x-base.deep", Spot::Value, "{ k: ü }");
        check("[\"a.b\"][1]", Spot::Key, "22");
        check("[\"a.b\"]", Spot::Key, "\"a.b\"");
        check("[\"a.b\"]", Spot::Value, "[1,\n  22]");
    }

    #[test]
    fn what_is_merged_or_aliased_lies_where_it_is_written() {
        check("routes[0].timeout", Spot::Value, "1s");
        check("routes[0].deep.k", Spot::Value, "ü");
        check("routes[1].name", Spot::Value, "other");
        check("routes[1].timeout", Spot::Key, "timeout");
        check("routes[2].timeout", Spot::Value, "1s");
    }

    #[test]
    fn what_is_not_there_counts_as_the_nearest_above() {
        check("x-base.deep.none.none", Spot::Value, "{ k: ü }");
        check("x-base.deep.none", Spot::Key, "deep");
        check("x-base[0]", Spot::Key, "x-base");
        assert_eq!(Places::read("").find(&[], Spot::Value), None);
    }

    #[test]
    fn duplicates_are_found_with_their_path() {
        let places = Places::read("a: [{ b: 1 }, { c: 1, 'c': { d: 1 } }]\na: 2\n");
        let paths: Vec<&str> = places.duplicates.iter().map(|duplicate| duplicate.path.as_str()).collect();
        assert_eq!(paths, ["a[1].c", "a"]);
        assert_eq!(places.duplicates[1].again, 39..40);
    }

    #[test]
    fn a_map_that_merges_itself_has_an_end() {
        let places = Places::read("a: &a { <<: *a, b: 1 }\n");
        assert_eq!(places.find(&path::parse("a.none"), Spot::Key), Some(0..1));
    }
}
