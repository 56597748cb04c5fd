//! Host side of the WIT package, generated: record types, import traits, typed exports.
//!
//! One world names every interface; a component that exports only some of them is bound interface by interface in `version`.
#![allow(unreachable_pub, missing_docs, reason = "generated code")]
#![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]

use std::sync::Arc;

use crate::resource::{Limiter, Table};

/// A table and a limiter as a guest holds them.
pub type OpenTable = Arc<Table>;
pub type OpenLimiter = Arc<Limiter>;

wasmtime::component::bindgen!({
    path: "../wit",
    world: "plugin",
    imports: {
        // What may come from another machine: while the answer is on its way, the worker does other things.
        "witgate:plugin/kv.[method]store.get": async | trappable,
        "witgate:plugin/kv.[method]store.set": async | trappable,
        "witgate:plugin/kv.[method]store.delete": async | trappable,
        "witgate:plugin/kv.[method]store.increment": async | trappable,
        "witgate:plugin/kv.[method]store.compare-and-set": async | trappable,
        "witgate:plugin/http.send": async | trappable,
        "witgate:plugin/jwt.[method]verifier.verify": async | trappable,
        "witgate:plugin/rate-limit.[method]limiter.take": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    // Arguments are borrowed, so that the host copies nothing before the guest does.
    additional_derives: [PartialEq, Clone],
    ownership: Borrowing { duplicate_if_necessary: true },
    // What stands behind the handles of guests.
    with: {
        "witgate:plugin/kv.store": crate::resource::OpenStore,
        "witgate:plugin/tables.table": crate::plugin::bindings::OpenTable,
        "witgate:plugin/secrets.secret": crate::plugin::grants::SecretGrant,
        "witgate:plugin/rate-limit.limiter": crate::plugin::bindings::OpenLimiter,
        "witgate:plugin/jwt.verifier": crate::resource::Verifier,
    },
});
