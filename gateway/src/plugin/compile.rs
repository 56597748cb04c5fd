//! Compiled code: made once for a component and an engine, kept on disk, and never trusted unseen.
//!
//! Machine code cannot be checked as WebAssembly can, so what is executed is what the compiling process of this machine
//! wrote (`child`), to the byte: it ends in a seal, the SHA-256 of everything before.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex as Turn, Semaphore};
use tokio::task::spawn_blocking;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::child::{self, SEAL_BYTES};
use super::digest::Digest;
use super::failure::LoadError;
use super::shelf::Shelf;

/// What compiling may use.
#[derive(Debug, Clone)]
pub struct CompileLimits {
    /// Wall clock, and CPU time of one compiling process. Waiting for a turn does not count.
    pub timeout: Duration,
    /// Address space of one compiling process.
    pub memory_bytes: u64,
    /// Compiling processes at a time, each of which takes one core at most.
    pub parallel: usize,
}

/// Finds compiled code, or has it made.
pub(super) struct Compiler {
    program: PathBuf,
    code: Shelf,
    limits: CompileLimits,
    /// Names the engine's settings: code made under others does not fit.
    compatibility: String,
    turns: Semaphore,
    /// The components that are being compiled.
    under_way: Mutex<HashMap<Digest, Weak<Turn<()>>>>,
}

impl Compiler {
    pub(super) fn new(engine: &Engine, program: PathBuf, code: Shelf, limits: CompileLimits) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let turns = Semaphore::new(limits.parallel.max(1));
        let compatibility = format!("{:016x}", hasher.finish());
        Self { program, code, limits, compatibility, turns, under_way: Mutex::default() }
    }

    /// The compiled component, from the shelf when it is there and whole.
    pub(super) async fn compile(
        &self,
        engine: &Engine,
        component: &[u8],
        digest: Digest,
    ) -> Result<Component, LoadError> {
        if let Some(found) = self.find(engine, digest).await? {
            return Ok(found);
        }
        // Whoever wants the same component meanwhile waits here, and then finds it made.
        let turn = self.turn_of(digest);
        let _turn = turn.lock().await;
        if let Some(found) = self.find(engine, digest).await? {
            return Ok(found);
        }
        let _permit = self.turns.acquire().await.expect("the semaphore is never closed");
        let started = Instant::now();
        let draft = self.code.draft().map_err(|error| self.not_kept(digest, error))?;
        let output = draft.as_file().try_clone().map_err(|error| self.not_kept(digest, error))?;
        child::compile(&self.program, &self.limits, component, output).await?;
        let (shelf, name) = (self.code.clone(), self.name(digest));
        in_background(move || shelf.keep(draft, &name)).await?.map_err(|error| self.not_kept(digest, error))?;
        tracing::debug!(sha256 = %digest, elapsed = ?started.elapsed(), "compiled");
        let made = self.find(engine, digest).await?;
        made.ok_or_else(|| LoadError::Compile("somebody removed or damaged the compiled code at once".to_owned()))
    }

    /// `None` when the code is not there, or when it was damaged, which is said.
    async fn find(&self, engine: &Engine, digest: Digest) -> Result<Option<Component>, LoadError> {
        let (engine, shelf, name) = (engine.clone(), self.code.clone(), self.name(digest));
        in_background(move || {
            let path = shelf.path(&name);
            let found = match whole(&path) {
                Ok(true) => deserialize(&engine, &path),
                Ok(false) => return Ok(None),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "compiled code cannot be used");
                    return Ok(None);
                }
            };
            shelf.touch(&name);
            // What compiles may still be more than an instance can get, such as a memory beyond every slot.
            found.map(Some).map_err(|error| LoadError::World(format!("{error:#}")))
        })
        .await?
    }

    fn name(&self, digest: Digest) -> String {
        format!("{digest}-{}.cwasm", self.compatibility)
    }

    fn turn_of(&self, digest: Digest) -> Arc<Turn<()>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, turn| turn.strong_count() > 0);
        let turn = under_way.get(&digest).and_then(Weak::upgrade).unwrap_or_default();
        under_way.insert(digest, Arc::downgrade(&turn));
        turn
    }

    fn not_kept(&self, digest: Digest, error: io::Error) -> LoadError {
        LoadError::Cache { path: self.code.path(&self.name(digest)).display().to_string(), error }
    }
}

/// Disks are slow at times, and hashing megabytes takes milliseconds: other work of the control side goes on meanwhile.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    spawn_blocking(work).await.map_err(|error| LoadError::Compile(error.to_string()))
}

/// Whether there is such a file, with an unbroken seal.
fn whole(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => check_seal(file).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn check_seal(mut file: File) -> io::Result<()> {
    let broken = || io::Error::other("its seal is broken: the file was damaged");
    let code_bytes = file.metadata()?.len().checked_sub(SEAL_BYTES).ok_or_else(broken)?;
    let mut hasher = Sha256::new();
    io::copy(&mut file.by_ref().take(code_bytes), &mut hasher)?;
    let mut seal = Vec::new();
    file.read_to_end(&mut seal)?;
    if *seal == *hasher.finalize() { Ok(()) } else { Err(broken()) }
}

/// The one place that trusts bytes on disk as machine code.
#[allow(unsafe_code, reason = "wasmtime cannot check machine code; the folder is the gateway's alone (mode 0700)")]
fn deserialize(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the file is what the compiling process wrote, as its seal says, in a folder that only this user may write,
    // and is replaced, never changed.
    unsafe { Component::deserialize_file(engine, path) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::plugin::builtin;
    use crate::plugin::settings::code_settings;

    /// A compiler whose process is a script; `code` in the folder is the real code of `component`, sealed.
    struct Bench {
        folder: TempDir,
        engine: Engine,
        compiler: Compiler,
        digest: Digest,
    }

    impl Bench {
        fn new(parallel: usize) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let engine = Engine::new(&code_settings()).unwrap();
            let component = builtin::component("rewrite").unwrap();
            let mut code = engine.precompile_component(component).unwrap();
            code.extend_from_slice(&Sha256::digest(&code));
            fs::write(folder.path().join("code"), code).unwrap();
            let limits = CompileLimits { timeout: Duration::from_secs(60), memory_bytes: 1 << 30, parallel };
            let program = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/plugin/tests/compiler.sh"));
            let shelf = Shelf::open(folder.path().join("compiled")).unwrap();
            let compiler = Compiler::new(&engine, program, shelf, limits);
            Self { folder, engine, compiler, digest: Digest::of(component) }
        }

        /// A script that notes that it runs, and then goes on with `rest`.
        fn script(&self, rest: &str) -> String {
            format!("cd {}; echo run >> runs; {rest}", self.folder.path().display())
        }

        async fn compile(&self, script: &str, digest: Digest) -> Result<Component, LoadError> {
            self.compiler.compile(&self.engine, script.as_bytes(), digest).await
        }

        fn runs(&self) -> usize {
            fs::read_to_string(self.folder.path().join("runs")).unwrap_or_default().lines().count()
        }

        fn files(&self) -> usize {
            fs::read_dir(self.folder.path().join("compiled")).unwrap().count()
        }
    }

    #[tokio::test]
    async fn a_component_is_compiled_once() {
        let bench = Bench::new(2);
        let script = bench.script("cat code");
        let (one, two) = tokio::join!(bench.compile(&script, bench.digest), bench.compile(&script, bench.digest));
        assert!(one.is_ok() && two.is_ok());
        assert!(bench.compile(&script, bench.digest).await.is_ok());
        assert_eq!((bench.runs(), bench.files()), (1, 1));
        assert_eq!(bench.compiler.under_way.lock().unwrap().len(), 1, "they do not pile up");
    }

    #[tokio::test]
    async fn damaged_code_is_compiled_anew() {
        let bench = Bench::new(2);
        let script = bench.script("cat code");
        bench.compile(&script, bench.digest).await.unwrap();
        let path = bench.compiler.code.path(&bench.compiler.name(bench.digest));
        let whole = fs::read(&path).unwrap();
        let damage = |at: usize| {
            let mut code = whole.clone();
            code[at] ^= 1;
            code
        };
        let cases = [
            Vec::new(),
            whole[..31].to_vec(),
            whole[..whole.len() / 2].to_vec(),
            damage(9),
            damage(whole.len() / 2),
            damage(whole.len() - 1),
        ];
        for (times, code) in (2..).zip(cases) {
            fs::write(&path, code).unwrap();
            bench.compile(&script, bench.digest).await.unwrap();
            assert_eq!(bench.runs(), times);
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[tokio::test]
    async fn a_compilation_that_fails_leaves_nothing_and_can_be_tried_again() {
        let bench = Bench::new(2);
        for rest in ["printf half; exit 1", "printf half", ""] {
            assert!(bench.compile(&bench.script(rest), bench.digest).await.is_err(), "{rest}");
        }
        let unfinished = bench.files();
        bench.compile(&bench.script("cat code"), bench.digest).await.unwrap();
        assert_eq!(
            (unfinished, bench.files(), bench.runs()),
            (1, 1, 4),
            "one that broke its seal lies where the next one goes"
        );
    }

    #[tokio::test]
    async fn an_abandoned_compilation_leaves_nothing() {
        let bench = Bench::new(1);
        let script = bench.script("sleep 3600");
        let mut compile = Box::pin(bench.compile(&script, bench.digest));
        while bench.runs() == 0 {
            tokio::select! {
                biased;
                _ = &mut compile => unreachable!("it sleeps"),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(compile);
        assert_eq!(bench.files(), 0);
        bench.compile(&bench.script("cat code"), bench.digest).await.unwrap();
    }

    #[tokio::test]
    async fn so_many_are_compiled_at_a_time_and_the_others_wait() {
        let bench = Bench::new(2);
        // Each leaves a file while it runs, and notes how many there are.
        let script = bench.script("mkdir -p now; : > now/$$; ls now | wc -l >> seen; sleep 0.05; rm now/$$; exit 1");
        let digests: Vec<_> = (0..6_u8).map(|number| Digest::of(&[number])).collect();
        let compile = |digest| bench.compile(&script, digest);
        let [a, b, c, d, e, f] = [0, 1, 2, 3, 4, 5].map(|number| compile(digests[number]));
        let _ = tokio::join!(a, b, c, d, e, f);
        let seen = fs::read_to_string(bench.folder.path().join("seen")).unwrap();
        let most = seen.lines().map(|line| line.trim().parse::<usize>().unwrap()).max();
        assert_eq!(bench.runs(), 6);
        assert!(most <= Some(2), "{seen}");
    }
}
