//! The gateway as a process: started on a configuration, told by signals, watched through its log.
//!
//! Nothing of the gateway is linked into a test: what a test sees is what an operator sees.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::admin::Admin;
use crate::client::Client;
use crate::http2::Http2;
use crate::log::{Line, Log};
use crate::{put, within};

/// The program under test, and where it may keep what outlives a test.
#[derive(Clone, Copy)]
pub struct Binary {
    program: &'static str,
    scratch: &'static str,
    level: &'static str,
    trusted: Option<&'static str>,
    closes_stdout: bool,
    is_unprivileged: bool,
    environment: &'static [(&'static str, &'static str)],
}

/// What a command left behind.
#[derive(Debug)]
pub struct Output {
    /// The exit code; -1 when a signal ended the process.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A running gateway. Dropping it kills the process, and shows its log when the test has failed.
pub struct Gateway {
    process: Child,
    /// The process that took the place of the first.
    heir: Option<Pid>,
    log: Log,
    folder: TempDir,
    binary: Binary,
}

/// Let this process open as many files as it may at all, for tests that hold many sockets: all tests of a run share them.
pub fn allow_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("a process may go to its own maximum");
}

impl Binary {
    /// `program` is the binary; `scratch` a folder that all tests share, so that each plugin is compiled once a run and not once a test.
    pub const fn new(program: &'static str, scratch: &'static str) -> Binary {
        Binary {
            program,
            scratch,
            level: "info",
            trusted: None,
            closes_stdout: false,
            is_unprivileged: false,
            environment: &[],
        }
    }

    /// Where it may keep what outlives a test.
    pub fn scratch(&self) -> &'static str {
        self.scratch
    }

    /// The same program with another log level.
    pub const fn with_level(self, level: &'static str) -> Binary {
        Binary { level, ..self }
    }

    /// The same program, which trusts the certificates in this file and no others.
    pub fn trusting(self, authority: &Path) -> Binary {
        let path = authority.to_str().expect("temporary folders have plain names").to_owned();
        // Some bytes a test, so that a binary stays as easy to pass on as it is.
        Binary { trusted: Some(path.leak()), ..self }
    }

    /// The same program, with more variables in its environment.
    pub fn with_environment(self, environment: &[(&'static str, &str)]) -> Binary {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &*value.to_string().leak())).collect();
        Binary { environment: environment.leak(), ..self }
    }

    /// The same program, with a standard output that is a pipe nobody reads from.
    pub const fn with_closed_stdout(self) -> Binary {
        Binary { closes_stdout: true, ..self }
    }

    /// The same program as somebody who may not do everything: where the test is root itself, `nobody`, who gets this folder.
    pub fn unprivileged(self, folder: &Path) -> Binary {
        if !rustix::process::geteuid().is_root() {
            return self;
        }
        // Nobody may look into the folder that programs are built in, where that is at home with root. Another process copies it: a file
        // that a test has open for writing is open in whatever another test starts just then, and cannot be run.
        let program = folder.join("witgate");
        let copied = std::process::Command::new("cp").arg(self.program).arg(&program).status().expect("`cp` is there");
        assert!(copied.success(), "the temporary folder has room for the program");
        for entry in walk(folder) {
            std::os::unix::fs::chown(entry, Some(NOBODY), Some(NOBODY)).expect("root gives its files away");
        }
        let program = program.to_str().expect("temporary folders have plain names").to_owned().leak();
        Binary { program, is_unprivileged: true, ..self }
    }

    /// Start a gateway and wait until it serves.
    pub async fn start(&self, config: impl Display) -> Gateway {
        served(self.try_start(config).await)
    }

    /// Start a gateway that may refuse its configuration.
    ///
    /// # Errors
    /// How it ended, when it never served.
    pub async fn try_start(&self, config: impl Display) -> Result<Gateway, Output> {
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        self.write(folder.path(), &config.to_string());
        let file = config_file(folder.path());
        self.launch([OsStr::new("run"), "-c".as_ref(), file.as_ref()], folder).await
    }

    /// Start a gateway on sources as `-c` names them, in a folder that the test has filled; its `gateway.yaml` names the `state_dir`.
    pub async fn start_on(&self, folder: TempDir, sources: &[&str]) -> Gateway {
        served(self.try_start_on(folder, sources).await)
    }

    /// The same, where it may refuse.
    ///
    /// # Errors
    /// How it ended, when it never served.
    pub async fn try_start_on(&self, folder: TempDir, sources: &[&str]) -> Result<Gateway, Output> {
        let mut command = self.command();
        command.arg("run").current_dir(folder.path());
        for source in sources {
            command.args(["-c", source]);
        }
        self.follow(command, folder).await
    }

    /// Run a command to its end in a folder.
    pub async fn run_in(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).current_dir(folder);
        run(&mut command).await
    }

    /// Start a gateway from flags in place of a file, and wait until it serves.
    pub async fn start_with(&self, arguments: &[&str]) -> Gateway {
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        served(self.launch(["run"].iter().chain(arguments).map(OsStr::new), folder).await)
    }

    /// Start a gateway that must refuse this configuration, and see how it does.
    pub async fn fails(&self, config: impl Display) -> Output {
        self.on("run", config, &[]).await
    }

    /// Run a command on a configuration: `witgate COMMAND -c FILE ARGUMENTS`.
    pub async fn on(&self, command: &str, config: impl Display, arguments: &[&str]) -> Output {
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        self.write(folder.path(), &config.to_string());
        let file = config_file(folder.path());
        let file = file.to_str().expect("temporary folders have plain names");
        self.run(&[&[command, "-c", file], arguments].concat()).await
    }

    /// Run any command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments);
        run(&mut command).await
    }

    async fn launch(
        &self,
        arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
        folder: TempDir,
    ) -> Result<Gateway, Output> {
        let mut command = self.command();
        command.args(arguments);
        self.follow(command, folder).await
    }

    /// Starts a command that serves, and waits until it does, or has ended.
    pub(crate) async fn follow(&self, mut command: Command, folder: TempDir) -> Result<Gateway, Output> {
        let stdout = if self.closes_stdout { Stdio::piped() } else { Stdio::null() };
        command.stdin(Stdio::null()).stdout(stdout);
        self.watch(command, folder).await
    }

    /// Start a gateway as systemd does, on sockets that it made: they have the numbers from 3 on, and these names. The environment has
    /// these variables besides.
    pub async fn activate(
        &self,
        config: impl Display,
        sockets: [(&str, OwnedFd); 2],
        environment: &[(&str, &str)],
    ) -> Gateway {
        let folder = tempfile::tempdir().expect("the system gives a temporary folder");
        self.write(folder.path(), &config.to_string());
        // A shell is handed them as its standard input and output, because no other process of this test can inherit those.
        let script = "exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\"";
        let [(first, one), (second, two)] = sockets;
        let mut command = Command::new("sh");
        command.args(["-c", script, self.program, "run", "-c"]).arg(config_file(folder.path()));
        self.prepare(&mut command);
        command.env("LISTEN_FDNAMES", format!("{first}:{second}")).envs(environment.iter().copied());
        command.stdin(Stdio::from(one)).stdout(Stdio::from(two));
        served(self.watch(command, folder).await)
    }

    async fn watch(&self, mut command: Command, folder: TempDir) -> Result<Gateway, Output> {
        command.args(["--format", "json"]).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the program starts");
        // If it is a pipe, this end is closed.
        drop(process.stdout.take());
        let mut log = Log::follow(process.stderr.take().expect("stderr is piped"));
        let serves = log.find_from(0, "that it serves", |line| line.message() == "ready").await.is_some();
        let mut gateway = Gateway { process, heir: None, log, folder, binary: *self };
        if serves { Ok(gateway) } else { Err(gateway.ended().await) }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command.kill_on_drop(true);
        for variable in ["WITGATE_CONFIG", "WITGATE_ADMIN_TOKEN", "RUST_LOG", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        if self.is_unprivileged {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.env("NO_COLOR", "1").env("WITGATE_LOG", self.level).env("XDG_STATE_HOME", self.scratch);
        command.envs(self.environment.iter().copied());
        if let Some(authority) = self.trusted {
            command.env("SSL_CERT_FILE", authority);
        }
    }

    /// Write a configuration where a gateway finds it. It gets the shared `state_dir` unless it names one; the key stands last, so that
    /// every line keeps its number.
    fn write(&self, folder: &Path, config: &str) {
        let shared = format!("\nstate_dir: {}/state\n", self.scratch);
        let state_dir = if config.contains("state_dir:") { "" } else { &shared };
        put(&config_file(folder), format!("{config}{state_dir}"));
    }
}

impl Gateway {
    /// The address of a listener, from the log. After a reload: the latest of that name.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let lines = self.log.lines();
        let opened =
            lines.iter().rev().find(|line| line.message() == "listening" && line.field("listener") == Some(name));
        let address = opened.and_then(|line| line.field("address"));
        let address = address.unwrap_or_else(|| panic!("no listener `{name}` in the log:\n{}", self.log.text()));
        address.parse().expect("a listener logs its address")
    }

    /// The name of the listener that it opened first.
    pub fn first_listener(&self) -> String {
        let lines = self.log.lines();
        let opened = lines.iter().find(|line| line.message() == "listening");
        opened.and_then(|line| line.field("listener")).expect("a gateway that serves has a listener").to_owned()
    }

    /// A new HTTP/1.1 connection to the listener `http`.
    pub async fn client(&self) -> Client {
        Client::connect(self.listener("http")).await
    }

    /// A new HTTP/2 connection to the listener `http`.
    pub async fn http2(&self) -> Http2 {
        Http2::connect(self.listener("http")).await
    }

    /// Its admin server, with the local token.
    pub fn admin(&self) -> Admin {
        let token = fs::read_to_string(self.state_dir().join("admin-token")).expect("a start makes the local token");
        Admin { address: self.told("admin listening"), token: token.trim_end().to_owned() }
    }

    /// The address of its probes.
    pub fn probes(&self) -> SocketAddr {
        self.told("probes listening")
    }

    /// Run a command that asks this gateway: `witgate ARGUMENTS --admin ADDRESS`, with the local token.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        self.command_with(&self.admin().token, arguments).await
    }

    /// The same with another token.
    pub async fn command_with(&self, token: &str, arguments: &[&str]) -> Output {
        let address = self.admin().address.to_string();
        let mut command = self.binary.command();
        command.args(arguments).args(["--admin", &address]).env("WITGATE_ADMIN_TOKEN", token);
        run(&mut command).await
    }

    /// Run a command that finds this gateway through its configuration: `witgate ARGUMENTS -c FILE`.
    pub async fn command_by_config(&self, arguments: &[&str]) -> Output {
        let mut command = self.binary.command();
        command.args(arguments).arg("-c").arg(config_file(self.folder.path()));
        run(&mut command).await
    }

    /// Kill it, and leave its folder to whoever comes next.
    pub async fn killed(mut self) -> TempDir {
        self.process.kill().await.expect("the gateway is our child");
        let empty = tempfile::tempdir().expect("the system gives a temporary folder");
        std::mem::replace(&mut self.folder, empty)
    }

    /// A folder of its own, where its configuration is: relative paths in it lead here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address in the line that says that a server listens.
    fn told(&self, message: &str) -> SocketAddr {
        let lines = self.log.lines();
        let line = lines.iter().rev().find(|line| line.message() == message);
        let address = line.and_then(|line| line.field("address"));
        let address = address.unwrap_or_else(|| panic!("no `{message}` in the log:\n{}", self.log.text()));
        address.parse().expect("a server logs its address")
    }

    fn state_dir(&self) -> PathBuf {
        let config = fs::read_to_string(config_file(self.folder.path())).expect("the configuration is there");
        let named = config.lines().find_map(|line| line.strip_prefix("state_dir:"));
        self.folder.path().join(named.expect("every configuration gets one").trim())
    }

    /// What it logged; a copy that follows on.
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Send a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the gateway is there");
    }

    /// Put another configuration in the place of the one it was started on. A signal makes it read it.
    pub fn write_config(&self, config: impl Display) {
        self.binary.write(self.folder.path(), &config.to_string());
    }

    /// Reload with another configuration; gives the generation that serves now.
    ///
    /// # Panics
    /// When the gateway refuses it.
    pub async fn reload(&mut self, config: impl Display) -> u64 {
        let line = self.hang_up(config).await;
        assert_eq!(line.message(), "reloaded", "{}", line.text);
        line.number("generation").expect("a reload tells its generation")
    }

    /// Reload with a configuration that the gateway must refuse; gives the line that says why.
    ///
    /// # Panics
    /// When the gateway takes it.
    pub async fn reload_fails(&mut self, config: impl Display) -> Line {
        let line = self.hang_up(config).await;
        assert_eq!((line.message(), line.level()), ("reload failed", "ERROR"), "{}", line.text);
        line
    }

    async fn hang_up(&mut self, config: impl Display) -> Line {
        let before = self.log.len();
        self.write_config(config);
        self.signal(Signal::HUP);
        let done = |line: &Line| matches!(line.message(), "reloaded" | "reload failed");
        self.log.wait_from(before, "that the reload is over", done).await
    }

    /// Ask it to end, wait until it has, and tell how.
    pub async fn stop(mut self) -> Output {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Ask it to end, wait until it has, and give its exit code; its folder stays as it left it for as long as this lives.
    pub async fn stop_and_keep(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended().await.code
    }

    /// Wait until it has ended by itself.
    pub async fn ended(&mut self) -> Output {
        let status = within("the gateway to end", self.process.wait()).await.expect("the gateway is our child");
        self.log.ended().await;
        Output { code: status.code().unwrap_or(-1), stdout: String::new(), stderr: self.log.text() }
    }

    /// Memory that it holds right now, in bytes (`VmRSS` of Linux).
    pub fn memory_bytes(&self) -> usize {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).expect("the gateway runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells VmRSS");
        let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number of kB");
        kib * 1024
    }

    /// Tell it to upgrade, and wait until another process serves: from here on that one is meant. Gives its number.
    ///
    /// # Panics
    /// When the upgrade fails.
    pub async fn upgrade(&mut self) -> u32 {
        let before = self.log.len();
        self.signal(Signal::USR2);
        let line = self.upgraded_from(before).await;
        assert_eq!(line.message(), "handed on", "{}", line.text);
        self.heir.expect("it was handed on").as_raw_nonzero().get().unsigned_abs()
    }

    /// Wait for the end of an upgrade that was asked for after `before` lines of the log.
    pub async fn upgraded_from(&mut self, before: usize) -> Line {
        let over = |line: &Line| matches!(line.message(), "handed on" | "upgrade failed");
        let line = self.log.wait_from(before, "that the upgrade is over", over).await;
        if line.message() == "handed on" {
            let pid = line.number("pid").and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
            self.heir = Some(pid.expect("the log tells the number of the new process"));
        }
        line
    }

    /// Wait until the process that was started first has ended; gives its exit code.
    pub async fn first_ended(&mut self) -> i32 {
        let status = within("the first process to end", self.process.wait()).await.expect("the gateway is our child");
        status.code().unwrap_or(-1)
    }

    /// Ask the process that took the place of the first to end, and wait until it has.
    pub async fn stop_heir(mut self) {
        self.signal(Signal::TERM);
        self.log.ended().await;
        self.heir = None;
    }

    /// From now on it may open so many files more than it has open.
    pub fn limit_files(&self, more: usize) {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid().as_raw_nonzero())).expect("the gateway runs").count();
        let current = Some(u64::try_from(open + more).expect("some files"));
        let maximum = getrlimit(Resource::Nofile).maximum;
        prlimit(Some(self.pid()), Resource::Nofile, Rlimit { current, maximum }).expect("the gateway is our child");
    }

    fn pid(&self) -> Pid {
        if let Some(heir) = self.heir {
            return heir;
        }
        let id = self.process.id().expect("the gateway runs");
        Pid::from_raw(id.cast_signed()).expect("no process has the number 0")
    }
}

/// Run another program to its end.
pub async fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    read(within("the command to end", output).await.expect("the program starts"))
}

pub(crate) fn read(output: std::process::Output) -> Output {
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

pub(crate) fn served(start: Result<Gateway, Output>) -> Gateway {
    start.unwrap_or_else(|output| panic!("the gateway ended with {} before it served:\n{}", output.code, output.stderr))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(heir) = self.heir {
            // Nobody's child by now, and maybe gone.
            let _ = kill_process(heir, Signal::KILL);
        }
        if std::thread::panicking() {
            #[allow(clippy::print_stderr, reason = "a failed test shows the gateway's log beside its own words")]
            {
                eprintln!("the gateway's log:\n{}", self.log.text());
            }
        }
    }
}

/// A folder and everything in it.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() { found.extend(walk(&entry)) } else { found.push(entry) }
    }
    found
}

/// Whom systems have for this.
const NOBODY: u32 = 65534;

fn config_file(folder: &Path) -> PathBuf {
    folder.join("gateway.yaml")
}
