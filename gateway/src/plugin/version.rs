//! A version: a component that was compiled and found fit, with what its exports and imports say about its rights.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre};

use super::bindings::exports::witgate::plugin::{lifecycle, request_hook, response_hook};
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
    imports: BTreeSet<String>,
    /// Whether hooks need the [`super::View`].
    pub imports_exchange: bool,
}

/// A hook that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Request,
    Response,
}

/// Where the exports stand in the component, so that instances need no look-up by name.
pub(super) struct Exports {
    pub(super) lifecycle: lifecycle::GuestIndices,
    pub(super) request_hook: Option<request_hook::GuestIndices>,
    pub(super) response_hook: Option<response_hook::GuestIndices>,
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
        let imports = imports(runtime, &compiled);
        let imports_exchange = imports.contains(EXCHANGE);
        let instance_pre =
            runtime.linker.instantiate_pre(&compiled).map_err(|error| LoadError::World(format!("{error:#}")))?;
        let world = |error: wasmtime::Error| LoadError::World(format!("{error:#}"));
        let exports = Exports {
            lifecycle: lifecycle::GuestIndices::new(&instance_pre).map_err(world)?,
            request_hook: hooks
                .contains(&Hook::Request)
                .then(|| request_hook::GuestIndices::new(&instance_pre))
                .transpose()
                .map_err(world)?,
            response_hook: hooks
                .contains(&Hook::Response)
                .then(|| response_hook::GuestIndices::new(&instance_pre))
                .transpose()
                .map_err(world)?,
        };
        Ok(Self { digest, instance_pre, exports, hooks, imports, imports_exchange })
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it imports of the WIT package: names of interfaces, without package and version.
    pub fn imports(&self) -> &BTreeSet<String> {
        &self.imports
    }

    pub fn has(&self, hook: Hook) -> bool {
        self.hooks.contains(&hook)
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

/// The interfaces of the WIT package that a component imports; those of WASI come over an empty context and say nothing.
fn imports(runtime: &Runtime, component: &Component) -> BTreeSet<String> {
    let kind = component.component_type();
    let ours = kind.imports(&runtime.engine).filter_map(|(name, _)| name.strip_prefix(PACKAGE));
    ours.map(|name| name.split_once('@').map_or(name, |(interface, _)| interface).to_owned()).collect()
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
            Some(("request-hook", version)) if fits(version) => drop(hooks.insert(Hook::Request)),
            Some(("response-hook", version)) if fits(version) => drop(hooks.insert(Hook::Response)),
            Some(("describe", version)) if fits(version) => {}
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
        return Err(LoadError::World(format!(
            "it exports no hook: neither `{PACKAGE}request-hook` nor `{PACKAGE}response-hook`"
        )));
    }
    Ok(hooks)
}

fn fits(version: &str) -> bool {
    version.strip_prefix(SPOKEN).is_some_and(|rest| rest.starts_with('.'))
}

const PACKAGE: &str = "witgate:plugin/";
const EXCHANGE: &str = "exchange";
/// Versions of the WIT package that fit, by semver's rule for 0.x.
const SPOKEN: &str = "0.1";
const CORE_WASM_VERSION: &[u8] = &[1, 0, 0, 0];
