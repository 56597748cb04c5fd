//! A circuit: closed while calls go well, open for a while once too many do not, then half-open for a few probes that decide.
//!
//! All workers share it. While it is closed or open, only atomics are touched; half-open, each of the few calls takes a lock for a
//! moment. A call that begins in one state says nothing about the next: its outcome counts only while the circuit is as it found it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

/// When a circuit opens and closes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thresholds {
    /// Of all calls in the window, in percent.
    pub(super) error_percent: f64,
    /// Percent of calls that took `slow_call` or longer until the response's head.
    pub(super) slow: Option<(f64, Duration)>,
    /// Fewer calls in the window open nothing.
    pub(super) min_requests: u32,
    pub(super) window: Duration,
    pub(super) open_for: Duration,
    /// Probes at a time, all of which must go well.
    pub(super) probes: u32,
}

/// The breaker of one filter of one route.
pub struct Circuit {
    pub route: Arc<str>,
    pub(super) thresholds: Thresholds,
    start: Instant,
    /// A [`CircuitState`] in the lowest two bits, above it a number that grows with each change.
    phase: AtomicU64,
    /// When it may be probed, in nanoseconds since `start`.
    probe_at: AtomicU64,
    window: [Span; SPANS],
    probes: Mutex<Probes>,
    refused: AtomicU64,
    flips: broadcast::Sender<Flip>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CircuitState {
    Closed = 0,
    Open = 1,
    HalfOpen = 2,
}

/// A circuit changed its state.
#[derive(Debug, Clone)]
pub struct Flip {
    pub route: Arc<str>,
    pub from: CircuitState,
    pub to: CircuitState,
}

/// A part of the window: what began in it.
#[derive(Default)]
struct Span {
    /// Which one, counted from `start`.
    number: AtomicU64,
    calls: AtomicU32,
    bad: AtomicU32,
    slow: AtomicU32,
}

#[derive(Debug, Default)]
struct Probes {
    free: u32,
    good: u32,
}

/// A call that the circuit let pass. Dropped without an outcome, it says nothing about the upstream.
pub(super) struct Call {
    circuit: Arc<Circuit>,
    phase: u64,
    begun: Instant,
    is_slow: bool,
    is_told: bool,
}

impl CircuitState {
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

    /// As metrics and events have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }

    fn of(phase: u64) -> Self {
        match phase & 3 {
            0 => Self::Closed,
            1 => Self::Open,
            _ => Self::HalfOpen,
        }
    }
}

impl Circuit {
    /// A closed one, which tells `flips` of every change.
    pub(super) fn new(route: Arc<str>, thresholds: Thresholds, flips: broadcast::Sender<Flip>) -> Self {
        Self {
            route,
            thresholds,
            start: Instant::now(),
            phase: AtomicU64::new(CircuitState::Closed as u64),
            probe_at: AtomicU64::new(0),
            window: Default::default(),
            probes: Mutex::default(),
            refused: AtomicU64::new(0),
            flips,
        }
    }

    pub fn state(&self) -> CircuitState {
        CircuitState::of(self.phase.load(Ordering::Relaxed))
    }

    /// Calls that were not let pass.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Lets a call pass, or says when another try makes sense.
    pub(super) fn admit(self: &Arc<Self>, now: Instant) -> Result<Call, Duration> {
        let phase = self.phase.load(Ordering::Acquire);
        match CircuitState::of(phase) {
            CircuitState::Closed => Ok(self.call(phase, now)),
            CircuitState::Open => {
                let wait = self.probe_at.load(Ordering::Relaxed).saturating_sub(self.nanoseconds(now));
                if wait > 0 { Err(self.refuse(Duration::from_nanos(wait))) } else { self.probe(now) }
            }
            CircuitState::HalfOpen => self.probe(now),
        }
    }

    /// The first to come once the time is over makes it half-open; a few pass then, the others are refused.
    fn probe(self: &Arc<Self>, now: Instant) -> Result<Call, Duration> {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut phase = self.phase.load(Ordering::Acquire);
        let is_due = self.nanoseconds(now) >= self.probe_at.load(Ordering::Relaxed);
        match CircuitState::of(phase) {
            CircuitState::Closed => return Ok(self.call(phase, now)),
            CircuitState::Open if is_due => {
                *probes = Probes { free: self.thresholds.probes, good: 0 };
                self.rest_until(now + self.thresholds.open_for);
                phase = self.flip(phase, CircuitState::HalfOpen);
            }
            // Probes that have not ended in all this time must not hold the circuit for ever: others may try.
            CircuitState::HalfOpen if is_due && probes.free == 0 => {
                probes.free = self.thresholds.probes.saturating_sub(probes.good);
                self.rest_until(now + self.thresholds.open_for);
            }
            CircuitState::Open | CircuitState::HalfOpen => {}
        }
        if CircuitState::of(phase) == CircuitState::HalfOpen && probes.free > 0 {
            probes.free -= 1;
            return Ok(self.call(phase, now));
        }
        Err(self.refuse(PROBE_WAIT))
    }

    fn call(self: &Arc<Self>, phase: u64, begun: Instant) -> Call {
        Call { circuit: self.clone(), phase, begun, is_slow: false, is_told: false }
    }

    fn refuse(&self, wait: Duration) -> Duration {
        self.refused.fetch_add(1, Ordering::Relaxed);
        wait
    }

    fn ended(&self, call: &Call, is_bad: bool, now: Instant) {
        if CircuitState::of(call.phase) == CircuitState::Closed {
            self.count(call, is_bad, now);
            return;
        }
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.phase.load(Ordering::Acquire) != call.phase {
            return;
        }
        if is_bad || (call.is_slow && self.thresholds.slow.is_some()) {
            self.rest_until(now + self.thresholds.open_for);
            self.flip(call.phase, CircuitState::Open);
            return;
        }
        probes.good += 1;
        if probes.good >= self.thresholds.probes {
            self.window.iter().for_each(Span::clear);
            self.flip(call.phase, CircuitState::Closed);
        }
    }

    fn count(&self, call: &Call, is_bad: bool, now: Instant) {
        let number = self.span_of(now);
        let span = &self.window[number as usize % SPANS];
        span.begin(number);
        span.calls.fetch_add(1, Ordering::Relaxed);
        if !is_bad && !call.is_slow {
            return;
        }
        if is_bad {
            span.bad.fetch_add(1, Ordering::Relaxed);
        }
        if call.is_slow {
            span.slow.fetch_add(1, Ordering::Relaxed);
        }
        if self.is_too_bad(number) && self.phase.load(Ordering::Acquire) == call.phase {
            let _turn = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
            if self.phase.load(Ordering::Acquire) == call.phase {
                self.rest_until(now + self.thresholds.open_for);
                self.flip(call.phase, CircuitState::Open);
            }
        }
    }

    /// By the spans of the window, of which `number` is the last.
    fn is_too_bad(&self, number: u64) -> bool {
        let (mut calls, mut bad, mut slow) = (0u64, 0u64, 0u64);
        for span in &self.window {
            if number.saturating_sub(span.number.load(Ordering::Relaxed)) < SPANS as u64 {
                calls += u64::from(span.calls.load(Ordering::Relaxed));
                bad += u64::from(span.bad.load(Ordering::Relaxed));
                slow += u64::from(span.slow.load(Ordering::Relaxed));
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let reaches = |count: u64, percent: f64| count > 0 && count as f64 * 100.0 >= percent * calls as f64;
        calls >= u64::from(self.thresholds.min_requests)
            && (reaches(bad, self.thresholds.error_percent)
                || self.thresholds.slow.is_some_and(|(percent, _)| reaches(slow, percent)))
    }

    /// Moves on from `phase`, which whoever holds the lock has just seen, and tells it.
    fn flip(&self, phase: u64, to: CircuitState) -> u64 {
        let next = (phase & !3) + 4 + to as u64;
        self.phase.store(next, Ordering::Release);
        // Nobody may be listening.
        let _ = self.flips.send(Flip { route: self.route.clone(), from: CircuitState::of(phase), to });
        next
    }

    fn rest_until(&self, when: Instant) {
        self.probe_at.store(self.nanoseconds(when), Ordering::Relaxed);
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn span_of(&self, now: Instant) -> u64 {
        let span = u64::try_from(self.thresholds.window.as_nanos()).unwrap_or(u64::MAX) / SPANS as u64;
        // Counted from one, so that no span of the past looks like the first.
        1 + self.nanoseconds(now) / span.max(1)
    }
}

impl Span {
    /// Makes it the span of this number. A count of another worker that comes between the two steps is lost: one call in the
    /// change of a span decides nothing.
    fn begin(&self, number: u64) {
        let old = self.number.load(Ordering::Relaxed);
        if old != number && self.number.compare_exchange(old, number, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.clear_counts();
        }
    }

    fn clear(&self) {
        self.number.store(0, Ordering::Relaxed);
        self.clear_counts();
    }

    fn clear_counts(&self) {
        self.calls.store(0, Ordering::Relaxed);
        self.bad.store(0, Ordering::Relaxed);
        self.slow.store(0, Ordering::Relaxed);
    }
}

impl Call {
    /// The response's head is there, or will never be: how long that took is how slow the upstream is. The body's pace is the
    /// client's as well.
    pub(super) fn head_came(&mut self, now: Instant) {
        self.is_slow = self.is_slow_until(now);
    }

    /// It is over.
    pub(super) fn ended(&mut self, is_bad: bool) {
        if !std::mem::replace(&mut self.is_told, true) {
            self.circuit.ended(self, is_bad, Instant::now());
        }
    }

    fn is_slow_until(&self, now: Instant) -> bool {
        let slow = self.circuit.thresholds.slow;
        slow.is_some_and(|(_, slow)| now.saturating_duration_since(self.begun) >= slow)
    }

    /// Nobody knows how it would have ended.
    fn abandon(&mut self) {
        if CircuitState::of(self.phase) == CircuitState::HalfOpen {
            let mut probes = self.circuit.probes.lock().unwrap_or_else(PoisonError::into_inner);
            if self.circuit.phase.load(Ordering::Acquire) == self.phase {
                probes.free += 1;
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        // A client that waited that long and went away has seen a slow call.
        if !self.is_slow && self.is_slow_until(Instant::now()) {
            self.is_slow = true;
            self.ended(false);
        } else {
            self.abandon();
        }
    }
}

/// Parts of a window: it moves on by a tenth at a time.
const SPANS: usize = 10;
/// What is told to those who come while the probes are under way.
const PROBE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::CircuitState::{Closed, HalfOpen, Open};
    use super::*;

    fn circuit(thresholds: Thresholds) -> (Arc<Circuit>, broadcast::Receiver<Flip>) {
        let (flips, told) = broadcast::channel(16);
        (Arc::new(Circuit::new("r".into(), thresholds, flips)), told)
    }

    fn thresholds() -> Thresholds {
        Thresholds {
            error_percent: 50.0,
            slow: None,
            min_requests: 4,
            window: Duration::from_secs(3600),
            open_for: Duration::from_secs(60),
            probes: 2,
        }
    }

    fn calls(circuit: &Arc<Circuit>, now: Instant, outcomes: &[bool]) {
        for is_bad in outcomes {
            circuit.admit(now).unwrap_or_else(|_| panic!("closed")).ended(*is_bad);
        }
    }

    #[test]
    fn it_opens_at_the_share_of_errors_and_closes_when_all_probes_go_well() {
        let (circuit, mut told) = circuit(thresholds());
        let now = Instant::now();
        calls(&circuit, now, &[true, false, true]);
        assert_eq!(circuit.state(), Closed, "too few calls to tell");
        calls(&circuit, now, &[true]);
        assert_eq!(circuit.state(), Open);
        let wait = circuit.admit(now).err().expect("refused");
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(61), "{wait:?}");
        let later = Instant::now() + Duration::from_secs(61);
        let (Ok(mut one), Ok(mut two)) = (circuit.admit(later), circuit.admit(later)) else {
            panic!("two probes pass")
        };
        assert!(circuit.admit(later).is_err(), "and no third");
        one.ended(false);
        assert_eq!(circuit.state(), HalfOpen);
        two.ended(false);
        assert_eq!(circuit.state(), Closed);
        calls(&circuit, later, &[true, true, true]);
        assert_eq!(circuit.state(), Closed, "what was before is forgotten");
        let flips: Vec<_> = std::iter::from_fn(|| told.try_recv().ok()).map(|flip| (flip.from, flip.to)).collect();
        assert_eq!(flips, [(Closed, Open), (Open, HalfOpen), (HalfOpen, Closed)]);
        assert_eq!(circuit.refused(), 2);
    }

    #[test]
    fn one_bad_probe_opens_it_again_and_one_that_nobody_waited_for_makes_way_for_another() {
        let (circuit, _told) = circuit(Thresholds { probes: 1, ..thresholds() });
        calls(&circuit, Instant::now(), &[true; 4]);
        let later = Instant::now() + Duration::from_secs(61);
        let Ok(gone) = circuit.admit(later) else { panic!("a probe passes") };
        assert!(circuit.admit(later).is_err());
        drop(gone);
        let Ok(mut probe) = circuit.admit(later) else { panic!("another probe passes") };
        probe.ended(true);
        assert_eq!(circuit.state(), Open);
        assert!(circuit.admit(Instant::now()).is_err());
    }

    #[test]
    fn probes_that_never_end_do_not_hold_it_for_ever() {
        let (circuit, _told) = circuit(thresholds());
        calls(&circuit, Instant::now(), &[true; 4]);
        let later = Instant::now() + Duration::from_secs(61);
        let stuck = [circuit.admit(later), circuit.admit(later)];
        assert!(stuck.iter().all(Result::is_ok) && circuit.admit(later).is_err());
        assert!(circuit.admit(later + Duration::from_secs(61)).is_ok());
    }

    #[test]
    fn what_began_before_it_opened_says_nothing_about_its_probes() {
        let (circuit, _told) = circuit(Thresholds { probes: 1, ..thresholds() });
        let now = Instant::now();
        let Ok(mut late) = circuit.admit(now) else { panic!("closed") };
        calls(&circuit, now, &[true; 4]);
        let later = Instant::now() + Duration::from_secs(61);
        let Ok(mut probe) = circuit.admit(later) else { panic!("a probe passes") };
        late.ended(true);
        assert_eq!(circuit.state(), HalfOpen);
        probe.ended(false);
        assert_eq!(circuit.state(), Closed);
    }

    #[test]
    fn slow_calls_open_it_too_whether_or_not_somebody_waited_for_them() {
        let slow = Some((50.0, Duration::from_secs(2)));
        let (circuit, _told) = circuit(Thresholds { slow, ..thresholds() });
        let now = Instant::now();
        calls(&circuit, now, &[false, false]);
        let Ok(mut slow) = circuit.admit(now) else { panic!("closed") };
        slow.head_came(now + Duration::from_secs(2));
        slow.ended(false);
        let begun = now.checked_sub(Duration::from_secs(3)).expect("the machine runs for longer");
        let Ok(gone) = circuit.admit(begun) else { panic!("closed") };
        drop(gone);
        assert_eq!(circuit.state(), Open);
    }

    #[test]
    fn what_lies_outside_the_window_does_not_count() {
        let window = Duration::from_secs(10);
        let (circuit, _told) = circuit(Thresholds { window, ..thresholds() });
        let now = circuit.start;
        let count = |at: Instant, is_bad| {
            let Ok(mut call) = circuit.admit(at) else { panic!("closed") };
            call.is_told = true;
            circuit.ended(&call, is_bad, at);
        };
        (0..3).for_each(|_| count(now, true));
        count(now + Duration::from_secs(11), true);
        assert_eq!(circuit.state(), Closed);
        (0..3).for_each(|_| count(now + Duration::from_secs(19), true));
        assert_eq!(circuit.state(), Open);
    }
}
