//! A crate in a folder: what cargo says of it, and whether it can become a component.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::flags::cleanse;

/// A crate that has a library of the kind that becomes a component.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: String,
    /// The folder with its `Cargo.toml`.
    pub folder: PathBuf,
    /// Where its author's cargo builds; the components have a folder in there.
    pub target_dir: PathBuf,
}

/// Why a folder holds nothing that could be a plugin.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    #[error("there is no `Cargo.toml` in {0}: begin with `witgate plugin new NAME`")]
    NoManifest(PathBuf),
    #[error("cannot run cargo: {0}; it comes with Rust, see https://rustup.rs")]
    NoCargo(std::io::Error),
    #[error("cargo does not understand the crate in {folder}:\n{stderr}")]
    Unreadable { folder: PathBuf, stderr: String },
    #[error("{0} is a workspace: name the folder of one of its crates")]
    Workspace(PathBuf),
    #[error(
        "`{0}` has no library of the kind that becomes a component: write `crate-type = [\"cdylib\"]` under `[lib]` in its Cargo.toml"
    )]
    NoLibrary(String),
    #[error("`{0}` does not depend on `witgate-plugin`, which a plugin is written with")]
    NoSdk(String),
}

impl Package {
    /// The crate in a folder.
    ///
    /// # Errors
    /// Every [`PackageError`].
    pub fn find(folder: &Path) -> Result<Self, PackageError> {
        let manifest = folder.join("Cargo.toml").canonicalize();
        let manifest = manifest.map_err(|_| PackageError::NoManifest(folder.to_owned()))?;
        let folder = manifest.parent().expect("a file lies in a folder").to_owned();
        let Output { status, stdout, stderr } = cargo(&folder)
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stdin(Stdio::null())
            .output()
            .map_err(PackageError::NoCargo)?;
        let unreadable = |stderr: String| PackageError::Unreadable { folder: folder.clone(), stderr };
        if !status.success() {
            return Err(unreadable(String::from_utf8_lossy(&stderr).trim_end().to_owned()));
        }
        let metadata: Metadata = serde_json::from_slice(&stdout).map_err(|error| unreadable(error.to_string()))?;
        let package = metadata.packages.into_iter().find(|package| package.manifest_path == manifest);
        let Some(package) = package else { return Err(PackageError::Workspace(folder)) };
        if !package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "cdylib")) {
            return Err(PackageError::NoLibrary(package.name));
        }
        if !package.dependencies.iter().any(|dependency| dependency.name == "witgate-plugin") {
            return Err(PackageError::NoSdk(package.name));
        }
        Ok(Self { name: package.name, folder, target_dir: metadata.target_directory })
    }

    /// Cargo, in the crate's folder.
    pub(super) fn cargo(&self) -> Command {
        cargo(&self.folder)
    }

    /// Its tests, natively.
    pub fn test_command(&self) -> Command {
        let mut cargo = self.cargo();
        cargo.arg("test").arg("--target-dir").arg(&self.target_dir);
        cargo
    }
}

/// Cargo in a folder.
fn cargo(folder: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    cleanse(cargo.current_dir(folder));
    cargo
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<MetadataTarget>,
    dependencies: Vec<MetadataDependency>,
}

#[derive(Deserialize)]
struct MetadataTarget {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct MetadataDependency {
    name: String,
}
