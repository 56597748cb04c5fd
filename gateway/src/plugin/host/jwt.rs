//! `jwt`: tokens, verified by the key sets that the plugin is granted. A call waits only where a key set is loaded again.

use wasmtime::component::Resource;

use super::{State, not_granted};
use crate::plugin::bindings::witgate::plugin::jwt;
use crate::resource::{Refusal, Rules, Verifier};

impl jwt::Host for State {}

impl jwt::HostVerifier for State {
    fn open(&mut self, key_set: String, rules: jwt::Rules) -> wasmtime::Result<Result<Resource<Verifier>, String>> {
        self.host_call()?;
        let Some(set) = self.grants.key_sets.get(&*key_set) else { return Ok(Err(not_granted("key set", &key_set))) };
        match read(rules).and_then(|rules| set.verifier(rules).map_err(|error| error.to_string())) {
            Ok(verifier) => Ok(Ok(self.table.push(verifier)?)),
            Err(why) => Ok(Err(why)),
        }
    }

    async fn verify(
        &mut self,
        verifier: Resource<Verifier>,
        token: String,
    ) -> wasmtime::Result<Result<String, jwt::JwtError>> {
        self.host_call()?;
        let verifier = self.table.get_mut(&verifier)?;
        let outcome = self.budget.host_wait(verifier.verify(&token)).await;
        Ok(outcome.map(|claims| claims.as_ref().to_owned()).map_err(refusal))
    }

    fn known(&mut self, verifier: Resource<Verifier>, token: Vec<u8>) -> wasmtime::Result<Option<u64>> {
        self.host_call()?;
        Ok(self.table.get_mut(&verifier)?.known(&token))
    }

    fn drop(&mut self, verifier: Resource<Verifier>) -> wasmtime::Result<()> {
        self.table.delete(verifier)?;
        Ok(())
    }
}

fn read(rules: jwt::Rules) -> Result<Rules, String> {
    Ok(Rules {
        algorithms: Rules::algorithms(&rules.algorithms).map_err(|error| error.to_string())?,
        issuers: rules.issuers,
        audiences: rules.audiences,
        required_claims: rules.required_claims,
        leeway_s: rules.leeway_s,
        cache: rules.cache,
    })
}

fn refusal(refusal: Refusal) -> jwt::JwtError {
    match refusal {
        Refusal::Malformed => jwt::JwtError::Malformed,
        Refusal::Algorithm => jwt::JwtError::Algorithm,
        Refusal::UnknownKey => jwt::JwtError::UnknownKey,
        Refusal::Signature => jwt::JwtError::Signature,
        Refusal::Expired => jwt::JwtError::Expired,
        Refusal::NotYetValid => jwt::JwtError::NotYetValid,
        Refusal::Issuer => jwt::JwtError::Issuer,
        Refusal::Audience => jwt::JwtError::Audience,
        Refusal::MissingClaim => jwt::JwtError::MissingClaim,
        Refusal::Unavailable => jwt::JwtError::Unavailable,
    }
}
