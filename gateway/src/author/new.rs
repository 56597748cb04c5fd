//! A new crate for a plugin, from what this program carries: nothing is fetched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sources::{self, Parts};

/// What a new plugin begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Reads and writes headers.
    Headers,
    /// Lets some requests pass.
    Auth,
    /// Sees bodies while they pass.
    Body,
    /// Sends requests of its own.
    Outbound,
}

/// Why there is no new crate.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    #[error("`{name}` cannot be the name of a plugin: {why}")]
    Name { name: String, why: &'static str },
    #[error("the folder {0} is there already, and not empty")]
    Full(PathBuf),
    #[error("cannot write {path}: {error}")]
    Write { path: PathBuf, error: io::Error },
}

/// Writes the crate `name` into a folder of this name in `parent`, and returns the folder.
///
/// # Errors
/// A name that cargo or a configuration would not take, or a folder that holds something: then nothing is written.
pub fn new(name: &str, template: Template, parent: &Path) -> Result<PathBuf, NewError> {
    check_name(name).map_err(|why| NewError::Name { name: name.to_owned(), why })?;
    let folder = parent.join(name);
    let fail = |error| NewError::Write { path: folder.clone(), error };
    match fs::read_dir(&folder).map(|entries| entries.count()) {
        Ok(0) => {}
        Ok(_) => return Err(NewError::Full(folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&folder).map_err(fail)?,
        Err(error) => return Err(fail(error)),
    }
    let Parts { plugin, config, grants, experiment } = template.parts();
    let filled = |text: &str| {
        text.replace("{{name}}", name)
            .replace("{{config}}", config.trim_end())
            .replace("{{grants}}", grants)
            .replace("{{try}}", experiment.trim_end())
    };
    write(&folder.join("Cargo.toml"), &filled(sources::MANIFEST))?;
    write(&folder.join("README.md"), &filled(sources::README))?;
    write(&folder.join("gateway.yaml"), &filled(sources::CONFIGURATION))?;
    write(&folder.join(".gitignore"), sources::IGNORED)?;
    write(&folder.join("src/lib.rs"), plugin)?;
    for (path, text) in sources::SDK {
        write(&folder.join("witgate").join(path), text)?;
    }
    Ok(folder)
}

impl Template {
    fn parts(self) -> Parts {
        match self {
            Self::Headers => sources::HEADERS,
            Self::Auth => sources::AUTH,
            Self::Body => sources::BODY,
            Self::Outbound => sources::OUTBOUND,
        }
    }
}

/// A name that is good for a package, for a folder, and in a configuration.
fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.bytes().all(is_plain) {
        return Err("write a lower-case letter first, and then letters, digits and `-`");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("it is longer than 63 characters");
    }
    if name.ends_with('-') {
        return Err("it ends in `-`");
    }
    if TAKEN.contains(&name) {
        return Err("Rust, cargo or the gateway gives that name another meaning");
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    let fail = |error| NewError::Write { path: path.to_owned(), error };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(fail)?;
    }
    fs::write(path, text).map_err(fail)
}

/// As configurations take it.
const NAME_BYTES_MAX: usize = 63;

/// Keywords of Rust (cargo refuses them), crates that every program has or that the plugin depends on, and native filters.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "compress",
    "const",
    "continue",
    "core",
    "cors",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "headers",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mirror",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "redirect",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "timeout",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "witgate-plugin",
    "yield",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_name_is_good_everywhere_or_refused() {
        for name in ["a", "rate-by-tenant", "v2"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", "A", "2a", "-a", "a-", "a_b", "a/b", "..", "a b", "ü", "fn", "std", "headers", &long] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_crate_is_written_with_all_that_it_builds_from() {
        let parent = tempfile::tempdir().unwrap();
        for (name, template) in
            [("a", Template::Headers), ("b", Template::Auth), ("c", Template::Body), ("d", Template::Outbound)]
        {
            let folder = new(name, template, parent.path()).unwrap();
            let read = |path: &str| fs::read_to_string(folder.join(path)).unwrap();
            for path in ["Cargo.toml", "README.md", "gateway.yaml"] {
                assert!(!read(path).contains("{{"), "{name}/{path}: {}", read(path));
            }
            assert!(read("src/lib.rs").contains("export_plugin!"));
            assert!(read("witgate/wit/worlds.wit").contains("world "));
            assert!(read("witgate/plugin-sdk/src/lib.rs").contains("pub use plugin"));
            let workspace = read("witgate/Cargo.toml");
            for line in ["wit-bindgen = ", "schemars = ", "serde_json = ", "edition = ", "[workspace.lints.rust]"] {
                assert!(workspace.contains(line), "{workspace}");
            }
            assert!(!workspace.contains("wasmtime"), "{workspace}");
        }
    }

    #[test]
    fn a_full_folder_is_left_alone() {
        let parent = tempfile::tempdir().unwrap();
        fs::create_dir(parent.path().join("mine")).unwrap();
        fs::write(parent.path().join("mine/notes"), "x").unwrap();
        assert!(matches!(new("mine", Template::Headers, parent.path()), Err(NewError::Full(_))));
        assert_eq!(fs::read_dir(parent.path().join("mine")).unwrap().count(), 1);
        // An empty one is as good as none.
        fs::create_dir(parent.path().join("fresh")).unwrap();
        new("fresh", Template::Headers, parent.path()).unwrap();
        assert!(matches!(new("fresh", Template::Headers, parent.path()), Err(NewError::Full(_))));
        assert!(matches!(new("a", Template::Headers, &parent.path().join("nowhere")), Err(NewError::Write { .. })));
    }
}
