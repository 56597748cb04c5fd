//! The end of a gateway: nobody new is let in, and what is in flight may finish.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::{Gateway, Shared};
use crate::config::model as config;
use crate::server::{Left, Order};

/// Why a gateway ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Somebody wants it to.
    Ordered,
    /// Another process serves in its place, on the same sockets.
    HandedOn { pid: u32 },
}

impl Gateway {
    /// Comes when the gateway is to end: by an order through the admin API, or because another process has taken its place.
    pub async fn ending(&self) -> Ending {
        self.0.ending.notified().await;
        match self.0.successor.load(Ordering::Relaxed) {
            0 => Ending::Ordered,
            pid => Ending::HandedOn { pid },
        }
    }

    /// Says that it is not ready, waits for `drain.delay`, closes the listeners when those who waited there are let in, and ends what is in
    /// flight. Tells what was left at `drain.deadline`; it is cut off with the gateway's end.
    pub async fn drain(&self, why: Ending) -> Left {
        let shared = &*self.0;
        shared.is_draining.store(true, Ordering::Relaxed);
        shared.giving_up.notify_one();
        let config::Drain { delay, idle, deadline } = shared.told().drain;
        let left = shared.left().await;
        tracing::info!(connections = left.connections, requests = left.requests, ?delay, ?deadline, "draining");
        shared.event("drain", [("connections", left.connections.into()), ("requests", left.requests.into())]);
        // Whoever balances over this gateway and others has nothing to notice when another process serves on.
        if why == Ending::Ordered && !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        shared.running.lock().await.listeners.clear();
        let mut left = Left::default();
        if shared.ends_within(idle, deadline).await.is_none() {
            left = shared.left().await;
            tracing::warn!(connections = left.connections, requests = left.requests, "`drain.deadline` is over");
        }
        shared.event("drain", [("connections", left.connections.into()), ("requests", left.requests.into())]);
        shared.exporter.lock().await.finish().await;
        self.retire_operators().await;
        left
    }

    /// Whether every worker answers in time.
    pub async fn answers_within(&self, limit: Duration) -> bool {
        self.0.settle(|done| Order::Count { done }, limit).await.is_some()
    }

    /// What is in flight.
    pub async fn left(&self) -> Left {
        self.0.left().await
    }
}

impl Shared {
    /// Drains the workers, and tells now and then how far they are; `None` when they are not done in time.
    async fn ends_within(&self, linger: Duration, deadline: Duration) -> Option<()> {
        let until = Instant::now() + deadline;
        let mut drained =
            std::pin::pin!(timeout_at(until, self.settle(|done| Order::Drain { linger, done }, deadline)));
        let mut looks = interval(PROGRESS_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Left::default();
        loop {
            tokio::select! {
                ended = &mut drained => return ended.ok().flatten().map(drop),
                _ = looks.tick() => {
                    let left = self.left().await;
                    if left != told {
                        told = left;
                        let Left { connections, requests } = left;
                        tracing::info!(connections, requests, "still draining");
                        self.event("drain", [("connections", connections.into()), ("requests", requests.into())]);
                    }
                }
            }
        }
    }

    /// What all workers have to do. One that does not answer is not counted.
    async fn left(&self) -> Left {
        let counts = self.settle(|done| Order::Count { done }, COUNT_TIMEOUT).await.unwrap_or_default();
        counts.into_iter().fold(Left::default(), |sum, count| Left {
            connections: sum.connections + count.connections,
            requests: sum.requests + count.requests,
        })
    }
}

const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);
/// For a worker to say what it has to do.
const COUNT_TIMEOUT: Duration = Duration::from_secs(1);
