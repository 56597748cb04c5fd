//! What a component may do, as its exports and imports tell: which hooks run it, and which capabilities it calls for.

use std::collections::BTreeSet;
use std::fmt;

use super::contract::grant_of;
use super::version::{Hook, Version};

/// The rights of a version, or the difference between two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// The hooks it exports: what of an exchange it sees.
    pub hooks: BTreeSet<Hook>,
    /// The interfaces of the WIT package it imports, without package and version.
    pub imports: BTreeSet<String>,
}

/// A right beyond those that everybody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability<'r> {
    /// The name of the interface.
    pub interface: &'r str,
    /// The key of `grants` that gives it.
    pub grant: &'static str,
}

impl Rights {
    pub fn of(version: &Version) -> &Self {
        version.rights()
    }

    /// What `self` has and `before` has not.
    pub fn gained(&self, before: &Self) -> Self {
        Self {
            hooks: self.hooks.difference(&before.hooks).copied().collect(),
            imports: self.imports.difference(&before.imports).cloned().collect(),
        }
    }

    /// What `before` has and `self` has not.
    pub fn lost(&self, before: &Self) -> Self {
        before.gained(self)
    }

    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty() && self.imports.is_empty()
    }

    /// The imports that need a grant, with the grant.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability<'_>> {
        self.imports.iter().filter_map(|interface| {
            let grant = grant_of(interface)?;
            Some(Capability { interface, grant })
        })
    }
}

/// As reports say it: `hooks: request, response; imports: kv, log`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hooks: Vec<_> = self.hooks.iter().map(|hook| hook.name()).collect();
        let imports: Vec<_> = self.imports.iter().map(String::as_str).collect();
        let parts = [("hooks", hooks), ("imports", imports)];
        let said: Vec<_> = parts
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {}", names.join(", ")))
            .collect();
        f.write_str(&if said.is_empty() { "none".to_owned() } else { said.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(hooks: &[Hook], imports: &[&str]) -> Rights {
        let imports = imports.iter().map(|import| (*import).to_owned()).collect();
        Rights { hooks: hooks.iter().copied().collect(), imports }
    }

    #[test]
    fn two_versions_differ_by_what_one_alone_has() {
        let old = rights(&[Hook::Request], &["log", "kv"]);
        let new = rights(&[Hook::Request, Hook::Response], &["log", "http"]);
        assert_eq!(new.gained(&old), rights(&[Hook::Response], &["http"]));
        assert_eq!(new.lost(&old), rights(&[], &["kv"]));
        assert!(new.gained(&new).is_empty() && new.lost(&new).is_empty());
    }

    #[test]
    fn they_read_as_a_line() {
        assert_eq!(rights(&[], &[]).to_string(), "none");
        assert_eq!(rights(&[Hook::Response, Hook::Request], &[]).to_string(), "hooks: request, response");
        assert_eq!(rights(&[Hook::Request], &["log", "kv"]).to_string(), "hooks: request; imports: kv, log");
    }

    #[test]
    fn capabilities_name_their_grants() {
        let rights = rights(&[], &["log", "kv", "jwt"]);
        let found: Vec<_> = rights.capabilities().map(|capability| (capability.interface, capability.grant)).collect();
        assert_eq!(found, [("jwt", "key_sets"), ("kv", "stores")]);
    }
}
