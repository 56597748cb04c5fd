//! What the documents show of TLS: the example's certificates are made, its gateway started and its clients run as its README says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Authority, blocks, skip};

use crate::GATEWAY;
use crate::tls_certificates::folder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_answers_as_its_readme_shows() {
    for program in ["curl", "openssl"] {
        if Command::new(program).arg("--version").output().is_err()
            && Command::new(program).arg("version").output().is_err()
        {
            return skip(&format!("{program} is not on this machine"));
        }
    }
    let (readme, folder) = (read("examples/05-tls/README.md"), folder());
    let commands = blocks(&readme, "sh").next().expect("how certificates are made");
    for command in commands.lines().filter(|command| !command.starts_with("witgate ")) {
        let output = shell(command, folder.path());
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let config = read("examples/05-tls/gateway.yaml").replace("certs/", &format!("{}/certs/", folder.path().display()));
    let gateway =
        GATEWAY.start(config.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8443", "127.0.0.1:0")).await;
    let port = |name: &str| format!("localhost:{}", gateway.listener(name).port());
    let mut shown = 0;
    for block in blocks(&readme, "console") {
        let (command, promised) = block.strip_prefix("$ ").and_then(|block| block.split_once('\n')).expect("a command");
        let command = command.replace("localhost:8080", &port("http")).replace("localhost:8443", &port("https"));
        let answer = shell(&format!("{command} -s"), folder.path());
        let answer = String::from_utf8_lossy(&answer.stdout).replace('\r', "");
        let lines: Vec<&str> = answer.lines().map(str::trim_end).collect();
        for line in promised.lines().filter(|line| *line != "…") {
            assert!(lines.contains(&line), "no `{line}` from {command}:\n{answer}");
        }
        shown += 1;
    }
    assert_eq!(shown, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_in_the_document_is_valid() {
    let (authority, folder) = (Authority::new(), folder());
    authority.certificate(&["www.example"]).write(folder.path(), "site");
    authority.certificate(&["api.example"]).write(folder.path(), "api");
    for (name, text) in [("people.pem", authority.pem()), ("revoked.pem", authority.revoking(&[1]))] {
        fs::write(folder.path().join(name), text).expect("a folder takes files");
    }
    let document = read("gateway/docs/tls.md");
    let config = blocks(&document, "yaml").next().expect("it shows a configuration");
    let output = GATEWAY.on("validate", config.replace("certs/", &format!("{}/", folder.path().display())), &[]).await;
    assert_eq!(output.code, 0, "{}", output.stderr);
}

fn shell(command: &str, folder: &Path) -> std::process::Output {
    Command::new("sh").args(["-c", command]).current_dir(folder).output().expect("there is a shell")
}

fn read(path: &str) -> String {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).expect("a document is text")
}
