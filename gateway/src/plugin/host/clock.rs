//! `clock`: the time.

use std::time::SystemTime;

use super::State;
use crate::plugin::bindings::witgate::plugin::clock;

impl clock::Host for State {
    fn unix_ms(&mut self) -> wasmtime::Result<u64> {
        self.host_call()?;
        // A machine whose clock stands before 1970 is at its very beginning.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic_ns(&mut self) -> wasmtime::Result<u64> {
        self.host_call()?;
        Ok(u64::try_from(self.budget.since_start().as_nanos()).unwrap_or(u64::MAX))
    }
}
