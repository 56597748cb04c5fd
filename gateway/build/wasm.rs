//! Builds plugins of this workspace into components, from within a build script: a nested cargo for wasm. Shared by the
//! gateway's build script (plugins that are bundled) and that of the tests (guests); what becomes of the components is theirs.

#[path = "flags.rs"]
mod flags;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use flags::{TARGET, cleanse, has_target, rustflags};

/// A component that was built.
pub(crate) struct Component {
    /// The folder of its crate, which is also the name people call it by.
    pub(crate) name: String,
    /// Where it lies: in this build script's own `OUT_DIR`, as `NAME.wasm`.
    pub(crate) path: PathBuf,
}

/// Build every crate in `folder`, a path from the root of the workspace. The crate in `folder/NAME` is the package `package(NAME)`.
///
/// Cargo runs the build script again when one of the crates changes, or anything that all of them are built from.
pub(crate) fn build_all(folder: &str, package: fn(&str) -> String) -> Result<Vec<Component>, String> {
    let root = Path::new(&variable("CARGO_MANIFEST_DIR")?).join("..");
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    for input in [folder, "plugin-sdk", "wit", "Cargo.toml", "Cargo.lock"] {
        tell_cargo(&format!("rerun-if-changed={}", root.join(input).display()));
    }
    let names = crates_in(&root.join(folder))?;
    make_sure_of_target(&root)?;

    let target_dir = target_dir(&root)?;
    run_cargo(&root, &target_dir, names.iter().map(|name| package(name)))?;

    // Copied out at once, so that a later build into the shared folder cannot change what this one embeds.
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    let built = target_dir.join(TARGET).join(PROFILE);
    let copy_out = |name: String| {
        let from = built.join(format!("{}.wasm", package(&name)).replace('-', "_"));
        let path = out_dir.join(format!("{name}.wasm"));
        fs::copy(&from, &path).map_err(|error| format!("{}: {error}", from.display()))?;
        Ok(Component { name, path })
    };
    names.into_iter().map(copy_out).collect()
}

/// Say something to the cargo that runs this build script.
#[allow(clippy::print_stdout, reason = "a build script talks to cargo on its standard output")]
pub(crate) fn tell_cargo(instruction: &str) {
    println!("cargo::{instruction}");
}

/// An environment variable that cargo sets for build scripts.
pub(crate) fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

/// The folders that hold a crate, in order of their names.
fn crates_in(folder: &Path) -> Result<Vec<String>, String> {
    let fault = |error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.path().join("Cargo.toml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The nested cargo needs a target folder of its own: the outer one is locked by the cargo that waits for us. It lies beside the
/// profiles of the outer one, so that debug and release builds, the gateway and its tests share what is compiled; and there is
/// one for each checkout, because cargo gives the components of two checkouts in one target folder the same file names.
fn target_dir(root: &Path) -> Result<PathBuf, String> {
    let out_dir = PathBuf::from(variable("OUT_DIR")?);
    // `OUT_DIR` is `<target>/<profile>/build/<package>-<hash>/out`, with the triple before the profile when one was asked for.
    let profile_dir = out_dir.ancestors().find(|folder| folder.ends_with("build")).and_then(Path::parent);
    let Some(shared) = profile_dir.and_then(Path::parent) else {
        return Ok(out_dir.join("plugins"));
    };
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    Ok(shared.join(format!("plugins-{:016x}", hasher.finish())))
}

/// Have the wasm target's standard library, or say which command gets it. `rust-toolchain.toml` lists the target, but rustup
/// installs what that file lists only when it installs the toolchain, and not at all where it is told not to.
fn make_sure_of_target(root: &Path) -> Result<(), String> {
    let rustc = variable("RUSTC")?;
    let has_target = || has_target(&rustc, root).map_err(|error| format!("{rustc}: {error}"));
    if has_target()? {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", TARGET]).stdout(Stdio::null()).status();
    if added.is_ok_and(|status| status.success()) && has_target()? {
        return Ok(());
    }
    Err(format!("plugins are built for {TARGET}, which is not installed: run `rustup target add {TARGET}`"))
}

fn run_cargo(root: &Path, target_dir: &Path, packages: impl Iterator<Item = String>) -> Result<(), String> {
    let mut cargo = Command::new(variable("CARGO")?);
    cargo.current_dir(root).args(["build", "--locked", "--profile", PROFILE, "--target", TARGET]);
    for package in packages {
        cargo.args(["--package", &package]);
    }
    cleanse(&mut cargo);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags()).env("CARGO_TARGET_DIR", target_dir);

    // What it says belongs on standard error, where cargo shows it if we fail; standard output is for `tell_cargo`.
    let status = cargo.stdout(Stdio::null()).status().map_err(|error| format!("cargo: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("cannot build the plugins ({status}); what cargo says about it stands below"))
    }
}

/// `[profile.plugin]` in the workspace's `Cargo.toml`.
const PROFILE: &str = "plugin";
