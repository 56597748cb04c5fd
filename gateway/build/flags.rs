//! What components are built for, with, and without: for those that come with the gateway and for those that authors build with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

/// Rust's name of the target.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Flags of the compiler, in the form of `CARGO_ENCODED_RUSTFLAGS`. Rust's default stack of 1 MiB lies first in the memory of a component,
/// and makes a fresh instance three times as dear. Vector instructions are in every engine of components, and loops over bodies are
/// several times faster with them. Where panics tell of a file, they tell no home folder: a component does not differ by who built it.
pub(super) fn rustflags() -> String {
    let mut flags = vec!["-Clink-arg=-zstack-size=65536".to_owned(), "-Ctarget-feature=+simd128".to_owned()];
    let in_home = || env::home_dir().map(|home| home.join(".cargo"));
    if let Some(cargo) = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(in_home) {
        flags.push(format!("--remap-path-prefix={}=", cargo.join("registry/src/").display()));
    }
    flags.join("\x1f")
}

/// Whether a compiler has the target's standard library. The folder is that of the crate, where a `rust-toolchain.toml` may choose another
/// Rust.
pub(super) fn has_target(rustc: &str, folder: &Path) -> io::Result<bool> {
    let mut command = Command::new(rustc);
    cleanse(&mut command);
    let output = command.current_dir(folder).args(["--print", "target-libdir", "--target", TARGET]).output()?;
    Ok(output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).exists())
}

/// Has a cargo or a compiler inherit nothing that was meant for another build, by people or by the cargo that runs this program: flags,
/// wrappers (clippy is one) and profiles must not reach a component, or it would differ by who built it.
pub(super) fn cleanse(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if INHERITED_NOT.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
}

/// Prefixes of variables that steer a build. Where cargo lives and builds, how it reaches the network, and how many jobs it may run
/// (`CARGO_HOME`, `CARGO_TARGET_DIR`, `CARGO_NET_*`, `CARGO_MAKEFLAGS` …) stays.
const INHERITED_NOT: [&str; 18] = [
    "CARGO_BUILD_INCREMENTAL",
    "CARGO_BUILD_RUST",
    "CARGO_BUILD_TARGET",
    "CARGO_CFG_",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_FEATURE_",
    "CARGO_INCREMENTAL",
    "CARGO_MANIFEST_",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
    "CARGO_PROFILE_",
    "CARGO_TARGET_WASM32",
    "CARGO_UNSTABLE_",
    "CLIPPY_",
    "RUSTC_",
    "RUSTDOC",
    "RUSTFLAGS",
    "__CARGO",
];
