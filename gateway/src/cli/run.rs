//! `witgate run`: serves, and follows signals until told to stop, or until another process serves in its place.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{EXIT_DRAIN, Format, compiler, refuse};
use crate::control::{News, Signal, Signals, tell, watchdog_interval};
use crate::gateway::{self, Cause, Ending, Gateway, GatewayError, Program};
use crate::heap;
use crate::sockets::Inheritance;

pub(super) fn run(source: gateway::Source, inheritance: Inheritance, format: Format) -> ExitCode {
    heap::keep_what_is_free();
    // The control plane's own runtime: what it does never waits for a request, nor a request for it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&GatewayError::Worker(error), format),
    };
    match runtime.block_on(serve(source, inheritance)) {
        Ok(code) => code,
        Err(error) => refuse(&error, format),
    }
}

async fn serve(source: gateway::Source, mut inheritance: Inheritance) -> Result<ExitCode, GatewayError> {
    let mut signals = Signals::new().map_err(GatewayError::Worker)?;
    let gateway = match Gateway::start(source, compiler(), this_program()?, &mut inheritance).await {
        Ok(gateway) => gateway,
        Err(error) => {
            inheritance.failed(&error.first_line());
            return Err(error);
        }
    };
    tracing::info!(pid = std::process::id(), "ready");
    if !inheritance.has_predecessor() {
        tell(News::Ready);
    }
    inheritance.ready();
    tokio::spawn(stay_watched(gateway.clone()));
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            why = gateway.ending() => return Ok(end(&gateway, why, &mut signals).await),
        };
        match signal {
            Signal::Reload => {
                tell(News::Reloading);
                // It tells the log by itself how it went.
                let reloaded = gateway.reload(Cause::Signal).await;
                let failure = reloaded.err().map(|error| format!("serving; the reload failed: {}", error.first_line()));
                tell(News::Reloaded(failure.as_deref().unwrap_or("serving")));
            }
            // Beside this loop, so that a signal to end is heard meanwhile. It tells by itself how it went.
            Signal::Upgrade => {
                let gateway = gateway.clone();
                tokio::spawn(async move { gateway.upgrade_on_signal().await });
            }
            Signal::Reopen => gateway.reopen_logs(),
            Signal::Drain => {
                gateway.ends_on_signal();
                return Ok(end(&gateway, Ending::Ordered, &mut signals).await);
            }
        }
    }
}

/// Lets what is in flight finish. A second signal means now.
async fn end(gateway: &Gateway, why: Ending, signals: &mut Signals) -> ExitCode {
    match why {
        Ending::Ordered => tell(News::Stopping),
        Ending::HandedOn { pid } => tell(News::HandedOn(pid)),
    }
    let left = tokio::select! {
        left = gateway.drain(why) => left,
        () = impatience(why, signals) => gateway.left().await,
    };
    tracing::info!(connections = left.connections, requests = left.requests, "stopped");
    if left.connections == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DRAIN) }
}

async fn impatience(why: Ending, signals: &mut Signals) {
    // After an upgrade the first signal to end is meant for the new process, and comes to all where it is sent to a group.
    let needed = if why == Ending::Ordered { 1 } else { 2 };
    for _ in 0..needed {
        while signals.next().await != Signal::Drain {}
    }
}

/// Tells the service manager's watchdog that the control plane and every worker answer.
async fn stay_watched(gateway: Gateway) {
    let Some(interval) = watchdog_interval() else { return };
    loop {
        if gateway.answers_within(interval).await {
            tell(News::Alive);
        }
        tokio::time::sleep(interval).await;
    }
}

/// How this process was started, so that another can be.
fn this_program() -> Result<Program, GatewayError> {
    let running = std::env::current_exe();
    let running = running.map_err(|error| GatewayError::Engine(format!("cannot find this program: {error}")))?;
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    Ok(Program { path: found_by(&name, &running), arguments: arguments.collect() })
}

/// The path that led here. Where links are involved it may lead elsewhere later, and that is meant: an upgrade follows it then.
fn found_by(name: &OsString, running: &Path) -> PathBuf {
    let name = Path::new(name);
    let by_folder = |folder: PathBuf| folder.join(name);
    let candidate = if name.components().count() > 1 {
        std::env::current_dir().ok().map(by_folder)
    } else {
        let folders = std::env::var_os("PATH");
        let folders = folders.iter().flat_map(std::env::split_paths);
        folders.map(by_folder).find(|path| path.is_file())
    };
    let is_this = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == running);
    // The kernel says so of a file that was replaced while this started.
    let plain = running.to_str().and_then(|path| path.strip_suffix(" (deleted)"));
    candidate.filter(is_this).unwrap_or_else(|| plain.map_or_else(|| running.to_owned(), PathBuf::from))
}
