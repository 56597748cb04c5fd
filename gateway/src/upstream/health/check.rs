//! The check of one endpoint, again and again: so many failures take it out, so many successes bring it back.

use std::sync::Arc;
use std::time::Duration;

use super::super::endpoint::Out;
use super::probe::{ProbeError, probe};
use super::{Flip, Health, HealthCheck, Patient, Tell};

/// Successes and failures in a row.
#[derive(Debug, Default)]
struct Streak {
    has_begun: bool,
    good: u32,
    bad: u32,
}

/// Checks until it is aborted.
pub(super) async fn check(patient: Patient, rules: Arc<HealthCheck>, tell: Tell) {
    let mut streak = Streak::default();
    // Not all endpoints at the same moment.
    tokio::time::sleep(rules.interval.min(FIRST_WITHIN).mul_f64(fastrand::f64())).await;
    loop {
        let probed =
            tokio::time::timeout(rules.timeout, probe(&rules.probe, &patient.endpoint, &patient.transport)).await;
        let outcome = probed.unwrap_or(Err(ProbeError::Timeout(rules.timeout)));
        if let Some(is_healthy) = streak.note(outcome.is_ok(), &rules) {
            patient.turn_out(is_healthy, outcome, &tell);
        }
        tokio::time::sleep(rules.interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
    }
}

impl Streak {
    /// What the endpoint is by now, if this outcome settles it.
    fn note(&mut self, is_good: bool, rules: &HealthCheck) -> Option<bool> {
        let (this, other) = if is_good { (&mut self.good, &mut self.bad) } else { (&mut self.bad, &mut self.good) };
        *this = this.saturating_add(1);
        *other = 0;
        let enough = if is_good { rules.healthy_after } else { rules.unhealthy_after };
        let is_settled = *this >= enough || !self.has_begun;
        self.has_begun = true;
        is_settled.then_some(is_good)
    }
}

impl Patient {
    fn turn_out(&self, is_healthy: bool, outcome: Result<(), ProbeError>, tell: &Tell) {
        let is_news = match is_healthy {
            true => self.state.bring_back(Out::FailsChecks),
            false => self.state.take_out(Out::FailsChecks),
        };
        if !is_news {
            return;
        }
        // The keeper knows the newest endpoints, and draws the conclusions.
        self.all.flipped.notify_one();
        let now = match outcome {
            Ok(()) => Health::Healthy,
            Err(error) => Health::Unhealthy(error.to_string()),
        };
        tell(Flip { upstream: self.upstream.clone(), endpoint: self.endpoint.clone(), now });
    }
}

/// The first check of an endpoint comes within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::*;

    #[test]
    fn the_first_check_decides_alone_and_then_streaks_do() {
        let second = Duration::from_secs(1);
        let rules =
            HealthCheck { probe: Probe::Tcp, interval: second, timeout: second, unhealthy_after: 3, healthy_after: 2 };
        let mut streak = Streak::default();
        let (good, bad) = (true, false);
        for (outcome, settled) in [
            (bad, Some(false)),
            (good, None),
            (bad, None),
            (good, None),
            (good, Some(true)),
            (bad, None),
            (bad, None),
            (good, None),
            (bad, None),
            (bad, None),
            (bad, Some(false)),
        ] {
            assert_eq!(streak.note(outcome, &rules), settled);
        }
    }
}
