//! `witgate plugin new`, `build` and `test`: from nothing to a component.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::inspect::{self, Terms};
use super::{EXIT_FAILURE, EXIT_PLUGIN, EXIT_USAGE, Format, complain, print, refuse};
use crate::author::{self, BuildError, NewError, Package, PackageError, Profile};
use crate::plugin::Source;

#[derive(Debug, Args)]
pub(super) struct New {
    /// Its name, and that of its folder.
    name: String,
    /// What it begins as.
    #[arg(long, value_enum, default_value_t = Template::Headers)]
    template: Template,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Template {
    /// Reads and writes headers.
    Headers,
    /// Lets some requests pass.
    Auth,
    /// Sees bodies while they pass.
    Body,
    /// Sends requests of its own.
    Outbound,
}

#[derive(Debug, Args)]
pub(super) struct Build {
    /// The folder of its crate.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Small and fast, rather than soon done.
    #[arg(long)]
    release: bool,
}

#[derive(Debug, Args)]
pub(super) struct Test {
    /// The folder of its crate.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// What `cargo test` is told further.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(super) fn new(wish: &New, format: Format) -> ExitCode {
    let template = match wish.template {
        Template::Headers => author::Template::Headers,
        Template::Auth => author::Template::Auth,
        Template::Body => author::Template::Body,
        Template::Outbound => author::Template::Outbound,
    };
    let name = &wish.name;
    match author::new(name, template, Path::new("")) {
        Ok(folder) => {
            match format {
                Format::Text => print(&format!(
                    "{name} is there. Go on with:\n\n  cd {name}\n  witgate plugin test\n  witgate dev -c gateway.yaml"
                )),
                Format::Json => print(&json!({ "folder": folder }).to_string()),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = if matches!(error, NewError::Name { .. }) { EXIT_USAGE } else { EXIT_FAILURE };
            fail(&error.to_string(), code, format)
        }
    }
}

pub(super) fn build(wish: &Build, format: Format) -> ExitCode {
    let profile = if wish.release { Profile::Release } else { Profile::Dev };
    let component = match make(&wish.folder, profile) {
        Ok(component) => component,
        Err(error) => return refuse_build(&error, format),
    };
    match inspect::look(Source::File(component.clone()), Terms::default()) {
        Ok(Ok(report)) if report.is_foreign() => {
            let why = "the component exports nothing of `witgate:plugin`: is `export_plugin!` missing in src/lib.rs?";
            fail(why, EXIT_PLUGIN, format)
        }
        Ok(Ok(report)) => {
            match format {
                Format::Text => print(report.summary().trim_end()),
                Format::Json => print(&format!("{:#}", report.json())),
            }
            if report.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_PLUGIN) }
        }
        Ok(Err(error)) => fail(&format!("{} cannot be loaded: {error}", component.display()), EXIT_PLUGIN, format),
        Err(error) => refuse(&error, format),
    }
}

pub(super) fn test(wish: &Test, format: Format) -> ExitCode {
    let package = match Package::find(&wish.folder) {
        Ok(package) => package,
        Err(error) => return refuse_build(&error.into(), format),
    };
    match package.test_command().args(&wish.arguments).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(EXIT_FAILURE),
        Err(error) => fail(&PackageError::NoCargo(error).to_string(), EXIT_FAILURE, format),
    }
}

/// The component of the crate in a folder, built now. People see at once what the compiler says.
pub(super) fn make(folder: &Path, profile: Profile) -> Result<PathBuf, BuildError> {
    Package::find(folder).map_err(BuildError::from).and_then(|package| package.build(profile, Stdio::inherit()))
}

/// The folder of the crate that is meant where a component is asked for: `cargo:DIR`, or just the folder.
pub(super) fn crate_folder(component: &str) -> Option<&Path> {
    let named = component.strip_prefix("cargo:").map(Path::new);
    named.or_else(|| Some(Path::new(component)).filter(|path| path.is_dir()))
}

pub(super) fn refuse_build(error: &BuildError, format: Format) -> ExitCode {
    fail(&error.to_string(), code(error), format)
}

/// What could never be a plugin is told apart from what is not one yet.
fn code(error: &BuildError) -> u8 {
    match error {
        BuildError::Package(
            PackageError::NoLibrary(_)
            | PackageError::NoSdk(_)
            | PackageError::Workspace(_)
            | PackageError::NoManifest(_),
        ) => EXIT_PLUGIN,
        _ => EXIT_FAILURE,
    }
}

pub(super) fn fail(error: &str, code: u8, format: Format) -> ExitCode {
    match format {
        Format::Text => complain(&format!("error: {error}")),
        Format::Json => complain(&json!({ "error": error }).to_string()),
    }
    ExitCode::from(code)
}
