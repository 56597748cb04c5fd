//! Overload: what the gateway bears before it gives things up.

use std::time::Duration;

use super::ByteSize;

#[derive(Debug, Clone, PartialEq)]
pub struct Overload {
    /// Resident memory of the process; 90 %.
    pub memory: MemoryLimit,
    /// How late a worker may be; 1 s.
    pub lag: Duration,
    /// Open connections of all listeners; none: half of the files that the process may open.
    pub connections: Option<usize>,
}

/// So much memory, or a share of what the process may have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MemoryLimit {
    Size(ByteSize),
    /// In percent.
    Share(f64),
}

impl Default for Overload {
    fn default() -> Self {
        Self { memory: MemoryLimit::Share(90.0), lag: Duration::from_secs(1), connections: None }
    }
}
