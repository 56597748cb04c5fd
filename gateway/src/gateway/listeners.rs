//! What the gateway listens on, and how that follows the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::config::model::ListenAddress;
use crate::server::{Order, Permits};
use crate::snapshot::Listener;
use crate::sockets::{self, Bound, Inheritance, Passing, Terms};

/// The open listeners by their names.
#[derive(Default)]
pub(super) struct Listeners(BTreeMap<Arc<str>, Open>);

struct Open {
    /// As configured: a port may be 0.
    address: ListenAddress,
    mode: u32,
    bound: Bound,
}

/// A listener without its socket.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot listen on {address}: {error}")]
pub struct BindError {
    pub listener: String,
    pub address: ListenAddress,
    pub error: sockets::BindError,
}

/// Listeners that are bound and not yet accepted on.
pub(super) type Fresh = Vec<(Arc<Listener>, Bound)>;

impl Listeners {
    /// Binds what is not open yet. An address that a listener of another name has, it hands over; one that came with the process is
    /// used as it is.
    ///
    /// # Errors
    /// [`BindError`]; then nothing new is bound.
    pub(super) fn bind(
        &self,
        wanted: &[Arc<Listener>],
        workers: usize,
        inheritance: &mut Inheritance,
    ) -> Result<Fresh, BindError> {
        let is_fresh =
            |listener: &&Arc<Listener>| self.0.get(&listener.name).is_none_or(|open| open.address != listener.address);
        let bind = |listener: &Arc<Listener>| {
            let (listener, address) = (listener.clone(), &listener.address);
            let fail = |error| BindError { listener: listener.name.to_string(), address: address.clone(), error };
            let claimed = match self.at(address) {
                Some(open) => open.bound.try_clone_sockets().map_err(|error| fail(error.into()))?,
                None => inheritance.claim(&listener.name, address),
            };
            let terms = Terms { mode: listener.mode, spread: Some(workers) };
            let bound = Bound::new(address, terms, claimed).map_err(fail)?;
            Ok((listener, bound))
        };
        wanted.iter().filter(is_fresh).map(bind).collect()
    }

    fn at(&self, address: &ListenAddress) -> Option<&Open> {
        self.0.values().find(|open| open.address == *address && !address.is_any_port())
    }

    /// Adds the sockets of all listeners to what a new process gets.
    pub(super) fn pass(&self, passing: &mut Passing) -> std::io::Result<()> {
        self.0.iter().try_for_each(|(name, open)| passing.add(name, &open.bound))
    }

    /// Socket files stay when the listeners go: another process has them.
    pub(super) fn leave_files(&self) {
        self.0.values().for_each(|open| open.bound.leave_file());
    }

    /// Lets go of everything: files of sockets go, queues are for the workers to empty.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Shared {
    /// Hands each worker its sockets of each fresh listener, after it has let go of those that are wanted no longer.
    pub(super) fn listen(&self, open: &mut Listeners, wanted: &[Arc<Listener>], fresh: Fresh, linger: Duration) {
        let is_wanted = |name: &Arc<str>, open: &Open| {
            wanted.iter().any(|listener| listener.name == *name && listener.address == open.address)
        };
        for (listener, old) in open.0.extract_if(.., |name, open| !is_wanted(name, open)) {
            self.told().permits.remove(&listener);
            if fresh.iter().any(|(listener, _)| listener.address == old.address) {
                old.bound.leave_file();
            }
            self.workers.iter().for_each(|worker| worker.order(Order::Unlisten { listener: listener.clone(), linger }));
        }
        for listener in wanted {
            if let Some(open) = open.0.get_mut(&listener.name).filter(|open| open.mode != listener.mode) {
                open.mode = listener.mode;
                if let Err(error) = open.bound.set_mode(listener.mode) {
                    tracing::warn!(listener = &*listener.name, %error, "the socket file keeps its mode");
                }
            }
        }
        for (listener, bound) in fresh {
            bound.own_file();
            let permits = Permits::default();
            for (number, worker) in self.workers.iter().enumerate() {
                match bound.of_worker(number, self.workers.len()) {
                    Ok(sockets) => sockets.into_iter().for_each(|socket| {
                        let (listener, permits) = (listener.clone(), permits.clone());
                        worker.order(Order::Listen { listener, socket, permits });
                    }),
                    Err(error) => tracing::error!(listener = &*listener.name, %error, "a worker cannot listen"),
                }
            }
            self.told().permits.insert(listener.name.clone(), permits);
            tracing::info!(listener = &*listener.name, address = %bound.place(), "listening");
            let Listener { name, address, mode, .. } = &*listener;
            open.0.insert(name.clone(), Open { address: address.clone(), mode: *mode, bound });
        }
    }
}
