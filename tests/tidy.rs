//! The habits of the code that no compiler checks: layers, openings, lengths, words, and the invariants of `gateway/src/lib.rs`.
//!
//! Each rule is a function from sources to faults, and each has a test that feeds it something bad. The order of the layers has its one
//! home in the documentation of the gateway's crate, and is read from there. Lengths of functions are clippy's affair.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Longest file, without its `tests` module.
const LINES_MAX: usize = 400;

/// Files that are longer, and why they are one thing.
const LONG: &[(&str, &str)] = &[];

/// Words for which the vocabulary has another.
const WORDS: &[(&str, &str)] = &[("backend", "upstream"), ("middleware", "filter"), ("cluster", "upstream")];

/// Files that may use such a word, and whose word it is.
const FOREIGN_WORDS: &[(&str, &str, &str)] = &[
    ("gateway/src/resource/limiter/mod.rs", "middleware", "governor's, for what sees each of its decisions"),
    ("tests/harness/etcd.rs", "cluster", "etcd's, for servers that agree"),
];

/// Files with `unsafe`: what loads machine code, what speaks to the allocator, and the allocator of plugins.
const UNSAFE: &[&str] = &["gateway/src/plugin/compile.rs", "gateway/src/heap.rs", "plugin-sdk/src/allocator.rs"];

/// Folders of one machine, spelt so that this file does not find itself.
const MACHINE_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// A file of the repository.
struct Source {
    /// From the root, with `/`.
    path: String,
    text: String,
}

#[test]
fn the_tree_is_tidy() {
    let sources = sources();
    let rust: Vec<_> = sources.iter().filter(|source| source.path.ends_with(".rs")).collect();
    assert!(rust.len() > 20, "the sources are found");
    let layers = Layers::of(&sources.iter().find(|source| source.path == "gateway/src/lib.rs").expect("a map").text);
    let mut faults = Vec::new();
    for source in &sources {
        faults.extend(machine_paths(source));
    }
    for source in &rust {
        faults.extend(layers.check(source));
        faults.extend(opening(source));
        faults.extend(length(source));
        faults.extend(vocabulary(source));
        faults.extend(yaml_in_config(source));
        faults.extend(no_globals(source));
    }
    faults.extend(one_pointer(&rust));
    faults.extend(few_unsafe(&rust));
    faults.extend(shown(&rust));
    faults.extend(brief_plugins(&rust));
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

// ---- the rules ----

/// The rooms of the gateway, and which of them lies on which.
struct Layers(BTreeMap<String, usize>);

impl Layers {
    /// Read the block under `# Layers`: one layer a line, the upper ones first.
    fn of(map: &str) -> Layers {
        let doc = map.lines().map(|line| line.trim_start_matches("//!").trim());
        let block = doc.skip_while(|line| *line != "# Layers").skip_while(|line| !line.starts_with("```")).skip(1);
        let lines = block.take_while(|line| !line.starts_with("```"));
        let rooms = lines
            .enumerate()
            .flat_map(|(depth, line)| line.split(',').map(move |room| (room.trim().to_owned(), depth)));
        let rooms: BTreeMap<_, _> = rooms.collect();
        assert!(rooms.len() > 5, "the layers are listed under `# Layers`");
        Layers(rooms)
    }

    /// Imports only go down, and never sideways.
    fn check(&self, source: &Source) -> Vec<String> {
        let Some(inner) = source.path.strip_prefix("gateway/src/") else { return Vec::new() };
        let parts: Vec<_> = inner.trim_end_matches(".rs").split('/').collect();
        let room = parts[0];
        if matches!(room, "lib" | "main") || parts.contains(&"tests") {
            return Vec::new();
        }
        let Some(&depth) = self.0.get(room) else {
            return vec![format!(
                "{}: the room `{room}` has no place in the layers of gateway/src/lib.rs",
                source.path
            )];
        };
        let path_from_root = parts.len() - usize::from(parts.last() == Some(&"mod"));
        let words = words_of(before_tests(&code(&source.text)));
        let named = rooms_named(&words, path_from_root);
        let upward = named.into_iter().filter(|other| {
            other != room && self.0.get(other.as_str()).is_some_and(|&other_depth| other_depth <= depth)
        });
        upward
            .map(|other| format!("{}: `{room}` may not import `{other}`, which does not lie below it", source.path))
            .collect()
    }
}

fn opening(source: &Source) -> Vec<String> {
    fault(!source.text.starts_with("//! "), source, "begins without `//!` and its purpose")
}

fn length(source: &Source) -> Vec<String> {
    let exempt = ["tests/", "/tests", "/benches/"].iter().any(|part| source.path.contains(part))
        || LONG.iter().any(|(path, _)| *path == source.path);
    let lines = before_tests(&source.text).lines().count();
    fault(!exempt && lines > LINES_MAX, source, &format!("has {lines} lines; is it one thing?"))
}

/// One word per thing, in code, in comments and in messages.
fn vocabulary(source: &Source) -> Vec<String> {
    if source.path == "tests/tidy.rs" {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in source.text.lines().enumerate() {
        for part in words_of(line).iter().flat_map(|word| parts_of(word)) {
            let singular = part.strip_suffix('s').unwrap_or(&part);
            let foreign = FOREIGN_WORDS.iter().any(|(path, word, _)| *path == source.path && *word == singular);
            if let Some((word, ours)) = WORDS.iter().find(|(word, _)| *word == singular && !foreign) {
                faults.push(format!("{}:{}: says `{word}`; our word is `{ours}`", source.path, number + 1));
            }
        }
    }
    faults
}

fn machine_paths(source: &Source) -> Vec<String> {
    let found = MACHINE_PATHS.iter().find(|path| source.text.contains(*path));
    found.map(|path| format!("{}: names `{path}`, a folder of one machine", source.path)).into_iter().collect()
}

/// Invariant: only `config` parses YAML.
fn yaml_in_config(source: &Source) -> Vec<String> {
    let elsewhere = source.path.starts_with("gateway/src/") && !source.path.starts_with("gateway/src/config/");
    let words = words_of(&code(&source.text)).join(" ");
    let parses = words.contains("serde_yaml") || words.contains("saphyr");
    fault(elsewhere && parses, source, "parses YAML outside `config`")
}

/// Invariant: no global state; clock, registry and engine are passed in.
fn no_globals(source: &Source) -> Vec<String> {
    if !source.path.starts_with("gateway/src/") {
        return Vec::new();
    }
    let code = code(&source.text);
    let changeable = ["mut", "Mutex", "RwLock", "OnceLock", "LazyLock", "OnceCell", "LazyCell", "ArcSwap"];
    let is_global = |line: &&str| {
        let words = words_of(line);
        let declares =
            words.iter().take(3).any(|word| word == "static") && line.contains(':') && !line.contains("'static");
        let changes = words.iter().any(|word| changeable.contains(&word.as_str()) || word.starts_with("Atomic"));
        (declares && changes) || words.iter().any(|word| word == "lazy_static" || word == "thread_local")
    };
    let line = code.lines().find(is_global).map(str::trim);
    line.map(|line| format!("{}: keeps global state: {line}", source.path)).into_iter().collect()
}

/// Invariant: one pointer to the snapshot, made in one place and handed to whoever loads it.
fn one_pointer(sources: &[&Source]) -> Vec<String> {
    let rooms = sources.iter().filter(|source| source.path.starts_with("gateway/src/"));
    let makers: Vec<_> = rooms.flat_map(|source| vec![source.path.as_str(); pointers_made(source)]).collect();
    if makers.len() > 1 {
        vec![format!("`ArcSwap` is made in more than one place: {}", makers.join(", "))]
    } else {
        Vec::new()
    }
}

fn pointers_made(source: &Source) -> usize {
    let words = words_of(before_tests(&code(&source.text)));
    let makes = |words: &[String]| {
        matches!(words[0].as_str(), "ArcSwap" | "ArcSwapOption" | "ArcSwapAny")
            && matches!(words[3].as_str(), "new" | "from" | "from_pointee" | "default" | "empty")
    };
    words.windows(4).filter(|words| makes(words)).count()
}

/// Invariant: `unsafe` is in these files alone, and each says why.
fn few_unsafe(sources: &[&Source]) -> Vec<String> {
    let says_why =
        |source: &Source| source.text.split_whitespace().collect::<Vec<_>>().join(" ").contains("unsafe_code, reason");
    let holders = sources.iter().filter(|source| has_word(source, "unsafe"));
    let fault = |source: &&&Source| match UNSAFE.contains(&source.path.as_str()) {
        false => Some(format!("{}: `unsafe` has no place here", source.path)),
        true => (!says_why(source)).then(|| format!("{}: `unsafe` without a reason beside it", source.path)),
    };
    holders.filter_map(|source| fault(&source)).collect()
}

/// A bundled plugin is read by those who want to write one: so much code, and what is general belongs into the SDK.
fn brief_plugins(sources: &[&Source]) -> Vec<String> {
    let mut sizes = BTreeMap::<_, usize>::new();
    for source in sources.iter().filter(|source| source.path.starts_with("plugins/")) {
        let mut parts = source.path.split('/').skip(1);
        if let (Some(plugin), Some("src")) = (parts.next(), parts.next()) {
            let text = code(&source.text);
            *sizes.entry(plugin).or_default() += text.lines().filter(|line| !line.trim().is_empty()).count();
        }
    }
    let long = sizes.iter().filter(|(_, lines)| **lines > PLUGIN_LINES_MAX);
    long.map(|(plugin, lines)| format!("plugins/{plugin}: has {lines} lines of code")).collect()
}

/// Without comments and what is empty.
const PLUGIN_LINES_MAX: usize = 200;

/// What the SDK offers is shown: each public item stands in an example where a reader of its page finds one, in its own documentation,
/// in that of its type or in that of its file. Doc tests run them.
fn shown(sources: &[&Source]) -> Vec<String> {
    let is_public = |source: &&&Source| {
        source.path.starts_with("plugin-sdk/src/") && !SDK_INSIDE.iter().any(|file| source.path.contains(file))
    };
    let items: Vec<_> = sources.iter().filter(is_public).flat_map(|source| public_items(source)).collect();
    let is_shown = |item: &PublicItem<'_>| {
        let of_its_type = items.iter().filter(|other| item.owner == Some(other.name) && other.owner.is_none());
        of_its_type.chain([item]).any(|shower| shower.examples.iter().any(|word| word == item.name))
    };
    let faults = items.iter().filter(|item| !is_shown(item));
    faults.map(|item| format!("{}: no example shows `{}`", item.path, item.name)).collect()
}

/// Files of the SDK that nobody but its macros and itself sees.
const SDK_INSIDE: [&str; 5] = ["src/allocator", "src/bindings", "src/glue", "src/host", "src/wire"];

struct PublicItem<'s> {
    path: &'s str,
    name: &'s str,
    /// The type whose method it is.
    owner: Option<&'s str>,
    /// The words of the examples above it, and of those of its file.
    examples: Vec<String>,
}

fn public_items(source: &Source) -> Vec<PublicItem<'_>> {
    let lines = || before_tests(&source.text).lines();
    let of_file = examples(lines().filter_map(|line| line.strip_prefix("//!")));
    let (mut items, mut documentation, mut owner) = (Vec::new(), Vec::new(), None);
    for line in lines() {
        if let Some(text) = line.trim_start().strip_prefix("///") {
            documentation.push(text);
            continue;
        }
        if line.starts_with("impl") {
            owner = implementor(line);
        }
        // Attributes stand between an item and its documentation.
        if line.trim_start().starts_with("#[") {
            continue;
        }
        if let Some(name) = public_name(line) {
            let owner = owner.filter(|_| line.starts_with(' '));
            let examples = words_of(&(examples(documentation.iter().copied()) + &of_file));
            items.push(PublicItem { path: &source.path, name, owner, examples });
        }
        documentation.clear();
    }
    items
}

/// The type of an `impl`, without what it is generic over.
fn implementor(line: &str) -> Option<&str> {
    let subject = line.rsplit(" for ").next()?.trim_start_matches("impl").trim_start();
    let mut depth = 0;
    let start = subject.find(|c: char| {
        depth += i32::from(c == '<') - i32::from(c == '>');
        depth == 0 && c.is_alphabetic()
    })?;
    subject[start..].split(|c: char| !c.is_alphanumeric()).next()
}

/// The code of the examples in lines of documentation.
fn examples<'s>(lines: impl Iterator<Item = &'s str>) -> String {
    let mut code = String::new();
    let mut fence = None;
    for line in lines {
        match (line.trim_start().strip_prefix("```"), fence) {
            (Some(language), None) => fence = Some(language.is_empty() || language == "rust"),
            (Some(_), Some(_)) => fence = None,
            (None, Some(true)) => code += &format!("{line}\n"),
            (None, _) => {}
        }
    }
    code
}

/// Of modules the items are looked at.
fn public_name(line: &str) -> Option<&str> {
    let item = line.trim_start().strip_prefix("pub ")?;
    let item = item.strip_prefix("const ").filter(|rest| rest.starts_with("fn ")).unwrap_or(item);
    let (kind, rest) = item.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    ["fn", "struct", "enum", "trait", "const", "type"].contains(&kind).then_some(name)
}

// ---- reading sources ----

/// Every text of ours below the root.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies in the workspace");
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository").map(|entry| entry.expect("an entry")) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                let foreign =
                    (name.starts_with('.') && name != ".ci") || name == "target" || path.join("CACHEDIR.TAG").exists();
                if !foreign {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                let inner = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
                sources.push(Source { path: inner, text });
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

fn fault(is: bool, source: &Source, what: &str) -> Vec<String> {
    if is { vec![format!("{}: {what}", source.path)] } else { Vec::new() }
}

fn has_word(source: &Source, wanted: &str) -> bool {
    words_of(before_tests(&code(&source.text))).iter().any(|word| word == wanted)
}

/// What stands before the `tests` module, which by habit is the last thing of a file.
fn before_tests(text: &str) -> &str {
    let start = text.match_indices("#[cfg(test)]").find(|(at, attribute)| {
        let next = text[at + attribute.len()..]
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with("#["));
        next.is_some_and(|line| line.contains("mod "))
    });
    start.map_or(text, |(at, _)| &text[..at])
}

/// The text without comments and without what strings contain. Lines stay.
fn code(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let open = hashes + 2;
            let close = format!("\"{}", "#".repeat(hashes));
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if first == '"' {
            quoted(rest)
        } else if let Some(quote) = ["'\"'", "'\\\"'"].iter().find(|quote| rest.starts_with(**quote)) {
            quote.len()
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        out.extend(rest[..skipped].chars().filter(|&c| c == '\n'));
        rest = &rest[skipped..];
    }
    out
}

/// The hashes of a raw string that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// The length of a string literal with its quotes.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// Identifiers, and the marks that paths are made of.
fn words_of(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for c in text.chars() {
        let of_word = c.is_alphanumeric() || c == '_';
        match words.last_mut() {
            Some(word) if of_word && inside => word.push(c),
            _ if of_word => words.push(c.to_string()),
            _ if matches!(c, ':' | '{' | '}' | ',') => words.push(c.to_string()),
            _ => {}
        }
        inside = of_word;
    }
    words
}

/// The words of an identifier: `BackendPool` and `backend_pool` both say `backend`.
fn parts_of(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && parts.last().is_some_and(|part| !part.is_empty())) {
            parts.push(String::new());
        }
        if c != '_' {
            parts.last_mut().expect("never empty").extend(c.to_lowercase());
        }
    }
    parts
}

/// The rooms that paths name: `crate::room`, each of `crate::{one, two::x}`, and as many `super` as lead to the root.
fn rooms_named(words: &[String], depth: usize) -> Vec<String> {
    let mut rooms = Vec::new();
    let supers = vec!["super"; depth].join(" : : ");
    for at in 0..words.len() {
        let rest = &words[at..];
        let joined = rest.iter().take(depth * 3).map(String::as_str).collect::<Vec<_>>().join(" ");
        let from_root = if words[at] == "crate" {
            &rest[1..]
        } else if joined.starts_with(&supers) && (at == 0 || words[at - 1] != ":") {
            &rest[depth * 3 - 2..]
        } else {
            continue;
        };
        match from_root {
            [one, two, open, group @ ..] if one == ":" && two == ":" && open == "{" => rooms.extend(heads_of(group)),
            [one, two, room, ..] if one == ":" && two == ":" => rooms.push(room.clone()),
            _ => {}
        }
    }
    rooms
}

/// The first word of each item of a `{…}` group.
fn heads_of(group: &[String]) -> Vec<String> {
    let mut heads = Vec::new();
    let (mut depth, mut expected) = (0_usize, true);
    for word in group {
        match word.as_str() {
            "{" => depth += 1,
            "}" if depth == 0 => break,
            "}" => depth -= 1,
            "," if depth == 0 => expected = true,
            _ if expected && depth == 0 => {
                heads.push(word.clone());
                expected = false;
            }
            _ => {}
        }
    }
    heads
}

// ---- each rule can fail ----

const MAP: &str = "//! # Layers\n//!\n//! text\n//!\n//! ```text\n//! cli\n//! server, control\n//! proxy\n//! filter\n//! router, plugin\n//! message\n//! ```\n";

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn an_import_may_only_go_down() {
    let layers = Layers::of(MAP);
    let faults = |path: &str, text: &str| layers.check(&source(&format!("gateway/src/{path}"), text)).len();
    for good in [
        "use crate::message::path; use crate::{message, router::Router};",
        "use super::super::proxy::x; use super::chain;",
        "// use crate::server;\nlet text = \"crate::server\"; let raw = r#\"crate::cli\"#;",
        "fn f() {}\n#[cfg(test)]\nmod tests { use crate::server::x; }",
    ] {
        assert_eq!(faults("proxy/serve.rs", good), 0, "{good}");
    }
    for bad in [
        "use crate::server::Listener;",
        "use crate::{message::{a, b}, cli};",
        "use super::super::server::x;",
        "let x = crate::control::now();",
        "#[cfg(test)]\nfn f() {}\nuse crate::cli;",
    ] {
        assert_eq!(faults("proxy/serve.rs", bad), 1, "{bad}");
    }
    assert_eq!(faults("router/mod.rs", "use crate::plugin::x;"), 1, "rooms of one layer never import each other");
    assert_eq!(faults("router.rs", "use super::plugin::x;"), 1);
    assert_eq!(faults("router/mod.rs", "use super::plugin::x;"), 1);
    assert_eq!(faults("attic/mod.rs", ""), 1, "a room without a layer");
}

#[test]
fn each_file_rule_finds_its_fault() {
    type Rule = fn(&Source) -> Vec<String>;
    let long = "//! x\n".repeat(LINES_MAX + 1);
    let fine = format!("{}#[cfg(test)]\nmod tests {{}}\n{}", "//! x\n".repeat(LINES_MAX), "//\n".repeat(9));
    let folder = format!("see {}x", MACHINE_PATHS[0]);
    let table: [(Rule, &str, &str, usize); 18] = [
        (opening, "a/src/lib.rs", "use x;\n", 1),
        (opening, "a/src/lib.rs", "//! What it is for.\n", 0),
        (length, "a/src/lib.rs", &long, 1),
        (length, "a/src/lib.rs", &fine, 0),
        (length, "tests/e2e/x.rs", &long, 0),
        (vocabulary, "a/src/lib.rs", "struct BackendPool; // the clusters", 2),
        (vocabulary, "a/src/lib.rs", "let backends_max = \"middleware\";", 2),
        (vocabulary, "a/src/lib.rs", "struct Upstream; // clustering is another word", 0),
        (machine_paths, "README.md", &folder, 1),
        (machine_paths, "README.md", "see /usr/bin", 0),
        (yaml_in_config, "gateway/src/cli/run.rs", "use serde_yaml::Value;", 1),
        (yaml_in_config, "gateway/src/config/load.rs", "use serde_yaml::Value;", 0),
        (yaml_in_config, "gateway/src/cli/run.rs", "// not serde_yaml", 0),
        (no_globals, "gateway/src/proxy/x.rs", "pub static COUNT: AtomicU64 = AtomicU64::new(0);", 1),
        (no_globals, "gateway/src/proxy/x.rs", "static mut X: u8 = 0;", 1),
        (no_globals, "gateway/src/proxy/x.rs", "thread_local! { static X: u8 = 0; }", 1),
        (no_globals, "gateway/src/proxy/x.rs", "static TABLE: [u8; 2] = [0, 1];", 0),
        (no_globals, "gateway/src/proxy/x.rs", "fn f(x: &'static Mutex<u8>) {}", 0),
    ];
    for (rule, path, text, faults) in table {
        let found = rule(&source(path, text));
        assert_eq!(found.len(), faults, "{path}: {} {found:?}", &text[..text.len().min(80)]);
    }
}

#[test]
fn each_rule_over_all_files_finds_its_fault() {
    let maker =
        source("gateway/src/gateway.rs", "use arc_swap::ArcSwap; let current = Arc::new(ArcSwap::from(snapshot));");
    let holder = source("gateway/src/server/x.rs", "use arc_swap::ArcSwap; struct X { current: Arc<ArcSwap<S>> }");
    let another = source("gateway/src/proxy/x.rs", "let other = ArcSwap::from_pointee(1);");
    assert_eq!(one_pointer(&[&maker, &holder]).len(), 0);
    assert_eq!(one_pointer(&[&maker, &another]).len(), 1);
    let said = source(UNSAFE[0], "#[allow(unsafe_code, reason = \"why\")] unsafe { x() }");
    let silent = source(UNSAFE[1], "unsafe { x() }");
    let elsewhere = source("gateway/src/a.rs", &said.text);
    let mention = source("gateway/src/b.rs", "// unsafe is not here, and unsafe_code is a lint");
    for (one, faults) in [(&said, 0), (&mention, 0), (&silent, 1), (&elsewhere, 1)] {
        assert_eq!(few_unsafe(&[one]).len(), faults, "{}", one.path);
    }
    let (brief, long) = ("// why\n\n".repeat(300) + "x", "x\n".repeat(201));
    for (one, other, faults) in [(&brief, "x", 0), (&long, "x", 1), (&"x\n".repeat(200), "x", 1)] {
        let (one, other) = (source("plugins/a/src/lib.rs", one), source("plugins/a/src/b.rs", other));
        let tests = source("plugins/a/tests/a.rs", &long);
        assert_eq!(brief_plugins(&[&one, &other, &tests]).len(), faults);
    }
    let example = "/// ```\n/// one(Two);\n/// ```\npub fn one() {}\n";
    for (text, faults) in [
        ("//! ```\n//! use Two;\n//! ```\npub struct Two;", 0),
        ("pub struct Two;", 1),
        (
            "/// ```\n/// T.go();\n/// ```\n#[derive(Debug)]\npub struct T;\nimpl<P: Q<R>> T<P> {\n    pub fn go() {}\n}",
            0,
        ),
        ("/// ```\n/// T.go();\n/// ```\npub struct T;\nimpl Q for T {\n    pub fn one() {}\n}", 1),
        ("    pub const fn three() {}", 1),
        ("/// three\npub fn three() {}", 1),
        ("/// ```text\n/// three\n/// ```\npub enum three {}", 1),
        ("pub(crate) fn three() {}\npub use three;\npub mod three;", 0),
        ("#[cfg(test)]\nmod tests { pub fn three() {} }", 0),
    ] {
        let text = source("plugin-sdk/src/a.rs", &format!("{example}{text}"));
        assert_eq!(shown(&[&text]).len(), faults, "{}", text.text);
    }
}
