//! A declared plugin: a version of a component under a name, with its limits.

use std::sync::Arc;
use std::time::Duration;

use super::grants::Grants;
use super::log_rate::LogRate;
use super::version::Version;

/// A plugin as the configuration declares it. Pools and attachments belong to one declaration.
#[derive(Debug)]
pub struct Declaration {
    pub name: Arc<str>,
    pub version: Arc<Version>,
    pub isolation: Isolation,
    pub limits: Limits,
    pub recycle: Recycle,
    pub grants: Arc<Grants>,
    /// Its verdicts are compared and dropped: its guests change nothing outside themselves.
    pub is_shadow: bool,
    /// What its guests have logged lately.
    pub log_rate: Arc<LogRate>,
}

/// Whether requests may meet on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Instances are used again: about a microsecond a call.
    Shared,
    /// Each request gets an instance of its own for all its hooks, about 10 us: nothing can leak from one request to the next.
    Fresh,
}

/// What one instance, or the instances of one worker, may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance.
    pub memory_bytes: usize,
    /// Guest CPU time of one call.
    pub deadline: Duration,
    /// Wall clock of one call, with host calls and waiting for a turn.
    pub timeout: Duration,
    /// Instances of one worker that serve or wait.
    pub instances: usize,
    /// Instances of one worker that are held between calls, by a body or by a request of its own.
    pub parked: usize,
    /// The largest body that is collected for the plugin, whatever it asks for.
    pub body_bytes: usize,
    /// Instances of one worker that are made in a second in the place of failed ones.
    pub restarts: u32,
    /// The body of a reply.
    pub reply_bytes: usize,
    /// Bytes that the guest may hand to the host in one call: edits, reply, log lines, what it stores.
    pub host_bytes: usize,
    /// Elements of one table.
    pub table_elements: usize,
    /// Attributes of a request, all filters' together.
    pub attributes: usize,
    /// Lines of log a second, of all instances.
    pub log_lines: u32,
    /// Calls that one call may make to the host.
    pub host_calls: u32,
    /// Requests of its own that one call may send.
    pub outbound_calls: u32,
    /// Handles that an instance may hold at a time: of stores, tables and such, and of WASI's streams.
    pub handles: usize,
    /// Distinct names of the plugin's own metrics.
    pub metrics: usize,
    /// Attributes that the plugin sets on the span of one call.
    pub span_attributes: usize,
}

/// When an instance has served enough and another takes its place, so that what a guest hoards does not add up for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recycle {
    /// Calls.
    pub uses: u64,
    pub age: Option<Duration>,
    /// Linear memory that an instance holds after a call.
    pub memory_bytes: Option<usize>,
}
