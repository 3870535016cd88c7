//! The one place that starts processes.
//!
//! A program is run to its end under a deadline ([`run`], [`output`]), or started with its standard
//! input and output as a control channel ([`start`]), or left serving ([`serve`]). Either way it ends with us: it carries a parent-death signal,
//! and what a boot starts lives in the boot's cgroup, which `restore` can kill without knowing any process id.

use std::ffi::{CString, OsStr};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use crate::sys::keep_files_from_children;

use anyhow::Context as _;
use nix::poll::{PollFd, PollFlags, PollTimeout};

/// The most of each output stream that is kept.
const KEPT: usize = 1 << 20;

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code; absent if a signal or the deadline ended it.
    pub code: Option<i32>,
    /// Whether the deadline killed it.
    pub timed_out: bool,
    /// Standard output, its first MiB.
    pub stdout: Vec<u8>,
    /// Standard error, its first MiB.
    pub stderr: Vec<u8>,
}

impl Ended {
    /// Standard error's last words, in one line, for a message.
    pub fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(3)..].join("; ");
        match tail.char_indices().nth(400) {
            Some((at, _)) => format!("{}...", &tail[..at]),
            None => tail,
        }
    }
}

/// Runs a program to its end, in its own process group. At the deadline the whole group is killed.
/// A grandchild that keeps a pipe open does not hold us: once the program has ended, what is in the pipes is taken and they are closed.
///
/// # Errors
/// The program cannot be started.
pub fn run<S: AsRef<str>>(argv: &[S], within: Duration) -> anyhow::Result<Ended> {
    run_in(None, argv, b"", within)
}

/// Like [`run`], inside a cgroup and with text for its standard input.
///
/// # Errors
/// The program cannot be started, or cannot enter the cgroup.
pub fn run_in<S: AsRef<str>>(
    cgroup: Option<&Path>,
    argv: &[S],
    input: &[u8],
    within: Duration,
) -> anyhow::Result<Ended> {
    watch(Watch { cgroup, input, ..Watch::within(within) }, argv)
}

/// Somebody who gets bytes as they come.
pub type Listener<'a> = &'a mut dyn FnMut(&[u8]);

/// How a program is run to its end.
pub struct Watch<'a> {
    /// The cgroup that it lives in.
    pub cgroup: Option<&'a Path>,
    /// The folder that it runs in, if not ours.
    pub folder: Option<&'a Path>,
    /// Text for its standard input.
    pub input: &'a [u8],
    /// The most of each output stream that is kept, bytes.
    pub keep: usize,
    /// When its group is killed.
    pub within: Duration,
    /// Once set, the program is asked to end (SIGTERM); it still has until the deadline.
    pub stop: Option<&'a AtomicBool>,
    /// Whether what the program leaves of its group is killed also when it ends by itself.
    pub alone: bool,
    /// Whether our own death asks the program to end (SIGTERM) instead of killing it.
    pub may_outlive: bool,
    /// Gets what it prints to standard error, as it comes.
    pub heard: Option<Listener<'a>>,
}

impl Watch<'_> {
    /// A program without input that is killed at the deadline.
    pub fn within(within: Duration) -> Self {
        Watch {
            cgroup: None,
            folder: None,
            input: b"",
            keep: KEPT,
            within,
            stop: None,
            alone: false,
            may_outlive: false,
            heard: None,
        }
    }
}

/// Runs a program to its end as `watch` says.
///
/// # Errors
/// The program cannot be started, or cannot enter the cgroup.
pub fn watch<S: AsRef<str>>(mut watch: Watch<'_>, argv: &[S]) -> anyhow::Result<Ended> {
    let death = if watch.may_outlive { libc::SIGTERM } else { libc::SIGKILL };
    let mut command = prepare(watch.cgroup, argv, death)?;
    watch.folder.map(|folder| command.current_dir(folder));
    let input = if watch.input.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.process_group(0).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = argv[0].as_ref();
    let mut child = command.spawn().with_context(|| format!("failed to start `{name}`"))?;
    let mut ended = Ended { code: None, timed_out: false, stdout: Vec::new(), stderr: Vec::new() };
    let fed = child.stdin.take().map(|pipe| Feed { pipe, rest: watch.input });
    match drain(&mut child, fed, &mut watch, &mut ended) {
        Ok(Some(status)) => ended.code = status.code(),
        Ok(None) => {
            ended.timed_out = true;
            kill_group(&mut child);
        }
        Err(error) => {
            kill_group(&mut child);
            return Err(error).with_context(|| format!("failed to wait for `{name}`"));
        }
    }
    Ok(ended)
}

/// Like [`run`], but anything except exit code 0 is an error.
///
/// # Errors
/// Names the command line, and quotes the end of its standard error.
pub fn output<S: AsRef<str>>(argv: &[S], within: Duration) -> anyhow::Result<String> {
    expect_success(argv, run(argv, within)?, within)
}

/// Turns an end into the text of standard output, or into an error that names the command line.
///
/// # Errors
/// The program did not exit with 0.
pub fn expect_success<S: AsRef<str>>(
    argv: &[S],
    ended: Ended,
    within: Duration,
) -> anyhow::Result<String> {
    let line = || argv.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" ");
    if ended.timed_out {
        anyhow::bail!("`{}` did not end within {:.1} s", line(), within.as_secs_f64());
    }
    match ended.code {
        Some(0) => Ok(String::from_utf8_lossy(&ended.stdout).into_owned()),
        Some(code) => anyhow::bail!("`{}` failed with code {code}: {}", line(), ended.last_words()),
        None => anyhow::bail!("`{}` was killed: {}", line(), ended.last_words()),
    }
}

/// Starts a program whose standard input and output are pipes to us, and whose standard error goes to a file.
///
/// # Errors
/// The program cannot be started, or cannot enter the cgroup.
pub fn start<S: AsRef<str>>(
    cgroup: Option<&Path>,
    argv: &[S],
    stderr: std::fs::File,
) -> anyhow::Result<Child> {
    let mut command = prepare(cgroup, argv, libc::SIGKILL)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::from(stderr));
    command.spawn().with_context(|| format!("failed to start `{}`", argv[0].as_ref()))
}

/// Waits for a program that was started to end; `None` if it has not after `within`.
///
/// # Errors
/// It cannot be waited for.
pub fn ended_within(child: &mut Child, within: Duration) -> anyhow::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    let exit = pidfd(child.id())?;
    let deadline = Instant::now() + within;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut ready = [PollFd::new(exit.as_fd(), PollFlags::POLLIN)];
        match nix::poll::ppoll(&mut ready, Some(left.into()), None) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(child.wait()?)),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("failed to wait for a process"),
        }
    }
}

/// A shell for [`xshell::cmd!`], which builds command lines out of words; [`stream`] runs them.
///
/// # Errors
/// There is no working directory.
#[expect(
    clippy::disallowed_methods,
    reason = "only for building command lines, which `stream` runs"
)]
pub fn shell() -> anyhow::Result<xshell::Shell> {
    xshell::Shell::new().context("failed to find the working directory")
}

/// Runs a command line with our own output streams and without input; answers whether it exited with 0.
///
/// # Errors
/// It cannot be started, or did not end in time and was killed.
pub fn stream(line: xshell::Cmd<'_>, within: Duration) -> anyhow::Result<bool> {
    let name = line.to_string();
    let mut command = Command::from(line);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::inherit())
        .stderr(Stdio::inherit())
        .spawn()
        .with_context(|| format!("failed to start `{name}`"))?;
    let ended = crate::wait::until(&format!("`{name}` to end"), within, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill().with_context(|| format!("failed to kill `{name}`"))?;
        child.wait()?;
    }
    Ok(ended?.success())
}

/// Starts a program that serves, in a folder if it is not ours: without input, and with both output streams in a file, so that it never waits
/// for a reader.
///
/// # Errors
/// The program cannot be started.
pub fn serve<S: AsRef<str>>(
    argv: &[S],
    folder: Option<&Path>,
    words: std::fs::File,
) -> anyhow::Result<Child> {
    let mut command = prepare(None, argv, libc::SIGKILL)?;
    folder.map(|folder| command.current_dir(folder));
    let same = words.try_clone().context("failed to share a file for a program's words")?;
    command.stdin(Stdio::null()).stdout(Stdio::from(same)).stderr(Stdio::from(words));
    command.spawn().with_context(|| format!("failed to start `{}`", argv[0].as_ref()))
}

/// Starts a program whose standard input and output are both one device, and whose standard error is ours.
///
/// # Errors
/// The program cannot be started.
pub fn attach<S: AsRef<str>>(
    argv: &[S],
    device: std::fs::File,
    environment: &[(&str, &str)],
) -> anyhow::Result<Child> {
    let mut command = prepare(None, argv, libc::SIGKILL)?;
    let same = device.try_clone().context("failed to share a device")?;
    command.stdin(Stdio::from(same)).stdout(Stdio::from(device));
    command.envs(environment.iter().copied());
    command.spawn().with_context(|| format!("failed to start `{}`", argv[0].as_ref()))
}

/// The path of a program, looked up on `PATH` and in the folders for administrators.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed = std::env::split_paths(&path);
    let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    listed.chain(usual).map(|folder| folder.join(program)).find(|file| {
        nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok() && file.is_file()
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
fn new_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // What programs print is parsed: it must not depend on the user's language.
    command.env("LC_ALL", "C");
    command
}

/// A command that ends when the thread that starts it ends, and that lives in `cgroup` from its first instruction.
fn prepare<S: AsRef<str>>(
    cgroup: Option<&Path>,
    argv: &[S],
    on_our_death: i32,
) -> anyhow::Result<Command> {
    let name = argv.first().context("an empty command line")?.as_ref();
    let program = if name.contains('/') {
        PathBuf::from(name)
    } else {
        which(name).with_context(|| {
            format!("program `{name}` is not installed: install it, or run `cargo xtask doctor --provision`, which brings what this tool itself wants")
        })?
    };
    let mut command = new_command(program);
    command.args(argv[1..].iter().map(AsRef::as_ref));
    let members = cgroup
        .map(|path| CString::new(path.join("cgroup.procs").as_os_str().as_bytes()))
        .transpose()?;
    let parent = nix::unistd::getpid().as_raw();
    // SAFETY: between fork and exec only async-signal-safe calls are made (open, write, close, prctl, getppid), on a
    // string that was allocated before.
    unsafe {
        command.pre_exec(move || {
            if let Some(path) = &members {
                let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                if file < 0 || libc::write(file, b"0".as_ptr().cast(), 1) != 1 {
                    return Err(std::io::Error::last_os_error());
                }
                libc::close(file);
            }
            if libc::prctl(libc::PR_SET_PDEATHSIG, on_our_death) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            if libc::getppid() != parent {
                return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
            }
            Ok(())
        });
    }
    Ok(command)
}

/// What is still to be written to a program's standard input.
struct Feed<'a> {
    pipe: std::process::ChildStdin,
    rest: &'a [u8],
}

/// Moves bytes between us and the program until it has ended or the deadline has passed (`None`).
fn drain(
    child: &mut Child,
    mut fed: Option<Feed<'_>>,
    watch: &mut Watch<'_>,
    ended: &mut Ended,
) -> anyhow::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + watch.within;
    let mut asked_to_end = false;
    let exit = pidfd(child.id())?;
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    for fd in [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)].into_iter().flatten() {
        nonblocking(fd)?;
    }
    if let Some(feed) = &fed {
        nonblocking(feed.pipe.as_fd())?;
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        if !asked_to_end && watch.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            asked_to_end = true;
            ask_to_end(child)?;
        }
        // With somebody who may want to stop it, we look up now and then.
        let most = if watch.stop.is_some() { 50 } else { 60_000 };
        let timeout = PollTimeout::try_from(left.as_millis().clamp(1, most) as i32)?;
        let mut ready = vec![PollFd::new(exit.as_fd(), PollFlags::POLLIN)];
        for fd in
            [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)].into_iter().flatten()
        {
            ready.push(PollFd::new(fd, PollFlags::POLLIN));
        }
        if let Some(feed) = &fed {
            ready.push(PollFd::new(feed.pipe.as_fd(), PollFlags::POLLOUT));
        }
        match nix::poll::poll(&mut ready, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let gone = ready[0].any().unwrap_or(false);
        drop(ready);
        if let Some(feed) = &mut fed
            && !feed.advance()?
        {
            fed = None;
        }
        if take(&mut out, &mut ended.stdout, watch.keep)? {
            out = None;
        }
        let before = ended.stderr.len();
        if take(&mut err, &mut ended.stderr, watch.keep)? {
            err = None;
        }
        if let (Some(heard), true) = (&mut watch.heard, ended.stderr.len() > before) {
            heard(&ended.stderr[before..]);
        }
        if gone {
            if watch.alone {
                kill_rest_of_group(child);
            }
            return Ok(Some(child.wait()?));
        }
    }
}

impl Feed<'_> {
    /// Writes what the pipe takes; false once there is nothing left to write or nobody to read.
    fn advance(&mut self) -> anyhow::Result<bool> {
        use std::io::{ErrorKind, Write};
        while !self.rest.is_empty() {
            match self.pipe.write(self.rest) {
                Ok(n) => self.rest = &self.rest[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }
}

/// Takes what a pipe holds; true once it is closed. More than `most` bytes are read and dropped.
fn take(pipe: &mut Option<impl Read>, kept: &mut Vec<u8>, most: usize) -> anyhow::Result<bool> {
    let Some(pipe) = pipe else { return Ok(true) };
    let mut chunk = [0_u8; 16 * 1024];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return Ok(true),
            Ok(n) => kept.extend_from_slice(&chunk[..n.min(most.saturating_sub(kept.len()))]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn nonblocking(fd: std::os::fd::BorrowedFd<'_>) -> anyhow::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Asks a child that was not yet waited for to end.
fn ask_to_end(child: &Child) -> anyhow::Result<()> {
    use nix::sys::signal::{Signal, kill};
    match kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).context("failed to ask a process to end"),
    }
}

/// Kills the process group of a child that was started by [`watch`] and not yet waited for, so its id cannot have been reused.
fn kill_group(child: &mut Child) {
    kill_rest_of_group(child);
    if let Err(error) = child.wait() {
        eprintln!("evenkeel: failed to wait for process {}: {error}", child.id());
    }
}

/// The same, without waiting for the child itself.
fn kill_rest_of_group(child: &Child) {
    let group = nix::unistd::Pid::from_raw(child.id() as i32);
    // The group is gone already if the child ended between deadline and kill: that is what we want.
    if let Err(error) = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL)
        && error != nix::errno::Errno::ESRCH
    {
        eprintln!("evenkeel: failed to kill process group {group}: {error}");
    }
}

/// A descriptor of a process, which stays that process'.
///
/// # Errors
/// There is none of this number, or the kernel is too old.
pub(crate) fn pidfd(pid: u32) -> anyhow::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error())
            .context("pidfd_open failed: a Linux kernel of 5.3 or later is needed");
    }
    // SAFETY: the descriptor was just returned to us and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    debug_assert!(fd.as_raw_fd() >= 0);
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn output_and_code_are_kept() {
        let ended = run(&["sh", "-c", "echo out; echo err >&2; exit 3"], SOON).unwrap();
        assert_eq!(ended.code, Some(3));
        assert_eq!(
            (ended.stdout.as_slice(), ended.stderr.as_slice()),
            (&b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_failure_names_the_command_and_its_words() {
        let error = output(&["sh", "-c", "echo no such thing >&2; exit 2"], SOON).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("failed with code 2: no such thing"), "{text}");
    }

    /// Runs what leaves a child that holds a pipe open, and waits until nobody does. Answers whether the child came that far.
    fn left_nothing(watch: impl FnOnce(&str) -> Ended) -> (Ended, bool) {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // Opened first, so that the child need not wait for a reader.
        let mut reads = std::fs::File::options();
        let mut reads =
            std::os::unix::fs::OpenOptionsExt::custom_flags(&mut reads, libc::O_NONBLOCK)
                .read(true)
                .open(&fifo)
                .unwrap();
        let ended = watch(&format!("(echo held; exec sleep 1000) > {} &", fifo.display()));
        let mut said = Vec::new();
        crate::wait::until(
            "the pipe to be held by nobody",
            Duration::from_secs(60),
            || match reads.read_to_end(&mut said) {
                Ok(_) => Ok(Some(())),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
                Err(error) => Err(error.into()),
            },
        )
        .unwrap();
        (ended, said == b"held\n")
    }

    #[test]
    fn a_hanging_program_and_its_children_are_killed() {
        // A slow machine starts the child after the first deadline.
        for milliseconds in [50, 500, 5_000, 50_000] {
            let (ended, held) = left_nothing(|child| {
                let line = format!("{child} sleep 1000");
                run(&["sh", "-c", &line], Duration::from_millis(milliseconds)).unwrap()
            });
            assert!(ended.timed_out);
            if held {
                return;
            }
        }
        panic!("the child never started");
    }

    #[test]
    fn a_program_that_runs_alone_leaves_no_children_however_it_ends() {
        // The child holds its pipe before its parent goes on.
        let until_held = "until ls -l /proc/$!/fd | grep -q fifo; do :; done;";
        let alone = |line: &str, stop: Option<&AtomicBool>| {
            let watch_it = Watch { alone: true, stop, ..Watch::within(Duration::from_secs(60)) };
            watch(watch_it, &["sh", "-c", line]).unwrap()
        };
        let (ended, held) =
            left_nothing(|child| alone(&format!("{child} {until_held} exit 3"), None));
        assert_eq!((ended.code, ended.timed_out, held), (Some(3), false, true));
        // Who is asked to end need not ask what it has started.
        let stop = AtomicBool::new(true);
        let (ended, _) =
            left_nothing(|child| alone(&format!("{child} {until_held} sleep 1000"), Some(&stop)));
        assert!(!ended.timed_out, "{ended:?}");
    }

    #[test]
    fn a_grandchild_that_keeps_the_pipe_does_not_hold_us() {
        let ended = run(&["sh", "-c", "sleep 30 & echo done"], SOON).unwrap();
        assert_eq!(ended.stdout, b"done\n");
        assert!(!ended.timed_out);
    }

    #[test]
    fn input_larger_than_a_pipe_is_passed_on() {
        let text = vec![b'x'; 1 << 18];
        let ended = run_in(None, &["wc", "-c"], &text, SOON).unwrap();
        assert_eq!(String::from_utf8(ended.stdout).unwrap().trim(), "262144");
    }

    #[test]
    fn output_beyond_the_bound_is_dropped_not_blocked_on() {
        let ended = run(&["head", "-c", "3000000", "/dev/zero"], SOON).unwrap();
        assert_eq!((ended.code, ended.stdout.len()), (Some(0), KEPT));
    }

    #[test]
    fn a_missing_program_says_what_to_do() {
        let error = run(&["ek-no-such-program"], SOON).unwrap_err().to_string();
        assert!(error.contains("`ek-no-such-program` is not installed"), "{error}");
    }
}
