//! A component from outside: what it exports, what it imports, and whether that fits this gateway.

use std::collections::BTreeSet;

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::contract::{self, Interface, PACKAGE, Part};
use super::rights::Rights;

/// The exports and imports of a component, sorted by what they are to this gateway.
#[derive(Debug, Default)]
pub struct Outline {
    pub rights: Rights,
    /// Whether it tells what configuration it takes.
    pub is_described: bool,
    /// Versions of the WIT package it was built against.
    pub package_versions: BTreeSet<String>,
    /// Imported from WASI: linked, and empty.
    pub wasi: BTreeSet<String>,
    /// What does not fit, in sentences without a subject.
    pub faults: Vec<String>,
    has_lifecycle: bool,
    tracks: BTreeSet<&'static str>,
    /// Versions of the WIT package that this gateway does not speak.
    foreign: BTreeSet<String>,
}

impl Outline {
    pub(super) fn of(engine: &Engine, component: &Component) -> Self {
        let mut outline = Self::default();
        let kind = component.component_type();
        for (name, item) in kind.exports(engine) {
            outline.export(name, matches!(item.ty, ComponentItem::ComponentInstance(_)));
        }
        for (name, item) in kind.imports(engine) {
            outline.import(name, matches!(item.ty, ComponentItem::ComponentInstance(_)));
        }
        outline.judge();
        outline
    }

    /// A wrong world must not be half understood: what is ours and unknown does not fit. Other exports are nobody's affair.
    fn export(&mut self, full: &str, is_instance: bool) {
        let Some(interface) = Interface::parse(full) else { return };
        if !self.note(&interface) {
            return;
        }
        match interface.part().filter(|_| is_instance) {
            Some(Part::Lifecycle) => self.has_lifecycle = true,
            Some(Part::Describe) => self.is_described = true,
            Some(Part::Hook(hook)) => drop(self.rights.hooks.insert(hook)),
            Some(Part::Free | Part::Granted(_)) | None => {
                self.faults.push(format!(
                    "exports `{full}`, which this gateway does not know (it speaks {})",
                    contract::spoken()
                ));
            }
        }
    }

    fn import(&mut self, full: &str, is_instance: bool) {
        if let Some(interface) = Interface::parse(full) {
            if !self.note(&interface) {
                return;
            }
            match interface.part().filter(|_| is_instance) {
                Some(Part::Free | Part::Granted(_)) => drop(self.rights.imports.insert(interface.name.to_owned())),
                Some(Part::Lifecycle | Part::Describe | Part::Hook(_)) | None => {
                    self.faults.push(format!(
                        "imports `{full}`, which this gateway does not provide (it speaks {})",
                        contract::spoken()
                    ));
                }
            }
        } else if is_instance && contract::is_linked_wasi(full) {
            self.wasi.insert(full.to_owned());
        } else {
            self.faults.push(format!("imports `{full}`, which this gateway does not provide"));
        }
    }

    /// Whether its version is spoken here. If not, that is one fault, however many interfaces it has.
    fn note(&mut self, interface: &Interface<'_>) -> bool {
        self.package_versions.insert(interface.version.to_owned());
        let track = interface.track();
        match track {
            Some(track) => drop(self.tracks.insert(track.newest)),
            None => drop(self.foreign.insert(interface.version.to_owned())),
        }
        track.is_some()
    }

    fn judge(&mut self) {
        if !self.foreign.is_empty() {
            let versions: Vec<_> = self.foreign.iter().map(|version| format!("{PACKAGE}@{version}")).collect();
            self.faults.push(format!(
                "is built against {}, and this gateway speaks {}: build it with the SDK of this gateway, which `witgate plugin new` \
                 writes, or run it on a gateway that speaks its version",
                versions.join(", "),
                contract::spoken()
            ));
            // Of what it exports nothing is understood, so there is nothing to miss.
            return;
        }
        if self.tracks.len() > 1 {
            let tracks: Vec<_> = self.tracks.iter().copied().collect();
            self.faults.push(format!("mixes versions of {PACKAGE} that are not compatible ({})", tracks.join(", ")));
        }
        if !self.has_lifecycle {
            self.faults.push(format!("does not export `{PACKAGE}/lifecycle`"));
        }
        if self.rights.hooks.is_empty() {
            self.faults.push("exports no hook, so it would never be called".to_owned());
        }
    }
}
