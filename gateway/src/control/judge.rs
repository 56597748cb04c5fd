//! Judging a trial: what it did, compared with what the version that serves did in the same time.

use std::time::Duration;

use serde_json::{Value, json};

use crate::plugin::{Hook, Outcome, Totals};

/// When a trial has failed, and when it has proven itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// So many times the stable version's share of failed calls.
    pub error_ratio: f64,
    /// So many times the stable version's 99th percentile of call times.
    pub p99_ratio: f64,
    /// Calls of the trial before the ratios count.
    pub calls_min: u64,
    /// How far back calls count; `None` counts all since it began.
    pub window: Option<Duration>,
    /// How long it must hold to take the stable version's place; `None` waits for an order.
    pub promote_after: Option<Duration>,
}

/// What is to become of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is too early to say, or for somebody else to.
    GoOn,
    Promote,
    /// With the reason, for people.
    RollBack(String),
}

/// What both versions did while the trial went on.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    pub stable: Totals,
    pub trial: Totals,
    /// How long the trial has been going on.
    pub age: Duration,
}

/// Compares the two.
pub fn judge(rules: &Rules, evidence: &Evidence) -> Judgement {
    let Evidence { stable, trial, age } = evidence;
    let (calls, failures) = (trial.calls(), trial.failures());
    // What fails outright is not given all its calls to do so.
    if failures >= OUTRIGHT_FAILURES && failures * 2 > calls {
        return Judgement::RollBack(format!("{failures} of its first {calls} calls failed"));
    }
    if calls >= rules.calls_min.max(1) {
        let (share, stable_share) = (share(failures, calls), share(stable.failures(), stable.calls()));
        if failures >= FAILURES_MIN && share > stable_share * rules.error_ratio {
            let percent = share * 100.0;
            return Judgement::RollBack(format!(
                "{failures} of {calls} calls failed ({percent:.2} %), against {:.2} % of the stable version's",
                stable_share * 100.0
            ));
        }
        if let (Some(p99), Some(stable_p99)) = (trial.quantile(0.99), stable.quantile(0.99))
            && stable.calls() >= rules.calls_min
            && p99 > stable_p99.mul_f64(rules.p99_ratio)
            && p99 - stable_p99 > NOISE
        {
            return Judgement::RollBack(format!(
                "the 99th percentile of its calls is {p99:?}, against {stable_p99:?} of the stable version's"
            ));
        }
    }
    let is_equal = trial.differs == 0 && trial.failed == 0;
    match rules.promote_after {
        Some(after) if *age >= after && calls >= rules.calls_min.max(1) && is_equal => Judgement::Promote,
        _ => Judgement::GoOn,
    }
}

impl Evidence {
    /// For the admin API.
    pub fn report(&self) -> Value {
        json!({
            "age_s": self.age.as_secs_f64(),
            "stable": side(&self.stable),
            "trial": side(&self.trial),
            "compared": { "same": self.trial.same, "differs": self.trial.differs, "failed": self.trial.failed },
        })
    }
}

fn side(totals: &Totals) -> Value {
    let outcomes: serde_json::Map<_, _> =
        Outcome::ALL.into_iter().map(|outcome| (outcome.name().to_owned(), totals.of(outcome).into())).collect();
    let hooks: serde_json::Map<_, _> =
        Hook::ALL.into_iter().map(|hook| (hook.name().to_owned(), totals.hook(hook).calls().into())).collect();
    json!({
        "calls": totals.calls(),
        "failures": totals.failures(),
        "outcomes": outcomes,
        "hooks": hooks,
        "p99_us": totals.quantile(0.99).map(|p99| p99.as_secs_f64() * 1e6),
    })
}

#[allow(clippy::cast_precision_loss, reason = "a share of a count needs no more precision than f64 has")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// So many failures, and most calls among them, end a trial before it has its calls together.
const OUTRIGHT_FAILURES: u64 = 10;
/// Fewer failures prove nothing, whatever the ratio.
const FAILURES_MIN: u64 = 5;
/// Differences below this are those of the machine.
const NOISE: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::HookTotals;

    /// `calls` of which `failures` trapped, each of them as long as bucket `slow` says for the last 2 percent.
    fn totals(calls: u64, failures: u64, slow: usize) -> Totals {
        let mut hook = HookTotals::default();
        hook.outcomes[Outcome::Ok as usize] = calls - failures;
        hook.outcomes[Outcome::Trap as usize] = failures;
        for (bucket, count) in hook.buckets.iter_mut().enumerate() {
            *count = if bucket >= slow { calls } else { calls * 98 / 100 };
        }
        let mut totals = Totals::default();
        totals.hooks[0] = hook;
        totals
    }

    fn rules() -> Rules {
        Rules { error_ratio: 2.0, p99_ratio: 2.0, calls_min: 500, window: None, promote_after: None }
    }

    fn judged(rules: &Rules, stable: Totals, trial: Totals, age_s: u64) -> Judgement {
        judge(rules, &Evidence { stable, trial, age: Duration::from_secs(age_s) })
    }

    #[test]
    fn too_few_calls_prove_nothing() {
        assert_eq!(judged(&rules(), totals(10_000, 0, 0), totals(499, 9, 30), 1), Judgement::GoOn);
        assert_eq!(judged(&rules(), totals(10_000, 0, 0), totals(500, 4, 0), 1), Judgement::GoOn);
    }

    #[test]
    fn what_fails_more_often_than_the_stable_version_goes_back() {
        let verdict = judged(&rules(), totals(10_000, 100, 0), totals(1000, 21, 0), 1);
        assert!(matches!(&verdict, Judgement::RollBack(why) if why.contains("21 of 1000")), "{verdict:?}");
        assert_eq!(judged(&rules(), totals(10_000, 100, 0), totals(1000, 20, 0), 1), Judgement::GoOn);
    }

    #[test]
    fn what_fails_outright_goes_back_at_once() {
        assert!(matches!(judged(&rules(), totals(0, 0, 0), totals(12, 12, 0), 1), Judgement::RollBack(_)));
    }

    #[test]
    fn what_is_slower_than_the_stable_version_goes_back() {
        assert!(matches!(judged(&rules(), totals(1000, 0, 4), totals(1000, 0, 24), 1), Judgement::RollBack(_)));
        assert_eq!(judged(&rules(), totals(1000, 0, 4), totals(1000, 0, 5), 1), Judgement::GoOn);
        // Three times as long, and still within the machine's noise.
        assert_eq!(judged(&rules(), totals(1000, 0, 0), totals(1000, 0, 4), 1), Judgement::GoOn);
    }

    #[test]
    fn what_holds_long_enough_is_promoted() {
        let rules = Rules { promote_after: Some(Duration::from_secs(60)), ..rules() };
        assert_eq!(judged(&rules, totals(1000, 0, 0), totals(1000, 0, 0), 59), Judgement::GoOn);
        assert_eq!(judged(&rules, totals(1000, 0, 0), totals(1000, 0, 0), 60), Judgement::Promote);
        assert_eq!(judged(&rules, totals(1000, 0, 0), totals(499, 0, 0), 60), Judgement::GoOn);
        let differs = Totals { differs: 1, ..totals(1000, 0, 0) };
        assert_eq!(judged(&rules, totals(1000, 0, 0), differs, 60), Judgement::GoOn);
    }
}
