//! Lists the sources of the SDK and of the WIT, for `src/author/sources.rs` to include: `witgate plugin new` writes them beside
//! a new plugin, as long as no registry has them.

use std::fs;
use std::path::{Path, PathBuf};

/// Writes the table: the path of each file beneath the new plugin's `witgate` folder, and its text.
pub(crate) fn list(root: &Path, out_dir: &Path) -> Result<(), String> {
    let mut files = Vec::new();
    for folder in ["plugin-sdk/docs", "plugin-sdk/src", "wit"] {
        collect(&root.join(folder), &mut files)?;
    }
    files.extend(["plugin-sdk/Cargo.toml", "plugin-sdk/README.md"].map(|file| root.join(file)));
    files.sort();
    let row = |path: PathBuf| {
        let name = path.strip_prefix(root).map_err(|error| error.to_string())?;
        Ok(format!("({:?}, include_str!({:?})),\n", name, path))
    };
    let mut rows = files.into_iter().map(row).collect::<Result<Vec<_>, String>>()?;
    let read = |path: &str| fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"));
    let manifest = workspace(&read("Cargo.toml")?, &read("plugin-sdk/Cargo.toml")?);
    rows.push(format!("(\"Cargo.toml\", {manifest:?}),\n"));
    let path = out_dir.join("sdk.rs");
    fs::write(&path, format!("&[{}]", rows.concat())).map_err(|error| format!("{}: {error}", path.display()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let fault = |error| format!("{}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// A workspace around the SDK alone: what its manifest takes from ours.
fn workspace(root: &str, sdk: &str) -> String {
    let inherited =
        |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| sdk.contains(&format!("{name}.workspace = true")));
    let mut manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"plugin-sdk\"]\n".to_owned();
    let mut section = "";
    for line in root.lines() {
        if line.starts_with('[') {
            section = line;
            if ["[workspace.package]", "[workspace.dependencies]"].contains(&line)
                || line.starts_with("[workspace.lints")
            {
                manifest.push_str(&format!("\n{line}\n"));
            }
        } else if section == "[workspace.dependencies]" && inherited(&line)
            || (section == "[workspace.package]" || section.starts_with("[workspace.lints")) && !line.is_empty()
        {
            manifest.push_str(&format!("{line}\n"));
        }
    }
    manifest
}
