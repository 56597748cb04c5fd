//! A plugin on a route, as a filter: passes what the plugin asked for, carries out what it answers, and rules what its
//! failure means. What it does to bodies stands in `bodies` and `transform`.

mod bodies;
mod transform;

use std::sync::Arc;

use super::exchange::{Exchange, Origin};
use super::shadow::Shadow;
use super::{Filter, Flag, Step, Verdict, edits, trial, values};
use crate::heap::boxed;
use crate::plugin::{Attachment, Digest, Failure, FailureKind, Hook, Isolation, Lease, Side, types};

/// An attachment in a chain.
pub struct PluginFilter {
    name: Arc<str>,
    /// The plugin's place among the snapshot's, and so its lane's on each worker.
    place: usize,
    /// The attachment's place in the plugin's releases.
    slot: usize,
    policy: Policy,
}

/// What each kind of failure means; a limit that is hit is always closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    pub load: OnError,
    pub trap: OnError,
    pub deadline: OnError,
}

/// Whether the request ends or passes when its plugin fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    #[default]
    Closed,
    Open,
}

impl Policy {
    fn of(self, kind: FailureKind) -> OnError {
        match kind {
            FailureKind::Load => self.load,
            FailureKind::Trap => self.trap,
            FailureKind::Deadline => self.deadline,
            FailureKind::Limit => OnError::Closed,
        }
    }

    /// Whether any kind of failure lets the request pass.
    pub fn may_open(self) -> bool {
        [self.load, self.trap, self.deadline].contains(&OnError::Open)
    }

    /// Whether every kind that may does: only then may a breaker leave the plugin out.
    fn always_opens(self) -> bool {
        [self.load, self.trap, self.deadline].iter().all(|on_error| *on_error == OnError::Open)
    }
}

impl PluginFilter {
    pub fn new(name: Arc<str>, place: usize, slot: usize, policy: Policy) -> Self {
        Self { name, place, slot, policy }
    }

    /// `head` says whether the request hook is to be called; hooks that see bodies run in any case.
    async fn request(&self, exchange: &mut Exchange, side: Side, head: bool) -> Verdict {
        let verdict = if head { self.request_hook(exchange, &side).await } else { Verdict::Next };
        match verdict {
            Verdict::Next if side.attachment(self.slot).sees_request_bodies() => {
                Box::pin(self.request_body(exchange, &side)).await
            }
            verdict => verdict,
        }
    }

    async fn response(&self, exchange: &mut Exchange, side: Side, head: bool) -> Verdict {
        exchange.take_up_report();
        let verdict = if head { self.response_hook(exchange, &side).await } else { Verdict::Next };
        match verdict {
            Verdict::Next if side.attachment(self.slot).sees_response_bodies() => {
                Box::pin(self.response_body(exchange, &side)).await
            }
            verdict => verdict,
        }
    }

    async fn request_hook(&self, exchange: &mut Exchange, side: &Side) -> Verdict {
        // What a failed call has changed must not stay when the request passes all the same.
        let before = self.policy.may_open().then(|| Box::new(exchange.request_state()));
        let attachment = side.attachment(self.slot);
        match self.call_request(side, attachment, exchange).await {
            Ok(verdict) => {
                if let Verdict::Respond(reply) = &verdict
                    && (reply.status.is_client_error() || reply.status.is_server_error())
                {
                    exchange.flags.insert(Flag::PluginDenied);
                }
                self.passed(Hook::Request, side, verdict)
            }
            Err(failure) => {
                exchange.flags.insert(Flag::PluginError);
                if let Some(before) = before {
                    exchange.restore_request(*before);
                }
                self.failed(Hook::Request, side, failure, exchange)
            }
        }
    }

    async fn response_hook(&self, exchange: &mut Exchange, side: &Side) -> Verdict {
        let before = self.policy.may_open().then(|| Box::new(exchange.response_state()));
        let attachment = side.attachment(self.slot);
        match self.call_response(side, attachment, exchange).await {
            Ok(verdict) => self.passed(Hook::Response, side, verdict),
            Err(failure) => {
                exchange.flags.insert(Flag::PluginError);
                if let Some(before) = before {
                    exchange.restore_response(*before);
                }
                self.failed(Hook::Response, side, failure, exchange)
            }
        }
    }

    async fn call_request(
        &self,
        side: &Side,
        attachment: &Attachment,
        exchange: &mut Exchange,
    ) -> Result<Verdict, Failure> {
        let shadow = Shadow::of_request(self.place, self.slot, exchange);
        let mut lease = side.pool.check_out(attachment).await?;
        let verdict = {
            let view = values::view(attachment, exchange);
            let mut client = String::new();
            let values = values::of_request(attachment, exchange, &mut client);
            lease.on_request(attachment, values::request_head(&values), view, &exchange.guest_time).await?
        };
        let repeated = lease.take_repeated_in_request();
        self.release(lease, attachment, Hook::Request, exchange).await?;
        if let Some(shadow) = shadow {
            shadow.compare_request(&repeated, &verdict, exchange);
        }
        let limits = &attachment.declaration.limits;
        match verdict {
            types::RequestVerdict::Next(edits) => {
                edits::change_request(exchange, &repeated, edits, limits)?;
                Ok(Verdict::Next)
            }
            types::RequestVerdict::Respond(answer) => edits::reply(answer, limits.reply_bytes).map(Verdict::Respond),
        }
    }

    async fn call_response(
        &self,
        side: &Side,
        attachment: &Attachment,
        exchange: &mut Exchange,
    ) -> Result<Verdict, Failure> {
        let shadow = Shadow::of_response(self.place, self.slot, exchange);
        let mut lease = self.resume(side, attachment, exchange).await?;
        let verdict = {
            let view = values::view(attachment, exchange);
            let values = values::of_response(attachment, exchange);
            let head = values::response_head(exchange, &values);
            lease.on_response(attachment, head, view, &exchange.guest_time).await?
        };
        let repeated = lease.take_repeated_in_response();
        self.release(lease, attachment, Hook::Response, exchange).await?;
        if let Some(shadow) = shadow {
            shadow.compare_response(&repeated, &verdict, exchange);
        }
        let limits = &attachment.declaration.limits;
        match verdict {
            types::ResponseVerdict::Next(edits) => {
                edits::change_response(exchange, &repeated, edits, limits)?;
                Ok(Verdict::Next)
            }
            types::ResponseVerdict::Respond(answer) => edits::reply(answer, limits.reply_bytes).map(Verdict::Respond),
        }
    }

    /// The instance that the exchange holds for itself, or one from the pool.
    async fn resume(&self, side: &Side, attachment: &Attachment, exchange: &mut Exchange) -> Result<Lease, Failure> {
        match exchange.take_held() {
            Some(parked) => Ok(parked.resume()),
            None => side.pool.check_out(attachment).await,
        }
    }

    /// Gives the instance back after a hook, or keeps it for later hooks of the exchange when the plugin's isolation asks for that.
    async fn release(
        &self,
        lease: Lease,
        attachment: &Attachment,
        after: Hook,
        exchange: &mut Exchange,
    ) -> Result<(), Failure> {
        if attachment.declaration.isolation == Isolation::Shared {
            lease.check_in().await;
            return Ok(());
        }
        let later = IN_ORDER.iter().skip_while(|hook| **hook != after).skip(1);
        if later.into_iter().any(|hook| attachment.has(*hook)) {
            exchange.hold(lease.park().await?);
        }
        Ok(())
    }

    fn passed(&self, hook: Hook, side: &Side, verdict: Verdict) -> Verdict {
        if self.policy.always_opens() {
            side.pool.passed_open(hook);
        }
        verdict
    }

    fn failed(&self, hook: Hook, side: &Side, failure: Failure, exchange: &Exchange) -> Verdict {
        if self.policy.of(failure.kind()) == OnError::Closed {
            // `proxy/respond` logs it with the answer.
            return Verdict::Fail(self.failure(failure));
        }
        exchange.trail.fails_open((&failure).into());
        let plugin = self.name();
        let version = side.pool.declaration().version.digest().label();
        let request_id = exchange.request_id.to_str().unwrap_or_default();
        tracing::warn!(plugin, version, route = &*exchange.route, request_id, %failure, "a plugin failed open");
        if self.policy.always_opens() && side.pool.failed_open(hook) {
            tracing::warn!(plugin, version, "a plugin that fails open keeps failing: it is left out for a while");
        }
        Verdict::Next
    }

    /// Whether the hook has something to do here, and is not left out because it keeps failing.
    fn calls(&self, hook: Hook, side: &Side) -> bool {
        side.attachment(self.slot).has(hook) && (!self.policy.always_opens() || side.pool.admits(hook))
    }
}

impl Filter for PluginFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self, exchange: &Exchange) -> Option<Digest> {
        let lane = exchange.lanes.get(self.place)?;
        let side = lane.side(exchange.chosen(self.place).unwrap_or(false));
        Some(side.version().digest())
    }

    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let is_for_trial = trial::is_for_trial(self.place, exchange);
        let side = exchange.lanes[self.place].side(is_for_trial);
        match (self.calls(Hook::Request, side), side.attachment(self.slot).sees_request_bodies()) {
            (false, false) => Step::Done(Verdict::Next),
            (head, _) => {
                let side = side.clone();
                Step::Later(Box::into_pin(boxed(|| self.request(exchange, side, head))))
            }
        }
    }

    fn on_response<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a> {
        let is_for_trial = trial::is_for_trial(self.place, exchange);
        let side = exchange.lanes[self.place].side(is_for_trial);
        match (self.calls(Hook::Response, side), side.attachment(self.slot).sees_response_bodies()) {
            (false, false) => Step::Done(Verdict::Next),
            (head, _) => {
                let side = side.clone();
                Step::Later(Box::into_pin(boxed(|| self.response(exchange, side, head))))
            }
        }
    }
}

impl From<Origin> for types::Origin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Upstream => Self::Upstream,
            Origin::Filter => Self::Filter,
            Origin::Gateway => Self::Gateway,
        }
    }
}

/// The hooks that run one after the other. That over the request's body has an instance of its own: the response's hooks may
/// run before it is done.
const IN_ORDER: [Hook; 5] =
    [Hook::Request, Hook::WholeRequest, Hook::Response, Hook::WholeResponse, Hook::ResponseBody];

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what an asynchronous function returns. It is never called.
    fn future_bytes<'f, F: Future>(_: fn(&'f PluginFilter, &'f mut Exchange, Side, bool) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_hook_takes_little_room() {
        // Each call of a hook moves it to the heap.
        let (request, response) = (future_bytes(PluginFilter::request), future_bytes(PluginFilter::response));
        assert!(request <= HOOK_BYTES_MAX && response <= HOOK_BYTES_MAX, "{request} and {response} bytes");
    }

    const HOOK_BYTES_MAX: usize = 1600;
}
