//! Overload: what the gateway gives up, step by step, before it is lost, and how it takes it back.
//!
//! The control plane assesses a few times a second; workers look at the step that it came to, and tell it how late they are.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What is given up; each step includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    #[default]
    Nothing,
    /// Connections are closed behind the response that they wait for.
    KeepAlive,
    /// New requests are answered with 503.
    Requests,
    /// No connection is accepted.
    Connections,
}

/// Why a client was turned away before the request path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `limits.connections` of its listener.
    Connections,
    /// `limits.connections_per_client`.
    Client,
    /// `overload.connections`.
    AllConnections,
    /// A head or a body that no two servers read alike.
    Malformed,
    /// More HTTP/2 frames without use than `limits.http2_abuse`.
    Http2Abuse,
    /// It took too little of a response.
    SlowRead,
    /// It did not finish a head in time.
    SlowHead,
}

/// What all workers of a gateway and its control plane know of the load.
#[derive(Debug)]
pub struct Overload {
    step: AtomicU8,
    /// By worker: the longest that it was late since somebody asked, in microseconds.
    late: Box<[AtomicU32]>,
    connections: AtomicUsize,
    connections_max: AtomicUsize,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Step {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::KeepAlive, Self::Requests, Self::Connections];

    /// In the words of the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::KeepAlive => "keep-alive",
            Self::Requests => "requests",
            Self::Connections => "connections",
        }
    }
}

impl Refusal {
    pub const ALL: [Self; 7] = [
        Self::Connections,
        Self::Client,
        Self::AllConnections,
        Self::Malformed,
        Self::Http2Abuse,
        Self::SlowRead,
        Self::SlowHead,
    ];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Client => "connections_per_client",
            Self::AllConnections => "overload_connections",
            Self::Malformed => "malformed",
            Self::Http2Abuse => "http2_abuse",
            Self::SlowRead => "slow_read",
            Self::SlowHead => "slow_head",
        }
    }
}

impl Overload {
    pub fn new(workers: usize, connections_max: usize) -> Self {
        Self {
            step: AtomicU8::new(0),
            late: (0..workers).map(|_| AtomicU32::new(0)).collect(),
            connections: AtomicUsize::new(0),
            connections_max: AtomicUsize::new(connections_max),
            refused: Default::default(),
        }
    }

    pub fn step(&self) -> Step {
        Step::ALL.get(usize::from(self.step.load(Ordering::Relaxed))).copied().unwrap_or_default()
    }

    /// From now on this is given up.
    pub fn give_up(&self, step: Step) {
        self.step.store(step as u8, Ordering::Relaxed);
    }

    pub fn allow_connections(&self, max: usize) {
        self.connections_max.store(max, Ordering::Relaxed);
    }

    /// How late the latest worker was, since the last call.
    pub fn latest(&self) -> Duration {
        let late = self.late.iter().map(|late| late.swap(0, Ordering::Relaxed)).max();
        Duration::from_micros(late.unwrap_or(0).into())
    }

    /// Clients turned away since the start.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed)
    }

    pub(super) fn is_late(&self, worker: usize, by: Duration) {
        if let Some(late) = self.late.get(worker) {
            late.fetch_max(u32::try_from(by.as_micros()).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Comes when connections are accepted.
    pub(super) async fn has_room(&self) {
        while self.step() == Step::Connections {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Whether there is room for one more connection; then it counts until it is [`close`](Self::close)d.
    pub(super) fn open(&self) -> bool {
        if self.connections.fetch_add(1, Ordering::Relaxed) >= self.connections_max.load(Ordering::Relaxed) {
            self.close();
            return false;
        }
        true
    }

    pub(super) fn close(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way up and down the steps: up at once, down one by one and only when it has been calm for a while.
#[derive(Debug, Default)]
pub struct Stairs {
    step: Step,
    calm_since: Option<Instant>,
}

impl Stairs {
    /// The step for this much pressure, where 1 is what is allowed.
    pub fn next(&mut self, pressure: f64, now: Instant) -> Step {
        let reached = Step::ALL.into_iter().rev().find(|step| pressure >= threshold(*step)).unwrap_or_default();
        if reached > self.step {
            self.step = reached;
        }
        if self.step == Step::Nothing || pressure >= threshold(self.step) - HYSTERESIS {
            self.calm_since = None;
        } else if now.saturating_duration_since(*self.calm_since.get_or_insert(now)) >= CALM {
            self.step = Step::ALL[self.step as usize - 1];
            self.calm_since = None;
        }
        self.step
    }
}

fn threshold(step: Step) -> f64 {
    match step {
        Step::Nothing => f64::NEG_INFINITY,
        Step::KeepAlive => 0.95,
        Step::Requests => 1.0,
        Step::Connections => 1.05,
    }
}

/// How often those look who wait.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const HYSTERESIS: f64 = 0.05;
const CALM: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_taken_at_once_and_given_back_one_by_one() {
        let mut stairs = Stairs::default();
        let start = Instant::now();
        let mut at = |ms: u64, pressure: f64| stairs.next(pressure, start + Duration::from_millis(ms));
        assert_eq!(at(0, 0.94), Step::Nothing);
        assert_eq!(at(250, 0.95), Step::KeepAlive);
        assert_eq!(at(500, 1.2), Step::Connections);
        // Just below what it takes is not yet calm.
        assert_eq!(at(5_000, 1.01), Step::Connections);
        assert_eq!(at(6_000, 0.9), Step::Connections);
        assert_eq!(at(6_500, 1.04), Step::Connections, "calm begins anew");
        assert_eq!(at(7_000, 0.5), Step::Connections);
        assert_eq!(at(8_000, 0.5), Step::Requests);
        assert_eq!(at(8_250, 0.5), Step::Requests);
        assert_eq!(at(9_250, 0.5), Step::KeepAlive);
        assert_eq!(at(9_500, 0.5), Step::KeepAlive);
        assert_eq!(at(10_500, 0.5), Step::Nothing);
    }

    #[test]
    fn connections_have_a_limit_over_all_listeners() {
        let overload = Overload::new(1, 2);
        assert!(overload.open() && overload.open() && !overload.open());
        overload.close();
        assert!(overload.open());
        overload.allow_connections(1);
        overload.close();
        assert!(!overload.open(), "one is open");
    }

    #[test]
    fn the_latest_worker_counts() {
        let overload = Overload::new(2, 1);
        overload.is_late(0, Duration::from_millis(3));
        overload.is_late(1, Duration::from_millis(7));
        overload.is_late(1, Duration::from_millis(1));
        assert_eq!(overload.latest(), Duration::from_millis(7));
        assert_eq!(overload.latest(), Duration::ZERO);
    }
}
