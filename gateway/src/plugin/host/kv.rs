//! `kv`: the stores that the plugin is granted. While a store's answer is on its way, the call waits and the worker does not.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::Resource;

use super::{State, not_granted};
use crate::plugin::bindings::witgate::plugin::kv;
use crate::resource::{OpenStore, StoreFault};

type Answer<T> = wasmtime::Result<Result<T, kv::KvError>>;

impl kv::Host for State {}

impl kv::HostStore for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<OpenStore>, String>> {
        self.host_call()?;
        let Some(store) = self.grants.stores.get(&*name) else { return Ok(Err(not_granted("store", &name))) };
        let store = store.open();
        Ok(Ok(self.table.push(store)?))
    }

    async fn get(&mut self, store: Resource<OpenStore>, key: String) -> Answer<Option<Vec<u8>>> {
        self.host_call()?;
        let store = self.table.get(&store)?;
        let answer = self.budget.host_wait(store.get(&key)).await;
        Ok(answer.map(|value| value.map(Vec::from)).map_err(fault))
    }

    async fn set(
        &mut self,
        store: Resource<OpenStore>,
        key: String,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Answer<()> {
        self.host_call()?;
        let store = self.table.get(&store)?;
        let answer = self.budget.host_wait(store.set(&key, value.into(), ttl_ms.map(Duration::from_millis))).await;
        Ok(answer.map_err(fault))
    }

    async fn delete(&mut self, store: Resource<OpenStore>, key: String) -> Answer<bool> {
        self.host_call()?;
        let store = self.table.get(&store)?;
        Ok(self.budget.host_wait(store.delete(&key)).await.map_err(fault))
    }

    async fn increment(
        &mut self,
        store: Resource<OpenStore>,
        key: String,
        by: i64,
        ttl_ms: Option<u64>,
    ) -> Answer<i64> {
        self.host_call()?;
        let store = self.table.get(&store)?;
        let answer = self.budget.host_wait(store.increment(&key, by, ttl_ms.map(Duration::from_millis))).await;
        Ok(answer.map_err(fault))
    }

    async fn compare_and_set(
        &mut self,
        store: Resource<OpenStore>,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_ms: Option<u64>,
    ) -> Answer<bool> {
        self.host_call()?;
        let store = self.table.get(&store)?;
        let value = Bytes::from(value);
        let work = store.compare_and_set(&key, expected.as_deref(), value, ttl_ms.map(Duration::from_millis));
        Ok(self.budget.host_wait(work).await.map_err(fault))
    }

    fn drop(&mut self, store: Resource<OpenStore>) -> wasmtime::Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

fn fault(fault: StoreFault) -> kv::KvError {
    match fault {
        StoreFault::Unavailable => kv::KvError::Unavailable,
        StoreFault::OverQuota => kv::KvError::OverQuota,
        StoreFault::TooLarge => kv::KvError::TooLarge,
        StoreFault::NotANumber => kv::KvError::NotANumber,
    }
}
