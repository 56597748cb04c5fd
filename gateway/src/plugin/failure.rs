//! What can go wrong with a plugin, by kind: the kind decides what happens to the request (`on_error`).

use std::time::Duration;

use wasmtime::component::ResourceTableError;

use super::digest::Digest;
use super::schema::SchemaError;
use super::source::{PublicKeyError, SourceError};

/// A call that gave no verdict. The instance it ran on is gone.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The guest trapped: a panic, an illegal access, a call it may not make.
    #[error("trapped: {0}")]
    Trap(String),
    /// The guest used up its CPU time.
    #[error("used its {0:?} of CPU time")]
    Deadline(Duration),
    /// Guest and host calls together took too long by the clock on the wall.
    #[error("was not done after {0:?}")]
    Timeout(Duration),
    /// The guest wanted more than a named limit gives.
    #[error("exceeded {limit}: {detail}")]
    Limit { limit: &'static str, detail: String },
    /// A new instance refused a configuration that an earlier one took.
    #[error("refused its configuration: {0}")]
    Configure(String),
    /// The guest gave a verdict that cannot be carried out, such as an invalid header name.
    #[error("gave an invalid verdict: {0}")]
    Verdict(String),
}

/// The kinds that a policy tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    Load,
    Trap,
    Deadline,
    Limit,
}

impl Failure {
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Trap(_) | Self::Verdict(_) => FailureKind::Trap,
            Self::Deadline(_) | Self::Timeout(_) => FailureKind::Deadline,
            Self::Limit { .. } => FailureKind::Limit,
            Self::Configure(_) => FailureKind::Load,
        }
    }

    /// Of a verdict with a value that is malformed.
    pub fn invalid(what: &str, value: &str, error: &dyn std::fmt::Display) -> Self {
        let shown: String = value.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_default).collect();
        Self::Verdict(format!("invalid {what} `{shown}`: {error}"))
    }

    /// Nothing, where a guest keeps within a limit.
    ///
    /// # Errors
    /// [`Self::Limit`] where it does not.
    pub fn at_most(limit: &'static str, found: usize, max: usize) -> Result<(), Self> {
        if found > max {
            return Err(Self::Limit { limit, detail: format!("{found}, of at most {max}") });
        }
        Ok(())
    }

    /// Reads the kind off wasmtime's error, through which the host's own limits come as they are; `deadline` is the budget the call ran
    /// under.
    pub(super) fn from_wasmtime(error: &wasmtime::Error, deadline: Duration) -> Self {
        if let Some(failure) = error.downcast_ref::<Self>() {
            return failure.clone();
        }
        if let Some(ResourceTableError::Full) = error.downcast_ref() {
            let detail = "the guest opened more than it may hold at a time".to_owned();
            return Self::Limit { limit: "limits.handles", detail };
        }
        if error.is::<wasmtime::PoolConcurrencyLimitError>() {
            return Self::Limit { limit: "runtime.slots", detail: "every slot is taken".to_owned() };
        }
        match error.downcast_ref::<wasmtime::Trap>() {
            Some(wasmtime::Trap::Interrupt) => Self::Deadline(deadline),
            Some(wasmtime::Trap::UnreachableCodeReached) => {
                Self::Trap("the guest panicked or aborted (its own words, if any, stand in the log above)".to_owned())
            }
            Some(trap) => Self::Trap(trap.to_string()),
            None => Self::Trap(format!("{error:#}")),
        }
    }
}

/// Why a component cannot serve as a plugin at all.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {path}: {error}")]
    Read { path: String, error: std::io::Error },
    #[error("cannot fetch {url}: {error}")]
    Fetch { url: String, error: String },
    #[error(
        "{source_name} comes over a network and proves nothing: pin it (`sha256`) or name who signs it (`public_key`)"
    )]
    Unproved { source_name: String },
    #[error("its signature {signature} is not by `public_key`: {error}")]
    Signature { signature: String, error: String },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
    #[error("no bundled plugin is called `{name}`; there are: {known}")]
    UnknownBuiltin { name: String, known: String },
    #[error("the component has {size_bytes} bytes, more than `runtime.component` allows ({max_bytes})")]
    TooLarge { size_bytes: u64, max_bytes: u64 },
    #[error("its sha256 is {found}, the configuration pins {pinned}")]
    Digest { found: Digest, pinned: Digest },
    #[error("{0}")]
    NotAComponent(&'static str),
    #[error("cannot be compiled: {0}")]
    Compile(String),
    #[error("compiling it takes longer than `runtime.compile_timeout` allows ({0:?})")]
    CompileTimeout(Duration),
    #[error("compiling it takes more memory than `runtime.compile_memory` allows ({0} bytes)")]
    CompileMemory(u64),
    #[error("its machine code has more than {max_bytes} bytes")]
    CodeTooLarge { max_bytes: u64 },
    #[error("does not fit this gateway: {0}")]
    World(String),
    #[error(
        "only `witgate dev` builds what `cargo:` names: make the component with `witgate plugin build --release`, and write `file:PATH`"
    )]
    Unbuilt,
    #[error("fails when it is asked for its config schema: it {0}")]
    Describe(Failure),
    #[error("tells a config schema that {0}")]
    Schema(#[from] SchemaError),
    #[error("the compiled code cannot be kept in {path}: {error}")]
    Cache { path: String, error: std::io::Error },
}

impl LoadError {
    /// Whether the source could not be reached, so that nothing is known about what it would have given.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Read { .. } | Self::Fetch { .. })
    }

    /// Whether this may be a mistake of the configuration or an attack, and not just a bad day of the source: then nothing
    /// else may serve in its place.
    pub fn is_suspicious(&self) -> bool {
        matches!(
            self,
            Self::UnknownBuiltin { .. }
                | Self::Unbuilt
                | Self::Digest { .. }
                | Self::Unproved { .. }
                | Self::Signature { .. }
                | Self::Source(_)
                | Self::PublicKey(_)
        )
    }
}

/// Of a value that a failure quotes.
const SHOWN_CHARS_MAX: usize = 64;
