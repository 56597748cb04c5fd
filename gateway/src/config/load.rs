//! From texts to a configuration: the steps of `config` in order.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_yaml::Value;

use super::document::Document;
use super::fault::{Fault, Faults, File, Finding};
use super::include::{self, Brought, Entry};
use super::model::Config;
use super::origin::{Merged, Origin};
use super::parse::parse;
use super::path::At;
use super::texts::{TEXT_BYTES_MAX, Text, Texts};
use super::{check, typed, variables};

/// A configuration without a fault, and the document it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub document: Document,
    /// All that the files say, as one, with variables filled in.
    pub(super) tree: Value,
}

/// Loads files and folders, with the variables of this process's environment.
///
/// # Errors
///
/// Every fault of the configuration; a file that cannot be read is one as well.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Faults> {
    assemble(&Texts::read(paths)?, &environment)
}

/// The variables of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Loads a text that is called `name` in reports; relative paths in it are resolved against the folder of `name`. `env` looks up variables.
///
/// # Errors
///
/// Every fault of the configuration.
pub fn load_text(name: &Path, text: String, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Faults> {
    let folder = name.parent().unwrap_or(Path::new("")).to_owned();
    let text = Text { name: name.display().to_string(), folder, text, unread: None };
    assemble(&Texts { own: vec![text], ..Texts::default() }, env)
}

/// Makes one configuration of texts.
///
/// # Errors
///
/// Every fault of the configuration.
pub fn assemble(texts: &Texts, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Faults> {
    let mut assembly = Assembly { env, files: Vec::new(), findings: Vec::new(), hidden: Vec::new() };
    let mut merged = assembly.own(&texts.own);
    if let Some(merged) = &mut merged {
        assembly.included(merged, texts);
    }
    let Assembly { files, mut findings, hidden, .. } = assembly;
    let Some(Merged { root: mut tree, origin }) = merged else {
        let mut document = Document::new(files, Origin::whole(0));
        document.hide(hidden);
        return Err(document.report(findings));
    };
    let mut document = Document::new(files, origin);
    document.hide(hidden);
    // What was refused so far was replaced by null, and null stands nowhere else.
    let mut cut = if findings.is_empty() { HashSet::new() } else { holes(&tree) };
    let raw = typed::read(&mut tree, &mut findings, &mut cut);
    let checked = raw.map(|raw| check::check(&raw, &document, &cut));
    match checked {
        Some((config, faults)) if findings.is_empty() && faults.is_empty() => Ok(Loaded { config, document, tree }),
        Some((_, faults)) => {
            findings.extend(faults);
            Err(document.report(findings))
        }
        None => Err(document.report(findings)),
    }
}

/// Texts that become one tree.
struct Assembly<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    files: Vec<File>,
    findings: Vec<Finding>,
    hidden: Vec<(String, String)>,
}

impl Assembly<'_> {
    /// The own texts, each laid over those before it; `None` where nothing can be made of some of them.
    fn own(&mut self, texts: &[Text]) -> Option<Merged> {
        let mut merged: Option<Merged> = None;
        let mut is_whole = true;
        for text in texts {
            let file = self.files.len();
            let Some(root) = self.read(text, None) else {
                is_whole = false;
                continue;
            };
            match &mut merged {
                Some(merged) => merged.lay_over(file, root),
                None => merged = Some(Merged::of(file, root)),
            }
        }
        merged.filter(|_| is_whole)
    }

    /// Adds what `include` names.
    fn included(&mut self, merged: &mut Merged, texts: &Texts) {
        let list = merged.root.get("include").and_then(Value::as_sequence).cloned().unwrap_or_default();
        for (index, value) in list.iter().enumerate() {
            let at = At::ROOT.key("include");
            let at = at.item(index);
            let (file, _) = merged.origin.find(&super::path::parse(&at.key("path").to_string()));
            let Some(entry) = Entry::read(value, &self.files[file].folder) else { continue };
            let mut roots = Vec::new();
            let mut brought = Brought::default();
            for text in texts.included.get(&entry.include.pattern).into_iter().flatten() {
                let file = self.files.len();
                if let Some(root) = self.read(text, Some(&entry)) {
                    brought.note(&root);
                    roots.push((file, root));
                }
            }
            for (file, mut root) in roots {
                if let Some(allow) = &entry.allow {
                    include::hold(&mut root, file, allow, &brought, &mut self.findings);
                }
                merged.add(file, root, &mut self.findings);
            }
        }
    }

    /// The tree of one text, a map with variables filled in.
    fn read(&mut self, text: &Text, entry: Option<&Entry>) -> Option<Value> {
        let file = self.files.len();
        let include = entry.map(|entry| entry.include.clone());
        let too_large = text.text.len() > TEXT_BYTES_MAX;
        let content = if too_large { "" } else { &text.text };
        self.files.push(File {
            name: text.name.clone(),
            text: Arc::from(content),
            folder: text.folder.clone(),
            include,
        });
        if let Some(unread) = &text.unread {
            let fault = Fault { help: unread.help.clone(), ..Fault::value("", unread.why.clone()) };
            self.findings.push(Finding::of_file(file, fault));
            return None;
        }
        if too_large {
            let message = format!("the configuration is larger than {} MiB", TEXT_BYTES_MAX >> 20);
            self.findings.push(Finding::of_file(file, Fault::value("", message)));
            return None;
        }
        // A file of a team may be empty: then it has nothing to add.
        let mut root = parse(file, content, entry.is_some(), &mut self.findings)?;
        let inner = root.as_mapping_mut().filter(|_| entry.is_some()).and_then(|map| map.remove("include"));
        if inner.is_some() {
            let fault = Fault::key("include", "an included file cannot include others");
            self.findings.push(Finding::of_file(file, fault.help("name them in the file that includes this one")));
        }
        let walked = variables::resolve(&mut root, self.env);
        self.hidden.extend(walked.hidden);
        let findings = walked.findings.into_iter();
        self.findings.extend(findings.map(|finding| Finding { file: Some(file), ..finding }));
        Some(root)
    }
}

/// The paths of all nulls.
fn holes(root: &Value) -> HashSet<String> {
    fn walk(value: &Value, at: &At<'_>, found: &mut HashSet<String>) {
        match value {
            Value::Null => drop(found.insert(at.to_string())),
            Value::Mapping(map) => {
                for (key, value) in map {
                    walk(value, &at.key(key.as_str().unwrap_or_default()), found);
                }
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, &at.item(index), found);
                }
            }
            _ => {}
        }
    }
    let mut found = HashSet::new();
    walk(root, &At::ROOT, &mut found);
    found
}

/// The configuration of `witgate run --listen ADDR --to URL`: everything that comes to `listen` goes to the endpoint `to`.
///
/// It is a text as any other, with its faults if `to` is no URL of an endpoint.
pub fn quick(listen: SocketAddr, to: &str) -> Text {
    // A JSON string is a YAML string; and on a command line the shell has filled in the variables.
    let to = Value::from(to.replace('$', "$$"));
    let to = serde_json::json!(to);
    let text = format!(
        "version: 1\n\
         listeners:\n\
         \x20 - name: http\n\
         \x20   address: \"{listen}\"\n\
         upstreams:\n\
         \x20 origin:\n\
         \x20   endpoints:\n\
         \x20     - url: {to}\n\
         routes:\n\
         \x20 - name: all\n\
         \x20   upstream: origin\n"
    );
    Text { name: "<command line>".to_owned(), folder: PathBuf::new(), text, unread: None }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::FAULTS_MAX;
    use proptest::prelude::*;

    /// A configuration that uses most of what there is, with places where a stroke of the keyboard can do harm.
    const TEXT: &str = "version: 1\n\
        x-a: &a { timeout: 2s, q: [ä, ö] }\n\
        listeners:\n- { name: http, address: 127.0.0.1:0, limits: { headers: 64KiB } }\n\
        plugins: { p: { source: file:p.wasm, isolation: fresh } }\n\
        upstreams:\n  u: { endpoints: [{ url: http://a, weight: 1 }] }\n\
        chains: { c: [{ use: p, config: { 'k.l': \"${env:V}\" }, on_error: { trap: open } }] }\n\
        routes:\n- name: r # comment\n  match: { path: { exact: / }, headers: { h: { present: true } } }\n\
        \x20 filters: [{ chain: c }, { use: headers }]\n  upstream: { u: 1 }\n- { <<: *a, name: s, respond: { body: '$$' } }\n";

    fn load(text: String) -> Result<Loaded, Faults> {
        load_text(Path::new("gateway.yaml"), text, &|name| (name == "V").then(|| "value".to_owned()))
    }

    /// Loads, and where that fails checks that the report can be made and lies inside the text.
    fn check(text: &str) {
        let Err(faults) = load(text.to_owned()) else {
            return;
        };
        assert!((1..=FAULTS_MAX).contains(&faults.len()));
        assert!(faults.to_string().starts_with("error: "));
        let lines: Vec<&str> = text.split('\n').collect();
        for fault in faults.to_json().as_array().unwrap() {
            let (Some(line), Some(column)) = (fault["line"].as_u64(), fault["column"].as_u64()) else {
                assert!(text.is_empty() || fault["line"].is_null(), "{fault}");
                continue;
            };
            let line = lines[usize::try_from(line).unwrap() - 1];
            assert!(usize::try_from(column).unwrap() <= line.chars().count() + 1, "{fault} in {text:?}");
        }
    }

    #[test]
    fn the_sample_is_in_order_but_for_its_own_key() {
        let report = load(TEXT.to_owned()).unwrap_err().to_string();
        assert!(report.contains("unknown key `q`"), "{report}");
        assert!(load(TEXT.replace(", q: [ä, ö]", "")).is_ok());
    }

    #[test]
    fn files_up_to_the_limit_are_read() {
        let minimal = "version: 1\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\n#".to_owned();
        let fits = minimal.clone() + &"x".repeat(TEXT_BYTES_MAX - minimal.len());
        assert!(load(fits.clone()).is_ok());
        let faults = load(fits + "x").unwrap_err();
        assert_eq!(faults.iter().next().unwrap().message, "the configuration is larger than 16 MiB");
    }

    #[test]
    fn relative_paths_are_meant_from_the_folder_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        let text = "version: 1\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\nstate_dir: state\n\
            plugins: { a: { source: file:a.wasm }, b: { source: file:/b.wasm } }\n";
        std::fs::write(&path, text).unwrap();
        let config = super::load(&[path]).unwrap().config;
        assert_eq!(config.state_dir, Some(folder.path().join("state")));
        let source = |name: &str| config.plugins[name].source.clone();
        assert_eq!(source("a"), crate::config::model::PluginSource::File(folder.path().join("a.wasm")));
        assert_eq!(source("b"), crate::config::model::PluginSource::File("/b.wasm".into()));
    }

    #[test]
    fn files_that_are_not_utf_8_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.yaml");
        std::fs::write(&path, b"version: \xff").unwrap();
        assert_eq!(
            super::load(&[path]).unwrap_err().iter().next().unwrap().help.as_deref(),
            Some("save the file as UTF-8")
        );
    }

    #[test]
    fn hostile_texts_end_quickly() {
        check(&"[".repeat(50_000));
        check(&"{a: ".repeat(50_000));
        check(&"- ".repeat(50_000));
        check(&format!("a: &a [{}]\n", "x,".repeat(50_000)));
        check(&"a: 1\n".repeat(20_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_text_is_loaded_or_refused(text in "(?s).{0,200}") {
            check(&text);
        }

        #[test]
        fn any_text_of_yaml_signs_is_loaded_or_refused(text in "[a-c1:,\\-\\[\\]{}&*!|>'\"#%@`?~<$ \t\n\r\u{e4}\u{feff}]{0,60}") {
            check(&text);
        }

        #[test]
        fn any_edit_of_a_configuration_is_loaded_or_refused(
            from in 0..TEXT.chars().count(),
            length in 0..12_usize,
            insert in "[a-c0-9:,\\-\\[\\]{}&*!|>'\"#?~<$ \n]{0,6}",
        ) {
            let mut chars: Vec<char> = TEXT.chars().collect();
            let to = (from + length).min(chars.len());
            chars.splice(from..to, insert.chars());
            check(&chars.into_iter().collect::<String>());
        }
    }
}
