//! Filter chain: request hooks in order, response hooks in reverse.

use std::sync::Arc;

use super::exchange::{Exchange, Reply};
use super::{Filter, FilterError, Step, Verdict};

/// The filters of one route.
#[derive(Clone, Default)]
pub struct Chain {
    filters: Arc<[Arc<dyn Filter>]>,
}

/// How the request hooks ended, and how many ran: that many response hooks are due.
pub enum RequestEnd {
    Passed { ran: usize },
    Answered { reply: Reply, ran: usize },
    Failed { error: FilterError, ran: usize },
}

impl Chain {
    pub fn new(filters: Vec<Arc<dyn Filter>>) -> Self {
        Self { filters: filters.into() }
    }

    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The names of its filters, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|filter| filter.name())
    }

    /// Runs the request hooks until one answers or fails.
    pub async fn on_request(&self, exchange: &mut Exchange) -> RequestEnd {
        for (position, filter) in self.filters.iter().enumerate() {
            exchange.position = position;
            let ran = position + 1;
            match resolve(filter.on_request(exchange)).await {
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
        mut replace: impl FnMut(&mut Exchange, Result<Reply, FilterError>),
    ) {
        for position in (0..ran).rev() {
            exchange.position = position;
            match resolve(self.filters[position].on_response(exchange)).await {
                Verdict::Next => {}
                Verdict::Respond(reply) => replace(exchange, Ok(reply)),
                Verdict::Fail(error) => replace(exchange, Err(error)),
            }
        }
    }
}

async fn resolve(step: Step<'_>) -> Verdict {
    match step {
        Step::Done(verdict) => verdict,
        Step::Later(verdict) => verdict.await,
    }
}
