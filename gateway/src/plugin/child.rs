//! The compiling process: component in, machine code out.
//!
//! Inside the gateway a compilation can be neither cancelled nor capped in memory (60,000 functions take seconds), and a
//! fault of the compiler would be a fault of the gateway. So the gateway starts this same binary for it: the child lowers
//! its own limits before it reads a byte, compiles on one thread, and dies with whoever started it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{self, Pid, Resource, Rlimit, Signal};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use wasmtime::Engine;

use super::compile::CompileLimits;
use super::failure::LoadError;
use super::settings::code_settings;

/// Has a component compiled into `code`, which is an empty file.
pub(super) async fn compile(
    program: &Path,
    limits: &CompileLimits,
    component: &[u8],
    code: File,
) -> Result<(), LoadError> {
    let mut process = start(program, limits, code)?;
    let number = process.number();
    let work = async {
        let mut work = pin!(process.work(component));
        if let Ok(outcome) = tokio::time::timeout(HEAD_START, &mut work).await {
            return outcome;
        }
        // Requests go first from here on. A thread that has to wait behind them takes ten times as long, which is too
        // long for an ordinary component, and right for one that takes its time.
        let _ = process::setpriority_process(number, NICE);
        work.await
    };
    let (status, message) = match tokio::time::timeout(limits.timeout, work).await {
        Ok(outcome) => {
            outcome.map_err(|error| LoadError::Compile(format!("the compiling process is lost: {error}")))?
        }
        // Dropping the process ends it.
        Err(_) => return Err(LoadError::CompileTimeout(limits.timeout)),
    };
    if status.success() { Ok(()) } else { Err(why(status, message.trim(), limits)) }
}

fn start(program: &Path, limits: &CompileLimits, code: File) -> Result<Process, LoadError> {
    Command::new(program)
        .arg(CHILD_COMMAND)
        .arg(cpu_seconds(limits.timeout).to_string())
        .arg(limits.memory_bytes.to_string())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(code)
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map(Process)
        .map_err(|error| LoadError::Compile(format!("cannot start {}: {error}", program.display())))
}

/// Rounded up, because the system counts in seconds.
fn cpu_seconds(timeout: Duration) -> u64 {
    timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
}

/// A compiling process; dropped before its end, it is killed with everything it may have started.
struct Process(Child);

impl Process {
    /// `None` once somebody has waited for its end.
    fn number(&self) -> Option<Pid> {
        self.0.id().and_then(|id| Pid::from_raw(id.cast_signed()))
    }

    /// Feeds the process and waits for its end: how it ended, and what it said.
    async fn work(&mut self, component: &[u8]) -> io::Result<(ExitStatus, String)> {
        let mut stdin = self.0.stdin.take().expect("stdin is piped");
        let mut stderr = self.0.stderr.take().expect("stderr is piped");
        let write = async move {
            // A process that gives up early closes the pipe; its status tells why.
            let _ = stdin.write_all(component).await;
        };
        let read = async move {
            let mut message = Vec::new();
            (&mut stderr).take(MESSAGE_BYTES_MAX).read_to_end(&mut message).await?;
            // What does not fit is read all the same, or the process would wait for a reader until its time is up.
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
            io::Result::Ok(message)
        };
        let ((), message) = tokio::join!(write, read);
        Ok((self.0.wait().await?, String::from_utf8_lossy(&message?).into_owned()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has a number until somebody has waited for it, so no other process can have the number yet.
        if let Some(group) = self.number() {
            let _ = process::kill_process_group(group, Signal::KILL);
        }
    }
}

/// Tells the operator which limit was hit, as far as the way in which a process ended tells it.
fn why(status: ExitStatus, message: &str, limits: &CompileLimits) -> LoadError {
    if status.code() == Some(EXIT_MEMORY) || message.contains("memory allocation of ") {
        return LoadError::CompileMemory(limits.memory_bytes);
    }
    if message.contains("overflowed its stack") {
        return LoadError::Compile("it is nested too deeply for the compiler".to_owned());
    }
    let Some(signal) = status.signal() else { return LoadError::Compile(message.to_owned()) };
    match Signal::from_named_raw(signal) {
        Some(Signal::XCPU) => LoadError::CompileTimeout(limits.timeout),
        Some(Signal::XFSZ) => LoadError::CodeTooLarge { max_bytes: CODE_BYTES_MAX },
        Some(Signal::KILL) => LoadError::Compile(
            "the compiling process was killed from outside; is the machine short of memory?".to_owned(),
        ),
        _ => LoadError::Compile(format!("the compiling process crashed ({status}): {message}")),
    }
}

/// The child's side: limits itself, reads a component from stdin, writes machine code and its seal to stdout.
///
/// `arguments` are those behind [`CHILD_COMMAND`]: CPU seconds and bytes of address space.
pub fn compile_child(arguments: &[String]) -> ExitCode {
    let result = limit_self(arguments).and_then(|()| {
        let mut component = Vec::new();
        io::stdin().lock().read_to_end(&mut component)?;
        let engine = Engine::new(code_settings().parallel_compilation(false))?;
        let code = engine.precompile_component(&component)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&code)?;
        stdout.write_all(&Sha256::digest(&code))?;
        Ok(stdout.flush()?)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "{error:#}");
            if is_out_of_memory(&error) { ExitCode::from(EXIT_MEMORY as u8) } else { ExitCode::FAILURE }
        }
    }
}

fn limit_self(arguments: &[String]) -> wasmtime::Result<()> {
    let [cpu_s, memory_bytes] = arguments else {
        return Err(wasmtime::Error::msg("expected CPU seconds and bytes of memory"));
    };
    let cpu_s: u64 = cpu_s.parse()?;
    process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // A second between the signal that tells the reason and the one that cannot be put off.
    limit(Resource::Cpu, cpu_s, cpu_s.saturating_add(1))?;
    for (resource, most) in [
        (Resource::As, memory_bytes.parse()?),
        (Resource::Fsize, CODE_BYTES_MAX + SEAL_BYTES),
        (Resource::Nofile, FILES_MAX),
        (Resource::Core, 0),
    ] {
        limit(resource, most, most)?;
    }
    Ok(())
}

fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    Ok(process::setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })?)
}

/// An allocation that fails aborts the process, but a mapping that fails is an error like any other.
fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
            || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM)
    })
}

/// The hidden command of the binary that ends in [`compile_child`].
pub(crate) const CHILD_COMMAND: &str = "compile-component";
/// Bytes of the SHA-256 behind the machine code.
pub(super) const SEAL_BYTES: u64 = 32;
/// Machine code is three to four times the component, of which the largest allowed by default has 16 MiB.
const CODE_BYTES_MAX: u64 = 256 << 20;
const MESSAGE_BYTES_MAX: u64 = 16 << 10;
/// The three it is born with, and some for the compiler's own looks at the machine.
const FILES_MAX: u64 = 16;
/// How long a compilation runs like any other process: several times what an ordinary component takes.
const HEAD_START: Duration = Duration::from_millis(500);
const NICE: i32 = 10;
const EXIT_MEMORY: i32 = 12;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::PathBuf;

    use super::*;

    const LIMITS: CompileLimits =
        CompileLimits { timeout: Duration::from_secs(60), memory_bytes: 1 << 30, parallel: 1 };

    /// Runs a script in the place of the compiler; gives what it wrote.
    async fn run(script: &str, limits: &CompileLimits) -> Result<String, LoadError> {
        let program = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/plugin/tests/compiler.sh"));
        let code = tempfile::NamedTempFile::new().unwrap();
        compile(&program, limits, script.as_bytes(), code.reopen().unwrap()).await?;
        Ok(std::fs::read_to_string(code.path()).unwrap())
    }

    async fn refusal(script: &str) -> String {
        run(script, &LIMITS).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn what_the_process_writes_is_the_code() {
        assert_eq!(run("printf code", &LIMITS).await.unwrap(), "code");
        assert_eq!(run("env | grep -v -e ^PWD -e ^SHLVL -e ^_; pwd", &LIMITS).await.unwrap(), "/\n");
    }

    #[tokio::test]
    async fn the_operator_is_told_which_limit_was_hit() {
        for (script, words) in [
            ("echo it has no magic >&2; exit 1", "it has no magic"),
            ("echo 'memory allocation of 8 bytes failed' >&2; kill -ABRT $$", "`runtime.compile_memory`"),
            ("exit 12", "`runtime.compile_memory`"),
            ("kill -XCPU $$", "`runtime.compile_timeout`"),
            ("kill -XFSZ $$", "machine code has more than"),
            ("echo \"thread 'main' has overflowed its stack\" >&2; kill -ABRT $$", "nested too deeply"),
            ("kill -KILL $$", "killed from outside"),
            ("echo oh >&2; kill -SEGV $$", "crashed (signal: 11 (SIGSEGV)): oh"),
        ] {
            let refusal = refusal(script).await;
            assert!(refusal.contains(words), "{script}: {refusal}");
        }
    }

    #[tokio::test]
    async fn a_process_that_says_too_much_is_cut_short() {
        let refusal = refusal("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1").await;
        assert!(refusal.len() < 20_000, "{} bytes", refusal.len());
    }

    #[tokio::test]
    async fn at_its_time_limit_it_is_killed_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let numbers = folder.path().join("numbers");
        // Its own number and that of a process it started; then neither ends by itself.
        let script = format!("sleep 3600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", numbers.display());
        let limits = CompileLimits { timeout: Duration::from_millis(500), ..LIMITS };
        let refusal = loop {
            let refusal = run(&script, &limits).await.unwrap_err();
            // On a busy machine the time may be up before the script has begun.
            if numbers.exists() {
                break refusal;
            }
        };
        assert!(matches!(refusal, LoadError::CompileTimeout(_)), "{refusal}");
        for number in std::fs::read_to_string(numbers).unwrap().split_whitespace() {
            let stat = PathBuf::from(format!("/proc/{number}/stat"));
            // Killed at once; waiting for it may take a moment more.
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        }
    }

    #[test]
    fn cpu_time_is_counted_in_whole_seconds() {
        let seconds = [1, 999, 1000, 1001].map(|ms| cpu_seconds(Duration::from_millis(ms)));
        assert_eq!(seconds, [1, 1, 1, 2]);
    }
}
