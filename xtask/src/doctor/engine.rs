//! The Docker engine: asking whether one answers, and starting one where that was asked for.

use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use evenkeel_agent::{command, wait};
use serde::Deserialize;

/// Time for an engine to answer a question.
const ANSWER: Duration = Duration::from_secs(10);

/// Time for an engine to become ready: it prepares its storage on the first start.
const READY: Duration = Duration::from_secs(90);

/// Where the engine of the host listens, unless it was told otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Where an engine that we start writes what it has to say.
const LOG: &str = "/var/log/evenkeel-dockerd.log";

/// A Docker engine that answers.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct Engine {
    /// Its version.
    #[serde(rename = "ServerVersion")]
    pub version: String,
    /// How it stores layers: `overlay2`, `vfs`.
    #[serde(rename = "Driver")]
    pub storage: String,
    /// The version of control groups that it uses: `1` or `2`.
    #[serde(default)]
    pub cgroup_version: String,
    /// The kernel (`uname -r`) that its containers run on.
    #[serde(default)]
    pub kernel_version: String,
}

impl Engine {
    /// Asks the engine that the Docker client talks to. The error says why there is no answer.
    pub fn ask() -> Result<Engine, String> {
        let argv = ["docker", "info", "--format", "{{json .}}"];
        let ended = command::run(&argv, ANSWER).map_err(|error| error.to_string())?;
        if ended.timed_out {
            return Err(format!("the Docker engine did not answer within {} s", ANSWER.as_secs()));
        }
        let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
        parse(&ended.stdout, &complaint)
    }
}

/// Whether an engine is here, be it one that we may not talk to.
pub(super) fn is_here() -> bool {
    use std::io::ErrorKind::PermissionDenied;
    Engine::ask().is_ok()
        || UnixStream::connect(SOCKET).is_err_and(|error| error.kind() == PermissionDenied)
}

/// The engine that `docker info` describes. The client describes itself, with an empty version of the
/// server, where it reached none.
fn parse(stdout: &[u8], stderr: &str) -> Result<Engine, String> {
    match serde_json::from_slice::<Engine>(stdout) {
        Ok(engine) if !engine.version.is_empty() => Ok(engine),
        _ => {
            let said = std::str::from_utf8(stdout).unwrap_or_default();
            let errors = serde_json::from_str::<Unreached>(said).unwrap_or_default().server_errors;
            let why = errors.into_iter().chain(stderr.lines().map(str::to_owned));
            let why = why.map(|line| complaint(&line)).find(|line| !line.is_empty());
            Err(why.map_or_else(
                || "the Docker engine did not say what it is".to_owned(),
                |why| format!("no Docker engine answers: {why}"),
            ))
        }
    }
}

/// A line of the client without what surrounds its message; empty for a mere warning.
fn complaint(line: &str) -> String {
    let line = line.trim();
    if line.starts_with("WARNING") {
        return String::new();
    }
    let line = line.trim_start_matches("ERROR: ");
    let (message, _) = line.split_once(". Is the docker daemon").unwrap_or((line, ""));
    message.trim_end_matches('.').to_owned()
}

/// What the client tells of an engine that it did not reach.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Unreached {
    /// Why, a sentence each.
    #[serde(default)]
    server_errors: Vec<String>,
}

/// Whether systemd is what starts services here.
pub(super) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// The commands that start an engine here, for people.
pub(super) fn start_command() -> String {
    match systemd_runs() {
        true => "systemctl start docker".to_owned(),
        false => format!("setsid --fork dockerd >>{LOG} 2>&1 </dev/null"),
    }
}

/// Starts the Docker engine and returns once it answers. It belongs to the host afterwards: it has a session
/// of its own and stays when this process ends. Errors quote the end of its log.
pub(super) fn start() -> anyhow::Result<Engine> {
    let started = match systemd_runs() {
        true => command::output(&["systemctl", "start", "docker"], READY).map(drop),
        false => start_daemon(&[]),
    };
    // Somebody else may have started one meanwhile, which keeps ours from starting.
    match (Engine::ask(), started) {
        (Ok(engine), _) => Ok(engine),
        (Err(_), Err(error)) => Err(error),
        (Err(why), Ok(())) => bail!(why),
    }
}

/// Starts an engine with these arguments, where there is none and no service manager that would, and returns once it answers.
///
/// # Errors
/// It ends or is not ready in time; quotes the end of its log.
pub fn start_with(arguments: &[&str]) -> anyhow::Result<Engine> {
    start_daemon(arguments)?;
    Engine::ask().map_err(anyhow::Error::msg)
}

/// Starts `dockerd`, detached, with the settings of the host (/etc/docker/daemon.json) and these, and
/// waits until it says that it is ready, the way it tells systemd (sd_notify(3)).
fn start_daemon(arguments: &[&str]) -> anyhow::Result<()> {
    // The shell writes its process id into a file, for nobody waits for what `setsid` left, and becomes the daemon.
    const BECOME: &str = r#"echo $$ >"$3"; export NOTIFY_SOCKET="$1"; log="$2"; shift 3; exec dockerd "$@" >>"$log" 2>&1 </dev/null"#;

    let folder = tempfile::tempdir().context("no folder for the readiness of dockerd")?;
    let socket = folder.path().join("ready");
    let ready = UnixDatagram::bind(&socket).with_context(|| {
        format!("no socket for the readiness of dockerd at {}", socket.display())
    })?;
    let socket = socket.to_str().context("the folder for temporary files is not named in UTF-8")?;
    let said_before = std::fs::metadata(LOG).map_or(0, |log| log.len());
    let number = format!("{socket}.pid");
    let within = Duration::from_secs(10);
    let fixed = ["setsid", "--fork", "sh", "-c", BECOME, "dockerd", socket, LOG, &number];
    command::output(&[&fixed, arguments].concat(), within)?;
    let pid: u32 = wait::until("dockerd's process id", within, || {
        let text = std::fs::read_to_string(&number).unwrap_or_default();
        Ok(text.strip_suffix('\n').and_then(|text| text.parse().ok()))
    })?;

    let deadline = Instant::now() + READY;
    let mut message = [0; 4096];
    loop {
        // Short turns, because the socket does not tell that the daemon ended.
        ready.set_read_timeout(Some(Duration::from_millis(200)))?;
        match ready.recv(&mut message) {
            Ok(length) if says_ready(&message[..length]) => return Ok(()),
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(error) => return Err(error).context("waiting for dockerd"),
        }
        if !lives(pid) {
            bail!("dockerd ended at once; {LOG} ends with: {}", end_of_log(said_before));
        }
        if Instant::now() > deadline {
            bail!(
                "dockerd (process {pid}) is not ready after {} s; {LOG} ends with: {}",
                READY.as_secs(),
                end_of_log(said_before)
            );
        }
    }
}

/// Whether a message of sd_notify(3) says that the service is ready.
fn says_ready(message: &[u8]) -> bool {
    message.split(|&byte| byte == b'\n').any(|line| line == b"READY=1")
}

/// Whether an error is only that time passed or a signal came.
fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Whether a process runs: not ended, and not merely waiting to be collected.
fn lives(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

/// The last lines of the engine's log, as one; of those written after its first `from` bytes.
fn end_of_log(from: u64) -> String {
    let text = std::fs::read(LOG).unwrap_or_default();
    let new = usize::try_from(from).ok().and_then(|from| text.get(from..)).unwrap_or_default();
    let new = String::from_utf8_lossy(&new[new.len().saturating_sub(2000)..]).into_owned();
    let lines: Vec<&str> = new.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_described_by_docker_info() {
        let info = br#"{"ID":"B2TX","Driver":"overlay2","CgroupVersion":"1","KernelVersion":"6.1.0","ServerVersion":"20.10.24+dfsg1"}"#;
        let engine = parse(info, "").unwrap();
        assert_eq!(engine.version, "20.10.24+dfsg1");
        assert_eq!(engine.kernel_version, "6.1.0");
        assert_eq!((engine.storage.as_str(), engine.cgroup_version.as_str()), ("overlay2", "1"));
    }

    #[test]
    fn a_client_without_an_engine_is_none_and_says_why() {
        let info = br#"{"ServerVersion":"","Driver":"","ServerErrors":["Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"]}"#;
        let why = parse(info, "").unwrap_err();
        assert!(
            why.ends_with("Cannot connect to the Docker daemon at unix:///var/run/docker.sock"),
            "{why}"
        );
        let why = parse(b"", "WARNING: no file\n\nERROR: permission denied\n").unwrap_err();
        assert_eq!(why, "no Docker engine answers: permission denied");
        assert!(parse(b"[]", "").is_err());
    }

    #[test]
    fn readiness_is_a_line_of_its_own() {
        assert!(says_ready(b"STATUS=up\nREADY=1"));
        assert!(!says_ready(b"READY=10"));
        assert!(!says_ready(b"STOPPING=1"));
    }

    #[test]
    fn we_live_and_nobody_has_the_last_process_id() {
        assert!(lives(std::process::id()));
        assert!(!lives(u32::MAX));
    }
}
