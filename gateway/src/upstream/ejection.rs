//! Passive ejection: an endpoint that keeps failing the requests it gets takes none for a while, longer each time.
//!
//! Whoever sends requests reports how they went. To eject takes a lock, since only so many may be out at a time; a report of
//! a request that went well takes none.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::StatusCode;

use super::Upstream;
use super::endpoint::{EndpointState, Out};

/// When endpoints are ejected, and for how long.
#[derive(Debug, Clone, PartialEq)]
pub struct Ejection {
    /// Failures in a row: responses of 5xx, none in time, broken off, or slower than `latency`.
    pub consecutive_5xx: u32,
    /// Connections in a row that could not be made.
    pub connect_failures: u32,
    /// A response's head that takes longer counts as a failure.
    pub latency: Option<Duration>,
    /// The first time; the second time twice as long, and so on up to [`EJECTIONS_COUNTED_MAX`] times.
    pub eject_for: Duration,
    /// Of all endpoints, from 0 to 1: so many may be ejected at a time.
    pub share_max: f64,
}

/// How a try ended, as far as the upstream is to blame or to praise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The head of a response came, so long after the try began.
    Answered {
        status: StatusCode,
        latency: Duration,
    },
    ConnectFailed,
    TimedOut,
    /// The connection was lost, or what came was no response.
    Broken,
}

impl Outcome {
    /// What the endpoint's latency learns from it: a failure must not make it look fast.
    pub(super) fn as_latency(self) -> Duration {
        match self {
            Self::Answered { latency, .. } => latency,
            Self::ConnectFailed | Self::TimedOut | Self::Broken => FAILURE_LATENCY,
        }
    }
}

impl Ejection {
    /// Notes an outcome; says whether the endpoint has failed too often now.
    pub(super) fn is_enough(&self, state: &EndpointState, outcome: Outcome) -> bool {
        let (failures, connect_failures) = (&state.ejected.failures, &state.ejected.connect_failures);
        let fails = match outcome {
            Outcome::Answered { status, latency } => {
                status.is_server_error() || self.latency.is_some_and(|limit| latency > limit)
            }
            Outcome::TimedOut | Outcome::Broken => true,
            Outcome::ConnectFailed => return connect_failures.fetch_add(1, Relaxed) + 1 >= self.connect_failures,
        };
        // What is nearly always so is only read, so that workers share the cache line.
        if connect_failures.load(Relaxed) > 0 {
            connect_failures.store(0, Relaxed);
        }
        if fails {
            return failures.fetch_add(1, Relaxed) + 1 >= self.consecutive_5xx;
        }
        if failures.load(Relaxed) > 0 {
            failures.store(0, Relaxed);
        }
        false
    }

    /// How long the endpoint is out that is ejected now. It is forgiven one ejection for each `eject_for` that it did well.
    fn sentence(&self, state: &EndpointState, now: u64) -> Duration {
        let ejected = &state.ejected;
        let good = Duration::from_millis(now.saturating_sub(ejected.until.load(Relaxed)));
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let forgiven = good.div_duration_f64(self.eject_for) as u32;
        let times = (ejected.times.load(Relaxed).saturating_sub(forgiven) + 1).min(EJECTIONS_COUNTED_MAX);
        ejected.times.store(times, Relaxed);
        self.eject_for.saturating_mul(times)
    }
}

impl Upstream {
    /// Ejects an endpoint, unless so many are out already that one more would be too many.
    pub(super) fn eject(&self, rules: &Ejection, place: usize) {
        let _turn = self.state.turn();
        let state = &self.states[place];
        // It has to fail as often again, whatever comes of this.
        state.ejected.failures.store(0, Relaxed);
        state.ejected.connect_failures.store(0, Relaxed);
        let members = || self.members().map(|(_, state)| state);
        let ejected = members().filter(|state| state.is_ejected()).count();
        #[allow(clippy::cast_precision_loss, reason = "endpoints are counted in thousands")]
        let is_full = (ejected + 1) as f64 > rules.share_max * members().count() as f64;
        if state.is_ejected() || is_full {
            return;
        }
        let now = state.millis(Instant::now());
        let sentence = u64::try_from(rules.sentence(state, now).as_millis()).unwrap_or(u64::MAX);
        state.ejected.until.store(now.saturating_add(sentence), Relaxed);
        state.take_out(Out::Ejected);
        self.flipped();
    }

    /// Lets endpoints back whose time is over, or all of them where nothing is ejected any more. Says when the next one is due.
    pub(super) fn let_back(&self, now: Instant) -> Option<Instant> {
        let mut next = None;
        for (_, state) in self.members().filter(|(_, state)| state.is_ejected()) {
            let (now_millis, until) = (state.millis(now), state.ejected.until.load(Relaxed));
            if self.ejection.is_none() || until <= now_millis {
                let _turn = self.state.turn();
                state.bring_back(Out::Ejected);
                self.flipped();
            } else {
                let due = now.checked_add(Duration::from_millis(until - now_millis));
                next = [next, due].into_iter().flatten().min();
            }
        }
        next
    }
}

/// Ejections beyond which an endpoint is ejected for no longer.
pub const EJECTIONS_COUNTED_MAX: u32 = 10;
/// What a try that failed counts for in the average of latencies.
const FAILURE_LATENCY: Duration = Duration::from_secs(1);
