//! A version: a component that was compiled and found fit, with what its exports and imports say about its rights.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::witgate::plugin::{
    lifecycle, request_body, request_hook, response_body, response_hook, whole_request, whole_response,
};
use super::builtin;
use super::digest::Digest;
use super::engine::Runtime;
use super::failure::LoadError;
use super::host::State;

/// One compiled component. Declarations and snapshots share it.
pub struct Version {
    digest: Digest,
    pub(super) instance_pre: InstancePre<State>,
    pub(super) exports: Exports,
    hooks: BTreeSet<Hook>,
    /// Whether hooks need the [`super::View`].
    pub imports_exchange: bool,
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

/// Where the exports stand in the component, so that instances need no look-up by name.
pub(super) struct Exports {
    pub(super) lifecycle: lifecycle::GuestIndices,
    pub(super) request_hook: Option<request_hook::GuestIndices>,
    pub(super) response_hook: Option<response_hook::GuestIndices>,
    pub(super) request_body: Option<request_body::GuestIndices>,
    pub(super) response_body: Option<response_body::GuestIndices>,
    pub(super) whole_request: Option<whole_request::GuestIndices>,
    pub(super) whole_response: Option<whole_response::GuestIndices>,
}

impl Version {
    /// Reads a component's bytes: at most `bytes_max`, and only a component.
    ///
    /// # Errors
    /// [`LoadError::Read`], [`LoadError::TooLarge`], [`LoadError::NotAComponent`].
    pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
        let fail = |error| LoadError::Read { path: path.display().to_string(), error };
        let size_bytes = std::fs::metadata(path).map_err(fail)?.len();
        if size_bytes > bytes_max {
            return Err(LoadError::TooLarge { size_bytes, max_bytes: bytes_max });
        }
        std::fs::read(path).map_err(fail)
    }

    /// The bytes of a bundled component.
    ///
    /// # Errors
    /// [`LoadError::UnknownBuiltin`].
    pub fn builtin(name: &str) -> Result<&'static [u8], LoadError> {
        builtin::component(name).ok_or_else(|| LoadError::UnknownBuiltin {
            name: name.to_owned(),
            known: builtin::names().collect::<Vec<_>>().join(", "),
        })
    }

    /// Compiles the component, or finds its code in the cache, and checks what it exports. `digest` is the component's.
    ///
    /// # Errors
    /// Any [`LoadError`] but the reading ones.
    pub async fn load(runtime: &Runtime, component: &[u8], digest: Digest) -> Result<Self, LoadError> {
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
        let compiled = runtime.compiler.compile(&runtime.engine, component, digest).await?;
        let hooks = check_exports(runtime, &compiled)?;
        let imports_exchange = imports(runtime, &compiled).any(|name| name.starts_with(EXCHANGE));
        let instance_pre =
            runtime.linker.instantiate_pre(&compiled).map_err(|error| LoadError::World(format!("{error:#}")))?;
        let exports = Exports::find(&instance_pre, &hooks).map_err(|error| LoadError::World(format!("{error:#}")))?;
        Ok(Self { digest, instance_pre, exports, hooks, imports_exchange })
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
    }
}

impl Exports {
    fn find(component: &InstancePre<State>, hooks: &BTreeSet<Hook>) -> wasmtime::Result<Self> {
        /// Only what is exported can be found.
        fn of<T>(exported: bool, find: impl FnOnce() -> wasmtime::Result<T>) -> wasmtime::Result<Option<T>> {
            exported.then(find).transpose()
        }
        let has = |hook| hooks.contains(&hook);
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(component)?,
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
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

fn imports<'c>(runtime: &'c Runtime, component: &'c Component) -> impl Iterator<Item = String> + 'c {
    component.component_type().imports(&runtime.engine).map(|(name, _)| name.to_owned()).collect::<Vec<_>>().into_iter()
}

/// Reads the hooks off the exports, and names what is missing or unknown: a wrong world must not be half understood.
fn check_exports(runtime: &Runtime, component: &Component) -> Result<BTreeSet<Hook>, LoadError> {
    let kind = component.component_type();
    let ours: Vec<String> = kind
        .exports(&runtime.engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with(PACKAGE))
        .collect();
    let mut hooks = BTreeSet::new();
    let mut lifecycle = false;
    for name in &ours {
        match name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@')) {
            Some(("lifecycle", version)) if fits(version) => lifecycle = true,
            Some(("describe", version)) if fits(version) => {}
            Some((name, version)) if fits(version) && hook_of(name).is_some() => hooks.extend(hook_of(name)),
            _ => {
                return Err(LoadError::World(format!(
                    "it exports `{name}`, which this gateway does not know (it speaks {PACKAGE}*@{SPOKEN}.x)"
                )));
            }
        }
    }
    if !lifecycle {
        return Err(LoadError::World(format!("it does not export `{PACKAGE}lifecycle@{SPOKEN}.0`")));
    }
    if hooks.is_empty() {
        let known: Vec<_> = HOOKS.iter().map(|(name, _)| *name).collect();
        return Err(LoadError::World(format!("it exports no hook ({PACKAGE}…): {}", known.join(", "))));
    }
    Ok(hooks)
}

fn hook_of(interface: &str) -> Option<Hook> {
    HOOKS.iter().find(|(name, _)| *name == interface).map(|(_, hook)| *hook)
}

fn fits(version: &str) -> bool {
    version.strip_prefix(SPOKEN).is_some_and(|rest| rest.starts_with('.'))
}

/// The interfaces that are hooks.
const HOOKS: [(&str, Hook); 6] = [
    ("request-hook", Hook::Request),
    ("response-hook", Hook::Response),
    ("request-body", Hook::RequestBody),
    ("response-body", Hook::ResponseBody),
    ("whole-request", Hook::WholeRequest),
    ("whole-response", Hook::WholeResponse),
];

const PACKAGE: &str = "witgate:plugin/";
const EXCHANGE: &str = "witgate:plugin/exchange@";
/// Versions of the WIT package that fit, by semver's rule for 0.x.
const SPOKEN: &str = "0.1";
const CORE_WASM_VERSION: &[u8] = &[1, 0, 0, 0];
