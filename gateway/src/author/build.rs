//! From a crate to a component: a cargo for wasm, with the settings that a plugin wants.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::flags::{TARGET, has_target, rustflags};
use super::package::{Package, PackageError};

/// How much the compiler does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Soon done.
    Dev,
    /// Small and fast.
    Release,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error("plugins are built for {TARGET}, which is not installed: run `rustup target add {TARGET}`")]
    NoTarget,
    #[error("cannot run {program}: {error}")]
    Spawn { program: String, error: std::io::Error },
    #[error("`{package}` does not build")]
    Failed {
        package: String,
        /// What cargo and the compiler said, if it was kept.
        output: String,
    },
    #[error("the build of `{0}` gave no component")]
    NoComponent(String),
}

impl Package {
    /// Builds the component, and returns its path. What cargo says goes to `said`: kept for the error, or shown at once.
    ///
    /// # Errors
    /// Every [`BuildError`].
    pub fn build(&self, profile: Profile, said: Stdio) -> Result<PathBuf, BuildError> {
        self.make_sure_of_target()?;
        let mut command = self.build_command(profile);
        let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(said).spawn();
        let output = output.and_then(std::process::Child::wait_with_output).map_err(|error| spawn("cargo", error))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            return Err(BuildError::Failed { package: self.name.clone(), output });
        }
        let manifest = self.folder.join("Cargo.toml");
        component(&output.stdout, &manifest).ok_or_else(|| BuildError::NoComponent(self.name.clone()))
    }

    fn build_command(&self, profile: Profile) -> Command {
        let mut cargo = self.cargo();
        let name = match profile {
            Profile::Dev => "dev",
            Profile::Release => "release",
        };
        cargo.args(["build", "--lib", "--target", TARGET, "--profile", name]);
        cargo.args(["--message-format", "json-render-diagnostics"]);
        // The author's own settings stand in the manifest; these two are no matter of taste.
        cargo.args(["--config", &format!("profile.{name}.panic=\"abort\"")]);
        cargo.args(["--config", &format!("profile.{name}.strip=true")]);
        // A folder of its own: another cargo of the author's neither waits for this one nor undoes its work.
        cargo.arg("--target-dir").arg(self.target_dir.join("witgate"));
        cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags());
        cargo
    }

    fn make_sure_of_target(&self) -> Result<(), BuildError> {
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let has_target = has_target(&rustc, &self.folder).map_err(|error| spawn(&rustc, error))?;
        if has_target { Ok(()) } else { Err(BuildError::NoTarget) }
    }
}

fn spawn(program: &str, error: std::io::Error) -> BuildError {
    BuildError::Spawn { program: program.to_owned(), error }
}

/// What cargo tells of a file that it made, one JSON object a line.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

fn component(messages: &[u8], manifest: &Path) -> Option<PathBuf> {
    let lines = messages.split(|byte| *byte == b'\n');
    let messages = lines.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    let mut made =
        messages.filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest);
    made.find_map(|message| {
        message.filenames.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "wasm"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_found_among_what_cargo_tells() {
        let messages =
            br#"{"reason":"compiler-artifact","manifest_path":"/sdk/Cargo.toml","filenames":["/t/libsdk.rlib"]}
not json
{"reason":"compiler-artifact","manifest_path":"/a/Cargo.toml","filenames":["/t/liba.rlib","/t/a.wasm"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(component(messages, Path::new("/a/Cargo.toml")), Some("/t/a.wasm".into()));
        assert_eq!(component(messages, Path::new("/sdk/Cargo.toml")), None);
        assert_eq!(component(b"", Path::new("/a/Cargo.toml")), None);
    }
}
