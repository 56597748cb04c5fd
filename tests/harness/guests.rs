//! Where the guests lie, the plugins that tests run. What each does stands in `tests/guests/README.md`; the build script compiles them.

use std::path::PathBuf;

/// The component of a guest, by the name of its folder in `tests/guests`.
///
/// # Panics
///
/// When there is no such guest.
#[track_caller]
pub fn guest(name: &str) -> PathBuf {
    match GUESTS.iter().find(|(known, _)| *known == name) {
        Some((_, path)) => path.into(),
        None => panic!("no guest is called {name:?}; there are {:?}", guests().collect::<Vec<_>>()),
    }
}

/// The component of a guest with a mark in it: it does the same, and has another digest.
///
/// # Panics
///
/// When there is no such guest, or the mark has more than 100 bytes.
#[track_caller]
pub fn variant(name: &str, mark: &str) -> Vec<u8> {
    let mut component = std::fs::read(guest(name)).expect("a guest can be read");
    let length = u8::try_from(mark.len()).ok().filter(|length| *length <= 100).expect("a short mark");
    // A custom section, whose name is the mark, with nothing in it.
    component.extend([0, length + 1, length]);
    component.extend(mark.as_bytes());
    component
}

/// The component of an example, by the name of its folder; `None` when that example has none.
pub fn example(name: &str) -> Option<PathBuf> {
    EXAMPLES.iter().find(|(known, _)| *known == name).map(|(_, path)| path.into())
}

/// The names of all guests, in order.
pub fn guests() -> impl Iterator<Item = &'static str> {
    GUESTS.iter().map(|(name, _)| *name)
}

/// Name and path of each.
const GUESTS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/guests.rs"));
const EXAMPLES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/examples.rs"));

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use wasmparser::{ComponentExternalKind, Parser, Payload};

    use super::*;

    /// What a component exports and imports, and the largest memory that one of its modules begins with.
    #[derive(Default)]
    struct Outline {
        exports: BTreeSet<String>,
        imports: BTreeSet<String>,
        memory_pages: u64,
    }

    fn outline(name: &str) -> Outline {
        let component = std::fs::read(guest(name)).unwrap();
        let mut outline = Outline::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(&component) {
            match payload.unwrap() {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for export in section.into_iter().map(Result::unwrap) {
                        assert_eq!(export.kind, ComponentExternalKind::Instance, "{name}: {}", export.name.name);
                        outline.exports.insert(export.name.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(section) if depth == 0 => {
                    outline.imports.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
                }
                Payload::MemorySection(section) => {
                    let pages = section.into_iter().map(|memory| memory.unwrap().initial);
                    outline.memory_pages = outline.memory_pages.max(pages.max().unwrap_or(0));
                }
                _ => {}
            }
        }
        outline
    }

    fn ours(name: &str) -> String {
        format!("witgate:plugin/{name}@0.1.0")
    }

    #[test]
    fn a_component_exports_its_hooks_and_nothing_else() {
        let both = ["lifecycle", "request-hook", "response-hook"].as_slice();
        let request = ["lifecycle", "request-hook"].as_slice();
        let expected = [
            ("body-edit", ["lifecycle", "request-body", "response-body"].as_slice()),
            ("body-sum-stream", &["lifecycle", "request-body", "response-hook"]),
            ("body-sum-whole", &["lifecycle", "response-hook", "whole-request"]),
            ("caps", request),
            ("hog", request),
            ("impostor", both),
            ("kv", request),
            ("narrator", both),
            ("no-world", &[]),
            ("outbound", request),
            ("parrot", both),
            ("probe", both),
            ("puppet", both),
            ("reply", request),
            ("spin", both),
            ("stamp", both),
            ("storm", request),
            ("trap", both),
            ("verify", request),
            ("whole-edit", &["lifecycle", "whole-request", "whole-response"]),
        ];
        assert!(guests().eq(expected.map(|(name, _)| name)), "the table lists every guest");
        for (name, hooks) in expected {
            let hooks: BTreeSet<_> = hooks.iter().map(|hook| ours(hook)).collect();
            assert_eq!(outline(name).exports, hooks, "{name}");
        }
    }

    #[test]
    fn a_component_imports_what_it_uses() {
        // What a guest does not use of the SDK leaves no import behind.
        let capabilities = |name| match name {
            "kv" => ["kv"].as_slice(),
            "caps" => &["clock", "crypto", "metrics", "rate-limit", "secrets", "tables"],
            "storm" => &["clock", "kv"],
            "narrator" => &["trace"],
            "outbound" => &["http"],
            "parrot" => &["edits"],
            "verify" => &["jwt"],
            _ => &[],
        };
        for name in guests() {
            let imports = outline(name).imports;
            let known = ["types", "body-types", "setup", "exchange", "log"]
                .iter()
                .chain(capabilities(name))
                .map(|name| ours(name));
            let known: BTreeSet<_> = known.collect();
            let strange: Vec<_> =
                imports.iter().filter(|import| !known.contains(*import) && !import.starts_with("wasi:")).collect();
            assert!(strange.is_empty(), "{name} imports {strange:?}");
            let missing = capabilities(name).iter().find(|name| !imports.contains(&ours(name)));
            assert_eq!(missing, None, "{name} imports what it uses");
        }
        assert!(outline("probe").imports.contains(&ours("exchange")));
        assert!(!outline("reply").imports.contains(&ours("exchange")));
    }

    #[test]
    fn the_stack_is_small() {
        // Rust's default stack alone takes 16 pages of 64 KiB.
        for name in guests() {
            let pages = outline(name).memory_pages;
            assert!(pages < 8, "{name} begins with {pages} pages");
        }
    }
}
