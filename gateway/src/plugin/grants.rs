//! Grants: which of the configuration's named things the guests of a declaration may use.
//!
//! A component that imports an interface it was not granted is refused when it is loaded, not when it calls.

/// The rights of one declaration. `log`, `metrics`, `clock` and `crypto` reach nothing of anybody else's and are everybody's.
#[derive(Debug, Default)]
pub struct Grants {}

impl Grants {
    /// Whether guests may import this interface of the WIT package, by its name without package and version.
    pub fn admits(&self, interface: &str) -> bool {
        EVERYBODYS.contains(&interface)
    }

    /// Whether guests could tell the two apart: a reload keeps the instances where they cannot.
    pub fn same_as(&self, _other: &Self) -> bool {
        true
    }
}

/// Interfaces that need no grant.
const EVERYBODYS: [&str; 8] = ["types", "body-types", "setup", "exchange", "log", "metrics", "clock", "crypto"];
