//! The admin server and the probes: which there are, and who may use them, as the configuration says.

use std::sync::Arc;

use super::{Gateway, GatewayError, Shared};
use crate::config::model::{Admin, AdminAddress, Overrides, Role};
use crate::control::{
    Access, AdminError, AdminLimits, AdminServer, AdminToken, LOCAL_TOKEN, LocalToken, OperationError, Operator,
    ProbesServer, StateDir,
};
use crate::snapshot::Resources;

/// The servers of the control plane that run.
#[derive(Default)]
pub(super) struct Servers {
    admin: Option<(AdminAddress, AdminServer)>,
    probes: Option<(std::net::SocketAddr, ProbesServer)>,
}

impl Servers {
    fn retire_admin(&mut self) {
        if let Some((_, server)) = self.admin.take() {
            server.retire();
        }
    }

    fn retire_probes(&mut self) {
        if let Some((_, server)) = self.probes.take() {
            server.retire();
        }
    }
}

impl Gateway {
    /// Starts, stops and changes the servers as the configuration says now.
    ///
    /// # Errors
    /// [`GatewayError::Admin`]; what ran before runs on.
    pub(super) async fn serve_operators(&self) -> Result<(), GatewayError> {
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
                        let server = AdminServer::start(&admin.address, &access, limits, operator.clone()).await?;
                        servers.retire_admin();
                        servers.admin = Some((admin.address.clone(), server));
                    }
                }
            }
        }
        match (config.probes, &servers.probes) {
            (None, _) => servers.retire_probes(),
            (Some(wanted), Some((address, _))) if *address == wanted => {}
            (Some(wanted), _) => {
                let server = ProbesServer::start(wanted, operator).await.map_err(AdminError::from)?;
                servers.retire_probes();
                servers.probes = Some((wanted, server));
            }
        }
        Ok(())
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
