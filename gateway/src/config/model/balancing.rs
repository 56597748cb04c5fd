//! How requests are shared out among the endpoints of an upstream.

use std::time::Duration;

/// Who chooses an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Balance {
    #[default]
    RoundRobin,
    LeastRequest,
    P2cEwma,
    Random,
    /// Needs `hash_on` or `affinity`, as `RingHash` does.
    Maglev,
    RingHash,
}

/// Sessions that stay at their endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affinity {
    /// The name of the cookie that the gateway sets.
    pub cookie: String,
    /// How long clients keep it; `None` until they are closed.
    pub ttl: Option<Duration>,
}
