//! A guest's transform of one body, with the instance it lives in: parked from `open` to the body's end, and so counted apart
//! from the instances that serve calls. Many long streams exhaust nothing but their own limit (`limits.parked`).

use std::time::Duration;

use super::attachment::Attachment;
use super::bindings::witgate::plugin::body_types::{End, Step, WholeRequestVerdict, WholeResponseVerdict};
use super::bindings::witgate::plugin::types::{RequestHead, ResponseHead};
use super::body_hooks::Handle;
use super::budget::GuestTime;
use super::failure::Failure;
use super::host::View;
use super::lease::{Lease, Parked};
use super::version::Hook;

/// A transform of one body. Dropped before the body's end, the instance is gone.
pub struct Transform {
    parked: Parked,
    handle: Handle,
    hook: Hook,
    /// A stream has no end in sight: each call has the plugin's deadline, and all together have none.
    time: GuestTime,
}

impl Lease {
    /// Runs the hook of an attachment over a request with its whole body.
    ///
    /// # Errors
    /// Any [`Failure`]; drop the lease then.
    pub async fn on_whole_request(
        &mut self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        body: &[u8],
        view: View,
        time: &GuestTime,
    ) -> Result<WholeRequestVerdict, Failure> {
        let verdict = self.instance().on_whole_request(attachment, head, body, view, time).await;
        let responds = |verdict: &_| matches!(verdict, WholeRequestVerdict::Respond(_));
        self.count(Hook::WholeRequest, &verdict, time, responds);
        verdict
    }

    /// Runs the hook of an attachment over a response with its whole body.
    ///
    /// # Errors
    /// As [`Self::on_whole_request`].
    pub async fn on_whole_response(
        &mut self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        body: &[u8],
        view: View,
        time: &GuestTime,
    ) -> Result<WholeResponseVerdict, Failure> {
        let verdict = self.instance().on_whole_response(attachment, head, body, view, time).await;
        let responds = |verdict: &_| matches!(verdict, WholeResponseVerdict::Respond(_));
        self.count(Hook::WholeResponse, &verdict, time, responds);
        verdict
    }

    /// Asks an attachment for a transform of a request's body. `None`: it declined, and the instance went back.
    ///
    /// # Errors
    /// Any [`Failure`]; [`Failure::Limit`] when too many instances of this worker are parked.
    pub async fn open_request_body(
        mut self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<Option<Transform>, Failure> {
        let opened = self.instance().open_request_body(attachment, head, view, time).await;
        self.count(Hook::RequestBody, &opened, time, |_| false);
        self.opened(opened?, Hook::RequestBody).await
    }

    /// The same for a response's body.
    ///
    /// # Errors
    /// As [`Self::open_request_body`].
    pub async fn open_response_body(
        mut self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<Option<Transform>, Failure> {
        let opened = self.instance().open_response_body(attachment, head, view, time).await;
        self.count(Hook::ResponseBody, &opened, time, |_| false);
        self.opened(opened?, Hook::ResponseBody).await
    }

    async fn opened(self, handle: Option<Handle>, hook: Hook) -> Result<Option<Transform>, Failure> {
        let Some(handle) = handle else {
            self.let_go().await;
            return Ok(None);
        };
        match self.try_park() {
            Ok(parked) => Ok(Some(Transform { parked, handle, hook, time: GuestTime::new(Duration::MAX) })),
            Err((mut lease, failure)) => {
                // Nothing is wrong with it, there is only no room: without the transform it serves on.
                if lease.instance().close(handle).await.is_ok() {
                    lease.let_go().await;
                }
                Err(failure)
            }
        }
    }
}

impl Transform {
    /// Hands over a piece of the body.
    ///
    /// # Errors
    /// Any [`Failure`]; the body cannot go on then.
    pub async fn chunk(&mut self, data: &[u8]) -> Result<Step, Failure> {
        let lease = self.parked.lease();
        queue(lease).await?;
        let step = lease.instance().chunk(self.handle, data).await;
        lease.count(self.hook, &step, &self.time, |step| matches!(step, Step::Abort(_)));
        step
    }

    /// Tells that the body is over, and gives the instance back.
    ///
    /// # Errors
    /// Any [`Failure`]; the instance is gone then.
    pub async fn finish(mut self) -> Result<End, Failure> {
        let lease = self.parked.lease();
        queue(lease).await?;
        let end = lease.instance().finish(self.handle).await;
        lease.count(self.hook, &end, &self.time, |end| matches!(end, End::Abort(_)));
        let end = end?;
        self.release().await;
        Ok(end)
    }

    /// Gives the instance back: nobody asks it about this body any more.
    pub async fn release(self) {
        let Self { mut parked, handle, .. } = self;
        let lease = parked.lease();
        if let Err(failure) = lease.instance().close(handle).await {
            let plugin = &*lease.pool.declaration().name;
            tracing::warn!(plugin, %failure, "an instance failed to drop a transform");
            return;
        }
        let lease = parked.resume();
        // Others may have taken its place meanwhile.
        if !lease.pool.is_overfull() {
            lease.let_go().await;
        }
    }
}

/// A plugin that is spinning already queues amid a body, too.
async fn queue(lease: &mut Lease) -> Result<(), Failure> {
    let pool = lease.pool.clone();
    pool.queue(lease.instance()).await
}
