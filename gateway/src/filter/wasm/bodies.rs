//! What a plugin does to bodies: collects one whole and shows it to the plugin, or sends it through the plugin's transform.
//!
//! Body hooks never fail open: who lost half a body has nothing left to pass on.

use std::mem;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body as _;
use tokio::time::{Instant, timeout_at};

use super::PluginFilter;
use super::transform::{Direction, Source, Transformed};
use crate::filter::exchange::Exchange;
use crate::filter::report::BrokenOff;
use crate::filter::{Filter as _, FilterError, Verdict, edits, values};
use crate::message::{Body, BodyError, CollectError, WholeBody, forget_old_body};
use crate::plugin::body_types::{WholeRequestVerdict, WholeResponseVerdict};
use crate::plugin::{Attachment, Failure, Hook, Repeated, Side, types};

impl PluginFilter {
    /// Runs the hooks that see the request's body; the request hook let it pass.
    pub(super) async fn request_body(&self, exchange: &mut Exchange, side: &Side) -> Verdict {
        if side.attachment(self.slot).has(Hook::WholeRequest) {
            match self.whole_request(exchange, side).await {
                Ok(Verdict::Next) => {}
                Ok(verdict) => return verdict,
                Err(error) => return Verdict::Fail(error),
            }
        }
        if side.attachment(self.slot).has(Hook::RequestBody)
            && !exchange.request_body.is_end_stream()
            && let Err(failure) = self.open_request_body(exchange, side).await
        {
            return Verdict::Fail(self.failure(failure));
        }
        Verdict::Next
    }

    /// Runs the hooks that see the response's body; the response hook let it pass.
    pub(super) async fn response_body(&self, exchange: &mut Exchange, side: &Side) -> Verdict {
        if !may_have_body(&exchange.method, exchange.response.status) {
            return Verdict::Next;
        }
        if side.attachment(self.slot).has(Hook::WholeResponse) {
            match self.whole_response(exchange, side).await {
                Ok(Verdict::Next) => {}
                Ok(verdict) => return verdict,
                Err(error) => return Verdict::Fail(error),
            }
        }
        if side.attachment(self.slot).has(Hook::ResponseBody)
            && !exchange.response_body.is_end_stream()
            && let Err(failure) = self.open_response_body(exchange, side).await
        {
            return Verdict::Fail(self.failure(failure));
        }
        Verdict::Next
    }

    /// Collects the request's body, and asks the plugin about it.
    async fn whole_request(&self, exchange: &mut Exchange, side: &Side) -> Result<Verdict, Box<FilterError>> {
        let attachment = side.attachment(self.slot);
        let body = mem::take(&mut exchange.request_body);
        let had_none = body.is_end_stream();
        let bytes_max = bytes_max(attachment, attachment.setup.buffer_request_bytes);
        let mut whole = match collect(body, bytes_max, exchange.deadline).await {
            Ok(whole) => whole,
            Err(error) => return self.uncollected(error, exchange),
        };
        let called = self.call_whole_request(exchange, side, &whole).await;
        let limits = &attachment.declaration.limits;
        let carry_out = |exchange: &mut Exchange| match called? {
            (repeated, WholeRequestVerdict::Next((edits, replaced))) => {
                let untouched = had_none && replaced.is_none();
                replace(&mut whole, replaced, &mut exchange.headers);
                edits::change_request(exchange, &repeated, edits, limits)?;
                if !untouched {
                    exchange.request_body = whole.send_on(&mut exchange.headers);
                }
                Ok(Verdict::Next)
            }
            (_, WholeRequestVerdict::Respond(answer)) => edits::reply(answer, limits.reply_bytes).map(Verdict::Respond),
        };
        carry_out(exchange).map_err(|failure| self.failure(failure))
    }

    async fn call_whole_request(
        &self,
        exchange: &mut Exchange,
        side: &Side,
        whole: &WholeBody,
    ) -> Result<(Repeated<types::RequestEdit>, WholeRequestVerdict), Failure> {
        let attachment = side.attachment(self.slot);
        let mut lease = self.resume(side, attachment, exchange).await?;
        let verdict = {
            let view = values::view(attachment, exchange);
            let mut client = String::new();
            let values = values::of_request(attachment, exchange, &mut client);
            let (head, time) = (values::request_head(&values), &exchange.guest_time);
            lease.on_whole_request(attachment, head, &whole.bytes, view, time).await?
        };
        let repeated = lease.take_repeated_in_request();
        self.release(lease, attachment, Hook::WholeRequest, exchange).await?;
        Ok((repeated, verdict))
    }

    /// Collects the response's body, and asks the plugin about it.
    async fn whole_response(&self, exchange: &mut Exchange, side: &Side) -> Result<Verdict, Box<FilterError>> {
        let attachment = side.attachment(self.slot);
        let body = mem::take(&mut exchange.response_body);
        let bytes_max = bytes_max(attachment, attachment.setup.buffer_response_bytes);
        let collected = collect(body, bytes_max, exchange.deadline).await;
        let mut whole =
            collected.map_err(|error| FilterError::ResponseBody { filter: self.name().to_owned(), error })?;
        let called = self.call_whole_response(exchange, side, &whole).await;
        let limits = &attachment.declaration.limits;
        let carry_out = |exchange: &mut Exchange| match called? {
            (repeated, WholeResponseVerdict::Next((edits, replaced))) => {
                replace(&mut whole, replaced, &mut exchange.response.headers);
                edits::change_response(exchange, &repeated, edits, limits)?;
                exchange.response_body = whole.send_on(&mut exchange.response.headers);
                Ok(Verdict::Next)
            }
            (_, WholeResponseVerdict::Respond(answer)) => {
                edits::reply(answer, limits.reply_bytes).map(Verdict::Respond)
            }
        };
        carry_out(exchange).map_err(|failure| self.failure(failure))
    }

    async fn call_whole_response(
        &self,
        exchange: &mut Exchange,
        side: &Side,
        whole: &WholeBody,
    ) -> Result<(Repeated<types::ResponseEdit>, WholeResponseVerdict), Failure> {
        let attachment = side.attachment(self.slot);
        let mut lease = self.resume(side, attachment, exchange).await?;
        let verdict = {
            let view = values::view(attachment, exchange);
            let values = values::of_response(attachment, exchange);
            let (head, time) = (values::response_head(exchange, &values), &exchange.guest_time);
            lease.on_whole_response(attachment, head, &whole.bytes, view, time).await?
        };
        let repeated = lease.take_repeated_in_response();
        self.release(lease, attachment, Hook::WholeResponse, exchange).await?;
        Ok((repeated, verdict))
    }

    /// Puts the plugin's transform around the request's body, unless the plugin declines.
    async fn open_request_body(&self, exchange: &mut Exchange, side: &Side) -> Result<(), Failure> {
        let attachment = side.attachment(self.slot);
        // One of its own even where each request has one instance: the response hook may run before the body is over.
        let lease = side.pool.check_out(attachment).await?;
        let opened = {
            let view = values::view(attachment, exchange);
            let mut client = String::new();
            let values = values::of_request(attachment, exchange, &mut client);
            let (head, time) = (values::request_head(&values), &exchange.guest_time);
            lease.open_request_body(attachment, head, view, time).await?
        };
        let Some(transform) = opened else { return Ok(()) };
        let direction = Direction::Up { report: exchange.body_report(), position: exchange.position };
        // What comes of it is not known yet, and so goes in chunks.
        exchange.headers.remove(CONTENT_LENGTH);
        let body = mem::take(&mut exchange.request_body);
        exchange.request_body = Transformed::around(body, transform, direction, self.source(exchange, side));
        Ok(())
    }

    async fn open_response_body(&self, exchange: &mut Exchange, side: &Side) -> Result<(), Failure> {
        let attachment = side.attachment(self.slot);
        let lease = self.resume(side, attachment, exchange).await?;
        let opened = {
            let view = values::view(attachment, exchange);
            let values = values::of_response(attachment, exchange);
            let (head, time) = (values::response_head(exchange, &values), &exchange.guest_time);
            lease.open_response_body(attachment, head, view, time).await?
        };
        let Some(transform) = opened else { return Ok(()) };
        exchange.response.headers.remove(CONTENT_LENGTH);
        let body = mem::take(&mut exchange.response_body);
        exchange.response_body = Transformed::around(body, transform, Direction::Down, self.source(exchange, side));
        Ok(())
    }

    /// The request's body could not be had. A filter before this one may have wanted just that.
    fn uncollected(&self, error: CollectError, exchange: &mut Exchange) -> Result<Verdict, Box<FilterError>> {
        match exchange.take_broken_off() {
            Some(BrokenOff::Answered(reply)) => Ok(Verdict::Respond(reply)),
            Some(BrokenOff::Failed(error)) => Err(error),
            None => Err(Box::new(FilterError::RequestBody { filter: self.name().to_owned(), error })),
        }
    }

    fn source(&self, exchange: &Exchange, side: &Side) -> Source {
        Source {
            plugin: self.name.clone(),
            route: exchange.route.clone(),
            request_id: exchange.request_id.clone(),
            reply_bytes_max: side.pool.declaration().limits.reply_bytes,
        }
    }

    pub(super) fn failure(&self, failure: Failure) -> Box<FilterError> {
        Box::new(FilterError::Failed { filter: self.name().to_owned(), failure })
    }
}

/// The largest body that is collected: what the plugin asked for, as far as the operator allows it.
fn bytes_max(attachment: &Attachment, asked: Option<u32>) -> usize {
    let asked = asked.map_or(WHOLE_BYTES_DEFAULT, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    asked.min(attachment.declaration.limits.body_bytes)
}

async fn collect(body: Body, bytes_max: usize, deadline: Instant) -> Result<WholeBody, CollectError> {
    if body.is_end_stream() {
        return Ok(WholeBody::default());
    }
    timeout_at(deadline, WholeBody::collect(body, bytes_max)).await.unwrap_or(Err(BodyError::Late.into()))
}

/// Puts the new body, if there is one, in the place of the old, under a head that says nothing false about it.
fn replace(whole: &mut WholeBody, replaced: Option<Vec<u8>>, headers: &mut HeaderMap) {
    if let Some(bytes) = replaced {
        whole.bytes = bytes.into();
        forget_old_body(headers);
    }
}

/// RFC 9110 §6.4.1.
fn may_have_body(method: &Method, status: StatusCode) -> bool {
    *method != Method::HEAD && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What is collected for a plugin that does not say how much it takes.
const WHOLE_BYTES_DEFAULT: usize = 64 << 10;
