//! `witgate plugin …`: what concerns one plugin.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::operate::{self, Named};
use super::{Format, author, inspect, measure, rehearse};

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Write a new crate for a plugin, with all that it is built from.
    New(author::New),
    /// Build the component of a crate.
    Build(author::Build),
    /// Run the tests of a crate, natively.
    Test(author::Test),
    /// Send one request through a plugin, and show what became of it.
    Run(rehearse::Run),
    /// Measure what calls, instances and memory of a plugin cost on this machine.
    Bench(measure::Bench),
    /// Tell what a component is, what it may do, and whether it fits this gateway.
    Inspect {
        /// A file, a crate's folder, a source (`builtin:NAME`, `file:PATH`, `https://…`), or with `-c` a declared plugin.
        component: String,
        /// A configuration, for its limits and its plugins.
        #[arg(short, long, env = "WITGATE_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// End an override: the plugin serves what the configuration says again.
    Reset(Named),
}

pub(super) fn run(command: &Plugin, format: Format) -> ExitCode {
    match command {
        Plugin::New(wish) => author::new(wish, format),
        Plugin::Build(wish) => author::build(wish, format),
        Plugin::Test(wish) => author::test(wish, format),
        Plugin::Run(wish) => rehearse::run(wish, format),
        Plugin::Bench(wish) => measure::bench(wish, format),
        Plugin::Reset(named) => operate::change("reset", named, format),
        Plugin::Inspect { component, config } => inspect::inspect(component, config.as_deref(), format),
    }
}
