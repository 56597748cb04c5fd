//! An instance on loan: for a call, or for as long as a request or a body needs the same one.
//!
//! Dropped with the instance in it, whatever the reason, the instance is gone: only one whose calls all went well comes back.

use std::rc::Rc;
use std::time::Instant;

use super::attachment::Attachment;
use super::bindings::witgate::plugin::types::{
    RequestEdit, RequestHead, RequestVerdict, ResponseEdit, ResponseHead, ResponseVerdict,
};
use super::budget::GuestTime;
use super::declaration::Isolation;
use super::failure::Failure;
use super::host::View;
use super::instance::Instance;
use super::pool::Pool;
use super::remembered::Repeated;
use super::stats::Outcome;
use super::version::Hook;

/// An instance on loan for a call.
pub struct Lease {
    pub(super) pool: Rc<Pool>,
    instance: Option<Box<Instance>>,
    /// When its last call ended.
    ended: Option<Instant>,
    /// Whether the pool counts an instance for it: from before one is made until one is given back.
    is_counted: bool,
}

/// An instance that is held between calls, and counts apart from those that serve.
pub struct Parked(Option<Lease>);

impl Lease {
    pub(super) fn new(pool: Rc<Pool>, instance: Box<Instance>) -> Self {
        Self { pool, instance: Some(instance), ended: None, is_counted: true }
    }

    pub(super) fn empty(pool: Rc<Pool>) -> Self {
        Self { pool, instance: None, ended: None, is_counted: true }
    }

    pub(super) fn fill(&mut self, instance: Box<Instance>) {
        self.instance = Some(instance);
    }

    pub(super) fn instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("a lease holds its instance until it is given back")
    }

    /// Runs the request hook of an attachment that the instance knows.
    ///
    /// # Errors
    /// Any [`Failure`]; drop the lease then.
    pub async fn on_request(
        &mut self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<RequestVerdict, Failure> {
        let verdict = self.instance().on_request(attachment, head, view, time).await;
        self.count(Hook::Request, &verdict, time, |verdict| matches!(verdict, RequestVerdict::Respond(_)));
        verdict
    }

    /// Runs the response hook of an attachment that the instance knows.
    ///
    /// # Errors
    /// As [`Self::on_request`].
    pub async fn on_response(
        &mut self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<ResponseVerdict, Failure> {
        let verdict = self.instance().on_response(attachment, head, view, time).await;
        self.count(Hook::Response, &verdict, time, |verdict| matches!(verdict, ResponseVerdict::Respond(_)));
        verdict
    }

    /// What the last hook over a request, or over its whole body, repeated: edits to be made before those of its verdict.
    pub fn take_repeated_in_request(&mut self) -> Repeated<RequestEdit> {
        self.instance().store.data_mut().edits.take_in_request()
    }

    /// The same over a response.
    pub fn take_repeated_in_response(&mut self) -> Repeated<ResponseEdit> {
        self.instance().store.data_mut().edits.take_in_response()
    }

    /// Gives the instance back to its pool, unless it has served enough.
    pub async fn check_in(mut self) {
        let pool = self.pool.clone();
        if pool.has_retired_since(self.instance()) && !Box::pin(pool.retire(self.instance())).await {
            return;
        }
        let now = self.ended.unwrap_or_else(Instant::now);
        if let Some(instance) = self.instance.take_if(|instance| !instance.is_spent(&pool.declaration().recycle, now)) {
            self.is_counted = false;
            pool.take_back(instance);
        }
    }

    /// As [`Self::check_in`] where instances are used again, and the instance's end where each request has its own.
    pub async fn let_go(self) {
        if self.pool.declaration().isolation == Isolation::Shared {
            self.check_in().await;
        }
    }

    /// Keeps the instance for a later call.
    ///
    /// # Errors
    /// [`Failure::Limit`] when as many are kept as may be; the instance serves on where instances are used again.
    pub async fn park(self) -> Result<Parked, Failure> {
        match self.try_park() {
            Ok(parked) => Ok(parked),
            Err((lease, failure)) => {
                lease.let_go().await;
                Err(failure)
            }
        }
    }

    /// As [`Self::park`], with the lease back when there is no room.
    pub(super) fn try_park(self) -> Result<Parked, (Self, Failure)> {
        match self.pool.park() {
            Ok(()) => Ok(Parked(Some(self))),
            Err(failure) => Err((self, failure)),
        }
    }

    /// Counts a call that is over. A failure leaves the guest's memory in doubt, and is the last thing the instance does.
    pub(super) fn count<T>(
        &mut self,
        hook: Hook,
        verdict: &Result<T, Failure>,
        time: &GuestTime,
        responds: impl FnOnce(&T) -> bool,
    ) {
        let ended = Instant::now();
        let outcome = match verdict {
            Ok(verdict) if responds(verdict) => Outcome::Respond,
            Ok(_) => Outcome::Ok,
            Err(failure) => {
                self.pool.failed();
                Outcome::from(failure)
            }
        };
        let (took, ran) = self.instance().took(ended);
        self.pool.stats().call(hook, outcome, took);
        time.spend(ran);
        self.ended = Some(ended);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_counted {
            self.pool.lost(self.instance.as_deref());
        }
    }
}

impl Parked {
    /// For a call that leaves it parked.
    pub(super) fn lease(&mut self) -> &mut Lease {
        self.0.as_mut().expect("it is there until it is resumed")
    }

    /// Back to serving.
    pub fn resume(mut self) -> Lease {
        let lease = self.0.take().expect("it is resumed once");
        lease.pool.unpark();
        lease
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.pool.unpark();
        }
    }
}
