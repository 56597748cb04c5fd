//! `rate-limit`: the limiters that the plugin shares with routes and other plugins.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Resource;

use super::{State, not_granted};
use crate::plugin::bindings::witgate::plugin::rate_limit;
use crate::resource::Limiter;

impl rate_limit::Host for State {}

impl rate_limit::HostLimiter for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Arc<Limiter>>, String>> {
        self.host_call()?;
        let Some(limiter) = self.grants.limiters.get(&*name) else { return Ok(Err(not_granted("limiter", &name))) };
        Ok(Ok(self.table.push(limiter.clone())?))
    }

    async fn take(
        &mut self,
        limiter: Resource<Arc<Limiter>>,
        key: String,
        cost: u32,
    ) -> wasmtime::Result<rate_limit::Decision> {
        self.host_call()?;
        let limiter = self.table.get(&limiter)?;
        let decision = match limiter.try_take(key.as_bytes(), cost) {
            Some(decision) => decision,
            None => self.budget.host_wait(limiter.take(key.as_bytes(), cost)).await,
        };
        Ok(rate_limit::Decision {
            allowed: decision.allowed,
            limit: decision.limit,
            remaining: decision.remaining,
            retry_after_ms: milliseconds(decision.retry_after),
        })
    }

    fn drop(&mut self, limiter: Resource<Arc<Limiter>>) -> wasmtime::Result<()> {
        self.table.delete(limiter)?;
        Ok(())
    }
}

/// Rounded up: who comes back then finds its units.
fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
