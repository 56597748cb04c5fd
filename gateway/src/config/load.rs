//! From a file to a configuration: the steps of `config` in order.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;

use serde_yaml::Value;

use super::document::Document;
use super::fault::{Fault, Faults, Finding, Related, RelatedPlace};
use super::model::Config;
use super::place::Places;
use super::{check, tree, typed, variables};

/// The largest file that is read; 10,000 routes take less than 1 MiB.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// A configuration without a fault, and the document it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub document: Document,
}

/// Loads a file, with the variables of this process's environment.
///
/// # Errors
///
/// Every fault of the configuration; a file that cannot be read is one as well.
pub fn load(path: &Path) -> Result<Loaded, Faults> {
    match read(path) {
        Ok(text) => load_text(path, text, &|name| std::env::var(name).ok()),
        Err(error) => {
            let fault = Fault::value("", format!("the configuration cannot be read: {error}"));
            let fault = match error.kind() {
                io::ErrorKind::InvalidData => fault.help("save the file as UTF-8"),
                _ => fault,
            };
            Err(Document::new(path, String::new()).faults(vec![fault]))
        }
    }
}

/// One byte more than is allowed at most, so that a device or a pipe cannot fill the memory.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let most = FILE_BYTES_MAX as u64 + 1;
    File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// Loads a text that is called `name` in reports; relative paths in it are resolved against the folder of `name`. `env` looks up variables.
///
/// # Errors
///
/// Every fault of the configuration.
pub fn load_text(name: &Path, text: String, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Faults> {
    let mut document = Document::new(name, text);
    if document.text().len() > FILE_BYTES_MAX {
        let message = format!("the configuration is larger than {} MiB", FILE_BYTES_MAX >> 20);
        return Err(Document::new(name, String::new()).faults(vec![Fault::value("", message)]));
    }
    let (mut root, mut findings) = parse(&document)?;
    let walked = variables::resolve(&mut root, env);
    document.hide(walked.hidden);
    findings.extend(walked.findings);
    let mut cut = walked.cut;
    let raw = typed::read(&mut root, &mut findings, &mut cut);
    let folder = name.parent().unwrap_or(Path::new(""));
    let checked = raw.map(|raw| check::check(&raw, folder, &cut));
    match checked {
        Some((config, faults)) if findings.is_empty() && faults.is_empty() => Ok(Loaded { config, document }),
        Some((_, faults)) => {
            findings.extend(faults);
            Err(document.report(findings, None))
        }
        None => Err(document.report(findings, None)),
    }
}

/// The root of the document, a map without the keys that are the user's own, and a finding for each key that is there twice.
fn parse(document: &Document) -> Result<(Value, Vec<Finding>), Faults> {
    let tree = match tree::read(document.text()) {
        Ok(tree) => tree,
        Err(error) => {
            let places = Places::read(document.text());
            let finding = not_yaml(&error, document.text(), &places);
            return Err(document.report(vec![finding], Some(&places)));
        }
    };
    let mut root = tree.root;
    let Value::Mapping(map) = &mut root else {
        let message = match root {
            Value::Null => "the configuration is empty",
            _ => "a configuration is a map of keys and values",
        };
        let fault = Fault::value("", message).help("begin with `version: 1`");
        return Err(document.faults(vec![fault]));
    };
    map.retain(|key, value| {
        let is_own = key.as_str().is_some_and(|key| key.starts_with("x-"));
        // `plugins:` with every entry commented out is a map without entries, and no more a fault than `plugins: {}`.
        !is_own && !value.is_null()
    });
    let findings = if tree.duplicates { duplicates(document) } else { Vec::new() };
    Ok((root, findings))
}

/// A text that is no YAML. `saphyr-parser` tells better where and why, but only `serde_yaml` decides.
fn not_yaml(error: &serde_yaml::Error, text: &str, places: &Places) -> Finding {
    if let Some((byte, why)) = &places.broken {
        return broken_at(*byte, why, text);
    }
    let error_text = error.to_string();
    let why = match error_text.split(" at line ").next().unwrap_or_default() {
        "recursion limit exceeded" => "it nests too deeply, or contains itself",
        "repetition limit exceeded" => "its aliases repeat too much",
        why => why,
    };
    match (error.location(), places.bad_merge()) {
        (Some(location), _) => broken_at(location.index(), why, text),
        (None, Some(bytes)) => Finding {
            bytes: Some(bytes),
            ..Fault::value("", "`<<` merges a map, or a list of maps, and this is neither").into()
        },
        (None, None) => Fault::value("", format!("this is not valid YAML: {why}")).into(),
    }
}

/// The character that begins at `byte` or around it.
fn broken_at(byte: usize, why: &str, text: &str) -> Finding {
    let start = text.floor_char_boundary(byte.min(text.len()));
    let length = text[start..].chars().next().filter(|char| *char != '\n').map_or(0, char::len_utf8);
    Finding { bytes: Some(start..start + length), ..Fault::value("", format!("this is not valid YAML: {why}")).into() }
}

fn duplicates(document: &Document) -> Vec<Finding> {
    let places = Places::read(document.text());
    let finding = |duplicate: super::place::Duplicate| Finding {
        bytes: Some(duplicate.again),
        related: Some(Related { place: RelatedPlace::Bytes(duplicate.first), label: "first here" }),
        fault: Fault::key(&duplicate.path, format!("the key `{}` is here twice", duplicate.key))
            .help("remove one of them"),
    };
    places.duplicates.into_iter().map(finding).collect()
}

/// The configuration of `witgate run --listen ADDR --to URL`: everything that comes to `listen` goes to the endpoint `to`.
///
/// # Errors
///
/// Faults, if `to` is not the URL of an endpoint.
pub fn quick(listen: SocketAddr, to: &str) -> Result<Loaded, Faults> {
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
    load_text(Path::new("<command line>"), text, &|_| None)
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
        let fits = minimal.clone() + &"x".repeat(FILE_BYTES_MAX - minimal.len());
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
        let config = super::load(&path).unwrap().config;
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
            super::load(&path).unwrap_err().iter().next().unwrap().help.as_deref(),
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
