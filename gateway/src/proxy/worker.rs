//! A worker's own side of the snapshot: its connections to upstreams and its plugin instances.
//!
//! Each worker wraps a snapshot in an `Rc` of its own, so that a request counts no reference that threads share.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use http::HeaderName;

use crate::plugin::{Failure, GuestTime, Lane, Pool, Release, Runtime, Side, TrialSide, WorkerGate};
use crate::snapshot::{Listener, Snapshot};
use crate::telemetry::{Desk, Meter, Names, Pen, SpanDesk, Table, Telemetry, Tracer};
use crate::upstream::{Client, Endpoint, Upstream};

/// One data-plane thread's state.
pub struct Worker {
    current: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    generation: RefCell<Rc<Generation>>,
    gate: WorkerGate,
    /// Set a few times a second, read by each request.
    is_overloaded: Cell<bool>,
    telling: Telling,
    /// Pools of releases that are about to serve, made and warmed before any request meets them.
    warm: RefCell<Vec<Rc<Pool>>>,
}

/// A snapshot with what this worker keeps for it.
pub struct Generation {
    pub snapshot: Arc<Snapshot>,
    /// By the snapshot's upstreams and their endpoints.
    pub clients: Vec<Vec<Rc<Client>>>,
    /// By the snapshot's plugins.
    pub lanes: Rc<[Lane]>,
    /// The snapshot's, to be shared by bodies.
    pub owned_headers: Rc<[HeaderName]>,
    /// What this worker counts, by the snapshot's places.
    pub table: Rc<Table>,
    /// What writes lines of the access log, where there is one.
    pub pen: Option<Rc<Pen>>,
    /// What makes spans, where requests are traced.
    pub tracer: Option<Rc<Tracer>>,
}

/// What a worker tells of its requests with, whatever snapshot serves.
struct Telling {
    meter: Rc<Meter>,
    desk: Rc<Desk>,
    spans: Rc<SpanDesk>,
}

impl Worker {
    pub fn new(current: Arc<ArcSwap<Snapshot>>, runtime: &Runtime, telemetry: &Telemetry) -> Rc<Self> {
        let gate = runtime.worker_gate();
        let telling = Telling {
            meter: Meter::new(telemetry.requests.clone()),
            desk: Desk::new(telemetry.access_log.queue().clone()),
            spans: SpanDesk::new(telemetry.spans.clone()),
        };
        let first = Generation::after(None, current.load_full(), &gate, &telling, &[]);
        Rc::new(Self {
            current: RefCell::new(Cache::new(current)),
            generation: RefCell::new(Rc::new(first)),
            gate,
            is_overloaded: Cell::new(false),
            telling,
            warm: RefCell::default(),
        })
    }

    /// The generation that a request which begins now sees to its end.
    pub fn generation(&self) -> Rc<Generation> {
        let mut current = self.current.borrow_mut();
        let newest = current.load();
        let mut generation = self.generation.borrow_mut();
        if !Arc::ptr_eq(newest, &generation.snapshot) {
            let warm = self.warm.take();
            let next = Generation::after(Some(&generation), newest.clone(), &self.gate, &self.telling, &warm);
            *generation = Rc::new(next);
        }
        generation.clone()
    }

    /// Makes an instance of a release that is about to serve, and keeps it for the generation that will.
    ///
    /// # Errors
    /// Any [`Failure`] of making it: the release should not serve then.
    pub async fn warm(&self, release: &Release) -> Result<(), Failure> {
        let pool = Rc::new(Pool::new(release.declaration.clone(), self.gate.clone()));
        pool.warm(release.attachments.first().map(AsRef::as_ref)).await?;
        self.warm.borrow_mut().push(pool);
        Ok(())
    }

    /// Lets go of what was warmed for a generation that never came.
    pub fn forget_warm(&self) {
        self.warm.take();
    }

    /// Whether new requests are answered with 503 from now on.
    pub fn refuse_requests(&self, refuse: bool) {
        self.is_overloaded.set(refuse);
    }

    pub(super) fn is_overloaded(&self) -> bool {
        self.is_overloaded.get()
    }

    /// Housekeeping, a few times a second: lets go of connections that requests on other workers wait for.
    pub fn make_room(&self) {
        let generation = self.generation.borrow();
        let upstreams = generation.snapshot.upstreams.iter().zip(&generation.clients);
        for (_, clients) in upstreams.filter(|(upstream, _)| upstream.transport.load.is_starved()) {
            clients.iter().for_each(|client| client.make_room());
        }
    }

    /// Hands over what was told of requests so far; a few times a second.
    pub fn tell(&self) {
        self.telling.desk.flush();
        self.telling.spans.flush();
    }

    /// Housekeeping, a few times a minute: lets go of connections that waited too long, and of a snapshot that was replaced.
    pub fn sweep(&self) {
        self.generation().clients.iter().flatten().for_each(|client| client.sweep());
    }
}

impl Generation {
    /// The listener of that name and its number, as this generation has it; `None` when it was removed since.
    pub fn listener(&self, name: &str) -> Option<(u16, &Arc<Listener>)> {
        (0u16..).zip(&self.snapshot.listeners).find(|(_, listener)| *listener.name == *name)
    }

    /// Keeps the connections and instances of what did not change.
    fn after(
        previous: Option<&Self>,
        snapshot: Arc<Snapshot>,
        gate: &WorkerGate,
        telling: &Telling,
        warm: &[Rc<Pool>],
    ) -> Self {
        let mut old: HashMap<&Endpoint, Vec<&Rc<Client>>> = HashMap::new();
        for client in previous.into_iter().flat_map(|previous| previous.clients.iter().flatten()) {
            old.entry(client.endpoint()).or_default().push(client);
        }
        let client = |upstream: &Upstream, endpoint: &Arc<Endpoint>| {
            let mut known = old.get(&**endpoint).into_iter().flatten();
            match known.find(|old| old.fits(&upstream.transport)) {
                Some(old) => Rc::clone(old),
                None => Client::new(endpoint.clone(), upstream.transport.clone()),
            }
        };
        let clients = snapshot
            .upstreams
            .iter()
            .map(|upstream| upstream.endpoints.iter().map(|endpoint| client(upstream, endpoint)).collect())
            .collect();
        let lanes: Vec<&Lane> = previous.into_iter().flat_map(|previous| previous.lanes.iter()).collect();
        let sides = || lanes.iter().flat_map(|lane| lane.sides());
        let side = |release: &Release| {
            let pools = warm.iter().chain(sides().map(|side| &side.pool));
            let old = pools.into_iter().find(|pool| Arc::ptr_eq(pool.declaration(), &release.declaration)).cloned();
            let pool = old.unwrap_or_else(|| Rc::new(Pool::new(release.declaration.clone(), gate.clone())));
            Side::new(pool, release)
        };
        let lanes = snapshot
            .plugins
            .iter()
            .map(|plugin| Lane {
                stable: side(&plugin.deployment.stable),
                trial: plugin.deployment.trial.as_ref().map(|trial| TrialSide {
                    trial: trial.clone(),
                    side: side(&trial.release),
                    turn: Cell::new(0),
                }),
            })
            .collect();
        let owned_headers = snapshot.owned_headers.as_slice().into();
        let table = telling.meter.table(names(&snapshot), &snapshot.telemetry.metrics);
        let pen = snapshot.telemetry.access_log.as_ref().map(|log| telling.desk.pen(log));
        let redact = snapshot.telemetry.access_log.as_ref().map(|log| log.redact.clone()).unwrap_or_default();
        let tracer = snapshot.telemetry.tracing.as_ref().map(|rules| telling.spans.tracer(rules, &redact));
        Self { snapshot, clients, lanes, owned_headers, table, pen, tracer }
    }

    /// The time that the plugins of one request may use.
    pub fn guest_time(&self) -> GuestTime {
        GuestTime::new(self.snapshot.request_deadline)
    }
}

fn names(snapshot: &Snapshot) -> Names {
    Names {
        listeners: snapshot.listeners.iter().map(|listener| listener.name.clone()).collect(),
        routes: snapshot.route_names.clone(),
        upstreams: snapshot.upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
    }
}
