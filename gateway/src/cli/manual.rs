//! What packages carry beside the program: completions for shells and the manual page, made from the commands themselves.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Arguments, EXIT_FAILURE};

pub(super) fn completions(shell: Shell) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "witgate", &mut text);
    write(&text)
}

pub(super) fn page() -> ExitCode {
    let mut text = Vec::new();
    match clap_mangen::Man::new(Arguments::command()).render(&mut text) {
        Ok(()) => write(&text),
        Err(_) => ExitCode::from(EXIT_FAILURE),
    }
}

/// A reader that has gone away is no failure of ours.
fn write(text: &[u8]) -> ExitCode {
    let _ = std::io::stdout().lock().write_all(text);
    ExitCode::SUCCESS
}
