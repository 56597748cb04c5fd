//! Host side of the WIT package, generated: record types, import traits, typed exports.
//!
//! One world names every interface; a component that exports only some of them is bound interface by interface in `version`.
#![allow(unreachable_pub, missing_docs, reason = "generated code")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: { default: trappable },
    exports: { default: async },
    // Arguments are borrowed, so that the host copies nothing before the guest does.
    additional_derives: [PartialEq, Clone],
    ownership: Borrowing { duplicate_if_necessary: true },
});
