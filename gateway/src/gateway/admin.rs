//! The admin server and the probes: which there are, and who may use them, as the configuration says.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::{Gateway, GatewayError, Shared};
use crate::config::model::{Admin, ListenAddress, Overrides, Role};
use crate::control::{
    Access, AdminError, AdminLimits, AdminServer, AdminToken, LOCAL_TOKEN, LocalToken, OperationError, Operator,
    ProbesServer, StateDir,
};
use crate::snapshot::Resources;
use crate::sockets::{self, Bound, Inheritance, Passing};

/// The servers of the control plane that run.
#[derive(Default)]
pub(super) struct Servers {
    admin: Option<(ListenAddress, AdminServer)>,
    probes: Option<(ListenAddress, ProbesServer)>,
    /// Those that only finish what they were asked.
    retired: Vec<JoinHandle<()>>,
}

impl Servers {
    fn retire_admin(&mut self) {
        self.retired.extend(self.admin.take().map(|(_, server)| server.retire()));
    }

    fn retire_probes(&mut self) {
        self.retired.extend(self.probes.take().map(|(_, server)| server.retire()));
    }

    /// Adds their sockets to what a new process gets.
    pub(super) fn pass(&self, passing: &mut Passing) -> std::io::Result<()> {
        if let Some((_, server)) = &self.admin {
            passing.add(sockets::ADMIN, server.bound())?;
        }
        self.probes.as_ref().map_or(Ok(()), |(_, server)| passing.add(sockets::PROBES, server.bound()))
    }

    /// Socket files stay when the servers go: another process has them.
    pub(super) fn leave_files(&self) {
        self.bound().for_each(Bound::leave_file);
    }

    /// Socket files go with the servers.
    pub(super) fn own_files(&self) {
        self.bound().for_each(Bound::own_file);
    }

    fn bound(&self) -> impl Iterator<Item = &Bound> {
        let (admin, probes) = (self.admin.as_ref(), self.probes.as_ref());
        let admin = admin.map(|(_, server)| server.bound());
        admin.into_iter().chain(probes.map(|(_, server)| server.bound()))
    }
}

impl Gateway {
    /// Starts, stops and changes the servers as the configuration says now, on sockets that came with the process where they fit.
    ///
    /// # Errors
    /// [`GatewayError::Admin`]; what ran before runs on.
    pub(super) async fn serve_operators(&self, inheritance: &mut Inheritance) -> Result<(), GatewayError> {
        let mut servers = self.0.servers.lock().await;
        let (config, resources) = {
            let running = self.0.running.lock().await;
            (running.config.clone(), self.0.current.load().resources.clone())
        };
        let operator: Arc<dyn Operator> = Arc::new(self.clone());
        match &config.admin {
            None => servers.retire_admin(),
            Some(admin) => {
                let access = access(&self.0, admin, &resources)?;
                match &servers.admin {
                    Some((address, server)) if *address == admin.address => {
                        server.set_access(&access).map_err(AdminError::from)?;
                    }
                    _ => {
                        let limits = AdminLimits::new(config.runtime.component.in_memory());
                        let claimed = inheritance.claim(sockets::ADMIN, &admin.address);
                        let server = AdminServer::start(&admin.address, claimed, &access, limits, operator.clone())?;
                        servers.retire_admin();
                        servers.admin = Some((admin.address.clone(), server));
                    }
                }
            }
        }
        match (&config.probes, &servers.probes) {
            (None, _) => servers.retire_probes(),
            (Some(wanted), Some((address, _))) if address == wanted => {}
            (Some(wanted), _) => {
                let claimed = inheritance.claim(sockets::PROBES, wanted);
                let server = ProbesServer::start(wanted, claimed, operator).map_err(AdminError::from)?;
                servers.retire_probes();
                servers.probes = Some((wanted.clone(), server));
            }
        }
        Ok(())
    }

    /// Nobody new is let in, and whoever has asked is answered.
    pub(super) async fn close_operators(&self) {
        let mut servers = self.0.servers.lock().await;
        servers.retire_admin();
        servers.retire_probes();
    }

    /// The same, and waits for the answers, a while at most: a stream of events has no end of its own.
    pub(super) async fn retire_operators(&self) {
        self.close_operators().await;
        let retired = std::mem::take(&mut self.0.servers.lock().await.retired);
        let _ = tokio::time::timeout(LAST_ANSWERS_MAX, join_all(retired)).await;
    }
}

impl Shared {
    /// Refuses what would go before the configuration, where the configuration does not let it.
    pub(super) async fn check_overrides(&self) -> Result<(), OperationError> {
        let running = self.running.lock().await;
        match &running.config.admin {
            Some(Admin { overrides: Overrides::Deny, .. }) => Err(OperationError::Forbidden(
                "`admin.overrides: deny` leaves plugins to the configuration: change it and reload".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

/// The configured tokens and the local one.
fn access(shared: &Shared, admin: &Admin, resources: &Resources) -> Result<Access, GatewayError> {
    let local = LocalToken::open(&StateDir::open(Some(&shared.state_dir))?)
        .map_err(|error| GatewayError::Engine(error.to_string()))?;
    let mut tokens =
        vec![AdminToken { name: LOCAL_TOKEN.to_owned(), secret: local.secret().to_owned(), role: Role::Deployer }];
    for token in &admin.tokens {
        let secret = resources.secrets.get(token.token.0.as_str()).map(|secret| secret.expose());
        let secret = secret
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .ok_or_else(|| GatewayError::Engine(format!("the admin token `{}`: its secret is not text", token.name)))?;
        tokens.push(AdminToken { name: token.name.clone(), secret: secret.to_owned(), role: token.role });
    }
    Ok(Access { tokens, allowed_hosts: admin.allowed_hosts.clone() })
}

/// How long the last answers of these servers may take at the end of the process.
const LAST_ANSWERS_MAX: Duration = Duration::from_secs(1);
