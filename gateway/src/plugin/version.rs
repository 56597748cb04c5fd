//! A version: a component that was compiled and found fit, with what its exports and imports say about its rights.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::witgate::plugin::{
    describe, lifecycle, request_body, request_hook, response_body, response_hook, whole_request, whole_response,
};
use super::digest::Digest;
use super::engine::Runtime;
use super::failure::LoadError;
use super::host::State;
use super::outline::Outline;
use super::rights::Rights;
use super::schema::Schema;

/// One compiled component. Declarations and snapshots share it.
#[derive(Clone)]
pub struct Version {
    digest: Digest,
    pub(super) instance_pre: InstancePre<State>,
    pub(super) exports: Exports,
    rights: Rights,
    /// What configuration it takes, if it tells.
    schema: Option<Arc<Schema>>,
    /// Whether hooks need the [`super::View`].
    pub imports_exchange: bool,
    /// Whether it can send requests of its own.
    pub imports_http: bool,
    /// Whether it can ask, or its own requests have to say, to which trace a call belongs.
    pub imports_trace: bool,
}

/// A hook that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Request,
    Response,
    RequestBody,
    ResponseBody,
    WholeRequest,
    WholeResponse,
}

impl Hook {
    pub const ALL: [Self; 6] =
        [Self::Request, Self::Response, Self::RequestBody, Self::ResponseBody, Self::WholeRequest, Self::WholeResponse];

    /// As metrics and reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::RequestBody => "request_body",
            Self::ResponseBody => "response_body",
            Self::WholeRequest => "whole_request",
            Self::WholeResponse => "whole_response",
        }
    }
}

/// Where the exports stand in the component, so that instances need no look-up by name.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) lifecycle: lifecycle::GuestIndices,
    pub(super) describe: Option<describe::GuestIndices>,
    pub(super) request_hook: Option<request_hook::GuestIndices>,
    pub(super) response_hook: Option<response_hook::GuestIndices>,
    pub(super) request_body: Option<request_body::GuestIndices>,
    pub(super) response_body: Option<response_body::GuestIndices>,
    pub(super) whole_request: Option<whole_request::GuestIndices>,
    pub(super) whole_response: Option<whole_response::GuestIndices>,
}

impl Version {
    /// Compiles the component, or finds its code in the cache, checks that it fits, and asks for its schema if it tells one.
    /// `digest` is the component's.
    ///
    /// # Errors
    /// Any [`LoadError`] but those about sources.
    pub async fn load(runtime: &Runtime, component: &[u8], digest: Digest) -> Result<Self, LoadError> {
        let compiled = Self::compile(runtime, component, digest).await?;
        Self::fit(runtime, &compiled, digest)?.described(runtime).await
    }

    /// The first part of [`Self::load`].
    pub(super) async fn compile(runtime: &Runtime, component: &[u8], digest: Digest) -> Result<Component, LoadError> {
        if !component.starts_with(b"\0asm") {
            return Err(LoadError::NotAComponent(
                "it is not WebAssembly (the bytes `\\0asm` are missing at its start)",
            ));
        }
        if component.get(4..8) == Some(CORE_WASM_VERSION) {
            return Err(LoadError::NotAComponent(
                "it is a core WebAssembly file, not a component (build it with `--target wasm32-wasip2`)",
            ));
        }
        runtime.compiler.compile(&runtime.engine, component, digest).await
    }

    /// The second part of [`Self::load`]: names everything that is missing or unknown.
    pub(super) fn fit(runtime: &Runtime, compiled: &Component, digest: Digest) -> Result<Self, LoadError> {
        let world = |error: wasmtime::Error| LoadError::World(format!("{error:#}"));
        let Outline { rights, is_described, faults, .. } = Outline::of(&runtime.engine, compiled);
        if !faults.is_empty() {
            return Err(LoadError::World(faults.join("; it ")));
        }
        // What is linked under a known name may still have another shape than the component wants.
        let instance_pre = runtime.linker.instantiate_pre(compiled).map_err(world)?;
        let exports = Exports::find(&instance_pre, &rights.hooks, is_described).map_err(world)?;
        let imports_exchange = rights.imports.contains("exchange");
        let imports_http = rights.imports.contains("http");
        let imports_trace = imports_http || rights.imports.contains("trace");
        Ok(Self { digest, instance_pre, exports, rights, schema: None, imports_exchange, imports_http, imports_trace })
    }

    /// The last part of [`Self::load`]: the version with its schema, if it tells one.
    pub(super) async fn described(self, runtime: &Runtime) -> Result<Self, LoadError> {
        if self.exports.describe.is_none() {
            return Ok(self);
        }
        let schema = runtime.ask_for_schema(Arc::new(self.clone())).await?;
        Ok(Self { schema: Some(Arc::new(schema)), ..self })
    }

    /// What configuration it takes, if it tells.
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_deref()
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn has(&self, hook: Hook) -> bool {
        self.rights.hooks.contains(&hook)
    }

    /// Which hooks it exports, and what it imports of the WIT package.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }
}

impl Exports {
    fn find(component: &InstancePre<State>, hooks: &BTreeSet<Hook>, is_described: bool) -> wasmtime::Result<Self> {
        /// Only what is exported can be found.
        fn of<T>(exported: bool, find: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<Option<T>> {
            exported.then(find).transpose()
        }
        let has = |hook| hooks.contains(&hook);
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(component)?,
            describe: of(is_described, || describe::GuestIndices::new(component))?,
            request_hook: of(has(Hook::Request), || request_hook::GuestIndices::new(component))?,
            response_hook: of(has(Hook::Response), || response_hook::GuestIndices::new(component))?,
            request_body: of(has(Hook::RequestBody), || request_body::GuestIndices::new(component))?,
            response_body: of(has(Hook::ResponseBody), || response_body::GuestIndices::new(component))?,
            whole_request: of(has(Hook::WholeRequest), || whole_request::GuestIndices::new(component))?,
            whole_response: of(has(Hook::WholeResponse), || whole_response::GuestIndices::new(component))?,
        })
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("label", &self.digest.label())
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

const CORE_WASM_VERSION: &[u8] = &[1, 0, 0, 0];
