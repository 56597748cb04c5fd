//! A worker's own side of the snapshot: its connections to upstreams and its plugin instances.
//!
//! Each worker wraps a snapshot in an `Rc` of its own, so that a request counts no reference that threads share.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;

use crate::plugin::{Pool, Runtime, WorkerGate};
use crate::snapshot::{Listener, Snapshot};
use crate::upstream::Client;

/// One data-plane thread's state.
pub struct Worker {
    current: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    generation: RefCell<Rc<Generation>>,
    gate: WorkerGate,
}

/// A snapshot with what this worker keeps for it.
pub struct Generation {
    pub snapshot: Arc<Snapshot>,
    /// By the snapshot's upstreams and their endpoints.
    pub clients: Vec<Vec<Rc<Client>>>,
    /// By the snapshot's plugins.
    pub pools: Rc<[Rc<Pool>]>,
}

impl Worker {
    pub fn new(current: Arc<ArcSwap<Snapshot>>, runtime: &Runtime) -> Rc<Self> {
        let gate = runtime.worker_gate();
        let first = Generation::after(None, current.load_full(), &gate);
        Rc::new(Self { current: RefCell::new(Cache::new(current)), generation: RefCell::new(Rc::new(first)), gate })
    }

    /// The generation that a request which begins now sees to its end.
    pub fn generation(&self) -> Rc<Generation> {
        let mut current = self.current.borrow_mut();
        let newest = current.load();
        let mut generation = self.generation.borrow_mut();
        if !Arc::ptr_eq(newest, &generation.snapshot) {
            *generation = Rc::new(Generation::after(Some(&generation), newest.clone(), &self.gate));
        }
        generation.clone()
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
    fn after(previous: Option<&Self>, snapshot: Arc<Snapshot>, gate: &WorkerGate) -> Self {
        let old_clients: Vec<&Rc<Client>> =
            previous.into_iter().flat_map(|previous| previous.clients.iter().flatten()).collect();
        let clients = snapshot
            .upstreams
            .iter()
            .map(|upstream| {
                let fit = |client: &&&Rc<Client>, endpoint| {
                    client.fits(endpoint, &upstream.timeouts, upstream.idle_connections_max)
                };
                let endpoints = upstream.endpoints.iter();
                endpoints
                    .map(|endpoint| match old_clients.iter().find(|client| fit(client, endpoint)) {
                        Some(client) => Rc::clone(client),
                        None => Client::new(endpoint.clone(), upstream.timeouts, upstream.idle_connections_max),
                    })
                    .collect()
            })
            .collect();
        let pools: Rc<[Rc<Pool>]> = snapshot
            .plugins
            .iter()
            .map(|declaration| {
                let old = previous.into_iter().flat_map(|previous| previous.pools.iter());
                let pool = old.into_iter().find(|pool| Arc::ptr_eq(pool.declaration(), declaration)).cloned();
                pool.unwrap_or_else(|| Rc::new(Pool::new(declaration.clone(), gate.clone())))
            })
            .collect();
        for pool in pools.iter() {
            let all = snapshot.attachments.iter();
            let its_own = all.filter(|attachment| Arc::ptr_eq(&attachment.declaration, pool.declaration()));
            pool.retain_attachments(its_own.map(AsRef::as_ref));
        }
        Self { snapshot, clients, pools }
    }
}
