//! Builds the guests and the examples, and writes the tables of them that `harness/guests.rs` includes.

#[path = "../gateway/build/wasm.rs"]
mod wasm;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    match list_guests() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            wasm::tell_cargo(&format!("error={fault}"));
            ExitCode::FAILURE
        }
    }
}

fn list_guests() -> Result<(), String> {
    table("guests.rs", &wasm::build_all("tests/guests", |name| format!("guest-{name}"))?)?;
    // The number in front of an example's folder is for the reader, and not part of its package's name.
    table("examples.rs", &wasm::build_all("examples", |name| name.trim_start_matches(|c| c != '-')[1..].to_owned())?)
}

fn table(file: &str, components: &[wasm::Component]) -> Result<(), String> {
    let row = |component: &wasm::Component| format!("({:?}, {:?}),\n", component.name, component.path);
    let rows: Vec<_> = components.iter().map(row).collect();
    let path = Path::new(&wasm::variable("OUT_DIR")?).join(file);
    fs::write(&path, format!("&[{}]", rows.concat())).map_err(|error| format!("{}: {error}", path.display()))
}
