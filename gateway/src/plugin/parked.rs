//! An instance that holds a body: parked with it from `open` to the body's end, and counted apart from the instances that serve
//! calls, so that many long streams exhaust nothing but their own limit (`limits.parked`).

use std::rc::Rc;

use super::attachment::Attachment;
use super::bindings::witgate::plugin::body_types::{End, Step};
use super::bindings::witgate::plugin::types::{RequestHead, ResponseHead};
use super::body_hooks::Transform;
use super::failure::Failure;
use super::host::View;
use super::instance::Instance;
use super::pool::{Lease, Pool};

/// A transform with the instance it lives in. Dropped before the body's end, the instance is gone.
pub struct Parked {
    pool: Rc<Pool>,
    /// None once it went back to the pool.
    instance: Option<Box<Instance>>,
    transform: Transform,
}

impl Pool {
    /// Asks an attachment for a transform of a request's body. `None`: it declined.
    ///
    /// # Errors
    /// Any [`Failure`]; [`Failure::Limit`] when too many instances of this worker hold bodies.
    pub async fn open_request_body(
        self: &Rc<Self>,
        attachment: &Attachment,
        head: RequestHead<'_>,
        view: Option<&View>,
    ) -> Result<Option<Parked>, Failure> {
        let mut lease = self.check_out(attachment).await?;
        let opened = lease.instance().open_request_body(attachment, head, view).await?;
        self.park(lease, opened).await
    }

    /// The same for a response's body.
    ///
    /// # Errors
    /// As [`Self::open_request_body`].
    pub async fn open_response_body(
        self: &Rc<Self>,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        view: Option<&View>,
    ) -> Result<Option<Parked>, Failure> {
        let mut lease = self.check_out(attachment).await?;
        let opened = lease.instance().open_response_body(attachment, head, view).await?;
        self.park(lease, opened).await
    }

    async fn park(self: &Rc<Self>, mut lease: Lease<'_>, opened: Option<Transform>) -> Result<Option<Parked>, Failure> {
        let Some(transform) = opened else {
            self.check_in(lease).await;
            return Ok(None);
        };
        let parked_max = self.declaration().limits.parked;
        if self.parked.get() >= parked_max {
            lease.instance().close(transform).await?;
            self.check_in(lease).await;
            let detail = format!("{parked_max} instances hold bodies on this worker");
            return Err(Failure::Limit { limit: "limits.parked", detail });
        }
        // It leaves the count of those that serve calls with the end of its lease.
        let instance = lease.take();
        self.parked.set(self.parked.get() + 1);
        Ok(Some(Parked { pool: self.clone(), instance: Some(instance), transform }))
    }
}

impl Parked {
    /// Hands over a piece of the body.
    ///
    /// # Errors
    /// Any [`Failure`]; the body cannot go on then.
    pub async fn chunk(&mut self, data: &[u8]) -> Result<Step, Failure> {
        let transform = self.transform;
        self.ready().await?.chunk(transform, data).await
    }

    /// Tells that the body is over, and gives the instance back.
    ///
    /// # Errors
    /// Any [`Failure`]; the instance is gone then.
    pub async fn finish(mut self) -> Result<End, Failure> {
        let transform = self.transform;
        let end = self.ready().await?.finish(transform).await?;
        self.release().await;
        Ok(end)
    }

    /// Gives the instance back: nobody asks it about this body any more.
    pub async fn release(mut self) {
        let transform = self.transform;
        let Some(mut instance) = self.instance.take() else { return };
        if let Err(failure) = instance.close(transform).await {
            let plugin = self.pool.declaration().name.as_ref();
            tracing::warn!(plugin, %failure, "an instance failed to drop a transform");
            return;
        }
        let pool = self.pool.clone();
        drop(self);
        // Meanwhile the pool may have filled up with others.
        if let Some(lease) = pool.readmit(instance) {
            pool.check_in(lease).await;
        }
    }

    /// The instance, when it may run: a plugin that is spinning already queues here, too.
    async fn ready(&mut self) -> Result<&mut Instance, Failure> {
        let instance = self.instance.as_mut().expect("it is given back at the end alone");
        self.pool.admit(instance).await?;
        Ok(instance)
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.pool.parked.set(self.pool.parked.get() - 1);
    }
}
