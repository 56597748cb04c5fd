//! An outage of something that the gateway reads again and again: told when it begins and when another kind of reason comes up, not at each
//! try.

use std::collections::BTreeSet;

/// From the first failure to the next success.
#[derive(Debug, Default)]
pub(super) struct Outage {
    kinds: BTreeSet<String>,
    error: String,
}

impl Outage {
    /// Notes a failure; `true` when nothing of its kind has been told since this outage began.
    pub(super) fn note(&mut self, kind: impl Into<String>, error: String) -> bool {
        self.error = error;
        self.kinds.len() < KINDS_MAX && self.kinds.insert(kind.into())
    }

    /// The newest failure.
    pub(super) fn error(&self) -> String {
        self.error.clone()
    }
}

/// A reason that is ever another one is told no more.
const KINDS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_is_told_once() {
        let mut outage = Outage::default();
        let told = ["unreachable", "unreachable", "refused", "unreachable"].map(|kind| outage.note(kind, kind.into()));
        assert_eq!(told, [true, false, true, false]);
        assert_eq!(outage.error(), "unreachable");
        let many = (0..KINDS_MAX).filter(|number| outage.note(number.to_string(), String::new())).count();
        assert_eq!(many, KINDS_MAX - 2);
    }
}
