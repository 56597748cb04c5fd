//! The admin server: where it listens, and who may do what there.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::SecretRef;

/// The admin server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub address: AdminAddress,
    /// With distinct names; at least one unless the address is a loopback address or a socket file.
    pub tokens: Vec<AdminToken>,
    /// Names in lower case, without a port, that a `Host` header may have besides the address itself and `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Whether a plugin may be swapped without a change of the configuration.
    pub overrides: Overrides,
}

/// Where the admin server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAddress {
    Tcp(SocketAddr),
    /// `unix:PATH`: a relative one is already resolved against the folder of the file that names it.
    Unix(PathBuf),
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
