//! A version: a component that was compiled and found fit, with what its exports and imports say about its rights.

use std::fmt;
use std::path::Path;

use wasmtime::component::InstancePre;

use super::bindings::exports::witgate::plugin::{lifecycle, request_hook, response_hook};
use super::builtin;
use super::digest::Digest;
use super::engine::Runtime;
use super::failure::LoadError;
use super::host::State;
use super::outline::Outline;
use super::rights::Rights;

/// One compiled component. Declarations and snapshots share it.
pub struct Version {
    digest: Digest,
    pub(super) instance_pre: InstancePre<State>,
    pub(super) exports: Exports,
    rights: Rights,
    is_described: bool,
    /// Whether hooks need the [`super::View`].
    pub imports_exchange: bool,
}

/// A hook that a component exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    Request,
    Response,
}

impl Hook {
    pub const ALL: [Self; 2] = [Self::Request, Self::Response];

    /// As metrics and reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
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
        let outline = Outline::of(&runtime.engine, &compiled);
        if !outline.faults.is_empty() {
            return Err(LoadError::World(outline.faults.join("; it ")));
        }
        let Outline { rights, is_described, .. } = outline;
        let imports_exchange = rights.imports.contains("exchange");
        // What is linked under a known name may still have another shape than the component wants.
        let instance_pre =
            runtime.linker.instantiate_pre(&compiled).map_err(|error| LoadError::World(format!("{error:#}")))?;
        let world = |error: wasmtime::Error| LoadError::World(format!("{error:#}"));
        let exports = Exports {
            lifecycle: lifecycle::GuestIndices::new(&instance_pre).map_err(world)?,
            request_hook: rights
                .hooks
                .contains(&Hook::Request)
                .then(|| request_hook::GuestIndices::new(&instance_pre))
                .transpose()
                .map_err(world)?,
            response_hook: rights
                .hooks
                .contains(&Hook::Response)
                .then(|| response_hook::GuestIndices::new(&instance_pre))
                .transpose()
                .map_err(world)?,
        };
        Ok(Self { digest, instance_pre, exports, rights, is_described, imports_exchange })
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

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("label", &self.digest.label())
            .field("rights", &self.rights)
            .finish_non_exhaustive()
    }
}

const CORE_WASM_VERSION: &[u8] = &[1, 0, 0, 0];
