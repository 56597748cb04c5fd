//! Command line: flags in, a command run, an exit code out.

mod run;
mod upgrade;
mod dev;
mod validate;
mod explain;
mod diff;

mod operate;
mod top;
mod scrape;
mod manual;
mod plugin;
mod author;
mod inspect;
mod stage;
mod rehearse;
mod measure;
mod remote;
mod report;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, Faults, Loaded};
use crate::control::{AdminError, SourceError, Sources};
use crate::filter::native;
use crate::gateway::{self, GatewayError};
use crate::outbound::Trust;
use crate::plugin::{CHILD_COMMAND, compile_child};
use crate::sockets::Inheritance;
use crate::telemetry::{self, LogFormat};

/// An API gateway that people extend with WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "witgate", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How results and log lines look.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Which log lines are written, in tracing's syntax, such as `info` or `witgate=debug`.
    #[arg(long, global = true, env = "WITGATE_LOG", default_value = DEFAULT_LOG, value_name = "FILTER")]
    log: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve.
    Run {
        /// The configuration: a file, a folder, etcd://HOST:2379/PREFIX or consul://HOST:8500/PREFIX. Given more than once, each is laid
        /// over those before it.
        #[arg(short, long, env = "WITGATE_CONFIG", value_name = "SOURCE", required_unless_present = "to")]
        config: Vec<String>,
        /// Without a configuration: listen here …
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
        /// … and forward everything to this upstream, such as http://127.0.0.1:9000.
        #[arg(long, value_name = "URL", conflicts_with = "config")]
        to: Option<String>,
    },
    /// Serve, and build the plugins whose source is `cargo:DIR`, again on each save.
    Dev {
        #[command(flatten)]
        config: Configured,
    },
    /// Report every fault of a configuration, or that there is none; and what is legal, but probably not meant.
    Validate {
        #[command(flatten)]
        config: Configured,
        /// Fail where there are warnings.
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Show which route takes a request and why, the filters that it passes, and where it goes.
    Explain(explain::Asked),
    /// Show what a reload would change; ends with exit code 1 when anything does.
    Diff(diff::Two),
    /// Print the JSON Schema of the configuration.
    Schema,
    /// Put another version of a plugin in the place of the one that serves, at once or by degrees.
    Swap(operate::Swap),
    /// Let the version on trial serve everything.
    Promote(operate::Named),
    /// End a trial; without one, go back to the version before.
    Rollback(operate::Named),
    /// Go back to a configuration that served before.
    RollbackConfig(operate::Before),
    /// What concerns one plugin.
    #[command(subcommand)]
    Plugin(plugin::Plugin),
    /// Show what a running gateway serves.
    Status(remote::Reach),
    /// Show what a running gateway is doing: its busiest routes and plugins, again and again.
    Top(top::Top),
    /// Let a running gateway read its configuration again.
    Reload(remote::Reach),
    /// Let a running gateway finish what it has begun, and end.
    Drain(remote::Reach),
    /// Let a running gateway start this program anew on its sockets, and end when the new process serves.
    Upgrade(remote::Reach),
    /// Print what completes these commands in a shell.
    Completions { shell: clap_complete::Shell },
    /// Print the manual page (troff).
    Manual,
    /// Compile a component from stdin to stdout, under limits; the gateway calls this itself.
    #[command(name = CHILD_COMMAND, hide = true)]
    CompileComponent { limits: Vec<String> },
}

/// The whole program. Exit codes: 0 ok, 1 failure at run time, 2 usage, 3 invalid config, 4 plugin refused, 5 cannot bind,
/// 6 drain deadline hit.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let format = arguments.format;
    match arguments.command {
        Command::Swap(wish) => operate::swap(&wish, format),
        Command::Promote(named) => operate::change("promote", &named, format),
        Command::Rollback(named) => operate::change("rollback", &named, format),
        Command::Explain(asked) => explain::run(&asked, format),
        Command::Diff(two) => diff::run(&two, format),
        Command::RollbackConfig(before) => operate::roll_back(&before, format),
        Command::Plugin(command) => plugin::run(&command, format),
        Command::Status(reach) => operate::status(&reach, format),
        Command::Top(wish) => top::top(&wish, format),
        Command::Reload(reach) => operate::reload(&reach, format),
        Command::Drain(reach) => operate::drain(&reach, format),
        Command::Upgrade(reach) => upgrade::upgrade(&reach, format),
        Command::CompileComponent { limits } => compile_child(&limits),
        Command::Completions { shell } => manual::completions(shell),
        Command::Manual => manual::page(),
        Command::Schema => {
            let mut schema = config::schema();
            native::describe_in(&mut schema);
            print(&format!("{schema:#}"));
            ExitCode::SUCCESS
        }
        Command::Validate { config, deny_warnings } => validate::validate(&config.config, deny_warnings, format),
        Command::Run { config, listen, to } => {
            // Before there are threads.
            let inheritance = Inheritance::from_env();
            telemetry::init(&arguments.log, format.into());
            let sources = match to {
                Some(to) => Ok(Sources::quick(listen, &to)),
                None => Sources::parse(&config, &Trust::default()),
            };
            match sources {
                Ok(sources) => run::run(gateway::Source::new(sources), inheritance, format),
                Err(error) => refuse(&error.into(), format),
            }
        }
        Command::Dev { config } => {
            let inheritance = Inheritance::from_env();
            // Who writes a plugin wants to read all that it says.
            let log = if arguments.log == DEFAULT_LOG { DEV_LOG } else { &arguments.log };
            telemetry::init(log, format.into());
            dev::dev(&config.config, inheritance, format)
        }
    }
}

/// Where a command finds the configuration.
#[derive(Debug, Args)]
struct Configured {
    /// The configuration: a file, a folder, etcd://HOST:2379/PREFIX or consul://HOST:8500/PREFIX. Given more than once, each is laid over
    /// those before it.
    #[arg(short, long, env = "WITGATE_CONFIG", value_name = "SOURCE", required = true)]
    config: Vec<String>,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Text => Self::Text,
            Format::Json => Self::Json,
        }
    }
}

/// Tells the operator what stands in the way, and with which code the program ends.
fn refuse(error: &GatewayError, format: Format) -> ExitCode {
    let (code, faults): (u8, Option<&Faults>) = match error {
        GatewayError::Config(faults) => (EXIT_CONFIG, Some(faults)),
        GatewayError::Plugin(faults) => (EXIT_PLUGIN, Some(faults)),
        GatewayError::Warm(_) => (EXIT_PLUGIN, None),
        GatewayError::Source(SourceError::Word { .. }) => (EXIT_USAGE, None),
        GatewayError::Source(_) | GatewayError::Damaged { .. } => (EXIT_FAILURE, None),
        GatewayError::Bind(_) | GatewayError::Admin(AdminError::Bind(_)) => (EXIT_BIND, None),
        GatewayError::StateDir(_)
        | GatewayError::Engine(_)
        | GatewayError::Admin(_)
        | GatewayError::Worker(_)
        | GatewayError::PidFile { .. }
        | GatewayError::Draining => (EXIT_FAILURE, None),
    };
    match (format, faults) {
        (Format::Json, Some(faults)) => complain(&faults.to_json().to_string()),
        (Format::Json, None) => complain(&serde_json::json!({ "error": error.to_string() }).to_string()),
        (Format::Text, Some(faults)) => complain(&faults.render(color())),
        (Format::Text, None) => complain(&format!("error: {error}")),
    }
    ExitCode::from(code)
}

/// The configuration as its sources have it now.
fn load(words: &[String]) -> Result<Loaded, GatewayError> {
    let sources = Sources::parse(words, &Trust::default())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(GatewayError::Worker)?;
    let texts = runtime.block_on(sources.read())?;
    config::assemble(&texts, &config::environment).map_err(GatewayError::Config)
}

/// The binary itself: it compiles components as a child. By this name the kernel knows it even where its file was replaced since, and
/// what another binary compiled would not fit.
fn compiler() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

fn color() -> bool {
    use std::io::IsTerminal;
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes a result. A reader that has gone away is no failure of ours.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

const DEFAULT_LOG: &str = "info";
const DEV_LOG: &str = "info,witgate::guest=debug";

const EXIT_FAILURE: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_CONFIG: u8 = 3;
const EXIT_PLUGIN: u8 = 4;
const EXIT_BIND: u8 = 5;
const EXIT_DRAIN: u8 = 6;
