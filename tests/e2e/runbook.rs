//! The runbook, held against the code and the alerts: whatever an operator may meet stands there, and nothing else does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn runbook() -> String {
    read("gateway/docs/runbook.md")
}

/// What stands below a heading, to the next one of its level.
fn section(heading: &str) -> String {
    let text = runbook();
    let start = text.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no `{heading}`"));
    let rest = &text[start + 4..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}

/// The first cells of a section's tables, without their heads.
fn first_cells(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.split(" | ").next()).filter(|cell| cell.contains('`'));
    cells.map(str::to_owned).collect()
}

/// The gateway's sources, without their tests.
fn sources() -> String {
    let mut folders = vec![root().join("gateway/src")];
    let mut all = String::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() && !path.ends_with("tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source is text");
                all.push_str(text.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
    all
}

/// The texts between quotes in each call that begins so, to its closing parenthesis.
fn texts_in<'s>(sources: &'s str, call: &str) -> Vec<Vec<&'s str>> {
    let call_of = |rest: &'s str| {
        let (mut depth, mut texts, mut begun) = (1, Vec::new(), None);
        for (at, char) in rest.char_indices() {
            match (char, begun) {
                // No message holds an escaped quote.
                ('"', Some(start)) => {
                    texts.push(&rest[start..at]);
                    begun = None;
                }
                ('"', None) => begun = Some(at + 1),
                ('(', None) => depth += 1,
                (')', None) => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        texts
    };
    sources.split(call).skip(1).map(call_of).collect()
}

fn same<'a>(what: &str, code: BTreeSet<&'a str>, told: BTreeSet<&'a str>) {
    let missing: Vec<_> = code.difference(&told).collect();
    assert!(missing.is_empty(), "the runbook has no {what} {missing:?}");
    let imagined: Vec<_> = told.difference(&code).collect();
    assert!(imagined.is_empty(), "there is no {what} {imagined:?}");
}

#[test]
fn each_flag_has_its_section() {
    let code = read("gateway/src/telemetry/flags.rs");
    let flags = code.lines().filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \""));
    let flags: BTreeSet<&str> = flags.map(|(_, code)| code.trim_end_matches("\",")).collect();
    assert!(flags.len() > 10, "{flags:?}");
    let section = section("Flags of the access log");
    let told = section.lines().filter_map(|line| line.strip_prefix("### ")?.split_once(':')).map(|(flag, _)| flag);
    same("flag", flags, told.collect());
}

#[test]
fn each_event_has_its_row() {
    let sources = sources();
    let begins = [".event(\"", ".event(\n"].map(|start| sources.split(start).skip(1).collect::<Vec<_>>()).concat();
    let mut kinds: BTreeSet<&str> =
        begins.iter().filter_map(|rest| rest.trim_start_matches([' ', '"']).split('"').next()).collect();
    // What a stream says of itself.
    kinds.extend(["lagged"]);
    let section = section("Events");
    let told = first_cells(&section);
    let told = told.iter().filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`'));
    same("event", kinds, told.collect());
}

#[test]
fn each_metric_says_what_to_do_with_it() {
    let table = read("gateway/docs/observability.md");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| `witgate_")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "what to do with it? {row}");
    }
}

#[test]
fn each_alert_leads_to_its_section() {
    let alerts = read("examples/observability/alerts.yml");
    let names: BTreeSet<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 10, "{names:?}");
    let section = section("Alerts");
    same("alert", names.clone(), section.lines().filter_map(|line| line.strip_prefix("### ")).collect());
    let urls: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("runbook_url: ")).collect();
    let wanted = names.len();
    assert_eq!(urls.len(), wanted, "each alert has one");
    for (alert, url) in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).zip(urls) {
        let anchor = format!("gateway/docs/runbook.md#{}\"", alert.to_ascii_lowercase());
        assert!(url.ends_with(&anchor), "{alert}: {url}");
    }
}

#[test]
fn each_warning_and_each_error_of_the_log_has_its_row() {
    let sources = sources();
    let statements = ["tracing::warn!(", "tracing::error!("].map(|start| texts_in(&sources, start)).concat();
    // The message is the last text; of one with a value in it, what stands before that.
    let messages = statements.iter().filter_map(|texts| texts.last()?.split(['{']).next()).map(plain);
    let messages: BTreeSet<String> = messages.filter(|message| !message.is_empty()).collect();
    assert!(messages.len() > 60, "{messages:?}");
    let section = section("Lines of the log");
    let cells = first_cells(&section);
    let told: BTreeSet<String> = cells.iter().flat_map(|cell| cell.split("`, `")).map(plain).collect();
    same("line", messages.iter().map(String::as_str).collect(), told.iter().map(String::as_str).collect());
}

/// Without what marks code, and without the mark before a value.
fn plain(text: &str) -> String {
    text.replace('`', "").trim().trim_end_matches(':').to_owned()
}

/// Where GitHub finds a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_in_documents_lead_somewhere() {
    let pages = fs::read_dir(root().join("gateway/docs")).expect("documents");
    let mut pages: Vec<PathBuf> = pages.map(|page| page.expect("it can be listed").path()).collect();
    pages.retain(|page| page.extension().is_some_and(|end| end == "md"));
    pages.extend(
        ["README.md", "ARCHITECTURE.md", "examples/deploy/README.md", "examples/observability/README.md"]
            .map(|page| root().join(page)),
    );
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).expect("a document is text");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name("").join(file) };
            let found = match heading {
                None => target.exists(),
                Some(heading) => fs::read_to_string(&target).is_ok_and(|text| {
                    text.lines().any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading)
                }),
            };
            if !found {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
