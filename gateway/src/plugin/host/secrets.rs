//! `secrets`: used by name; read only by those who were granted just that, and not unseen.

use wasmtime::component::Resource;

use super::crypto::hmac;
use super::{State, not_granted};
use crate::plugin::bindings::witgate::plugin::{crypto, secrets};
use crate::plugin::grants::SecretGrant;

impl secrets::Host for State {}

impl secrets::HostSecret for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<SecretGrant>, String>> {
        self.host_call()?;
        let Some(secret) = self.grants.secrets.get(&*name) else { return Ok(Err(not_granted("secret", &name))) };
        Ok(Ok(self.table.push(secret.clone())?))
    }

    fn hmac(
        &mut self,
        secret: Resource<SecretGrant>,
        algorithm: crypto::Hash,
        data: Vec<u8>,
    ) -> wasmtime::Result<Vec<u8>> {
        self.host_call()?;
        Ok(hmac(algorithm, self.table.get(&secret)?.secret.expose(), &data))
    }

    fn equals(&mut self, secret: Resource<SecretGrant>, data: Vec<u8>) -> wasmtime::Result<bool> {
        self.host_call()?;
        Ok(self.table.get(&secret)?.secret.equals(&data))
    }

    fn reveal(&mut self, secret: Resource<SecretGrant>) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.host_call()?;
        let grant = self.table.get(&secret)?;
        let name = &*grant.secret.name;
        if !grant.may_reveal {
            return Ok(Err(format!("this plugin may use the secret `{name}`, but not read it")));
        }
        if grant.is_first_reveal() {
            tracing::info!(target: "witgate::audit", plugin = &*self.plugin, secret = name, "a plugin reads a secret");
        }
        Ok(Ok(grant.secret.expose().to_vec()))
    }

    fn drop(&mut self, secret: Resource<SecretGrant>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}
