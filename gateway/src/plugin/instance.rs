//! One live instance of a component: a store, the typed exports, the attachments it has learned.
//!
//! Whatever goes wrong in a call leaves the guest's memory in doubt, so the owner drops the instance after any failure;
//! nothing here tries to mend one.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::time::Sleep;
use wasmtime::{Store, component};

use super::attachment::Attachment;
use super::bindings::exports::witgate::plugin::{lifecycle, request_hook, response_hook};
use super::bindings::witgate::plugin::types::{RequestHead, RequestVerdict, ResponseHead, ResponseVerdict};
use super::body_hooks::BodyHooks;
use super::budget::{Budget, GuestTime};
use super::clock::TICK;
use super::declaration::{Declaration, Limits, Recycle};
use super::failure::Failure;
use super::gate::{Permit, WorkerGate};
use super::host::{Phase, State, View};
use super::setup::Setup;

/// A component instance that serves one call at a time.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    lifecycle: lifecycle::Guest,
    request_hook: Option<request_hook::Guest>,
    response_hook: Option<response_hook::Guest>,
    pub(super) body_hooks: BodyHooks,
    /// Ids of the attachments it was configured for, in ascending order.
    configured: SmallVec<[u32; 4]>,
    pub(super) bounds: Bounds,
    /// The pool's count of retirements that this instance has followed.
    pub(super) retirements: u64,
    /// The linear memory that the pool counts for it.
    pub(super) counted_bytes: usize,
    made: Instant,
    uses: u64,
}

/// What a hook call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    deadline: Duration,
    timeout: Duration,
    /// Whether the deadline is what other calls of the same request left over.
    is_shortened: bool,
}

/// A call, and the end of its patience. Most calls are done at their first poll and never cost a timer.
pub(super) struct Within<'c, C> {
    bounds: Bounds,
    call: Pin<&'c mut C>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Instance {
    /// Instantiates: 6-10 us from the pool of slots.
    pub(super) async fn new(
        declaration: &Declaration,
        gate: &WorkerGate,
        overtime: Arc<AtomicUsize>,
    ) -> Result<Self, Failure> {
        let (mut store, instance, bounds) = instantiate(declaration, gate, overtime).await?;
        let setting_up = bounds.for_setup();
        let trap = |error: wasmtime::Error| Failure::from_wasmtime(&error, setting_up.deadline);
        let exports = &declaration.version.exports;
        let lifecycle = exports.lifecycle.load(&mut store, &instance).map_err(trap)?;
        let request_hook =
            exports.request_hook.as_ref().map(|hook| hook.load(&mut store, &instance)).transpose().map_err(trap)?;
        let response_hook =
            exports.response_hook.as_ref().map(|hook| hook.load(&mut store, &instance)).transpose().map_err(trap)?;
        let body_hooks = BodyHooks::load(exports, &mut store, &instance).map_err(trap)?;
        Ok(Self {
            store,
            lifecycle,
            request_hook,
            response_hook,
            body_hooks,
            configured: SmallVec::new(),
            bounds,
            retirements: 0,
            counted_bytes: 0,
            made: Instant::now(),
            uses: 0,
        })
    }

    /// Asks a component that exports `describe` for the schema of its configuration, on an instance made for this.
    pub(super) async fn schema(declaration: &Declaration, gate: &WorkerGate) -> Result<String, Failure> {
        let (mut store, instance, bounds) = instantiate(declaration, gate, Arc::default()).await?;
        let bounds = bounds.for_setup();
        let trap = |error: wasmtime::Error| Failure::from_wasmtime(&error, bounds.deadline);
        let Some(describe) = &declaration.version.exports.describe else { return Ok("true".to_owned()) };
        let describe = describe.load(&mut store, &instance).map_err(trap)?;
        begin(&mut store, bounds);
        bounds.within(pin!(describe.call_schema(&mut store))).await
    }

    /// Teaches the instance an attachment's config, and returns what the guest asked for meanwhile.
    pub(super) async fn configure(&mut self, attachment: &Attachment) -> Result<Setup, Failure> {
        self.store.data_mut().phase = Phase::Configure(Box::default());
        let bounds = self.bounds.for_setup();
        begin(&mut self.store, bounds);
        let Self { lifecycle, store, .. } = self;
        let outcome = bounds.within(pin!(lifecycle.call_configure(store, attachment.id, &attachment.config))).await;
        let phase = self.end();
        outcome?.map_err(Failure::Configure)?;
        if let Err(at) = self.configured.binary_search(&attachment.id) {
            self.configured.insert(at, attachment.id);
        }
        match phase {
            Phase::Configure(setup) => Ok(*setup),
            Phase::Idle | Phase::Hook(_) => Ok(Setup::default()),
        }
    }

    /// The time of the last call, by the clock on the wall and by what the guest ran of it.
    pub(super) fn took(&self, ended: Instant) -> (Duration, Duration) {
        self.store.data().budget.took(ended)
    }

    /// Linear memory of the guest.
    pub(super) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes
    }

    /// Whether it has served enough.
    pub(super) fn is_spent(&self, recycle: &Recycle, now: Instant) -> bool {
        self.uses >= recycle.uses
            || recycle.age.is_some_and(|age| now.saturating_duration_since(self.made) >= age)
            || recycle.memory_bytes.is_some_and(|bytes| self.memory_bytes() >= bytes)
    }

    /// Whether it was configured for this attachment already; if not, [`Self::configure`] comes first.
    pub(super) fn knows(&self, attachment: &Attachment) -> bool {
        self.configured.binary_search(&attachment.id).is_ok()
    }

    /// Lets the next call run past its first slice at once.
    pub(super) fn admit(&mut self, permit: Permit) {
        self.store.data_mut().budget.admit(permit);
    }

    /// Runs the request hook. `view` is lent to the guest's `exchange` for the call, `time` bounds its CPU time together with other calls.
    pub(super) async fn on_request(
        &mut self,
        attachment: &Attachment,
        head: RequestHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<RequestVerdict, Failure> {
        let Some(hook) = &self.request_hook else { return Ok(RequestVerdict::Next(Vec::new())) };
        let bounds = enter(&mut self.store, self.bounds, view, time)?;
        self.store.data_mut().edits.open_request();
        let verdict = bounds.within(pin!(hook.call_on_request(&mut self.store, attachment.id, head))).await;
        self.leave(verdict, bounds, time)
    }

    /// Runs the response hook.
    pub(super) async fn on_response(
        &mut self,
        attachment: &Attachment,
        head: ResponseHead<'_>,
        view: View,
        time: &GuestTime,
    ) -> Result<ResponseVerdict, Failure> {
        let Some(hook) = &self.response_hook else { return Ok(ResponseVerdict::Next(Vec::new())) };
        let bounds = enter(&mut self.store, self.bounds, view, time)?;
        self.store.data_mut().edits.open_response();
        let verdict = bounds.within(pin!(hook.call_on_response(&mut self.store, attachment.id, head))).await;
        self.leave(verdict, bounds, time)
    }

    /// Lets the guest forget the attachments that are not in `live` (ascending ids).
    pub(super) async fn forget_all_but(&mut self, live: &[u32]) -> Result<(), Failure> {
        let retired: Vec<u32> = self.configured.iter().copied().filter(|id| live.binary_search(id).is_err()).collect();
        for id in retired {
            begin(&mut self.store, self.bounds);
            let outcome = self.bounds.within(pin!(self.lifecycle.call_release(&mut self.store, id))).await;
            self.end();
            outcome?;
        }
        self.configured.retain(|id| live.binary_search(id).is_ok());
        Ok(())
    }

    /// The end of a hook's call, whatever came of it.
    pub(super) fn leave<T>(
        &mut self,
        outcome: Result<T, Failure>,
        bounds: Bounds,
        time: &GuestTime,
    ) -> Result<T, Failure> {
        self.end_hook();
        outcome.map_err(|failure| bounds.blame(failure, time))
    }

    pub(super) fn end_hook(&mut self) {
        self.uses += 1;
        self.end();
    }

    fn end(&mut self) -> Phase {
        self.store.data_mut().end()
    }
}

/// A store with its limits, and the component in it.
async fn instantiate(
    declaration: &Declaration,
    gate: &WorkerGate,
    overtime: Arc<AtomicUsize>,
) -> Result<(Store<State>, component::Instance, Bounds), Failure> {
    let Declaration { version, limits, .. } = declaration;
    let budget = Budget::new(gate.permits.clone(), overtime, gate.clock.clone());
    let state = State::new(declaration, budget, gate);
    let mut store = Store::new(version.instance_pre.engine(), state);
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.host_bytes);
    store.epoch_deadline_callback(|mut store| Ok(store.data_mut().budget.tick()));
    let bounds = Bounds::of(limits);
    let setting_up = bounds.for_setup();
    begin(&mut store, setting_up);
    let made = setting_up.within(pin!(version.instance_pre.instantiate_async(&mut store))).await;
    store.data_mut().budget.stop();
    Ok((store, made?, bounds))
}

pub(super) fn begin(store: &mut Store<State>, bounds: Bounds) {
    let state = store.data_mut();
    state.budget.start(bounds.deadline);
    state.begin(bounds.timeout);
    store.set_epoch_deadline(1);
}

/// The beginning of a hook's call: `view` is lent to the guest's `exchange`, and the call gets what the request has left of its time.
pub(super) fn enter(store: &mut Store<State>, bounds: Bounds, view: View, time: &GuestTime) -> Result<Bounds, Failure> {
    begin(store, bounds);
    let bounds = bounds.within_request(time)?;
    let state = store.data_mut();
    state.budget.limit(bounds.deadline);
    state.lend(view);
    Ok(bounds)
}

impl Bounds {
    fn of(limits: &Limits) -> Self {
        Self { deadline: limits.deadline, timeout: limits.timeout, is_shortened: false }
    }

    /// Making an instance and learning a config may take longer than a hook.
    fn for_setup(self) -> Self {
        Self { deadline: SETUP_DEADLINE, ..self }
    }

    /// At most what the request has left.
    fn within_request(self, time: &GuestTime) -> Result<Self, Failure> {
        let left = time.left();
        if left >= self.deadline {
            return Ok(self);
        }
        if left.is_zero() {
            return Err(time.exceeded());
        }
        Ok(Self { deadline: left, is_shortened: true, ..self })
    }

    /// A deadline that the request's other calls had shortened is the request's limit, not the plugin's.
    fn blame(self, failure: Failure, time: &GuestTime) -> Failure {
        match failure {
            Failure::Deadline(_) if self.is_shortened => time.exceeded(),
            other => other,
        }
    }

    /// Awaits a call for so long by the clock on the wall.
    ///
    /// The call stays where it is: moved in here, the future of each hook would have room for it twice.
    pub(super) fn within<C>(self, call: Pin<&mut C>) -> Within<'_, C> {
        Within { bounds: self, call, timer: None }
    }
}

impl<T, C: Future<Output = wasmtime::Result<T>>> Future for Within<'_, C> {
    type Output = Result<T, Failure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { bounds: Bounds { deadline, timeout, .. }, call, timer } = &mut *self;
        if let Poll::Ready(outcome) = call.as_mut().poll(context) {
            return Poll::Ready(outcome.map_err(|error| Failure::from_wasmtime(&error, *deadline)));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(*timeout)));
        timer.as_mut().poll(context).map(|()| Err(Failure::Timeout(*timeout)))
    }
}

/// Guest CPU time for making an instance and for one `configure`: parsing a config and compiling its patterns.
const SETUP_DEADLINE: Duration = TICK.saturating_mul(250);
