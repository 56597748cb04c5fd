//! What the documents show: each example starts as its README says, and answers each `curl` with what stands below it.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{blocks, example, transcripts};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn examples_answer_as_their_readme_shows() {
    let mut shown = 0;
    for (readme, folder) in readmes() {
        let transcripts = transcripts(&fs::read_to_string(&readme).expect("a README is text"));
        let gateway = GATEWAY.start(configuration(&folder)).await;
        for transcript in &transcripts {
            transcript.holds(gateway.listener("http")).await;
        }
        shown += transcripts.len();
    }
    assert!(shown >= 3, "the READMEs show at least one transcript each");
}

#[test]
fn the_readme_gives_commands_that_exist() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README is text");
    let commands: Vec<&str> = blocks(&readme, "sh").flat_map(str::lines).collect();
    for command in ["cargo run --release -- run -c examples/01-hello/gateway.yaml", "cargo test --workspace"] {
        assert!(commands.contains(&command), "`{command}` among {commands:?}");
    }
    // `cargo run` has to know which of the workspace's binaries is meant.
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest is text");
    assert!(manifest.contains("default-members = [\"gateway\"]"), "`cargo run` at the root runs the gateway");
    for (command, file) in commands.iter().filter_map(|command| Some((command, command.split_once("-c ")?.1))) {
        assert!(file == "gateway.yaml" || root().join(file).exists(), "`{command}` names a file that exists");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configurations_in_documents_are_valid() {
    let pages = ["hardening", "upstreams", "forwarding", "protocols", "sources"];
    let pages = pages.map(|page| format!("gateway/docs/{page}.md"));
    for document in ["README.md"].into_iter().chain(pages.iter().map(String::as_str)) {
        let text = fs::read_to_string(root().join(document)).expect("a document is text");
        let config = blocks(&text, "yaml").next().expect("it shows a configuration");
        let output = GATEWAY.on("validate", config, &[]).await;
        assert_eq!(output.code, 0, "{document}: {}", output.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configurations_of_the_plugins_readmes_are_valid() {
    let frame = "version: 1\nlisteners: [{ name: http, address: '127.0.0.1:0' }]\nupstreams:\n";
    let upstreams = ["users", "users-v2", "reports"]
        .map(|name| format!("  {name}: {{ endpoints: [{{ url: 'http://127.0.0.1:9' }}] }}\n"))
        .concat();
    for plugin in ["api-key", "jwt", "policy", "rewrite"] {
        let readme = fs::read_to_string(root().join("plugins").join(plugin).join("README.md"));
        let readme = readme.expect("a README is text");
        let shown = blocks(&readme, "yaml").next().expect("the README shows a configuration");
        let output = GATEWAY.on("validate", format!("{frame}{upstreams}{shown}"), &[]).await;
        assert_eq!(output.code, 0, "{plugin}: {}", output.stderr);
    }
    // What stands for a line of Lua is a list of filters.
    let readme = fs::read_to_string(root().join("plugins/README.md")).expect("a README is text");
    let filters: String = blocks(&readme, "yaml").flat_map(str::lines).map(|line| format!("    {line}\n")).collect();
    let plugins = "plugins: { policy: { source: 'builtin:policy' }, rewrite: { source: 'builtin:rewrite' } }\n";
    let route = format!("routes:\n  - name: r\n    match: {{}}\n    upstream: users\n{filters}");
    let output = GATEWAY.on("validate", format!("{frame}{upstreams}{plugins}{route}"), &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_documents_show_are_understood() {
    let mut shown = 0;
    for document in [
        "README.md",
        "plugin-sdk/README.md",
        "gateway/docs/operations.md",
        "gateway/docs/sources.md",
        "gateway/docs/upgrades.md",
    ] {
        let text = fs::read_to_string(root().join(document)).expect("a document is text");
        let lines = blocks(&text, "sh").flat_map(str::lines);
        for command in lines.filter_map(|line| line.strip_prefix("witgate ")) {
            // Help is given only once everything before it was understood.
            let words: Vec<&str> = words(command).chain(["--help"]).collect();
            let output = GATEWAY.run(&words).await;
            assert_eq!(output.code, 0, "{document}: `{command}`: {}", output.stderr);
            shown += 1;
        }
    }
    assert!(shown >= 10, "the documents show commands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_filters_that_documents_show_are_valid() {
    let page = fs::read_to_string(root().join("gateway/docs/filters.md")).expect("a document is text");
    let people = root().join("tests/e2e/people.htpasswd").display().to_string();
    let around = "version: 1\nlisteners: [{ name: http, address: 127.0.0.1:0 }]\n";
    let named =
        format!("secrets: {{ people: {{ file: '{people}' }} }}\nlimiters: {{ per-user: {{ rate: 100/1m }} }}\n");
    let mut shown = 0;
    for block in blocks(&page, "yaml") {
        let config = if block.starts_with("- use:") {
            let list: String = block.lines().map(|line| format!("      {line}\n")).collect();
            format!("{around}{named}routes:\n  - name: all\n    respond: {{}}\n    filters:\n{list}")
        } else {
            format!("{around}routes: [{{ name: all, respond: {{}} }}]\n{block}")
        };
        let output = GATEWAY.on("validate", &config, &[]).await;
        assert_eq!(output.code, 0, "{config}\n{}", output.stderr);
        shown += 1;
    }
    assert!(shown >= 12, "each filter is shown");
}

/// Each command of the README runs as it stands there, but the one that serves, which is tried with `--help`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_example_of_three_teams_do_what_they_say() {
    let folder = root().join("examples/06-teams");
    let readme = fs::read_to_string(folder.join("README.md")).expect("a README is text");
    let mut answers = Vec::new();
    for command in blocks(&readme, "sh").flat_map(str::lines) {
        let command = command.strip_prefix("witgate ").expect("each is a command of ours");
        let help = command.starts_with("run").then_some("--help");
        let words: Vec<&str> = words(command).chain(help).collect();
        answers.push(GATEWAY.run_in(&folder, &words).await);
    }
    let [dev, production, explained, different, _] = answers.as_slice() else { panic!("five commands: {answers:?}") };
    for checked in [dev, production] {
        assert_eq!((checked.code, checked.stdout.trim()), (0, "ok: 501 routes, 3 upstreams, 0 plugins"), "{checked:?}");
    }
    assert!(explained.code == 0 && explained.stdout.contains("takes the route `orders-004`"), "{explained:?}");
    assert!(explained.stdout.contains("teams/orders/routes.yaml:6"), "{}", explained.stdout);
    assert!(different.code == 1 && different.stdout.contains("~ listener http"), "{different:?}");
}

#[test]
fn the_files_of_the_teams_are_what_their_script_writes() {
    let folder = root().join("examples/06-teams");
    let scratch = tempfile::tempdir().expect("the system gives a temporary folder");
    let script = folder.join("generate.sh").canonicalize().expect("the script is there");
    let done = std::process::Command::new("sh").arg(script).current_dir(scratch.path()).status();
    assert!(done.expect("a shell is there").success());
    for team in ["catalog", "orders", "accounts"] {
        for file in ["routes.yaml", "upstreams.yaml"] {
            let read = |folder: &Path| fs::read_to_string(folder.join("teams").join(team).join(file)).expect("text");
            assert_eq!(read(&folder), read(scratch.path()), "{team}/{file}");
        }
    }
}

/// The words of a command, as a shell without variables sees them.
fn words(command: &str) -> impl Iterator<Item = &str> {
    command.split('"').enumerate().flat_map(|(place, part)| {
        // What stands between quotes is one word.
        if place % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
    })
}

/// Each README, with the folder of the example that it starts.
fn readmes() -> Vec<(PathBuf, PathBuf)> {
    let examples = root().join("examples");
    let mut folders: Vec<PathBuf> = fs::read_dir(&examples)
        .expect("examples is a folder")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|folder| folder.join("gateway.yaml").exists())
        .filter(|folder| !APART.iter().any(|apart| folder.ends_with(apart)))
        .collect();
    folders.sort();
    let mut all: Vec<_> = folders.iter().map(|folder| (folder.join("README.md"), folder.clone())).collect();
    all.push((root().join("README.md"), examples.join("01-hello")));
    all
}

/// The example's own file; only the port is the system's choice, and the component the one that the build made.
fn configuration(folder: &Path) -> String {
    let yaml = fs::read_to_string(folder.join("gateway.yaml")).expect("an example is text");
    let name = folder.file_name().and_then(|name| name.to_str()).expect("a plain name");
    let yaml = yaml.replace("127.0.0.1:8080", "127.0.0.1:0");
    match (yaml.find("file:"), example(name)) {
        (Some(start), Some(component)) => {
            let end = start + yaml[start..].find('"').expect("the path stands in quotes");
            format!("{}file:{}{}", &yaml[..start], component.display(), &yaml[end..])
        }
        _ => yaml,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Examples with tests of their own: the components of one are made by other builders than cargo (`languages`), the certificates of the other by
/// commands in its README (`tls_example`).
const APART: [&str; 3] = ["03-other-languages", "05-tls", "observability"];
