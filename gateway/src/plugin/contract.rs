//! The contract: which versions of the WIT package this gateway speaks, what each interface is for, and what it needs.
//!
//! Components name what they were built against, such as `witgate:plugin/kv@0.1.0`. Within a track (0.1, 0.2, … 1, 2, as
//! semver counts what is compatible) an older component fits a newer gateway, because a track only ever grows by imports.
//! A break begins a new track: its row in [`TRACKS`], its WIT beside the frozen one, its bindings beside the old ones. How a
//! version is frozen stands in `wit/README.md`.

use super::version::Hook;

/// Versions that are compatible with each other.
pub(super) struct Track {
    /// What their numbers begin with.
    prefix: &'static str,
    /// The newest that this gateway speaks.
    pub(super) newest: &'static str,
    interfaces: &'static [(&'static str, Part)],
}

/// What an interface is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Exported by every plugin.
    Lifecycle,
    /// Exported by plugins that tell what configuration they take.
    Describe,
    Hook(Hook),
    /// Imported by anybody.
    Free,
    /// Imported with a grant: the key of `grants` in a plugin's declaration.
    Granted(&'static str),
}

/// The name of an interface of the WIT package, in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interface<'n> {
    pub(super) name: &'n str,
    pub(super) version: &'n str,
}

impl<'n> Interface<'n> {
    /// `None` when it is another package's.
    pub(super) fn parse(full: &'n str) -> Option<Self> {
        let rest = full.strip_prefix(PACKAGE)?.strip_prefix('/')?;
        let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
        Some(Self { name, version })
    }

    /// `None` when this gateway does not speak the version.
    pub(super) fn track(&self) -> Option<&'static Track> {
        TRACKS.iter().find(|track| self.version.strip_prefix(track.prefix).is_some_and(|rest| rest.starts_with('.')))
    }

    /// `None` when the version, as this gateway speaks it, has no such interface.
    pub(super) fn part(&self) -> Option<Part> {
        let interfaces = self.track()?.interfaces;
        interfaces.iter().find(|(name, _)| *name == self.name).map(|(_, part)| *part)
    }
}

/// The key of `grants` that an interface needs, whatever its version; `None` for those that everybody may import.
pub(super) fn grant_of(interface: &str) -> Option<&'static str> {
    let mut parts = TRACKS.iter().flat_map(|track| track.interfaces).filter(|(name, _)| *name == interface);
    parts.find_map(|(_, part)| if let Part::Granted(grant) = part { Some(*grant) } else { None })
}

/// Whether everybody may import an interface, whatever its version.
pub(super) fn is_free(interface: &str) -> bool {
    TRACKS.iter().flat_map(|track| track.interfaces).any(|known| *known == (interface, Part::Free))
}

/// Whether an interface is one of WASI's that are linked, over an empty context: Rust's standard library asks for them.
pub(super) fn is_linked_wasi(full: &str) -> bool {
    let version = |rest: &str| rest.split_once('@').is_some_and(|(_, version)| version.starts_with("0.2."));
    LINKED_WASI.iter().any(|package| full.strip_prefix(package).is_some_and(version))
}

/// All versions this gateway speaks, for messages: `witgate:plugin@0.1.0`.
pub(super) fn spoken() -> String {
    let versions: Vec<_> = TRACKS.iter().map(|track| format!("{PACKAGE}@{}", track.newest)).collect();
    versions.join(", ")
}

/// The WIT package, without a version.
pub(super) const PACKAGE: &str = "witgate:plugin";

pub(super) const TRACKS: &[Track] = &[Track {
    prefix: "0.1",
    newest: "0.1.0",
    interfaces: &[
        ("lifecycle", Part::Lifecycle),
        ("describe", Part::Describe),
        ("request-hook", Part::Hook(Hook::Request)),
        ("response-hook", Part::Hook(Hook::Response)),
        ("request-body", Part::Hook(Hook::RequestBody)),
        ("response-body", Part::Hook(Hook::ResponseBody)),
        ("whole-request", Part::Hook(Hook::WholeRequest)),
        ("whole-response", Part::Hook(Hook::WholeResponse)),
        ("types", Part::Free),
        ("body-types", Part::Free),
        ("setup", Part::Free),
        ("edits", Part::Free),
        ("exchange", Part::Free),
        ("log", Part::Free),
        ("metrics", Part::Free),
        ("trace", Part::Free),
        ("clock", Part::Free),
        ("crypto", Part::Free),
        ("kv", Part::Granted("stores")),
        ("tables", Part::Granted("tables")),
        ("secrets", Part::Granted("secrets")),
        ("rate-limit", Part::Granted("limiters")),
        ("http", Part::Granted("http")),
        ("jwt", Part::Granted("key_sets")),
    ],
}];

/// WASI 0.2 without HTTP and the rest.
const LINKED_WASI: [&str; 6] =
    ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];

#[cfg(test)]
mod tests {
    use super::*;

    fn part(full: &str) -> Option<Part> {
        Interface::parse(full).and_then(|interface| interface.part())
    }

    #[test]
    fn versions_of_a_track_are_one() {
        for version in ["0.1.0", "0.1.1", "0.1.20"] {
            assert_eq!(part(&format!("witgate:plugin/kv@{version}")), Some(Part::Granted("stores")), "{version}");
        }
        for version in ["", "0", "0.1", "0.10.0", "0.2.0", "1.0.0", "10.1.0", "0.1a"] {
            assert_eq!(part(&format!("witgate:plugin/kv@{version}")), None, "{version}");
        }
    }

    #[test]
    fn other_names_are_not_ours() {
        for name in
            ["", "kv", "witgate:plugin", "witgate:plugins/kv@0.1.0", "acme:plugin/kv@0.1.0", "witgate:plugin/kw@0.1.0"]
        {
            assert_eq!(part(name), None, "{name}");
        }
        assert_eq!(Interface::parse("witgate:plugin/kv"), Some(Interface { name: "kv", version: "" }));
    }

    #[test]
    fn wasi_is_linked_as_far_as_the_standard_library_needs_it() {
        assert!(is_linked_wasi("wasi:io/streams@0.2.6") && is_linked_wasi("wasi:cli/environment@0.2.0"));
        for name in ["wasi:http/types@0.2.0", "wasi:cli/run@0.3.0", "wasi:io/streams", "wasi:keyvalue/store@0.2.0"] {
            assert!(!is_linked_wasi(name), "{name}");
        }
    }

    #[test]
    fn the_table_and_the_wit_agree() {
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        let files = std::fs::read_dir(wit).expect("the WIT lies there").map(|entry| entry.expect("an entry").path());
        let texts = files.filter(|path| path.extension().is_some_and(|extension| extension == "wit"));
        let text: String = texts.map(|path| std::fs::read_to_string(path).expect("a text")).collect();
        let package = format!("package {PACKAGE}@{};", TRACKS.last().expect("one at least").newest);
        assert!(text.contains(&package), "the newest version is {package}");
        let mut written: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("interface ")?.strip_suffix(" {")).collect();
        let mut listed: Vec<_> =
            TRACKS.last().map_or(&[][..], |track| track.interfaces).iter().map(|(name, _)| *name).collect();
        written.sort_unstable();
        listed.sort_unstable();
        assert_eq!(written, listed);
    }
}
