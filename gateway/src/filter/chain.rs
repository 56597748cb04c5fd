//! Filter chain: request hooks in order, response hooks in reverse.

use std::sync::Arc;

use tokio::time::Instant;

use super::exchange::{Exchange, Reply};
use super::trail::Phase;
use super::{Filter, FilterError, Step, Verdict};

/// The filters of one route.
#[derive(Clone, Default)]
pub struct Chain {
    filters: Arc<[Arc<dyn Filter>]>,
}

/// How the request hooks ended, and how many ran: that many response hooks are due.
pub enum RequestEnd {
    Passed { ran: usize },
    Answered { reply: Box<Reply>, ran: usize },
    Failed { error: Box<FilterError>, ran: usize },
}

impl Chain {
    pub fn new(filters: Vec<Arc<dyn Filter>>) -> Self {
        Self { filters: filters.into() }
    }

    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// The name of the filter at this position.
    pub fn name(&self, position: usize) -> &str {
        self.filters.get(position).map_or("", |filter| filter.name())
    }

    /// The names of its filters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|filter| filter.name())
    }

    /// Runs the request hooks until one answers or fails.
    pub async fn on_request(&self, exchange: &mut Exchange) -> RequestEnd {
        let mut clock = exchange.trail.clock();
        for (position, filter) in self.filters.iter().enumerate() {
            exchange.position = position;
            let ran = position + 1;
            let verdict = resolve(filter.on_request(exchange)).await;
            note(&mut clock, Phase::Request, &**filter, exchange, &verdict);
            match verdict {
                Verdict::Next => {}
                Verdict::Respond(reply) => return RequestEnd::Answered { reply, ran },
                Verdict::Fail(error) => return RequestEnd::Failed { error, ran },
            }
        }
        RequestEnd::Passed { ran: self.filters.len() }
    }

    /// Runs the response hooks of the first `ran` filters, last first. A hook that answers or fails changes what the
    /// hooks before it see: `replace` puts its answer in place of the response.
    pub async fn on_response(
        &self,
        exchange: &mut Exchange,
        ran: usize,
        mut replace: impl FnMut(&mut Exchange, Result<Box<Reply>, Box<FilterError>>),
    ) {
        let mut clock = exchange.trail.clock();
        for position in (0..ran).rev() {
            exchange.position = position;
            let verdict = resolve(self.filters[position].on_response(exchange)).await;
            note(&mut clock, Phase::Response, &*self.filters[position], exchange, &verdict);
            match verdict {
                Verdict::Next => {}
                Verdict::Respond(reply) => replace(exchange, Ok(reply)),
                Verdict::Fail(error) => replace(exchange, Err(error)),
            }
        }
    }
}

/// Notes a call, where somebody asked for calls: each begins when the one before it ends.
fn note(clock: &mut Option<Instant>, phase: Phase, filter: &dyn Filter, exchange: &mut Exchange, verdict: &Verdict) {
    if let Some(began) = clock {
        let version = filter.version(exchange);
        *began = exchange.trail.note((exchange.position, phase), *began, verdict, version);
    }
}

async fn resolve(step: Step<'_>) -> Verdict {
    match step {
        Step::Done(verdict) => verdict,
        Step::Later(verdict) => verdict.await,
    }
}
