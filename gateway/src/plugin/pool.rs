//! The instances of one declaration on one worker: checked out for a call, checked in after it, never shared meanwhile.
//!
//! Last in, first out, so that the instance whose memory is in the cache serves next and the others can be let go.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::attachment::Attachment;
use super::breaker::Breaker;
use super::declaration::{Declaration, Isolation};
use super::failure::Failure;
use super::gate::{LONG_CALLS_MAX, WorkerGate};
use super::instance::Instance;
use super::lease::Lease;
use super::restarts::Restarts;
use super::stats::Stats;
use super::version::Hook;

/// Instances of one declaration on one worker.
pub struct Pool {
    declaration: Arc<Declaration>,
    gate: WorkerGate,
    #[allow(clippy::vec_box, reason = "an instance is moved at each call, and is some hundred bytes")]
    idle: RefCell<Vec<Box<Instance>>>,
    /// All instances but the parked ones.
    live: Cell<usize>,
    parked: Cell<usize>,
    /// Linear memory of all instances, as they were when their last call ended.
    memory_bytes: Cell<usize>,
    /// Calls of this pool that are past their first slice.
    overtime: Arc<AtomicUsize>,
    /// Ids of the attachments that still exist, ascending, and how often that changed.
    attachments: RefCell<Rc<[u32]>>,
    retirements: Cell<u64>,
    restarts: Restarts,
    /// One for each hook over heads: a hook that goes well does not make up for the other.
    breakers: [Breaker; 2],
    stats: Arc<Stats>,
    reported: Cell<Option<Instant>>,
}

impl Pool {
    pub fn new(declaration: Arc<Declaration>, gate: WorkerGate) -> Self {
        let stats = gate.registry.register(declaration.name.clone(), declaration.version.digest());
        Self {
            restarts: Restarts::new(declaration.limits.restarts),
            declaration,
            gate,
            idle: RefCell::default(),
            live: Cell::new(0),
            parked: Cell::new(0),
            memory_bytes: Cell::new(0),
            overtime: Arc::default(),
            attachments: RefCell::new(Rc::default()),
            retirements: Cell::new(0),
            breakers: Default::default(),
            stats,
            reported: Cell::new(None),
        }
    }

    pub fn declaration(&self) -> &Arc<Declaration> {
        &self.declaration
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
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

    /// Makes an instance that knows the attachment, and leaves it for the first request.
    ///
    /// # Errors
    /// Any [`Failure`] of instantiating or configuring.
    pub async fn warm(self: &Rc<Self>, attachment: Option<&Attachment>) -> Result<(), Failure> {
        let mut lease = self.instantiate().await?;
        if let Some(attachment) = attachment {
            lease.instance().configure(attachment).await?;
        }
        if self.declaration.isolation == Isolation::Shared {
            lease.check_in().await;
        }
        Ok(())
    }

    /// Whether a hook of a plugin that fails open is called at all: one that kept failing is left out for a while.
    pub fn admits(&self, hook: Hook) -> bool {
        let admits = self.breaker(hook).admits();
        if !admits {
            self.stats.skipped();
        }
        admits
    }

    /// Notes the outcome of a call of an attachment that fails open.
    pub fn passed_open(&self, hook: Hook) {
        self.breaker(hook).succeeded();
    }

    /// As [`Self::passed_open`], for a failure. Says whether the breaker opened with it.
    pub fn failed_open(&self, hook: Hook) -> bool {
        self.breaker(hook).failed()
    }

    fn breaker(&self, hook: Hook) -> &Breaker {
        &self.breakers[usize::from(hook == Hook::Response)]
    }

    /// Whether something that is seen often may be logged: once in `interval`.
    pub fn may_report(&self, interval: Duration) -> bool {
        let now = Instant::now();
        let may = self.reported.get().is_none_or(|at| now.saturating_duration_since(at) >= interval);
        if may {
            self.reported.set(Some(now));
        }
        may
    }

    /// An instance that knows the attachment. Only the common case is written out here; the others are boxed, so that
    /// they take no room in the future of every call.
    ///
    /// # Errors
    /// [`Failure::Limit`] when there are too many, or any failure of making one.
    pub async fn check_out(self: &Rc<Self>, attachment: &Attachment) -> Result<Lease, Failure> {
        if self.overtime.load(Ordering::Relaxed) < LONG_CALLS_MAX
            && let Some(instance) = self.idle.borrow_mut().pop_if(|instance| instance.knows(attachment))
        {
            return Ok(Lease::new(self.clone(), instance));
        }
        Box::pin(self.prepare(attachment)).await
    }

    async fn prepare(self: &Rc<Self>, attachment: &Attachment) -> Result<Lease, Failure> {
        let idle = self.idle.borrow_mut().pop();
        let mut lease = match idle {
            Some(instance) => Lease::new(self.clone(), instance),
            None => self.instantiate().await?,
        };
        if !lease.instance().knows(attachment) {
            lease.instance().configure(attachment).await?;
        }
        self.queue(lease.instance()).await?;
        Ok(lease)
    }

    /// Waits until the next call of an instance may start. A plugin that is spinning already queues before it starts:
    /// otherwise each of many calls that arrive at once would first burn its first slice, one after the other, with
    /// everybody else waiting. Nothing else may be waited for with the permit in hand, or two such calls could wait for
    /// each other.
    pub(super) async fn queue(&self, instance: &mut Instance) -> Result<(), Failure> {
        if self.overtime.load(Ordering::Relaxed) >= LONG_CALLS_MAX {
            let timeout = self.declaration.limits.timeout;
            let permit = tokio::time::timeout(timeout, self.gate.permits.acquire()).await;
            instance.admit(permit.map_err(|_| Failure::Timeout(timeout))?);
        }
        Ok(())
    }

    async fn instantiate(self: &Rc<Self>) -> Result<Lease, Failure> {
        let instances_max = self.declaration.limits.instances;
        if self.live.get() >= instances_max {
            let detail = format!("{instances_max} instances are busy on this worker");
            return Err(Failure::Limit { limit: "limits.instances", detail });
        }
        // Counted before it exists, and by the lease from here on: making it takes time, and may fail or be dropped.
        self.live.set(self.live.get() + 1);
        let mut lease = Lease::empty(self.clone());
        if let Some(wait) = self.restarts.wait() {
            self.stats.restarted();
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        let mut instance = Box::new(Instance::new(&self.declaration, &self.gate, self.overtime.clone()).await?);
        instance.retirements = self.retirements.get();
        lease.fill(instance);
        Ok(lease)
    }

    /// Takes an instance back whose calls went well.
    pub(super) fn take_back(&self, mut instance: Box<Instance>) {
        let bytes = instance.memory_bytes();
        self.count_memory(instance.counted_bytes, bytes);
        instance.counted_bytes = bytes;
        self.idle.borrow_mut().push(instance);
        self.tell();
    }

    /// An instance that was counted is gone, for whatever reason; `None` when it never came to be.
    pub(super) fn lost(&self, instance: Option<&Instance>) {
        self.count_memory(instance.map_or(0, |instance| instance.counted_bytes), 0);
        self.live.set(self.live.get() - 1);
        self.tell();
    }

    /// An instance failed: its successor is made at a capped rate.
    pub(super) fn failed(&self) {
        self.restarts.failed();
    }

    /// From here on the instance counts as parked. Says no when too many are.
    pub(super) fn park(&self) -> Result<(), Failure> {
        let parked_max = self.declaration.limits.parked;
        if self.parked.get() >= parked_max {
            let detail = format!("{parked_max} instances of this worker are held by requests or bodies");
            return Err(Failure::Limit { limit: "limits.parked", detail });
        }
        self.parked.set(self.parked.get() + 1);
        self.live.set(self.live.get() - 1);
        self.tell();
        Ok(())
    }

    pub(super) fn unpark(&self) {
        self.parked.set(self.parked.get() - 1);
        self.live.set(self.live.get() + 1);
        self.tell();
    }

    /// Whether more instances serve than may, because others came to be while some were parked.
    pub(super) fn is_overfull(&self) -> bool {
        self.live.get() > self.declaration.limits.instances
    }

    pub(super) fn has_retired_since(&self, instance: &Instance) -> bool {
        instance.retirements != self.retirements.get()
    }

    /// Lets the instance forget attachments that are gone. Says whether it is still good.
    pub(super) async fn retire(&self, instance: &mut Instance) -> bool {
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

    fn count_memory(&self, before: usize, now: usize) {
        self.memory_bytes.set(self.memory_bytes.get() + now - before);
        self.stats.set_memory(self.memory_bytes.get());
    }

    fn tell(&self) {
        let idle = self.idle.borrow().len();
        self.stats.set_instances(idle, self.live.get() - idle, self.parked.get());
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("declaration", &self.declaration.name).finish_non_exhaustive()
    }
}
