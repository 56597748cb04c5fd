//! What an instance may grow to.

use wasmtime::ResourceLimiter;

use crate::plugin::failure::Failure;

/// The memory of one instance, over all its linear memories (`limits.memory`).
pub(in crate::plugin) struct MemoryCap {
    pub(in crate::plugin) bytes: usize,
    bytes_max: usize,
    table_elements_max: usize,
}

impl MemoryCap {
    pub(super) fn new(bytes_max: usize, table_elements_max: usize) -> Self {
        Self { bytes: 0, bytes_max, table_elements_max }
    }
}

impl ResourceLimiter for MemoryCap {
    fn memory_growing(&mut self, current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.bytes + (desired - current);
        if bytes > self.bytes_max {
            let detail = format!("the guest asked for {bytes} bytes, {} are allowed", self.bytes_max);
            return Err(wasmtime::Error::new(Failure::Limit { limit: "limits.memory", detail }));
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _max: Option<usize>) -> wasmtime::Result<bool> {
        let max = self.table_elements_max;
        if desired > max {
            let detail = format!("the guest asked for {desired} elements, {max} are allowed");
            return Err(wasmtime::Error::new(Failure::Limit { limit: "limits.tables", detail }));
        }
        Ok(true)
    }
}
