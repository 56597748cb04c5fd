//! Circuits that open and close, told as events and in the log.

use std::sync::{Arc, Weak};

use tokio::sync::broadcast::error::RecvError;

use super::Shared;
use crate::filter::native::CircuitState;

/// Tells every flip, until the gateway is gone. All snapshots of a gateway share one channel.
pub(super) fn start(shared: &Arc<Shared>) {
    let mut flips = shared.current.load().states.flips();
    let shared: Weak<Shared> = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            let flip = match flips.recv().await {
                Ok(flip) => flip,
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "circuits change faster than it can be told");
                    continue;
                }
                Err(RecvError::Closed) => return,
            };
            let Some(shared) = shared.upgrade() else { return };
            let (route, from, to) = (&*flip.route, flip.from.name(), flip.to.name());
            match flip.to {
                CircuitState::Open => tracing::warn!(route, from, "circuit open"),
                CircuitState::HalfOpen => tracing::info!(route, "circuit half-open"),
                CircuitState::Closed => tracing::info!(route, "circuit closed"),
            }
            shared.event("circuit", [("route", route.into()), ("from", from.into()), ("to", to.into())]);
        }
    });
}
