//! The control of a running gateway: its admin server, and how it ends.

use std::time::Duration;

use super::{ListenAddress, SecretRef};

/// The admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: ListenAddress,
    /// With distinct names; at least one unless the address is a loopback address or a socket file.
    pub tokens: Vec<AdminToken>,
    /// Names in lower case, without a port, that a `Host` header may have besides the address itself and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Whether a plugin may be swapped without a change of the configuration.
    pub overrides: Overrides,
}

/// A right to use the admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminToken {
    /// Who acts: stands in the audit log.
    pub name: String,
    pub token: SecretRef,
    pub role: Role,
}

/// What a token may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Read.
    Viewer,
    /// Reload, drain, roll back, promote.
    Operator,
    /// Upload code.
    Deployer,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Overrides {
    #[default]
    Allow,
    Deny,
}

/// How requests in flight end when the gateway does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// From `/readyz` saying no to the closing of the listeners; 0 s.
    pub delay: Duration,
    /// How long an idle HTTP/1.1 connection may still bring one more request; 1 s.
    pub idle: Duration,
    /// For requests in flight, from the closing of the listeners on; 30 s.
    pub deadline: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::ZERO, idle: Duration::from_secs(1), deadline: Duration::from_secs(30) }
    }
}

/// How another process takes this one's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    /// For the new process to be ready; 60 s.
    pub timeout: Duration,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60) }
    }
}
