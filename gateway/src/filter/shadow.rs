//! Shadow runs: a version on trial gets copies of heads, and what it says is compared and thrown away.
//!
//! The copy is made before the version that serves is called, because its edits change the original; the shadow runs after
//! it, as a task of its own, so that no request waits for it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::exchange::Exchange;
use super::values;
use crate::plugin::{
    Attachment, Comparison, Failure, GuestTime, Hook, Lane, Remembered, Repeated, Side, TrialMode, View, types,
};

/// A copy of what a hook was about to see, for the version on trial.
pub(super) struct Shadow {
    side: Side,
    attachment: Arc<Attachment>,
    values: Vec<(u16, Vec<u8>)>,
    view: View,
    /// Status and maker of a response.
    response: Option<(u16, types::Origin)>,
    kept: Kept,
}

/// What a shadow's request hook kept for its response hook: `None` until it has run.
pub(super) type Kept = Rc<RefCell<Option<Option<Vec<u8>>>>>;

impl Shadow {
    /// Boxed, because it is rare, and takes no room in the future of every hook then. `None` when no version runs in the shadow of this plugin, or the one that does has no request hook.
    pub(super) fn of_request(place: usize, slot: usize, exchange: &mut Exchange) -> Option<Box<Self>> {
        let lanes = exchange.lanes.clone();
        let (side, attachment) = trial(&lanes[place], slot, Hook::Request)?;
        let mut client = String::new();
        let values = owned(&values::of_request(attachment, exchange, &mut client));
        let view = values::view(attachment, exchange).muted();
        let kept = Kept::default();
        exchange.shadow_kept.push((exchange.position, kept.clone()));
        let (side, attachment) = (side.clone(), attachment.clone());
        Some(Box::new(Self { side, attachment, values, view, response: None, kept }))
    }

    /// As [`Self::of_request`]; `None`, too, when the shadow's request hook has not told what it keeps.
    pub(super) fn of_response(place: usize, slot: usize, exchange: &Exchange) -> Option<Box<Self>> {
        let (side, attachment) = trial(&exchange.lanes[place], slot, Hook::Response)?;
        let position = exchange.position;
        let kept = exchange.shadow_kept.iter().find(|(at, _)| *at == position).map(|(_, kept)| kept.clone());
        let has_request_hook = attachment.has(Hook::Request);
        let kept = match kept {
            Some(kept) if kept.borrow().is_some() => kept,
            None if !has_request_hook => Kept::default(),
            _ => return None,
        };
        let response = (exchange.response.status.as_u16(), exchange.response.origin.into());
        Some(Box::new(Self {
            side: side.clone(),
            attachment: attachment.clone(),
            values: owned(&values::of_response(attachment, exchange)),
            view: values::view(attachment, exchange).muted(),
            response: Some(response),
            kept,
        }))
    }

    /// Runs the request hook, and compares its verdict with that of the version that serves.
    pub(super) fn compare_request(
        self,
        repeated: &Repeated<types::RequestEdit>,
        served: &types::RequestVerdict,
        exchange: &Exchange,
    ) {
        let served = comparable_request(repeated, served.clone()).0;
        self.spawn(exchange, async move |shadow: &Self, time: &GuestTime| {
            let mut lease = shadow.side.pool.check_out(&shadow.attachment).await?;
            let values: Vec<(u16, &[u8])> = shadow.values.iter().map(|(key, value)| (*key, &value[..])).collect();
            let head = types::RequestHead { values: (!values.is_empty()).then_some(&values[..]) };
            let verdict = lease.on_request(&shadow.attachment, head, shadow.view.clone(), time).await?;
            let repeated = lease.take_repeated_in_request();
            lease.check_in().await;
            let (verdict, kept) = comparable_request(&repeated, verdict);
            *shadow.kept.borrow_mut() = Some(kept);
            Ok(verdict == served)
        });
    }

    /// As [`Self::compare_request`], for a response.
    pub(super) fn compare_response(
        self,
        repeated: &Repeated<types::ResponseEdit>,
        served: &types::ResponseVerdict,
        exchange: &Exchange,
    ) {
        let served = comparable_response(repeated, served.clone());
        self.spawn(exchange, async move |shadow: &Self, time: &GuestTime| {
            let Some((status, origin)) = shadow.response else { return Ok(true) };
            let mut lease = shadow.side.pool.check_out(&shadow.attachment).await?;
            let values: Vec<(u16, &[u8])> = shadow.values.iter().map(|(key, value)| (*key, &value[..])).collect();
            let kept = shadow.kept.borrow().clone().flatten();
            let head = types::ResponseHead {
                status,
                origin,
                values: (!values.is_empty()).then_some(&values[..]),
                kept: kept.as_deref(),
            };
            let verdict = lease.on_response(&shadow.attachment, head, shadow.view.clone(), time).await?;
            let repeated = lease.take_repeated_in_response();
            lease.check_in().await;
            Ok(comparable_response(&repeated, verdict) == served)
        });
    }

    fn spawn(self, exchange: &Exchange, run: impl AsyncFnOnce(&Self, &GuestTime) -> Result<bool, Failure> + 'static) {
        let time = exchange.guest_time.another();
        let (route, request_id) = (exchange.route.clone(), exchange.request_id.clone());
        tokio::task::spawn_local(async move {
            let outcome = run(&self, &time).await;
            let comparison = match &outcome {
                Ok(true) => Comparison::Same,
                Ok(false) => Comparison::Differs,
                // There was no room for the shadow: nothing was learned about the version.
                Err(Failure::Limit { limit: "limits.instances" | "runtime.slots", .. }) => return,
                Err(_) => Comparison::Failed,
            };
            self.side.pool.stats().compared(comparison);
            if comparison != Comparison::Same && self.side.pool.may_report(REPORT_INTERVAL) {
                let declaration = self.side.pool.declaration();
                let (plugin, version) = (&*declaration.name, declaration.version.digest().label());
                let request_id = request_id.to_str().unwrap_or_default();
                let failure = outcome.err().map(|failure| failure.to_string());
                let hook = if self.response.is_some() { Hook::Response } else { Hook::Request }.name();
                tracing::info!(plugin, version, hook, route = &*route, request_id, failure, "a shadow run differs");
            }
        });
    }
}

fn trial(lane: &Lane, slot: usize, hook: Hook) -> Option<(&Side, &Arc<Attachment>)> {
    let side = lane.trial.as_ref().filter(|trial| trial.trial.mode == TrialMode::Shadow).map(|trial| &trial.side)?;
    let attachment = side.attachment(slot);
    attachment.has(hook).then_some((side, attachment))
}

/// All edits as if they had been said: whether a guest repeats some is no part of the comparison. Nor is what it keeps for its own eyes, in
/// its own form.
fn comparable_request(
    repeated: &Repeated<types::RequestEdit>,
    verdict: types::RequestVerdict,
) -> (types::RequestVerdict, Option<Vec<u8>>) {
    let types::RequestVerdict::Next(said) = verdict else { return (verdict, None) };
    let mut edits = all(repeated, said);
    let mut kept = None;
    for edit in edits.extract_if(.., |edit| matches!(edit, types::RequestEdit::Keep(_))) {
        if let types::RequestEdit::Keep(bytes) = edit {
            kept = Some(bytes);
        }
    }
    (types::RequestVerdict::Next(edits), kept)
}

fn comparable_response(
    repeated: &Repeated<types::ResponseEdit>,
    verdict: types::ResponseVerdict,
) -> types::ResponseVerdict {
    match verdict {
        types::ResponseVerdict::Next(said) => types::ResponseVerdict::Next(all(repeated, said)),
        answer => answer,
    }
}

fn all<E: for<'e> From<&'e Remembered<E>>>(repeated: &Repeated<E>, said: Vec<E>) -> Vec<E> {
    repeated.iter().flat_map(|list| list.iter()).map(E::from).chain(said).collect()
}

fn owned(values: &values::Values<'_>) -> Vec<(u16, Vec<u8>)> {
    values.iter().map(|(key, value)| (*key, value.to_vec())).collect()
}

/// Differences are counted all, and logged so often on each worker.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use smallvec::smallvec;

    use super::*;

    #[test]
    fn edits_that_one_version_repeats_and_another_says_are_the_same() {
        let set = |name: &str| types::RequestEdit::SetHeader((name.to_owned(), b"1".to_vec()));
        let keep = types::RequestEdit::Keep(b"seen".to_vec());
        let repeated: Repeated<_> = smallvec![[Remembered::try_from(set("x-a")).unwrap()].into()];
        let next = types::RequestVerdict::Next;

        let (told, kept) = comparable_request(&repeated, next(vec![set("x-b"), keep]));
        assert_eq!((&told, kept.as_deref()), (&next(vec![set("x-a"), set("x-b")]), Some(&b"seen"[..])));
        assert_eq!(comparable_request(&Repeated::default(), next(vec![set("x-a"), set("x-b")])).0, told);
        assert_ne!(comparable_request(&Repeated::default(), next(vec![set("x-b"), set("x-a")])).0, told);
    }
}
