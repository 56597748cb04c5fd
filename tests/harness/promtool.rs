//! Prometheus's own judge of metrics and rules, where it is installed.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::gateway::{Output, read};
use crate::{skip, within};

/// What `promtool ARGUMENTS` says to `input`; `None`, said loudly, when it is not installed.
///
/// # Panics
/// When it is not installed and `WITGATE_TEST_REQUIRE_SERVERS` is set, as it is where every test must run.
pub async fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new("promtool");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(error) => {
            skip(&format!("promtool cannot be started: {error}"));
            return None;
        }
    };
    let mut stdin = process.stdin.take().expect("stdin is piped");
    // It may have seen enough before it has read all.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = within("promtool to end", process.wait_with_output()).await;
    Some(read(output.expect("promtool is our child")))
}
