//! `witgate upgrade`: lets a running gateway start the program anew on its sockets, and waits until the new process serves.
//!
//! It is asked over its admin server. Where the configuration has none, the number in its `pid_file` gets USR2, and the file tells when
//! another process serves.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::operate::{self, CommandError, Outcome};
use super::remote::{Reach, RemoteError};
use super::{Format, load, report};
use crate::config::model::Config;

pub(super) fn upgrade(reach: &Reach, format: Format) -> ExitCode {
    if let Some(file) = reach.config_alone()
        && let Ok(loaded) = load(file)
        && loaded.config.admin.is_none()
        && let Some(pid_file) = &loaded.config.pid_file
    {
        let answer = by_signal(pid_file, &loaded.config);
        return operate::tell(answer.map(|answer| Outcome::done(answer, report::upgrade)), format);
    }
    operate::ask(reach, format, async |remote| Ok(Outcome::done(remote.post("/api/upgrade").await?, report::upgrade)))
}

fn by_signal(pid_file: &Path, config: &Config) -> Result<Value, CommandError> {
    let began = Instant::now();
    let fail = |why: String| CommandError::Remote(RemoteError::Process { file: pid_file.to_owned(), why });
    let old = number(pid_file).map_err(fail)?;
    let pid = is_gateway(old).then(|| Pid::from_raw(old.cast_signed())).flatten();
    let pid = pid.ok_or_else(|| fail(format!("process {old} is no gateway")))?;
    kill_process(pid, Signal::USR2).map_err(|error| fail(format!("process {old} cannot be told: {error}")))?;
    let limit = config.upgrade.timeout + GRACE;
    while began.elapsed() < limit {
        match number(pid_file) {
            Ok(new) if new != old => {
                let program = std::fs::read_link(format!("/proc/{new}/exe")).unwrap_or_default();
                let took_ms = began.elapsed().as_secs_f64() * 1e3;
                return Ok(json!({ "pid": new, "program": program.display().to_string(), "took_ms": took_ms }));
            }
            _ => std::thread::sleep(LOOK_INTERVAL),
        }
    }
    Err(fail(format!("no other process serves after {limit:?}: the log of process {old} tells why")))
}

fn number(pid_file: &Path) -> Result<u32, String> {
    let text = std::fs::read_to_string(pid_file).map_err(|error| error.to_string())?;
    text.trim().parse().map_err(|_| "it holds no number".to_owned())
}

/// Whether this is a process of a program with this one's name: USR2 ends most others.
fn is_gateway(pid: u32) -> bool {
    let name = |path: std::path::PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        Some(name.strip_suffix(" (deleted)").map(str::to_owned).unwrap_or(name))
    };
    let other = std::fs::read_link(format!("/proc/{pid}/exe")).ok().and_then(name);
    other.is_some() && other == std::env::current_exe().ok().and_then(name)
}

const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// For a gateway to end a process that was not ready in time.
const GRACE: Duration = Duration::from_secs(2);
