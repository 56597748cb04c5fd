//! Configurations as files: each in `goldens/config/valid` loads to the values beside it, each in `goldens/config/invalid` is refused with
//! the report beside it, each in `goldens/config/warnings` is warned of, each folder in `goldens/config/layers` is one of several files. `UPDATE_GOLDENS=1` writes the files that stand beside.
//!
//! What a single part of the loader does is tested next to that part.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use witgate::config::{self, At, Fault, Loaded};

/// The value of `SECRET`, and part of that of `SECRET_URL`, which no report may show.
const SECRET: &str = "hunter2-hunter2";

/// Part of the value of `SECRET_NUMBER`.
const SECRET_DIGITS: &str = "99887766";

/// The environment of every golden.
fn env(name: &str) -> Option<String> {
    let value = match name {
        "SECRET" => SECRET,
        "SECRET_URL" => "http://user:hunter2-hunter2@host/path",
        "SECRET_NUMBER" => "0099887766",
        "PORT" => "8081",
        "EMPTY" => "",
        "DOLLARS" => "5$ or ${request.path}",
        _ => return None,
    };
    Some(value.to_owned())
}

fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/config")
}

/// The YAML files of a folder, by name: `invalid/unknown-upstream.yaml`.
fn files(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(goldens().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".yaml")).map(|name| format!("{folder}/{name}")).collect()
}

/// Compares with the file of the same name that has this extension, or writes it.
fn check(name: &str, extension: &str, actual: &str) {
    let path = goldens().join(name).with_extension(extension);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} has changed; if it should, run again with UPDATE_GOLDENS=1\n--- expected\n{expected}\n--- actual\n{actual}"
    );
}

fn load(name: &str) -> Result<Loaded, config::Faults> {
    let text = fs::read_to_string(goldens().join(name)).unwrap();
    config::load_text(Path::new(name), text, &env)
}

#[test]
fn valid_configurations_load() {
    for name in files("valid") {
        match load(&name) {
            Ok(loaded) => check(&name, "debug", &format!("{:#?}\n", loaded.config)),
            Err(faults) => panic!("{name} was refused:\n{faults}"),
        }
    }
}

#[test]
fn invalid_configurations_are_refused_with_every_fault() {
    for name in files("invalid") {
        match load(&name) {
            Ok(loaded) => panic!("{name} was accepted:\n{:#?}", loaded.config),
            Err(faults) => {
                let report = faults.to_string();
                for secret in [SECRET, SECRET_DIGITS] {
                    assert!(!report.contains(secret), "{name} shows a secret:\n{report}");
                }
                check(&name, "stderr", &report);
            }
        }
    }
}

#[test]
fn what_is_legal_but_not_meant_is_told() {
    for name in files("warnings") {
        match load(&name) {
            Ok(Loaded { config, document, .. }) => {
                let warnings = document.warnings(config::warnings(&config));
                let told = warnings.map_or_else(String::new, |warnings| warnings.to_string());
                check(&name, "stderr", &told);
            }
            Err(faults) => panic!("{name} was refused:\n{faults}"),
        }
    }
}

/// Each folder of `goldens/config/layers` is a configuration of several files: those that its own files and folders are, in the order of their
/// names; folders without a number at their beginning are what they include.
#[test]
fn several_files_are_one_configuration_and_faults_point_into_theirs() {
    for entry in fs::read_dir(goldens().join("layers")).unwrap() {
        let folder = Path::new("goldens/config/layers").join(entry.unwrap().file_name());
        let entries = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let is_layer = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with(|first: char| first.is_ascii_digit()) && (path.is_dir() || name.ends_with(".yaml"))
        };
        let mut layers: Vec<PathBuf> = entries.filter(is_layer).collect();
        layers.sort();
        let texts = config::Texts::read(&layers);
        let name = folder.strip_prefix("goldens/config").unwrap().join("all.yaml");
        let name = name.to_str().unwrap();
        match texts.and_then(|texts| config::assemble(&texts, &env)) {
            Ok(loaded) => check(name, "debug", &format!("{:#?}\n", loaded.config)),
            Err(faults) => check(name, "stderr", &faults.to_string()),
        }
    }
}

#[test]
fn every_golden_has_its_configuration() {
    for (folder, extension) in [("valid", "debug"), ("invalid", "stderr"), ("warnings", "stderr")] {
        let files = files(folder);
        for entry in fs::read_dir(goldens().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|found| found == extension) {
                let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
                assert!(files.contains(&format!("{folder}/{stem}.yaml")), "{} has no YAML", path.display());
            }
        }
    }
}

#[test]
fn faults_have_a_form_for_programs() {
    let faults = load("invalid/many.yaml").unwrap_err();
    let json = serde_json::to_string_pretty(&faults.to_json()).unwrap();
    check("invalid/many.yaml", "json", &(json + "\n"));
    assert_eq!(faults.to_json().as_array().unwrap().len(), faults.len());
}

#[test]
fn color_adds_nothing_but_color() {
    let faults = load("invalid/many.yaml").unwrap_err();
    let colored = faults.render(true);
    assert!(colored.contains("\u{1b}["));
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((text, sequence)) = rest.split_once('\u{1b}') {
        plain.push_str(text);
        rest = sequence.split_once('m').unwrap().1;
    }
    assert_eq!(plain + rest, faults.render(false));
}

#[test]
fn later_stages_point_into_the_file() {
    let loaded = load("valid/everything.yaml").unwrap();
    let routes = At::ROOT.key("routes");
    let route = routes.item(0);
    let matches = route.key("match");
    let faults = loaded.document.faults(vec![
        Fault::value(matches.key("hosts").item(1), "this host is refused").label("by the router"),
        Fault::value("routes[0].filters[1].config.level", format!("the plugin refused {SECRET:?}"))
            .help("ask its author"),
        Fault::key(
            "plugins[\"audit.v2\"].limits.reply",
            "a key that the file does not hold counts as the nearest above",
        ),
        Fault::key("routes[1].timeout", "a key that was merged is found where it was written"),
        Fault::value("", "the file as a whole"),
    ]);
    let report = faults.to_string();
    assert!(!report.contains(SECRET), "{report}");
    check("later-stages.yaml", "stderr", &report);
}

#[test]
fn the_schema_is_what_it_was() {
    let schema = serde_json::to_string_pretty(&config::schema()).unwrap();
    check("schema.yaml", "json", &(schema + "\n"));
}

#[test]
fn every_key_says_what_it_is() {
    fn nameless(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            // A key of a type that says it is described by that.
            if inner["description"].as_str().is_none_or(str::is_empty) {
                found.push(format!("{path}.{key}"));
            }
        }
    }
    let schema = config::schema();
    let mut found = Vec::new();
    nameless("config", &schema, &mut found);
    for (name, def) in schema["$defs"].as_object().unwrap() {
        nameless(name, def, &mut found);
    }
    assert!(found.is_empty(), "keys without a description: {found:#?}");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(schema["$id"].is_string());
}

#[test]
fn the_reference_is_that_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/docs/config.md");
    let page = config::reference(&config::schema());
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, page).unwrap();
        return;
    }
    let shown = fs::read_to_string(&path).unwrap_or_default();
    assert!(shown == page, "gateway/docs/config.md is stale: run again with UPDATE_GOLDENS=1");
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let faults = config::load(&["no/such/file.yaml".into()]).unwrap_err();
    assert_eq!(faults.len(), 1);
    let json = &faults.to_json()[0];
    assert_eq!(json["file"], "no/such/file.yaml");
    assert!(json["line"].is_null());
}

#[test]
fn quick_needs_an_address_and_a_url() {
    let load = |address: &str, to: &str| {
        let own = vec![config::quick(address.parse().unwrap(), to)];
        config::assemble(&config::Texts { own, ..Default::default() }, &|_| None)
    };
    let loaded = load("127.0.0.1:0", "http://[::1]:9000").unwrap();
    assert_eq!(loaded.config.upstreams["origin"].endpoints[0].url.to_string(), "http://[::1]:9000");
    assert_eq!(loaded.config.listeners[0].address.to_string(), "127.0.0.1:0");
    let faults = load("[::]:80", "${env:HOME}\"\n- x").unwrap_err();
    check("quick.yaml", "stderr", &faults.to_string());
}
