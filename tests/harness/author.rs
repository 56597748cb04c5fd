//! Where somebody works who writes a plugin: a folder, and the gateway's commands in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::gateway::{Binary, Gateway, Output, read, served};

/// A folder to work in. It has one place, and is made anew by whoever takes it: cargo then finds again what it built there.
pub struct Workplace {
    binary: Binary,
    folder: PathBuf,
    variables: Vec<(&'static str, String)>,
}

/// How long a build may take: it compiles an SDK and what that needs.
const BUILD_PATIENCE: Duration = Duration::from_secs(900);

impl Workplace {
    /// The workplace of this name, empty. What cargo builds is kept between runs, apart from it.
    pub fn new(binary: Binary, name: &str) -> Workplace {
        let shared = Path::new(binary.scratch()).join("workplaces");
        let folder = shared.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the scratch folder takes folders");
        let target = shared.join("target").display().to_string();
        Workplace { binary, folder, variables: vec![("CARGO_TARGET_DIR", target)] }
    }

    /// Set a variable of the environment that its commands run in.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Workplace {
        self.variables.push((name, value.into()));
        self
    }

    pub fn path(&self, inner: &str) -> PathBuf {
        self.folder.join(inner)
    }

    /// Write a file, with the folders that it lies in.
    pub fn write(&self, inner: &str, text: &str) {
        let path = self.path(inner);
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a workplace takes folders");
        fs::write(path, text).expect("a workplace takes files");
    }

    /// Change a file as an editor does.
    pub fn edit(&self, inner: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(inner)).expect("the file is there");
        assert!(text.contains(from), "no `{from}` in {inner}:\n{text}");
        self.write(inner, &text.replace(from, to));
    }

    /// Run a command to its end, in a folder of the workplace.
    pub async fn run(&self, inner: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(inner);
        command.args(arguments).stdin(Stdio::null());
        let output = tokio::time::timeout(BUILD_PATIENCE, command.output()).await;
        read(output.expect("the command ends").expect("the program starts"))
    }

    /// Serve with `witgate dev -c gateway.yaml`, in a folder of the workplace.
    pub async fn dev(&self, inner: &str) -> Gateway {
        let mut command = self.command(inner);
        command.args(["dev", "-c", "gateway.yaml"]);
        let unused = tempfile::tempdir().expect("the system gives a temporary folder");
        served(self.binary.follow(command, unused).await)
    }

    fn command(&self, inner: &str) -> Command {
        let mut command = self.binary.command();
        command.current_dir(self.path(inner));
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }
}
