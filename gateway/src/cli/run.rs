//! `witgate run`: serves, and follows signals until told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::{EXIT_DRAIN, Format, load, program, refuse};
use crate::config::{self, Loaded};
use crate::control::{Signal, Signals};
use crate::gateway::{Gateway, GatewayError};

/// Where the configuration comes from.
pub(super) enum Source {
    File(PathBuf),
    /// One listener, one upstream, no file.
    Quick {
        listen: SocketAddr,
        to: String,
    },
}

pub(super) fn run(source: &Source, format: Format) -> ExitCode {
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

async fn serve(source: &Source) -> Result<ExitCode, GatewayError> {
    let mut signals = Signals::new().map_err(GatewayError::Worker)?;
    let mut gateway = Gateway::start(&source.load()?, program()?).await?;
    tracing::info!("ready");
    loop {
        match signals.next().await {
            Signal::Reload => reload(&mut gateway, source).await,
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

async fn reload(gateway: &mut Gateway, source: &Source) {
    let outcome = match source.load() {
        Ok(loaded) => gateway.reload(&loaded).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(generation) => tracing::info!(generation, "reloaded"),
        Err(error) => tracing::error!(%error, "reload failed"),
    }
}

async fn again(signals: &mut Signals) {
    while signals.next().await != Signal::Drain {}
}

impl Source {
    fn load(&self) -> Result<Loaded, GatewayError> {
        match self {
            Self::File(path) => load(path),
            Self::Quick { listen, to } => config::quick(*listen, to).map_err(GatewayError::Config),
        }
    }
}

/// How long requests in flight may take to end after TERM.
const DRAIN_DEADLINE: Duration = Duration::from_secs(30);
