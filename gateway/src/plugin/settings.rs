//! The engine's settings, measured one by one; the comment beside each says what it buys.

use wasmtime::{Config, PoolingAllocationConfig};

/// The settings that decide which code is generated: those of the compiling child, too.
pub(super) fn code_settings() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    // Saves 350 ns a call and half the time of instantiation (wasmtime#12836). WASI 0.3 components would need it.
    config.concurrency_support(false);
    // Ends endless loops at 0-5 % of a call's time; fuel would cost 7-25 %.
    config.epoch_interruption(true);
    config.memory_reservation(MEMORY_BYTES_MAX as u64);
    config.memory_guard_size(GUARD_BYTES);
    config.memory_may_move(false);
    // The guest's stack and what host functions may use of the fiber beyond it.
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.async_stack_size(FIBER_STACK_BYTES);
    config
}

pub(super) fn pool_settings(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots);
    // A component of Rust's wasip2 target holds three core instances and up to two tables.
    pool.total_core_instances(slots * 5);
    pool.total_memories(slots);
    pool.total_tables(slots * 2);
    pool.total_stacks(slots);
    pool.max_memory_size(MEMORY_BYTES_MAX);
    // What of a slot stays resident when it is free, and is cleared by memset instead of by the kernel: a fresh
    // instance costs 8 us instead of 22.
    pool.linear_memory_keep_resident(256 << 10);
    pool.table_keep_resident(16 << 10);
    pool.max_unused_warm_slots(100);
    pool
}

/// The largest memory a plugin's limit may name: a slot reserves this much address space.
pub(super) const MEMORY_BYTES_MAX: usize = 64 << 20;
const GUARD_BYTES: u64 = 32 << 20;
const WASM_STACK_BYTES: usize = 512 << 10;
const FIBER_STACK_BYTES: usize = 2 << 20;
