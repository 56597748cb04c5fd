//! `witgate plugin …`: what concerns one plugin.

use std::process::ExitCode;

use clap::Subcommand;

use super::Format;
use super::operate::{self, Named};

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// End an override: the plugin serves what the configuration says again.
    Reset(Named),
}

pub(super) fn run(command: &Plugin, format: Format) -> ExitCode {
    match command {
        Plugin::Reset(named) => operate::change("reset", named, format),
    }
}
