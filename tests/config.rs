//! Configurations as files: each in `goldens/config/valid` loads to the values beside it, each in `goldens/config/invalid` is refused with
//! the report beside it. `UPDATE_GOLDENS=1` writes the files that stand beside.
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
fn every_golden_has_its_configuration() {
    for (folder, extension) in [("valid", "debug"), ("invalid", "stderr")] {
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
fn a_file_that_is_not_there_is_a_fault() {
    let faults = config::load(Path::new("no/such/file.yaml")).unwrap_err();
    assert_eq!(faults.len(), 1);
    let json = &faults.to_json()[0];
    assert_eq!(json["file"], "no/such/file.yaml");
    assert!(json["line"].is_null());
}

#[test]
fn quick_needs_an_address_and_a_url() {
    let loaded = config::quick("127.0.0.1:0".parse().unwrap(), "http://[::1]:9000").unwrap();
    assert_eq!(loaded.config.upstreams["origin"].endpoints[0].url.to_string(), "http://[::1]:9000");
    assert_eq!(loaded.config.listeners[0].address.to_string(), "127.0.0.1:0");
    let faults = config::quick("[::]:80".parse().unwrap(), "${env:HOME}\"\n- x").unwrap_err();
    check("quick.yaml", "stderr", &faults.to_string());
}
