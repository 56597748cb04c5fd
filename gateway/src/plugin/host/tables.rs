//! `tables`: look-up data that the host holds.

use std::sync::Arc;

use wasmtime::component::Resource;

use super::{State, not_granted};
use crate::plugin::bindings::witgate::plugin::tables;
use crate::resource::Table;

impl tables::Host for State {}

impl tables::HostTable for State {
    fn open(&mut self, name: String) -> wasmtime::Result<Result<Resource<Arc<Table>>, String>> {
        self.host_call()?;
        let Some(table) = self.grants.tables.get(&*name) else { return Ok(Err(not_granted("table", &name))) };
        Ok(Ok(self.table.push(table.clone())?))
    }

    fn get(&mut self, table: Resource<Arc<Table>>, key: String) -> wasmtime::Result<Option<String>> {
        self.host_call()?;
        Ok(self.table.get(&table)?.get(&key))
    }

    fn drop(&mut self, table: Resource<Arc<Table>>) -> wasmtime::Result<()> {
        self.table.delete(table)?;
        Ok(())
    }
}
