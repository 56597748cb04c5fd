//! What the documents show: each example starts as its README says, and answers each `curl` with what stands below it.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Client, example};

use crate::GATEWAY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn examples_answer_as_their_readme_shows() {
    let mut shown = 0;
    for (readme, folder) in readmes() {
        let transcripts = transcripts(&fs::read_to_string(&readme).expect("a README is text"));
        let gateway = GATEWAY.start(configuration(&folder)).await;
        for transcript in &transcripts {
            let mut client = Client::connect(gateway.listener("http")).await;
            let lines: Vec<&str> = transcript.request.iter().map(String::as_str).collect();
            let answer = client.ask(&lines, "").await;
            let told = readme.display();
            assert_eq!(format!("{} {}", answer.version, answer.status), transcript.status, "{told}");
            for (name, value) in &transcript.fields {
                assert_eq!(answer.field(name), Some(value.as_str()), "{told}: {name}");
            }
            assert_eq!(answer.text(), transcript.body, "{told}");
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
async fn the_configuration_in_the_readme_is_valid() {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README is text");
    let config = blocks(&readme, "yaml").next().expect("the README shows a configuration");
    let output = GATEWAY.on("validate", config, &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_that_documents_show_are_understood() {
    let mut shown = 0;
    for document in ["README.md", "plugin-sdk/README.md", "gateway/docs/operations.md"] {
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

/// The words of a command, as a shell without variables sees them.
fn words(command: &str) -> impl Iterator<Item = &str> {
    command.split('"').enumerate().flat_map(|(place, part)| {
        // What stands between quotes is one word.
        if place % 2 == 1 { vec![part] } else { part.split_whitespace().collect() }
    })
}

/// One `curl` and the answer that a document promises; `…` stands for fields that it leaves out.
struct Transcript {
    request: Vec<String>,
    status: String,
    fields: Vec<(String, String)>,
    body: String,
}

/// Each README, with the folder of the example that it starts.
fn readmes() -> Vec<(PathBuf, PathBuf)> {
    let examples = root().join("examples");
    let mut folders: Vec<PathBuf> = fs::read_dir(&examples)
        .expect("examples is a folder")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|folder| folder.join("gateway.yaml").exists())
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

fn transcripts(document: &str) -> Vec<Transcript> {
    blocks(document, "console").filter(|block| block.starts_with("$ curl ")).map(transcript).collect()
}

fn transcript(block: &str) -> Transcript {
    let (command, answer) = block.split_once('\n').expect("an answer stands below the command");
    let (head, body) = answer.split_once("\n\n").expect("an empty line ends the head");
    let mut head = head.lines();
    let status = head.next().expect("a status line").rsplit_once(' ').expect("a reason").0.to_owned();
    let fields = head.filter(|line| *line != "…").map(|line| {
        let (name, value) = line.split_once(": ").expect("a field");
        (name.to_owned(), value.to_owned())
    });
    Transcript { request: request(command), status, fields: fields.collect(), body: body.to_owned() }
}

/// The request that this `curl` would send: its URL's path, its host, its `-H` fields.
fn request(command: &str) -> Vec<String> {
    let url = command.rsplit_once("http://").expect("a URL ends the command").1;
    let (host, path) = url.split_once('/').expect("a path ends the URL");
    let mut lines = vec![format!("GET /{path} HTTP/1.1"), format!("Host: {host}")];
    lines.extend(command.split("-H '").skip(1).filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())));
    lines
}

/// The fenced blocks of one language.
fn blocks<'d>(document: &'d str, language: &'d str) -> impl Iterator<Item = &'d str> {
    let fence = move |block: &&'d str| block.split_once('\n').is_some_and(|(first, _)| first == language);
    document.split("```").skip(1).step_by(2).filter(fence).filter_map(|block| Some(block.split_once('\n')?.1))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
