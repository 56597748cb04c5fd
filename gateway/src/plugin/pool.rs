//! The instances of one declaration on one worker: checked out for a call, checked in after it, never shared meanwhile.
//!
//! Last in, first out, so that the instance whose memory is in the cache serves next and the others can be let go.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::attachment::Attachment;
use super::bindings::witgate::plugin::body_types::{WholeRequestVerdict, WholeResponseVerdict};
use super::bindings::witgate::plugin::types::{RequestHead, RequestVerdict, ResponseHead, ResponseVerdict};
use super::declaration::{Declaration, Isolation};
use super::failure::Failure;
use super::gate::{LONG_CALLS_MAX, WorkerGate};
use super::host::View;
use super::instance::Instance;

/// Instances of one declaration on one worker.
pub struct Pool {
    declaration: Arc<Declaration>,
    gate: WorkerGate,
    #[allow(clippy::vec_box, reason = "an instance is moved at each call, and is some hundred bytes")]
    idle: RefCell<Vec<Box<Instance>>>,
    live: Cell<usize>,
    /// Instances that hold bodies; they are not among the live ones.
    pub(super) parked: Cell<usize>,
    /// Calls of this pool that are past their first slice.
    overtime: Arc<AtomicUsize>,
    /// Ids of the attachments that still exist, ascending, and how often that changed.
    attachments: RefCell<Rc<[u32]>>,
    retirements: Cell<u64>,
}

impl Pool {
    pub fn new(declaration: Arc<Declaration>, gate: WorkerGate) -> Self {
        Self {
            declaration,
            gate,
            idle: RefCell::default(),
            live: Cell::new(0),
            parked: Cell::new(0),
            overtime: Arc::default(),
            attachments: RefCell::new(Rc::default()),
            retirements: Cell::new(0),
        }
    }

    pub fn declaration(&self) -> &Arc<Declaration> {
        &self.declaration
    }

    /// Tells the pool which attachments exist now; instances forget the others when they come back from their next call.
    pub fn retain_attachments<'a>(&self, live: impl Iterator<Item = &'a Attachment>) {
        let mut ids: Vec<u32> = live.map(|attachment| attachment.id).collect();
        ids.sort_unstable();
        if **self.attachments.borrow() != *ids {
            *self.attachments.borrow_mut() = ids.into();
            self.retirements.set(self.retirements.get() + 1);
        }
    }

    /// Runs the request hook of an attachment.
    ///
    /// # Errors
    /// Any [`Failure`]; the instance that failed is gone, and the next call finds another.
    pub async fn on_request(
        &self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        view: Option<&View>,
    ) -> Result<RequestVerdict, Failure> {
        let mut lease = self.check_out(attachment).await?;
        let verdict = lease.instance().on_request(attachment, head, view).await?;
        self.check_in(lease).await;
        Ok(verdict)
    }

    /// Runs the response hook of an attachment.
    ///
    /// # Errors
    /// As [`Self::on_request`].
    pub async fn on_response(
        &self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        view: Option<&View>,
    ) -> Result<ResponseVerdict, Failure> {
        let mut lease = self.check_out(attachment).await?;
        let verdict = lease.instance().on_response(attachment, head, view).await?;
        self.check_in(lease).await;
        Ok(verdict)
    }

    /// Runs the hook of an attachment over a request with its whole body.
    ///
    /// # Errors
    /// As [`Self::on_request`].
    pub async fn on_whole_request(
        &self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        body: &[u8],
        view: Option<&View>,
    ) -> Result<WholeRequestVerdict, Failure> {
        let mut lease = self.check_out(attachment).await?;
        let verdict = lease.instance().on_whole_request(attachment, head, body, view).await?;
        self.check_in(lease).await;
        Ok(verdict)
    }

    /// Runs the hook of an attachment over a response with its whole body.
    ///
    /// # Errors
    /// As [`Self::on_request`].
    pub async fn on_whole_response(
        &self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        body: &[u8],
        view: Option<&View>,
    ) -> Result<WholeResponseVerdict, Failure> {
        let mut lease = self.check_out(attachment).await?;
        let verdict = lease.instance().on_whole_response(attachment, head, body, view).await?;
        self.check_in(lease).await;
        Ok(verdict)
    }

    /// An instance that knows the attachment. Only the common case is written out here; the others are boxed, so that
    /// they take no room in the future of every call.
    pub(super) async fn check_out(&self, attachment: &Attachment) -> Result<Lease<'_>, Failure> {
        if self.overtime.load(Ordering::Relaxed) < LONG_CALLS_MAX
            && let Some(instance) = self.idle.borrow_mut().pop_if(|instance| instance.knows(attachment))
        {
            return Ok(Lease { instance: Some(instance), live: &self.live });
        }
        Box::pin(self.prepare(attachment)).await
    }

    async fn prepare(&self, attachment: &Attachment) -> Result<Lease<'_>, Failure> {
        let idle = self.idle.borrow_mut().pop();
        let mut lease = match idle {
            Some(instance) => Lease { instance: Some(instance), live: &self.live },
            None => self.instantiate().await?,
        };
        if !lease.instance().knows(attachment) {
            lease.instance().configure(attachment).await?;
        }
        self.admit(lease.instance()).await?;
        Ok(lease)
    }

    /// Waits until the next call of an instance may start. A plugin that is spinning already queues before it starts:
    /// otherwise each of many calls that arrive at once would first burn its first slice, one after the other, with
    /// everybody else waiting. Nothing else may be waited for with the permit in hand, or two such calls could wait
    /// for each other.
    pub(super) async fn admit(&self, instance: &mut Instance) -> Result<(), Failure> {
        if self.overtime.load(Ordering::Relaxed) >= LONG_CALLS_MAX {
            let timeout = self.declaration.limits.timeout;
            let permit = tokio::time::timeout(timeout, self.gate.permits.acquire()).await;
            instance.admit(permit.map_err(|_| Failure::Timeout(timeout))?);
        }
        Ok(())
    }

    async fn instantiate(&self) -> Result<Lease<'_>, Failure> {
        let instances_max = self.declaration.limits.instances;
        if self.live.get() >= instances_max {
            let detail = format!("{instances_max} instances are busy on this worker");
            return Err(Failure::Limit { limit: "limits.instances", detail });
        }
        // Counted before it exists, and by the lease from here on: making it takes time, and may fail or be dropped.
        self.live.set(self.live.get() + 1);
        let mut lease = Lease { instance: None, live: &self.live };
        let mut instance = Box::new(Instance::new(&self.declaration, &self.gate, self.overtime.clone()).await?);
        instance.retirements = self.retirements.get();
        lease.instance = Some(instance);
        Ok(lease)
    }

    /// Counts an instance that was parked among those that serve calls again, if there is room.
    pub(super) fn readmit(&self, instance: Box<Instance>) -> Option<Lease<'_>> {
        if self.live.get() >= self.declaration.limits.instances {
            return None;
        }
        self.live.set(self.live.get() + 1);
        Some(Lease { instance: Some(instance), live: &self.live })
    }

    pub(super) async fn check_in(&self, mut lease: Lease<'_>) {
        let instance = lease.instance();
        instance.uses += 1;
        if self.declaration.isolation == Isolation::Fresh || instance.uses >= USES_MAX {
            return;
        }
        if instance.retirements != self.retirements.get() && !Box::pin(self.retire(instance)).await {
            return;
        }
        if let Some(instance) = lease.instance.take() {
            // It stays alive, so the count stays: the lease must not take it down.
            std::mem::forget(lease);
            self.idle.borrow_mut().push(instance);
        }
    }

    /// Lets the instance forget attachments that are gone. Says whether it is still good.
    async fn retire(&self, instance: &mut Instance) -> bool {
        instance.retirements = self.retirements.get();
        let live = self.attachments.borrow().clone();
        match instance.forget_all_but(&live).await {
            Ok(()) => true,
            Err(failure) => {
                let plugin = self.declaration.name.as_ref();
                tracing::warn!(plugin, %failure, "an instance failed to release an attachment");
                false
            }
        }
    }
}

/// An instance on loan for one call. Dropped with the instance in it, whatever the reason, the instance is gone.
pub(super) struct Lease<'p> {
    instance: Option<Box<Instance>>,
    live: &'p Cell<usize>,
}

impl Lease<'_> {
    pub(super) fn instance(&mut self) -> &mut Instance {
        self.instance.as_mut().expect("a lease holds its instance until check-in")
    }

    /// Takes the instance for something else than a call.
    pub(super) fn take(mut self) -> Box<Instance> {
        self.instance.take().expect("a lease holds its instance until check-in")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

/// Calls after which an instance is replaced, so that what a guest leaks does not add up for ever.
const USES_MAX: u32 = 1_000_000;
