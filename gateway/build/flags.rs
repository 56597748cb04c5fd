//! What components are built for and with, for those that come with the gateway and for those that authors build with it.

/// Rust's name of the target.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// Flags of the compiler, in the form of `CARGO_ENCODED_RUSTFLAGS`. Rust's default stack of 1 MiB lies first in the memory of a component,
/// and makes a fresh instance three times as dear. Vector instructions are in every engine of components, and loops over bodies are
/// several times faster with them.
pub(super) const RUSTFLAGS: &str = "-Clink-arg=-zstack-size=65536\x1f-Ctarget-feature=+simd128";
