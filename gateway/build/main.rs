//! Builds the bundled plugins, and writes the table of them that `src/plugin/builtin.rs` includes; and that of the SDK's sources.

mod sdk;
mod wasm;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match bundle().and_then(|()| list_sdk()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            wasm::tell_cargo(&format!("error={fault}"));
            ExitCode::FAILURE
        }
    }
}

fn bundle() -> Result<(), String> {
    let plugins = wasm::build_all("plugins", |name| format!("witgate-{name}"))?;
    let row =
        |plugin: &wasm::Component| format!("({:?}, include_bytes!({:?}).as_slice()),\n", plugin.name, plugin.path);
    let rows: Vec<_> = plugins.iter().map(row).collect();
    let path = Path::new(&wasm::variable("OUT_DIR")?).join("builtin.rs");
    fs::write(&path, format!("&[{}]", rows.concat())).map_err(|error| format!("{}: {error}", path.display()))
}

fn list_sdk() -> Result<(), String> {
    let root = Path::new(&wasm::variable("CARGO_MANIFEST_DIR")?).join("..");
    let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
    sdk::list(&root, Path::new(&wasm::variable("OUT_DIR")?))
}
