//! What serves under a plugin's name: a release, and perhaps a second one on trial.

use std::sync::Arc;

use super::attachment::Attachment;
use super::declaration::Declaration;
use crate::message::RequestKey;

/// A declaration with the attachments of a snapshot, all configured.
#[derive(Debug)]
pub struct Release {
    pub declaration: Arc<Declaration>,
    /// By slot: filters name their attachment by its slot, which is the same in every release of a snapshot.
    pub attachments: Box<[Arc<Attachment>]>,
}

/// What requests meet under a plugin's name.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub stable: Arc<Release>,
    pub trial: Option<Arc<Trial>>,
}

/// A release that has yet to prove itself.
#[derive(Debug)]
pub struct Trial {
    pub release: Arc<Release>,
    pub mode: TrialMode,
}

/// How far a trial may go.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialMode {
    /// It serves a share of the requests; `sticky` keeps a client on one side.
    Canary { share: Share, sticky: Option<RequestKey> },
    /// It runs on copies of heads, and its verdicts are compared.
    Shadow,
}

/// A share of all requests, in hundredths of a percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// From 0 to 100 percent; what lies outside counts as the nearer end.
    pub fn of_percent(percent: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range before")]
        Self((percent.clamp(0.0, 100.0) * 100.0).round() as u32)
    }

    pub fn percent(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// Whether a key, evenly hashed, lies in the share. A share that grows keeps the keys it has.
    pub fn holds(self, hash: u64) -> bool {
        hash % u64::from(WHOLE) < u64::from(self.0)
    }

    /// Whether the request after `taken` turns is the share's. `turn` is what was left over at the last one.
    pub fn takes(self, turn: &std::cell::Cell<u32>) -> bool {
        let sum = turn.get() + self.0;
        turn.set(sum % WHOLE);
        sum >= WHOLE
    }
}

const WHOLE: u32 = 10_000;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_share_is_exact_over_many_requests() {
        for (percent, expected) in [(0.0, 0), (0.25, 25), (5.0, 500), (33.33, 3333), (100.0, 10_000), (400.0, 10_000)] {
            let share = Share::of_percent(percent);
            let turn = Cell::new(0);
            assert_eq!((0..10_000).filter(|_| share.takes(&turn)).count(), expected, "{percent}");
            assert_eq!((0..10_000).filter(|hash| share.holds(*hash)).count(), expected, "{percent}");
        }
    }
}
