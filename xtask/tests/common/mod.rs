//! What the black-box tests share: the program under test, small matrices, and the host that real runs have for themselves.

// Each test program uses its own part of this.
#![allow(dead_code, reason = "compiled into every test program, each of which uses a part")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use assert_cmd::Command;
use evenkeel_agent::command::which;
use evenkeel_agent::state::{Lock, StateDir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use xtask::check::inventory::{Inventory, SETTLES};

pub mod actions;
pub mod forge;
pub mod runs;

/// The program under test.
pub const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Long: the machine may be busy, and no test may fail because it is slow.
pub const PATIENCE: Duration = Duration::from_secs(1_200);

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; absent if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Said {
    /// The exit code is this one. In every case: no panic, and no escape sequences, since nothing here is a terminal.
    #[track_caller]
    pub fn ends_with(&self, code: i32) -> &Said {
        assert_eq!(self.code, Some(code), "{self}");
        for text in [&self.stdout, &self.stderr] {
            assert!(!text.contains("panicked at"), "{self}");
            assert!(!text.contains('\u{1b}'), "{self}");
        }
        self
    }

    /// Wrong input: exit code 2, nothing on standard output, and these words on standard error.
    #[track_caller]
    pub fn is_refused_with(&self, words: &[&str]) {
        self.ends_with(2).says(words);
        assert_eq!(self.stdout, "", "{self}");
    }

    /// Standard error has all these words.
    #[track_caller]
    pub fn says(&self, words: &[&str]) -> &Said {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in what it said:\n{self}");
        }
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Said { code, stdout, stderr } = self;
        write!(f, "exit code {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// The program with these arguments, in an empty working directory: only built-in matrices have names there.
pub fn xtask(arguments: &[&str]) -> Command {
    let mut command = Command::new(XTASK);
    command.args(arguments).current_dir("/").timeout(PATIENCE);
    command
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Said {
    let output = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("what it prints is UTF-8");
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A copy of the program that every user may run, and a command that runs it as `nobody`, with a home of its own in `place`.
pub fn as_nobody(place: &Path, arguments: &[&str]) -> Command {
    assert!(nix::unistd::geteuid().is_root(), "this test changes its user: run it as root");
    let (program, home) = (place.join("xtask"), place.join("home"));
    if !program.exists() {
        open_to_all(place);
        // By a child: a process that another thread starts meanwhile would hold the copy open for writing, and nobody could run it.
        run(Command::new("cp").arg(XTASK).arg(&program)).ends_with(0);
        std::fs::create_dir(&home).expect("a home can be made");
        std::os::unix::fs::chown(&home, Some(65534), Some(65534)).expect("it can be given away");
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
    command.args(arguments).current_dir("/").env("HOME", home).timeout(PATIENCE);
    command
}

/// Lets every user read a temporary directory.
pub fn open_to_all(directory: &Path) {
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory, all).expect("permissions can be set");
}

/// A matrix of short boots over these kinds; `more` goes behind its `[measure]`.
pub struct Quick<'a> {
    pub kernel: &'a str,
    pub virtualization: &'a str,
    pub network: &'a str,
    pub workloads: &'a str,
    pub boots: u32,
    pub more: &'a str,
}

impl Default for Quick<'_> {
    fn default() -> Self {
        Quick {
            kernel: "'running'",
            virtualization: "'netns'",
            network: "'veth'",
            workloads: "'tcp-rr'",
            boots: 1,
            more: "",
        }
    }
}

impl Quick<'_> {
    /// Writes it into a directory.
    pub fn write(&self, directory: &Path) -> PathBuf {
        let Quick { kernel, virtualization, network, workloads, boots, more } = self;
        let text = format!(
            "schema = 1\nname = 'quick'\n[axes]\nkernel = [{kernel}]\nvirtualization = [{virtualization}]\n\
             network = [{network}]\n[measure]\nworkloads = [{workloads}]\nboots = {boots}\nwarmup = '0ms'\n\
             window = '10ms'\nwindows = 5\n{more}"
        );
        let path = directory.join("quick.toml");
        std::fs::write(&path, text).expect("a matrix can be written");
        path
    }
}

/// The host, for one real run at a time: nobody else's run meets it, and what it leaves is found.
pub struct Host {
    /// Where matrices and runs are written; removed in the end.
    pub place: TempDir,
    /// The run's own journals, so that the user's are never touched.
    pub state: TempDir,
    before: Inventory,
    _host: Lock,
    _one: MutexGuard<'static, ()>,
}

static ONE: Mutex<()> = Mutex::new(());

impl Host {
    /// Waits for the host.
    pub fn take() -> Host {
        assert!(nix::unistd::geteuid().is_root(), "real runs change the host: run this as root");
        let needed =
            ["ip", "setpriv", "netperf", "iperf3", "docker", "dockerd", "qemu-system-x86_64"];
        let missing: Vec<&str> = needed.into_iter().filter(|tool| which(tool).is_none()).collect();
        assert!(
            missing.is_empty(),
            "{} not installed: run `cargo xtask test --provision`",
            missing.join(", ")
        );
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = StateDir::at(Path::new("/var/lib/evenkeel"));
        let host = shared.lock(PATIENCE).expect("the run under way on this host ends");
        let new = || tempfile::Builder::new().prefix("ekt").tempdir().expect("/tmp is writable");
        Host { place: new(), state: new(), before: inventory(), _host: host, _one: one }
    }

    /// A command of the program that keeps its journals in this test's own folder.
    pub fn xtask(&self, arguments: &[&str]) -> Command {
        let mut command = xtask(arguments);
        command.env("EVENKEEL_STATE", self.state.path());
        command
    }

    /// A path in [`Host::place`].
    pub fn path(&self, name: &str) -> String {
        self.place.path().join(name).to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// `bench` of a matrix into `run`.
    pub fn bench(&self, matrix: &Quick<'_>) -> Command {
        let matrix = matrix.write(self.place.path());
        self.xtask(&["bench", &matrix.to_string_lossy(), "--out", &self.path("run")])
    }

    /// Starts the program; its words are read while it runs.
    pub fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(XTASK, arguments, &[])
    }

    /// Starts any program, with more variables in its environment.
    pub fn start_with(
        &self,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Running {
        #[expect(clippy::disallowed_methods, reason = "it is heard and signalled while it runs")]
        let mut command = std::process::Command::new(program);
        command.args(arguments).current_dir("/").env("EVENKEEL_STATE", self.state.path());
        command.envs(variables.iter().copied());
        let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("the command starts");
        let stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stdout = child.stdout.take();
        Running { child, stdout, lines, heard: String::new() }
    }

    /// The host is as this test found it, once it has settled, and the program says so too: links, addresses, routes, namespaces, rules,
    /// settings, cgroups, mounts, containers, placement of others' threads, and no process of a run. No other run is under way, so what
    /// differs is ours, or of somebody who changes this host for good while a test runs: that cannot be told apart, and fails it too.
    /// What comes and goes (builds, sessions, engines at work) does not: it is looked at again until nothing differs.
    #[track_caller]
    pub fn is_restored(&self) {
        let said = run(&mut self.xtask(&["restore"]));
        said.ends_with(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("nothing to restore\n", ""));
        let differs = self.before.differs(SETTLES).expect("this host can be looked at");
        assert!(differs.is_empty(), "the host is not as it was:\n{}", differs.join("\n"));
    }
}

fn inventory() -> Inventory {
    Inventory::take().expect("this host can be looked at")
}

/// A command that runs.
pub struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    lines: Receiver<String>,
    heard: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads what it says until a line has these words, and answers that line.
    #[track_caller]
    pub fn hear(&mut self, words: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("it never said `{words}`, but:\n{}", self.heard);
            };
            self.heard.push_str(&line);
            self.heard.push('\n');
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).expect("process ids are positive"));
        kill(pid, signal).expect("it is our child and not waited for yet");
    }

    /// Nobody reads what it says any more.
    pub fn close_pipes(&mut self) {
        self.stdout = None;
        let (_, nobody) = channel();
        self.lines = nobody;
    }

    /// Waits for its end.
    pub fn end(mut self) -> Said {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.heard.push_str(&line);
            self.heard.push('\n');
        }
        let stdout = self.stdout.take().map(std::io::read_to_string);
        let stdout = stdout.transpose().expect("what it prints is UTF-8").unwrap_or_default();
        let status = self.child.wait().expect("it is our child");
        Said { code: status.code(), stdout, stderr: std::mem::take(&mut self.heard) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only after a failed assertion; fails if it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Runs git in a repository of a test's own, as somebody.
pub fn git(repository: &Path, words: &[&str]) {
    let place = repository.to_string_lossy();
    let start = ["git", "-C", &place, "-c", "user.name=t", "-c", "user.email=t@example.org"];
    let argv = [&start[..], words].concat();
    let ended = evenkeel_agent::command::run(&argv, Duration::from_secs(60)).expect("git");
    assert_eq!(ended.code, Some(0), "git {words:?}: {}", ended.last_words());
}
