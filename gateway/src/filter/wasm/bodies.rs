//! What a plugin does to bodies: collects one whole and shows it to the plugin, or sends it through the plugin's transform.
//!
//! Body hooks never fail open: who lost half a body has nothing left to pass on.

use std::mem;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::transform::{Direction, Source, Transformed};
use super::{PluginFilter, apply_request_edit, apply_response_edit, reply, request_head, response_head};
use crate::filter::exchange::{BrokenOff, Exchange};
use crate::filter::{Filter as _, FilterError, Verdict};
use crate::message::{Body, BodyError, CollectError, WholeBody, forget_old_body};
use crate::plugin::body_types::{WholeRequestVerdict, WholeResponseVerdict};
use crate::plugin::{Failure, Hook};

impl PluginFilter {
    /// Runs the hooks that see the request's body; the request hook let it pass.
    pub(super) async fn request_body(&self, exchange: &mut Exchange) -> Verdict {
        let version = &self.attachment.declaration.version;
        if version.has(Hook::WholeRequest) {
            match self.whole_request(exchange).await {
                Ok(Verdict::Next) => {}
                Ok(verdict) => return verdict,
                Err(error) => return Verdict::Fail(error),
            }
        }
        if version.has(Hook::RequestBody)
            && !exchange.request_body.is_end_stream()
            && let Err(failure) = self.open_request_body(exchange).await
        {
            return Verdict::Fail(self.failure(failure));
        }
        Verdict::Next
    }

    /// Runs the hooks that see the response's body; the response hook let it pass.
    pub(super) async fn response_body(&self, exchange: &mut Exchange) -> Verdict {
        if !may_have_body(&exchange.method, exchange.response.status) {
            return Verdict::Next;
        }
        let version = &self.attachment.declaration.version;
        if version.has(Hook::WholeResponse) {
            match self.whole_response(exchange).await {
                Ok(Verdict::Next) => {}
                Ok(verdict) => return verdict,
                Err(error) => return Verdict::Fail(error),
            }
        }
        if version.has(Hook::ResponseBody)
            && !exchange.response_body.is_end_stream()
            && let Err(failure) = self.open_response_body(exchange).await
        {
            return Verdict::Fail(self.failure(failure));
        }
        Verdict::Next
    }

    async fn whole_request(&self, exchange: &mut Exchange) -> Result<Verdict, FilterError> {
        let body = mem::take(&mut exchange.request_body);
        let had_none = body.is_end_stream();
        let whole = match collect(body, self.bytes_max(Hook::WholeRequest), exchange.deadline).await {
            Ok(whole) => whole,
            Err(error) => return self.uncollected(error, exchange),
        };
        let verdict = {
            let mut client = None;
            let values = self.request_values(exchange, &mut client);
            let (head, view) = (request_head(&values), self.view(exchange));
            let pool = &exchange.pools[self.pool];
            pool.on_whole_request(&self.attachment, head, &whole.bytes, view.as_ref()).await
        };
        let carry_out = |exchange: &mut Exchange| match verdict? {
            WholeRequestVerdict::Next((edits, replaced)) => {
                let untouched = had_none && replaced.is_none();
                let whole = replace(whole, replaced, &mut exchange.headers);
                edits.into_iter().try_for_each(|edit| apply_request_edit(exchange, edit))?;
                if !untouched {
                    exchange.request_body = whole.send_on(&mut exchange.headers);
                }
                Ok(Verdict::Next)
            }
            WholeRequestVerdict::Respond(answer) => reply(answer).map(Verdict::Respond),
        };
        carry_out(exchange).map_err(|failure| self.failure(failure))
    }

    async fn whole_response(&self, exchange: &mut Exchange) -> Result<Verdict, FilterError> {
        let body = mem::take(&mut exchange.response_body);
        let whole = collect(body, self.bytes_max(Hook::WholeResponse), exchange.deadline).await;
        let whole = whole.map_err(|error| FilterError::ResponseBody { filter: self.name().to_owned(), error })?;
        let verdict = {
            let values = self.response_values(exchange);
            let (head, view) = (response_head(exchange, &values), self.view(exchange));
            let pool = &exchange.pools[self.pool];
            pool.on_whole_response(&self.attachment, head, &whole.bytes, view.as_ref()).await
        };
        let carry_out = |exchange: &mut Exchange| match verdict? {
            WholeResponseVerdict::Next((edits, replaced)) => {
                let whole = replace(whole, replaced, &mut exchange.response.headers);
                edits.into_iter().try_for_each(|edit| apply_response_edit(exchange, edit))?;
                exchange.response_body = whole.send_on(&mut exchange.response.headers);
                Ok(Verdict::Next)
            }
            WholeResponseVerdict::Respond(answer) => reply(answer).map(Verdict::Respond),
        };
        carry_out(exchange).map_err(|failure| self.failure(failure))
    }

    /// Puts the plugin's transform around the request's body, unless the plugin declines.
    async fn open_request_body(&self, exchange: &mut Exchange) -> Result<(), Failure> {
        let opened = {
            let mut client = None;
            let values = self.request_values(exchange, &mut client);
            let view = self.view(exchange);
            let pool = &exchange.pools[self.pool];
            pool.open_request_body(&self.attachment, request_head(&values), view.as_ref()).await?
        };
        let Some(parked) = opened else { return Ok(()) };
        let direction = Direction::Up { report: exchange.body_report(), position: exchange.position };
        // What comes of it is not known yet, and so goes in chunks.
        exchange.headers.remove(CONTENT_LENGTH);
        let body = mem::take(&mut exchange.request_body);
        exchange.request_body = Transformed::around(body, parked, direction, self.source(exchange));
        Ok(())
    }

    async fn open_response_body(&self, exchange: &mut Exchange) -> Result<(), Failure> {
        let opened = {
            let values = self.response_values(exchange);
            let view = self.view(exchange);
            let pool = &exchange.pools[self.pool];
            pool.open_response_body(&self.attachment, response_head(exchange, &values), view.as_ref()).await?
        };
        let Some(parked) = opened else { return Ok(()) };
        exchange.response.headers.remove(CONTENT_LENGTH);
        let body = mem::take(&mut exchange.response_body);
        exchange.response_body = Transformed::around(body, parked, Direction::Down, self.source(exchange));
        Ok(())
    }

    /// The request's body could not be had. A filter before this one may have wanted just that.
    fn uncollected(&self, error: CollectError, exchange: &mut Exchange) -> Result<Verdict, FilterError> {
        match exchange.take_broken_off() {
            Some(BrokenOff::Answered(reply)) => Ok(Verdict::Respond(reply)),
            Some(BrokenOff::Failed(error)) => Err(error),
            None => Err(FilterError::RequestBody { filter: self.name().to_owned(), error }),
        }
    }

    /// The largest body that is collected: what the plugin asked for, as far as the operator allows it.
    fn bytes_max(&self, hook: Hook) -> usize {
        let setup = &self.attachment.setup;
        let asked = if hook == Hook::WholeRequest { setup.buffer_request_bytes } else { setup.buffer_response_bytes };
        let asked = asked.map_or(WHOLE_BYTES_DEFAULT, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        asked.min(self.attachment.declaration.limits.body_bytes)
    }

    fn source(&self, exchange: &Exchange) -> Source {
        Source {
            plugin: self.attachment.declaration.name.clone(),
            route: exchange.route.clone(),
            request_id: exchange.request_id.clone(),
        }
    }

    fn failure(&self, failure: Failure) -> FilterError {
        FilterError::Failed { filter: self.name().to_owned(), failure }
    }
}

async fn collect(body: Body, bytes_max: usize, deadline: Instant) -> Result<WholeBody, CollectError> {
    if body.is_end_stream() {
        return Ok(WholeBody::default());
    }
    timeout_at(deadline, WholeBody::collect(body, bytes_max)).await.unwrap_or(Err(BodyError::Late.into()))
}

/// The body that goes on, under a head that says nothing false about it.
fn replace(whole: WholeBody, replaced: Option<Vec<u8>>, headers: &mut HeaderMap) -> WholeBody {
    let Some(bytes) = replaced else { return whole };
    forget_old_body(headers);
    WholeBody { bytes: bytes.into(), ..whole }
}

/// RFC 9110 §6.4.1.
fn may_have_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What is collected for a plugin that does not say how much it takes.
const WHOLE_BYTES_DEFAULT: usize = 64 << 10;
