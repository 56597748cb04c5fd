//! Compiling: component in, machine code out, in a child process that can be limited and killed.
//!
//! Inside the process a compilation can be neither cancelled nor capped in memory (60,000 functions take seconds). The
//! child is this same binary; it lowers its own limits before it reads a byte. What it makes is kept under the digest of
//! the component and the engine's settings, so that a component is compiled once for a machine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::digest::Digest;
use super::failure::LoadError;
use super::settings::code_settings;
use super::shelf::Shelf;

/// What compiling one component may use.
#[derive(Debug, Clone)]
pub struct CompileLimits {
    /// Wall clock, and CPU time of the child.
    pub timeout: Duration,
    /// Address space of the child.
    pub memory_bytes: u64,
}

/// Finds compiled code, or has it made.
pub(super) struct Compiler {
    program: PathBuf,
    code: Shelf,
    limits: CompileLimits,
    /// Names the engine's settings: code made under others does not fit.
    compatibility: String,
}

impl Compiler {
    pub(super) fn new(engine: &Engine, program: PathBuf, code: Shelf, limits: CompileLimits) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self { program, code, limits, compatibility: format!("{:016x}", hasher.finish()) }
    }

    /// The compiled component, from the cache when it is there and whole.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
        digest: Digest,
    ) -> Result<Component, LoadError> {
        let name = format!("{digest}-{}.cwasm", self.compatibility);
        let path = self.code.path(&name);
        if path.exists() {
            match deserialize(engine, &path) {
                Ok(component) => {
                    self.code.touch(&name);
                    return Ok(component);
                }
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "compiled code cannot be used; compiling anew")
                }
            }
        }
        let started = std::time::Instant::now();
        let code = self.run_child(component).await?;
        self.code.put(&name, &code).map_err(|error| LoadError::Cache { path: path.display().to_string(), error })?;
        tracing::debug!(sha256 = %digest, elapsed = ?started.elapsed(), code_bytes = code.len(), "compiled");
        deserialize(engine, &path).map_err(|error| LoadError::Compile(format!("{error:#}")))
    }

    async fn run_child(&self, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        let mut child = Command::new(&self.program)
            .arg(CHILD_COMMAND)
            .arg(self.limits.timeout.as_secs().max(1).to_string())
            .arg(self.limits.memory_bytes.to_string())
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| LoadError::Compile(format!("cannot start {}: {error}", self.program.display())))?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = child.stdout.take().expect("stdout is piped").take(CODE_BYTES_MAX);
        let mut stderr = child.stderr.take().expect("stderr is piped").take(MESSAGE_BYTES_MAX);
        let (mut code, mut message) = (Vec::new(), Vec::new());
        let work = async {
            let write = async {
                // A child that gives up early closes the pipe; its status tells why.
                let _ = stdin.write_all(component).await;
                drop(stdin);
            };
            let (_, code, message) =
                tokio::join!(write, stdout.read_to_end(&mut code), stderr.read_to_end(&mut message));
            code.and(message)?;
            child.wait().await
        };
        let status = tokio::time::timeout(self.limits.timeout, work)
            .await
            .map_err(|_| {
                LoadError::Compile(format!("it took longer than {:?} (`runtime.compile_timeout`)", self.limits.timeout))
            })?
            .map_err(|error| LoadError::Compile(format!("the compiling process failed: {error}")))?;
        match status.code() {
            Some(0) => Ok(code),
            Some(_) => Err(LoadError::Compile(String::from_utf8_lossy(&message).trim().to_owned())),
            None => Err(LoadError::Compile(format!(
                "the compiling process was killed ({status}); it may use {} bytes of memory (`runtime.compile_memory`) and {:?} of CPU time (`runtime.compile_timeout`)",
                self.limits.memory_bytes, self.limits.timeout
            ))),
        }
    }
}

/// The one place that trusts bytes on disk as machine code.
#[allow(unsafe_code, reason = "wasmtime cannot check machine code; the folder is the gateway's alone (mode 0700)")]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by `compile` into a folder that only this user may write, and is replaced, never changed.
    unsafe { Component::deserialize_file(engine, path) }
}

/// The child's side: limits itself, reads a component from stdin, writes machine code to stdout.
///
/// `arguments` are those behind [`CHILD_COMMAND`]: CPU seconds and bytes of address space.
pub fn compile_child(arguments: &[String]) -> ExitCode {
    let result = limit_self(arguments).and_then(|()| {
        let mut component = Vec::new();
        std::io::stdin().lock().read_to_end(&mut component)?;
        let engine = Engine::new(&code_settings())?;
        let code = engine.precompile_component(&component)?;
        Ok(std::io::stdout().lock().write_all(&code)?)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr().lock(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn limit_self(arguments: &[String]) -> wasmtime::Result<()> {
    use rustix::process::{Resource, Rlimit, nice, setrlimit};
    let [cpu_s, memory_bytes] = arguments else {
        return Err(wasmtime::Error::msg("expected CPU seconds and bytes of memory"));
    };
    let limit = |value: u64| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Cpu, limit(cpu_s.parse()?))?;
    setrlimit(Resource::As, limit(memory_bytes.parse()?))?;
    setrlimit(Resource::Core, limit(0))?;
    nice(10)?;
    Ok(())
}

/// The hidden command of the binary that ends in [`compile_child`].
pub(crate) const CHILD_COMMAND: &str = "compile-component";
/// Machine code is three to four times the component, of which the largest allowed by default has 16 MiB.
const CODE_BYTES_MAX: u64 = 256 << 20;
const MESSAGE_BYTES_MAX: u64 = 16 << 10;
