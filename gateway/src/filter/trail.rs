//! The trail of a request: what happened to it on its way, for those who tell of it once it is over.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::{Chain, FilterError, Verdict};
use crate::plugin::{Digest, Outcome};
use crate::telemetry::{OpenSpan, Trace, TrySpanId};

/// Noted on the way. What takes reading the clock is noted only when somebody asked for it.
#[derive(Default)]
pub struct Trail {
    tries: Cell<Tries>,
    /// The calls of filters' hooks; there when somebody asked for them.
    calls: Option<Calls>,
    /// Its place in a trace, where requests are traced.
    trace: Option<Box<Trace>>,
    /// Each try, of a trace that is sampled.
    attempts: RefCell<Vec<Attempt>>,
    /// How the running hook ended, where its verdict does not tell.
    failed_open: Cell<Option<Outcome>>,
    /// The span of the running hook, of a trace that is sampled and a plugin that could know.
    open_span: RefCell<Option<OpenSpan>>,
}

/// The tries at upstreams.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tries {
    pub count: u32,
    /// When the first began.
    pub began: Option<Instant>,
    /// When the last ended: its response's head was there, or it failed. `None` while one is under way.
    pub ended: Option<Instant>,
    /// Places of the last one's upstream, and of the endpoint among its endpoints.
    pub place: Option<(usize, usize)>,
}

/// A try at an upstream, of a request whose trace is sampled.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub span: TrySpanId,
    /// Places of the upstream, and of the endpoint among its endpoints.
    pub place: (usize, usize),
    pub began: Instant,
    /// `None` when nobody waited for its end.
    pub ended: Option<Instant>,
    pub outcome: Result<u16, &'static str>,
}

/// A try that is under way.
pub struct Mark {
    number: usize,
    /// What the upstream is to know of the trace.
    pub parent: HeaderValue,
}

struct Calls {
    /// Knows the filters' names.
    chain: Chain,
    ended: Vec<Call>,
}

/// A filter's hook that ran.
#[derive(Debug)]
pub struct Call {
    /// Its filter's place in the chain.
    pub position: usize,
    pub phase: Phase,
    pub began: Instant,
    pub took: Duration,
    /// `ok`, `respond`, or how it failed.
    pub outcome: &'static str,
    /// Of a plugin: which component it was.
    pub version: Option<Digest>,
    /// The span that it ran under, with what the plugin said there.
    pub span: Option<Box<OpenSpan>>,
}

/// Which of a filter's hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Request,
    Response,
}

impl Trail {
    /// Asks for the calls of this chain's hooks.
    pub fn watch_calls(&mut self, chain: &Chain) {
        self.calls = Some(Calls { chain: chain.clone(), ended: Vec::with_capacity(2 * chain.len()) });
    }

    /// The calls so far with the names of their filters; none when nobody asked for them.
    pub fn calls(&self) -> impl Iterator<Item = (&str, &Call)> {
        let calls = self.calls.iter();
        calls.flat_map(|calls| calls.ended.iter().map(|call| (calls.chain.name(call.position), call)))
    }

    /// The request belongs to this trace.
    pub fn belongs(&mut self, trace: Box<Trace>) {
        self.trace = Some(trace);
    }

    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    /// The id of its trace; empty where it is not traced.
    pub fn trace_id(&self) -> &str {
        self.trace().map_or("", Trace::id)
    }

    /// The span that the running hook runs under; `None` where nothing is traced.
    pub fn open_span(&self) -> Option<OpenSpan> {
        let trace = self.trace()?;
        if !trace.is_sampled() {
            return Some(trace.open_span());
        }
        Some(self.open_span.borrow_mut().get_or_insert_with(|| trace.open_span()).clone())
    }

    /// The tries so far, of a trace that is sampled.
    pub fn attempts(&self) -> Vec<Attempt> {
        self.attempts.borrow().clone()
    }

    /// A try at an upstream begins. There is a mark when it has a span of its own.
    pub fn try_begins(&self, place: (usize, usize), now: Instant) -> Option<Mark> {
        let tries = self.tries.get();
        let began = tries.began.or(Some(now));
        self.tries.set(Tries { count: tries.count + 1, began, ended: None, place: Some(place) });
        let (span, parent) = self.trace().filter(|trace| trace.is_sampled())?.begin_try();
        let mut attempts = self.attempts.borrow_mut();
        attempts.push(Attempt { span, place, began: now, ended: None, outcome: Err("cancelled") });
        Some(Mark { number: attempts.len() - 1, parent })
    }

    /// A try ended, with the status of a response, or a word for why there is none.
    pub fn try_ends(&self, mark: Option<Mark>, now: Instant, outcome: Result<u16, &'static str>) {
        if let Some(mark) = mark
            && let Some(attempt) = self.attempts.borrow_mut().get_mut(mark.number)
        {
            (attempt.ended, attempt.outcome) = (Some(now), outcome);
        }
        self.tries.set(Tries { ended: Some(now), ..self.tries.get() });
    }

    pub fn tries(&self) -> Tries {
        self.tries.get()
    }

    /// The running hook failed, and the request passes all the same.
    pub(super) fn fails_open(&self, outcome: Outcome) {
        self.failed_open.set(Some(outcome));
    }

    /// The time, when calls are asked for.
    pub(super) fn clock(&self) -> Option<Instant> {
        self.calls.as_ref().map(|_| Instant::now())
    }

    /// A hook ended; tells the time.
    pub(super) fn note(
        &mut self,
        (position, phase): (usize, Phase),
        began: Instant,
        verdict: &Verdict,
        version: Option<Digest>,
    ) -> Instant {
        let now = Instant::now();
        let outcome = match (verdict, self.failed_open.take()) {
            (_, Some(outcome)) => outcome.name(),
            (Verdict::Next, None) => Outcome::Ok.name(),
            (Verdict::Respond(_), None) => Outcome::Respond.name(),
            (Verdict::Fail(error), None) => match &**error {
                FilterError::Failed { failure, .. } => Outcome::from(failure).name(),
                _ => Outcome::Error.name(),
            },
        };
        if let Some(calls) = &mut self.calls {
            let span = self.open_span.take().map(Box::new);
            calls.ended.push(Call { position, phase, began, took: now - began, outcome, version, span });
        }
        now
    }
}
