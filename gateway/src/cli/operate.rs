//! Commands to a running gateway: asked over its admin server, answered in words or in JSON.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::remote::{Reach, Remote, RemoteError};
use super::report;
use super::{EXIT_CONFIG, EXIT_FAILURE, EXIT_PLUGIN, Format, complain, print, refuse};

/// A new version for a plugin.
#[derive(Debug, Args)]
pub(super) struct Swap {
    /// The plugin, as the configuration declares it.
    name: String,
    /// Where the new version is: `file:PATH` is read here and uploaded, the gateway looks for all others itself.
    source: String,
    /// Send it only this share of the requests at first, such as 5%.
    #[arg(long, value_name = "SHARE", conflicts_with = "shadow")]
    canary: Option<String>,
    /// Keep each client on one version: `header:NAME`, `cookie:NAME` or `client-ip`.
    #[arg(long, value_name = "KEY", requires = "canary")]
    sticky: Option<String>,
    /// Run it on copies, and only compare what it says.
    #[arg(long)]
    shadow: bool,
    /// Take nothing but the component with this digest: needed where the configuration pins one.
    #[arg(long, value_name = "DIGEST")]
    sha256: Option<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Stay until the canary has been promoted, or rolled back, which ends with exit code 4.
    #[arg(long, requires = "canary")]
    wait: bool,
    #[command(flatten)]
    reach: Reach,
}

/// A plugin that something is done to.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The plugin, as the configuration declares it.
    name: String,
    #[command(flatten)]
    reach: Reach,
}

/// A configuration that served before.
#[derive(Debug, Args)]
pub(super) struct Before {
    /// Its number, as `GET /api/config/history` tells it. Default: the one before that which serves.
    number: Option<u64>,
    #[command(flatten)]
    reach: Reach,
}

pub(super) fn swap(wish: &Swap, format: Format) -> ExitCode {
    ask(&wish.reach, format, async |remote| {
        let (media_type, body) = wish.body()?;
        let answer = remote.put(&wish.path(), media_type, body).await?;
        if !wish.wait {
            return Ok(Outcome::done(answer, report::swap));
        }
        let sha256 = answer["sha256"].as_str().unwrap_or_default().to_owned();
        if format == Format::Text {
            print(&report::swap(&answer));
        }
        let plugin = ended(&remote, &wish.name, &sha256).await?;
        let promoted = plugin["sha256"] == *sha256;
        Ok(Outcome { code: if promoted { 0 } else { EXIT_PLUGIN }, answer: plugin, words: report::rollout })
    })
}

/// `promote`, `rollback` or `reset`.
pub(super) fn change(action: &str, named: &Named, format: Format) -> ExitCode {
    ask(&named.reach, format, async |remote| {
        let answer = remote.post(&format!("{}/{action}", plugin_path(&named.name))).await?;
        Ok(Outcome::done(answer, report::swap))
    })
}

pub(super) fn status(reach: &Reach, format: Format) -> ExitCode {
    ask(reach, format, async |remote| Ok(Outcome::done(remote.get("/api/status").await?, report::status)))
}

pub(super) fn reload(reach: &Reach, format: Format) -> ExitCode {
    ask(reach, format, async |remote| Ok(Outcome::done(remote.post("/api/reload").await?, report::reload)))
}

pub(super) fn roll_back(before: &Before, format: Format) -> ExitCode {
    ask(&before.reach, format, async |remote| {
        let query = before.number.map_or_else(String::new, |number| format!("?number={number}"));
        let answer = remote.post(&format!("/api/config/rollback{query}")).await?;
        Ok(Outcome::done(answer, report::roll_back))
    })
}

pub(super) fn drain(reach: &Reach, format: Format) -> ExitCode {
    ask(reach, format, async |remote| {
        Ok(Outcome::done(remote.post("/api/drain").await?, |_| {
            "draining: the gateway ends when its requests have".to_owned()
        }))
    })
}

impl Swap {
    fn path(&self) -> String {
        let pairs = [
            ("canary", self.canary.as_deref()),
            ("sticky", self.sticky.as_deref()),
            ("shadow", self.shadow.then_some("true")),
            ("sha256", self.sha256.as_deref()),
            ("reason", self.reason.as_deref()),
        ];
        let query: Vec<String> =
            pairs.iter().filter_map(|(key, value)| Some(format!("{key}={}", encoded((*value)?)))).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        format!("{}{separator}{}", plugin_path(&self.name), query.join("&"))
    }

    fn body(&self) -> Result<(&'static str, Bytes), CommandError> {
        match self.source.split_once(':') {
            Some(("file", path)) => {
                let component =
                    std::fs::read(path).map_err(|error| CommandError::File { path: path.to_owned(), error })?;
                Ok(("application/wasm", component.into()))
            }
            Some(_) => Ok(("application/json", json!({ "source": self.source }).to_string().into())),
            None => Err(CommandError::NoScheme(self.source.clone())),
        }
    }
}

/// Waits until a version is no longer on trial.
async fn ended(remote: &Remote, name: &str, sha256: &str) -> Result<Value, CommandError> {
    loop {
        let plugin = remote.get(&plugin_path(name)).await?;
        if plugin["rollout"]["sha256"] != *sha256 {
            return Ok(plugin);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What a command came to.
pub(super) struct Outcome {
    code: u8,
    answer: Value,
    words: fn(&Value) -> String,
}

impl Outcome {
    pub(super) fn done(answer: Value, words: fn(&Value) -> String) -> Self {
        Self { code: 0, answer, words }
    }
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("cannot read {path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("`{0}` is no source\nhelp: write `file:{0}` for a file of this machine, or `builtin:NAME`, `https://…`")]
    NoScheme(String),
}

/// Finds the gateway, asks it, and tells what came of it.
pub(super) fn ask(
    reach: &Reach,
    format: Format,
    command: impl AsyncFnOnce(Remote) -> Result<Outcome, CommandError>,
) -> ExitCode {
    run(reach, format, async |remote| Ok(tell(command(remote).await, format)))
}

/// Finds the gateway for a command that tells by itself what comes of it.
pub(super) fn run(
    reach: &Reach,
    format: Format,
    command: impl AsyncFnOnce(Remote) -> Result<ExitCode, CommandError>,
) -> ExitCode {
    let remote = match reach.remote() {
        Ok(remote) => remote,
        Err(RemoteError::Config(error)) => return refuse(&error, format),
        Err(error) => return fail(&error.into(), format),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&crate::gateway::GatewayError::Worker(error), format),
    };
    runtime.block_on(command(remote)).unwrap_or_else(|error| fail(&error, format))
}

/// Tells what came of a command.
pub(super) fn tell(outcome: Result<Outcome, CommandError>, format: Format) -> ExitCode {
    match outcome {
        Ok(Outcome { code, answer, words }) => {
            match format {
                Format::Text => print(&words(&answer)),
                Format::Json => print(&answer.to_string()),
            }
            ExitCode::from(code)
        }
        Err(error) => fail(&error, format),
    }
}

fn fail(error: &CommandError, format: Format) -> ExitCode {
    let refusal = match error {
        CommandError::Remote(RemoteError::Refused { status, problem, .. }) => Some((*status, &**problem)),
        _ => None,
    };
    match format {
        Format::Text => complain(&format!("error: {error}")),
        Format::Json => {
            let status = refusal.map(|(status, _)| status.as_u16());
            let mut told = json!({ "error": error.to_string(), "status": status });
            if let Some((_, problem)) = refusal.filter(|(_, problem)| problem["faults"].is_array()) {
                told["faults"] = problem["faults"].clone();
            }
            complain(&told.to_string());
        }
    }
    ExitCode::from(refusal.map_or(EXIT_FAILURE, |(status, problem)| code(status, problem)))
}

/// The exit code that a command of this machine would have had for the same fault.
fn code(status: StatusCode, problem: &Value) -> u8 {
    // Of a process that was to take over.
    let own = problem["exit_code"].as_u64().and_then(|code| u8::try_from(code).ok());
    if let Some(code) = own.filter(|code| *code > 0) {
        return code;
    }
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => EXIT_PLUGIN,
        StatusCode::BAD_REQUEST if problem["faults"].is_array() => EXIT_CONFIG,
        _ => EXIT_FAILURE,
    }
}

fn plugin_path(name: &str) -> String {
    format!("/api/plugins/{}", encoded(name))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// How often a canary is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
