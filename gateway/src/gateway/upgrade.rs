//! Another process takes this one's place: started on its sockets, awaited until it serves, and only then let go on alone.
//!
//! ```text
//! old: starts the program as it is found now, with every listening socket
//! new: reads the configuration, builds, warms, listens on what it was given, says `ready`
//! old: hears it, accepts no more, ends what is in flight, exits
//! ```
//!
//! Until it hears that word the old process serves, whatever becomes of the new one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use super::{Gateway, GatewayError};
use crate::control::{OperationError, UpgradeReport};
use crate::sockets::{Passing, WORD_BYTES_MAX, is_ready};

/// What is started to take this process's place.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where this program was found; another may be there by now.
    pub path: PathBuf,
    pub arguments: Vec<OsString>,
}

/// Why no other process took this one's place. It serves on.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error("another upgrade is under way")]
    UnderWay,
    #[error("the gateway is draining")]
    Draining,
    #[error(
        "the gateway is process 1: when it ends, its container does (mend: start a new container, or run the gateway under an init)"
    )]
    Init,
    #[error("cannot start {program}: {error}")]
    Start { program: PathBuf, error: std::io::Error },
    #[error("the new process {how} before it was ready{why}")]
    Ended { how: String, why: String, code: Option<u8> },
    #[error("the new process was not ready within `upgrade.timeout` ({0:?}), and was ended")]
    Timeout(Duration),
}

impl Gateway {
    /// Starts the program anew on this gateway's sockets, and ends this gateway once the other one serves.
    ///
    /// # Errors
    /// Any [`UpgradeError`]; then this gateway serves on.
    pub async fn upgrade(&self) -> Result<UpgradeReport, UpgradeError> {
        let began = Instant::now();
        let outcome = self.hand_on().await;
        match &outcome {
            Ok(pid) => {
                self.0.metrics.upgraded("ok");
                tracing::info!(pid, "handed on");
                self.0.event("upgrade", [("pid", (*pid).into())]);
                self.0.ending.notify_one();
            }
            // Nothing was tried.
            Err(UpgradeError::UnderWay) => {}
            Err(error) => {
                self.0.metrics.upgraded("failed");
                tracing::error!(%error, "upgrade failed");
                self.0.event("upgrade", [("error", error.to_string().into())]);
            }
        }
        outcome.map(|pid| UpgradeReport {
            pid,
            program: self.0.program.path.display().to_string(),
            took_ms: began.elapsed().as_secs_f64() * 1e3,
        })
    }

    async fn hand_on(&self) -> Result<u32, UpgradeError> {
        let shared = &*self.0;
        if rustix::process::getpid().is_init() {
            return Err(UpgradeError::Init);
        }
        let _turn = shared.upgrading.try_lock().map_err(|_| UpgradeError::UnderWay)?;
        // Held to the end: what changes until then would be lost on the new process, and what waits for it hears that it is too late.
        let servers = shared.servers.lock().await;
        let running = shared.running.lock().await;
        if shared.is_draining() {
            return Err(UpgradeError::Draining);
        }
        let program = &shared.program;
        let start = || {
            let mut passing = Passing::default();
            running.listeners.pass(&mut passing)?;
            servers.pass(&mut passing)?;
            passing.spawn(&mut command(program))
        };
        let fail = |error| UpgradeError::Start { program: program.path.clone(), error };
        let (child, word) = start().map_err(fail)?;
        let mut successor = Successor(Some(child));
        let pid = successor.pid();
        tracing::info!(pid, program = %program.path.display(), "upgrading");
        let limit = running.config.upgrade.timeout;
        tokio::select! {
            ready = tokio::time::timeout(limit, successor.is_ready(&word)) => {
                ready.unwrap_or(Err(UpgradeError::Timeout(limit)))?;
            }
            () = shared.giving_up.notified() => return Err(UpgradeError::Draining),
        }
        if shared.is_draining() {
            // Whoever wants an end wants no other process to go on.
            return Err(UpgradeError::Draining);
        }
        successor.let_go();
        running.listeners.leave_files();
        servers.leave_files();
        shared.successor.store(pid, Ordering::Release);
        shared.is_draining.store(true, Ordering::Release);
        drop((running, servers));
        // From here on operators talk to the new one.
        self.close_operators().await;
        Ok(pid)
    }
}

fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.path);
    // Without its number the watchdog of a service manager means whoever is asked.
    command.args(&program.arguments).env_remove("WATCHDOG_PID");
    command
}

/// A process that may come to serve; ended when dropped before that.
struct Successor(Option<Child>);

impl Successor {
    fn pid(&self) -> u32 {
        self.0.as_ref().and_then(Child::id).unwrap_or_default()
    }

    async fn is_ready(&mut self, word: &UnixDatagram) -> Result<(), UpgradeError> {
        let Some(child) = &mut self.0 else { return Ok(()) };
        let mut text = vec![0; WORD_BYTES_MAX];
        let said = tokio::select! {
            biased;
            said = word.recv(&mut text) => said.map(|length| text[..length].to_vec()).unwrap_or_default(),
            ended = child.wait() => {
                // Its last word may have come at the same time.
                let said = word.try_recv(&mut text).map(|length| text[..length].to_vec()).unwrap_or_default();
                if !is_ready(&said) || ended.is_ok() {
                    return Err(ended_with(ended.ok(), &said));
                }
                said
            }
        };
        if is_ready(&said) {
            return Ok(());
        }
        Err(ended_with(child.wait().await.ok(), &said))
    }

    fn let_go(&mut self) {
        // What is left of it here is waited for in the background.
        self.0.take();
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.start_kill();
        }
    }
}

fn ended_with(status: Option<ExitStatus>, said: &[u8]) -> UpgradeError {
    let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    let how = match status.map(|status| (status.code(), status)) {
        Some((Some(code), _)) => format!("ended with exit code {code}"),
        Some((None, status)) => format!("ended by {status}"),
        None => "ended".to_owned(),
    };
    let why = String::from_utf8_lossy(said);
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    UpgradeError::Ended { how, why, code }
}

impl From<UpgradeError> for OperationError {
    fn from(error: UpgradeError) -> Self {
        match error {
            UpgradeError::UnderWay | UpgradeError::Init => Self::Conflict(error.to_string()),
            UpgradeError::Draining => Self::Draining,
            UpgradeError::Ended { code, .. } => Self::Ended { text: error.to_string(), exit_code: code },
            UpgradeError::Start { .. } | UpgradeError::Timeout(_) => Self::Failed(error.to_string()),
        }
    }
}

/// A successor says why it does not serve in place of its log, which is one with its predecessor's.
impl GatewayError {
    pub fn first_line(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }
}
