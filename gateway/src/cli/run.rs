//! `witgate run`: serves, and follows signals until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{EXIT_DRAIN, Format, program, refuse};
use crate::config;
use crate::control::{Signal, Signals};
use crate::gateway::{self, Gateway, GatewayError};

/// Where the configuration comes from.
pub(super) enum Source {
    File(PathBuf),
    /// One listener, one upstream, no file.
    Quick {
        listen: SocketAddr,
        to: String,
    },
}

pub(super) fn run(source: gateway::Source, format: Format) -> ExitCode {
    // The control plane's own runtime: what it does never waits for a request, nor a request for it.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&GatewayError::Worker(error), format),
    };
    match runtime.block_on(serve(source)) {
        Ok(code) => code,
        Err(error) => refuse(&error, format),
    }
}

async fn serve(source: gateway::Source) -> Result<ExitCode, GatewayError> {
    let mut signals = Signals::new().map_err(GatewayError::Worker)?;
    let gateway = Gateway::start(source, program()?).await?;
    tracing::info!("ready");
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = gateway.drain_wanted() => Signal::Drain,
        };
        match signal {
            // It tells by itself how it went.
            Signal::Reload => drop(gateway.reload("signal").await),
            Signal::Drain => {
                tracing::info!(deadline = ?DRAIN_DEADLINE, "draining");
                // A second signal means now.
                let ended = tokio::select! {
                    ended = gateway.drain(DRAIN_DEADLINE) => ended,
                    _ = again(&mut signals) => false,
                };
                tracing::info!(ended, "stopped");
                return Ok(if ended { ExitCode::SUCCESS } else { ExitCode::from(EXIT_DRAIN) });
            }
        }
    }
}

async fn again(signals: &mut Signals) {
    while signals.next().await != Signal::Drain {}
}

impl Source {
    pub(super) fn reader(self) -> gateway::Source {
        match self {
            Self::File(path) => {
                gateway::Source { name: path.display().to_string(), read: Box::new(move || config::load(&path)) }
            }
            Self::Quick { listen, to } => gateway::Source {
                name: "the command line".to_owned(),
                read: Box::new(move || config::quick(listen, &to)),
            },
        }
    }
}

/// How long requests in flight may take to end after TERM.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
