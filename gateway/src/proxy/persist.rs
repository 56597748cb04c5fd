//! Trying again: until a try brings an answer that is worth passing on, or the rules of the upstream say that it is enough.
//!
//! Nothing is tried again once a response's head went on to the client.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::time::{Instant, Sleep, sleep};

use super::forward::{Cause, Lost, Way, upstream_request};
use super::respond::ProxyError;
use crate::filter::Exchange;
use crate::message::{Body, Replay};
use crate::upstream::{Hedge, Retries, RetryOutcome, Sent};

/// Sends the exchange's request as often as it takes and the rules allow.
pub(super) async fn persist(way: &Way<'_>, rules: &Retries, exchange: &mut Exchange) -> Result<Sent, ProxyError> {
    way.upstream.budget.deposit();
    let body = Source::new(std::mem::take(&mut exchange.request_body), rules.body_bytes_max);
    let mut tries = Tries { way, rules, exchange, body, tried: SmallVec::new() };
    let mut retry = 0;
    loop {
        let outcome = tries.round().await;
        if retry > 0 {
            let is_good = outcome.as_ref().is_ok_and(|sent| !tries.is_bad(sent));
            way.upstream.budget.count(if is_good { RetryOutcome::Success } else { RetryOutcome::Failed });
        }
        let wait = rules.wait(retry);
        if retry == rules.attempts || !tries.may_go_on(&outcome, wait) {
            return outcome.map_err(|lost| lost.error);
        }
        match outcome {
            Ok(sent) => sent.discard(way.upstream.transport.timeouts.per_try),
            Err(lost) => tries.body.restore(lost.unsent),
        }
        sleep(wait).await;
        retry += 1;
    }
}

/// The tries of one request.
struct Tries<'t> {
    way: &'t Way<'t>,
    rules: &'t Retries,
    exchange: &'t Exchange,
    body: Source,
    /// The endpoints that were tried.
    tried: SmallVec<[usize; 4]>,
}

/// A try that is under way.
type Try<'t> = Pin<Box<dyn Future<Output = Result<Sent, Box<Lost>>> + 't>>;

impl<'t> Tries<'t> {
    /// One try, and the hedges beside it.
    async fn round(&mut self) -> Result<Sent, Box<Lost>> {
        let mut running: SmallVec<[Try<'t>; 2]> = SmallVec::new();
        running.push(self.begin()?);
        let Some(hedge) = self.rules.hedge.filter(|_| self.may_hedge()) else {
            return first_of(&mut running, None).await.unwrap_or_else(|| Err(no_endpoint()));
        };
        let mut hedges = 0;
        let mut alarm = self.alarm(hedge, hedges);
        loop {
            let Some(outcome) = first_of(&mut running, alarm.as_mut()).await else {
                if self.body.is_whole() {
                    // A hedge is a further try, and the budget pays for it.
                    if !self.way.upstream.budget.withdraw(self.rules.budget) {
                        alarm = None;
                        continue;
                    }
                    running.push(self.begin()?);
                    hedges += 1;
                }
                alarm = if self.body.can_repeat() { self.alarm(hedge, hedges) } else { None };
                continue;
            };
            let is_good = outcome.as_ref().is_ok_and(|sent| !self.is_bad(sent));
            if is_good || running.is_empty() {
                self.count_hedges(hedges, is_good);
                return outcome;
            }
            // Another may do better.
            if let Ok(sent) = outcome {
                sent.discard(self.way.upstream.transport.timeouts.per_try);
            }
        }
    }

    fn begin(&mut self) -> Result<Try<'t>, Box<Lost>> {
        let endpoint = self.way.pick(&self.tried).ok_or_else(no_endpoint)?;
        self.tried.push(endpoint);
        let (way, exchange) = (self.way, self.exchange);
        let request = |body| upstream_request(way.upstream, exchange, exchange.headers.clone(), body);
        let first: Request<Body> = request(self.body.take());
        let second = self.body.again();
        let again = move || second.filter(Source::can_repeat).map(|mut second| request(second.take()));
        Ok(Box::pin(way.attempt(endpoint, first, again, exchange)))
    }

    /// A hedge says the request twice at a time: it has to be one that may be said twice, and all there once it is time.
    fn may_hedge(&self) -> bool {
        self.rules.admits_method(&self.exchange.method) && self.body.can_repeat()
    }

    fn alarm(&self, hedge: Hedge, hedges: u32) -> Option<Pin<Box<Sleep>>> {
        (hedges < hedge.tries_max).then(|| Box::pin(sleep(hedge.after)))
    }

    fn count_hedges(&self, hedges: u32, is_good: bool) {
        // Which of them it was is not asked: it was worth it, or it was not.
        for _ in 0..hedges {
            let outcome = if is_good { RetryOutcome::Success } else { RetryOutcome::Failed };
            self.way.upstream.budget.count(outcome);
        }
    }

    fn is_bad(&self, sent: &Sent) -> bool {
        self.rules.statuses.contains(&sent.response.status())
    }

    /// Whether the rules, the request, the time and, asked last because that takes from it, the budget allow another try.
    fn may_go_on(&self, outcome: &Result<Sent, Box<Lost>>, wait: Duration) -> bool {
        let rules = self.rules;
        let may_repeat = rules.admits_method(&self.exchange.method) && self.body.can_repeat();
        let is_unsent = outcome.as_ref().is_err_and(|lost| lost.unsent.is_some());
        let has_body = is_unsent || self.body.can_repeat();
        let is_worth_it = match outcome {
            Ok(sent) => self.is_bad(sent) && may_repeat,
            Err(lost) => match lost.cause {
                Cause::ConnectFailure => rules.on_connect_failure && has_body,
                Cause::Unprocessed => rules.on_reset && has_body,
                Cause::Reset => rules.on_reset && may_repeat,
                Cause::Timeout => rules.on_timeout && may_repeat,
                Cause::Final => false,
            },
        };
        is_worth_it && Instant::now() + wait < self.exchange.deadline && self.way.upstream.budget.withdraw(rules.budget)
    }
}

/// The request's body, for as many tries as it lasts.
enum Source {
    Empty,
    /// One that is too long to be kept.
    Once(Body),
    Kept(Replay),
}

impl Source {
    fn new(body: Body, bytes_max: usize) -> Self {
        let is_short = body.size_hint().lower() <= bytes_max as u64;
        match body {
            body if body.is_end_stream() => Self::Empty,
            body if is_short => Self::Kept(Replay::new(body, bytes_max)),
            body => Self::Once(body),
        }
    }

    /// The body for the next try.
    fn take(&mut self) -> Body {
        match self {
            Self::Empty => Body::Empty,
            Self::Once(body) => std::mem::take(body),
            Self::Kept(replay) => replay.body().unwrap_or_default(),
        }
    }

    /// The same body for a try that is said again; `None` when it lasts for one only.
    fn again(&self) -> Option<Self> {
        match self {
            Self::Empty => Some(Self::Empty),
            Self::Once(_) => None,
            Self::Kept(replay) => Some(Self::Kept(replay.clone())),
        }
    }

    /// Puts the body of a request back that was never sent.
    fn restore(&mut self, unsent: Option<Box<Request<Body>>>) {
        if let (Self::Once(body), Some(unsent)) = (self, unsent) {
            *body = unsent.into_body();
        }
    }

    fn can_repeat(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Kept(replay) => replay.can_repeat(),
        }
    }

    fn is_whole(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Once(_) => false,
            Self::Kept(replay) => replay.is_whole(),
        }
    }
}

/// The first of the tries that ends; `None` when the alarm comes first.
async fn first_of(
    running: &mut SmallVec<[Try<'_>; 2]>,
    mut alarm: Option<&mut Pin<Box<Sleep>>>,
) -> Option<Result<Sent, Box<Lost>>> {
    std::future::poll_fn(|context| {
        for at in 0..running.len() {
            if let Poll::Ready(outcome) = running[at].as_mut().poll(context) {
                drop(running.remove(at));
                return Poll::Ready(Some(outcome));
            }
        }
        match &mut alarm {
            Some(alarm) => alarm.as_mut().poll(context).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

fn no_endpoint() -> Box<Lost> {
    Box::new(Lost { error: ProxyError::NoEndpoint, cause: Cause::Final, unsent: None })
}
