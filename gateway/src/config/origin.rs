//! Origins: which file each part of a merged configuration stands in. And the two ways in which files become one tree:
//!
//! - *laid over* another (`-c base.yaml -c production.yaml`): maps merge, lists whose items all have a `name` merge by name, anything else
//!   replaces what was there;
//! - *added* to it (`include`): what it brings must be new, so that no team changes what another one wrote.

use std::collections::HashMap;

use serde_yaml::{Mapping, Value};

use super::fault::{Fault, Finding};
use super::path::{At, Segment, Step, push};

/// Where the parts of a tree stand.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// All of it at this place.
    At(Place),
    /// Parts of it in different files; what is none of them counts as at the place of the first.
    Map {
        at: Place,
        entries: HashMap<String, Origin>,
    },
    List {
        at: Place,
        items: Vec<Origin>,
    },
}

/// A path in a file.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: usize,
    path: Vec<Segment>,
}

impl Place {
    fn key(&self, key: &str) -> Self {
        self.step(Segment::Key(key.to_owned()))
    }

    fn item(&self, index: usize) -> Self {
        self.step(Segment::Item(index))
    }

    fn step(&self, segment: Segment) -> Self {
        let mut path = Vec::with_capacity(self.path.len() + 1);
        path.extend_from_slice(&self.path);
        path.push(segment);
        Self { file: self.file, path }
    }
}

impl Origin {
    /// A tree that is one file.
    pub(super) fn whole(file: usize) -> Self {
        Self::At(Place { file, path: Vec::new() })
    }

    /// The file of a path, and its path there.
    pub(super) fn find(&self, path: &[Segment]) -> (usize, Vec<Segment>) {
        let mut origin = self;
        let mut rest = path;
        loop {
            let (at, next) = match (origin, rest.first()) {
                (Self::At(at), _) => {
                    return (at.file, at.path.iter().chain(rest).cloned().collect());
                }
                (Self::Map { at, entries }, Some(Segment::Key(key))) => (at, entries.get(key)),
                (Self::List { at, items }, Some(Segment::Item(index))) => (at, items.get(*index)),
                (Self::Map { at, .. } | Self::List { at, .. }, _) => (at, None),
            };
            let Some(next) = next else {
                return (at.file, at.path.clone());
            };
            (origin, rest) = (next, &rest[1..]);
        }
    }

    /// The entries of this map, each with an origin of its own from now on.
    fn entries(&mut self, map: &Mapping) -> &mut HashMap<String, Self> {
        if let Self::At(at) = self {
            let keys = map.keys().filter_map(Value::as_str);
            let entries = keys.map(|key| (key.to_owned(), Self::At(at.key(key)))).collect();
            *self = Self::Map { at: at.clone(), entries };
        }
        match self {
            Self::Map { entries, .. } => entries,
            Self::At(_) | Self::List { .. } => unreachable!("a map's origin is that of a map"),
        }
    }

    fn items(&mut self, list: &[Value]) -> &mut Vec<Self> {
        if let Self::At(at) = self {
            let items = (0..list.len()).map(|index| Self::At(at.item(index))).collect();
            *self = Self::List { at: at.clone(), items };
        }
        match self {
            Self::List { items, .. } => items,
            Self::At(_) | Self::Map { .. } => unreachable!("a list's origin is that of a list"),
        }
    }
}

/// A tree with its origins.
pub(super) struct Merged {
    pub(super) root: Value,
    pub(super) origin: Origin,
}

impl Merged {
    pub(super) fn of(file: usize, root: Value) -> Self {
        Self { root, origin: Origin::whole(file) }
    }

    /// Lays the tree of another file over this one.
    pub(super) fn lay_over(&mut self, file: usize, over: Value) {
        lay(&mut self.root, &mut self.origin, over, Place { file, path: Vec::new() });
    }

    /// Adds what the tree of another file brings, and notes what is there already.
    pub(super) fn add(&mut self, file: usize, more: Value, findings: &mut Vec<Finding>) {
        let (Value::Mapping(root), Value::Mapping(more)) = (&mut self.root, more) else { return };
        let at = Place { file, path: Vec::new() };
        for (key, value) in more {
            let Some(name) = key.as_str().map(str::to_owned) else { continue };
            let entries = self.origin.entries(root);
            let place = at.key(&name);
            match root.get_mut(&key) {
                None => {
                    entries.insert(name, Origin::At(place));
                    root.insert(key, value);
                }
                Some(known) => {
                    let Some(origin) = entries.get_mut(&name) else { continue };
                    add(known, origin, value, place, &mut Collisions { section: &name, findings });
                }
            }
        }
    }
}

fn lay(base: &mut Value, origin: &mut Origin, over: Value, at: Place) {
    match (base, over) {
        (Value::Mapping(base), Value::Mapping(over)) => {
            for (key, value) in over {
                let Some(name) = key.as_str().map(str::to_owned) else { continue };
                let place = at.key(&name);
                let entries = origin.entries(base);
                match (base.get_mut(&key), entries.get_mut(&name)) {
                    (Some(inner), Some(origin)) => lay(inner, origin, value, place),
                    _ => {
                        entries.insert(name, Origin::At(place));
                        base.insert(key, value);
                    }
                }
            }
        }
        (Value::Sequence(base), Value::Sequence(over)) if are_named(base) && are_named(&over) => {
            lay_by_name(base, origin, over, &at);
        }
        (base, over) => {
            *base = over;
            *origin = Origin::At(at);
        }
    }
}

/// Items of the same name merge, new ones go behind.
fn lay_by_name(base: &mut Vec<Value>, origin: &mut Origin, over: Vec<Value>, at: &Place) {
    let mut known: HashMap<String, usize> =
        base.iter().enumerate().filter_map(|(index, item)| Some((name(item)?.to_owned(), index))).collect();
    let items = origin.items(base);
    // One that is twice in the same file is a fault, and stays one.
    let before = base.len();
    for (index, item) in over.into_iter().enumerate() {
        let place = at.item(index);
        let name = name(&item).unwrap_or_default().to_owned();
        match known.get(&name).copied().filter(|place| *place < before) {
            Some(index) => lay(&mut base[index], &mut items[index], item, place),
            None => {
                known.insert(name, base.len());
                base.push(item);
                items.push(Origin::At(place));
            }
        }
    }
}

/// Adds to a section of the top level.
fn add(known: &mut Value, origin: &mut Origin, value: Value, at: Place, collisions: &mut Collisions<'_>) {
    match (known, value) {
        (Value::Mapping(known), Value::Mapping(more)) => {
            for (key, value) in more {
                let Some(name) = key.as_str().map(str::to_owned) else { continue };
                let place = at.key(&name);
                if known.contains_key(&key) {
                    let path = At::ROOT.key(collisions.section).key(&name).to_string();
                    collisions.note(&place, path, &format!("`{name}`"));
                    continue;
                }
                origin.entries(known).insert(name, Origin::At(place));
                known.insert(key, value);
            }
        }
        (Value::Sequence(known), Value::Sequence(more)) if are_named(known) && are_named(&more) => {
            add_items(known, origin, more, &at, collisions);
        }
        (known, value) if *known == value => {}
        _ => {
            let section = collisions.section.to_owned();
            collisions.note(&at, section.clone(), &format!("`{section}`"));
        }
    }
}

fn add_items(known: &mut Vec<Value>, origin: &mut Origin, more: Vec<Value>, at: &Place, notes: &mut Collisions<'_>) {
    let section = notes.section;
    let items = origin.items(known);
    // A name that a file has twice is for `check` to find.
    let names: HashMap<String, usize> =
        known.iter().enumerate().filter_map(|(index, item)| Some((name(item)?.to_owned(), index))).collect();
    for (index, item) in more.into_iter().enumerate() {
        let (place, name) = (at.item(index), name(&item).unwrap_or_default().to_owned());
        match names.get(&name) {
            Some(first) => {
                let path = format!("{section}[{first}].name");
                notes.note(&place.key("name"), path, &format!("`{name}`"));
            }
            None => {
                known.push(item);
                items.push(Origin::At(place));
            }
        }
    }
}

/// What an included file brings though it is there.
struct Collisions<'a> {
    section: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl Collisions<'_> {
    fn note(&mut self, at: &Place, first: String, what: &str) {
        let mut path = String::new();
        for segment in &at.path {
            match segment {
                Segment::Key(key) => push(&mut path, Step::Key(key)),
                Segment::Item(index) => push(&mut path, Step::Item(*index)),
            }
        }
        let fault = Fault::key(path, format!("{what} is there already, and an included file may only add"))
            .related(first, "first here")
            .help("give it another name, or change it where it is");
        self.findings.push(Finding::of_file(at.file, fault));
    }
}

/// Whether a list is one whose items have a name each. An empty one says nothing of its kind, and is taken as it is.
fn are_named(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|item| name(item).is_some())
}

fn name(item: &Value) -> Option<&str> {
    item.get("name")?.as_str()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::path;

    fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    /// Two files, one over the other.
    fn laid(base: &str, over: &str) -> Merged {
        let mut merged = Merged::of(0, yaml(base));
        merged.lay_over(1, yaml(over));
        merged
    }

    fn check(base: &str, over: &str, expected: &str) {
        assert_eq!(laid(base, over).root, yaml(expected), "{over} over {base}");
    }

    #[test]
    fn maps_merge_named_lists_merge_by_name_and_all_else_is_replaced() {
        check("a: { b: 1, c: 2 }", "a: { c: 3, d: 4 }", "a: { b: 1, c: 3, d: 4 }");
        check(
            "r: [{ name: x, t: 1 }]",
            "r: [{ name: y }, { name: x, u: 2 }]",
            "r: [{ name: x, t: 1, u: 2 }, { name: y }]",
        );
        check("r: [{ name: x, f: [{ use: a }] }]", "r: [{ name: x, f: [] }]", "r: [{ name: x, f: [] }]");
        check("e: [1, 2]", "e: [3]", "e: [3]");
        check("e: [{ url: a }]", "e: [{ url: b }]", "e: [{ url: b }]");
        check("u: users", "u: { users: 1 }", "u: { users: 1 }");
        check("a: { b: 1 }", "a: 1", "a: 1");
        // What is twice in one file stays twice, for `check` to find.
        check("r: [{ name: x }]", "r: [{ name: y }, { name: y }]", "r: [{ name: x }, { name: y }, { name: y }]");
    }

    #[test]
    fn each_part_is_found_in_its_file() {
        let base = "r: [{ name: x, m: { p: 1 } }]\nu: { a: { k: 1 } }\n";
        let merged = laid(base, "r: [{ name: y }, { name: x, m: { q: 2 } }]\nu: { b: { k: 1 } }\nv: [1]\n");
        for (path, file, there) in [
            ("r[0].m.p", 0, "r[0].m.p"),
            ("r[0].m.q", 1, "r[1].m.q"),
            ("r[1].name", 1, "r[0].name"),
            ("u.a.k", 0, "u.a.k"),
            ("u.b.k", 1, "u.b.k"),
            ("u.none", 0, "u"),
            ("v[0]", 1, "v[0]"),
            ("w", 0, ""),
        ] {
            let found = merged.origin.find(&path::parse(path));
            assert_eq!(found, (file, path::parse(there)), "{path}");
        }
    }

    #[test]
    fn what_is_added_must_be_new() {
        let mut merged = Merged::of(0, yaml("version: 1\nr: [{ name: x }]\nu: { a: 1 }\n"));
        let mut findings = Vec::new();
        merged.add(1, yaml("version: 1\nr: [{ name: y }, { name: x }]\nu: { a: 2, b: 3 }\nv: 1\n"), &mut findings);
        assert_eq!(merged.root, yaml("version: 1\nr: [{ name: x }, { name: y }]\nu: { a: 1, b: 3 }\nv: 1\n"));
        let told: Vec<_> = findings.iter().map(|one| (one.file, one.fault.path.as_str())).collect();
        assert_eq!(told, [(Some(1), "r[1].name"), (Some(1), "u.a")]);
        assert_eq!(findings[0].fault.related.as_ref().unwrap().0, "r[0].name");
        assert_eq!(merged.origin.find(&path::parse("r[1].name")), (1, path::parse("r[0].name")));
    }
}
