//! Docker, runc and nftables, through their own command lines; what Podman leaves, without it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::mounts;
use super::tools::Tools;
use crate::{command, netlink};

/// Deadline of one call of an engine: starting and removing containers takes tenths of a second, on a busy host seconds.
const ENGINE: Duration = Duration::from_secs(60);

/// Deadline of a question at the engine's socket, which it answers in milliseconds, and the longest answer that is read.
const AT_ONCE: Duration = Duration::from_secs(2);
const LONGEST_ANSWER: u64 = 1 << 20;

/// Where runc keeps the state of our containers; not where other users of runc keep theirs.
pub const RUNC_ROOT: &str = "/run/evenkeel-runc";

pub(crate) fn make_docker_network(
    tools: Tools<'_>,
    name: &str,
    with: &[String],
) -> anyhow::Result<()> {
    let mut argv = vec!["docker", "network", "create"];
    argv.extend(with.iter().map(String::as_str));
    argv.push(name);
    tools.output_within(&argv, ENGINE)?;
    Ok(())
}

pub(crate) fn make_docker_image(
    tools: Tools<'_>,
    name: &str,
    with: &[String],
) -> anyhow::Result<()> {
    let [archive] = with else { bail!("docker image {name}: exactly one archive to import") };
    tools.output_within(&["docker", "import", archive, name], ENGINE)?;
    Ok(())
}

/// Whether the engine has an image of this name.
pub(crate) fn has_docker_image(tools: Tools<'_>, name: &str) -> anyhow::Result<bool> {
    let found = tools.output_within(&["docker", "image", "ls", "--quiet", name], ENGINE)?;
    Ok(!found.trim().is_empty())
}

/// Waits until the engine has ended what it was asked by clients that were killed: it goes on with that, and only what is removed
/// afterwards is gone for good.
///
/// Connections that an engine never lets go of look the same from here (one to a container that was never started; somebody
/// else's killed `docker logs --follow`), so the wait is bounded, and running out of it is no error.
pub(crate) fn settle() {
    let waited =
        crate::wait::until("the engine", SETTLES, || Ok((!is_busy_for_the_dead()).then_some(())));
    // Said nowhere: what is removed next is what counts, and that may fail by itself.
    waited.unwrap_or_default();
}

/// How long an engine may take for one request, on a busy host.
const SETTLES: Duration = Duration::from_secs(4);

/// Whether the engine still holds connections of clients that are gone. A kernel that cannot tell is taken to hold none.
fn is_busy_for_the_dead() -> bool {
    let path = engine_socket();
    let path = path.as_str();
    // The engine may have bound another spelling of the same path: /var/run is a link to /run.
    let real = std::fs::canonicalize(path).map(|path| path.to_string_lossy().into_owned());
    let mut names = vec![path.to_owned(), path.replacen("/var/run/", "/run/", 1)];
    names.extend(real);
    names.iter().any(|name| netlink::forsaken_at(name.as_bytes()).is_ok_and(|count| count > 0))
}

/// Where the engine of this host listens, unless its client was told another context.
fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock").to_owned()
}

/// What an engine answers at its socket (Docker Engine API): a tenth of the time that starting its client takes. No answer is none: the client
/// is asked then.
fn ask(socket: &Path, method: &str, what: &str) -> Option<Answer> {
    let mut engine = UnixStream::connect(socket).ok()?;
    engine.set_read_timeout(Some(AT_ONCE)).ok()?;
    engine.set_write_timeout(Some(AT_ONCE)).ok()?;
    // Version 1.0 of the protocol: the answer is not in chunks and ends with the connection.
    write!(engine, "{method} {what} HTTP/1.0\r\nHost: docker\r\n\r\n").ok()?;
    let mut answer = String::new();
    engine.take(LONGEST_ANSWER).read_to_string(&mut answer).ok()?;
    Answer::of(&answer)
}

/// An answer of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn of(text: &str) -> Option<Answer> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, body: body.to_owned() })
    }

    /// The process id, where it says that a container runs (ContainerInspect).
    fn running_pid(&self) -> Option<String> {
        let state = &serde_json::from_str::<serde_json::Value>(&self.body).ok()?["State"];
        let pid = state["Pid"].as_i64().filter(|pid| *pid > 0 && self.status == 200)?;
        (state["Status"] == "running").then(|| pid.to_string())
    }
}

/// The process id of a running container. An engine that is not the client's has no container of this name.
fn pid_at_socket(socket: &Path, name: &str) -> Option<String> {
    ask(socket, "GET", &format!("/containers/{name}/json"))?.running_pid()
}

/// Removes a network of the engine. Only that the engine removed it counts (NetworkDelete, 204): one that knows no such network need not be the
/// client's, and one that is in use is the client's to wait for.
pub(crate) fn remove_docker_network(tools: Tools<'_>, name: &str) -> anyhow::Result<()> {
    let answer = ask(Path::new(&engine_socket()), "DELETE", &format!("/networks/{name}"));
    if answer.is_some_and(|answer| answer.status == 204) {
        return Ok(());
    }
    remove_from_docker(tools, &["docker", "network", "rm", name])
}

/// Removes something of the engine. An engine that is not there cannot hold anything that runs, but may hold it again
/// once it is started: that is an error, so that the state stays journaled.
pub(crate) fn remove_from_docker(tools: Tools<'_>, argv: &[&str]) -> anyhow::Result<()> {
    crate::wait::until(&format!("`{}`", argv.join(" ")), ENGINE, || {
        let ended = command::run_in(tools.cgroup, argv, b"", ENGINE)?;
        let words = ended.last_words();
        let gone = says_gone(&words, argv.last().copied().unwrap_or_default());
        let busy =
            ["already in progress", "has active endpoints"].iter().any(|said| words.contains(said));
        match ended.code {
            Some(0) => Ok(Some(())),
            _ if gone => Ok(Some(())),
            _ if busy => Ok(None),
            _ => command::expect_success(argv, ended, ENGINE).map(|_| Some(())),
        }
    })
}

/// Whether the engine says that what it was to remove is not there. Only its own sentences count: a client that finds no context or
/// no engine says "not found" as well.
fn says_gone(words: &str, name: &str) -> bool {
    ["No such container", "No such image", "No such network"]
        .iter()
        .any(|said| words.contains(said))
        || words.contains(&format!("network {name} not found"))
}

pub(crate) fn docker_pid(tools: Tools<'_>, name: &str) -> anyhow::Result<Option<String>> {
    if let Some(pid) = pid_at_socket(Path::new(&engine_socket()), name) {
        return Ok(Some(pid));
    }
    let argv = ["docker", "inspect", "--format", "{{.State.Pid}} {{.State.Status}}", name];
    let ended = command::run_in(tools.cgroup, &argv, b"", ENGINE)?;
    if ended.code != Some(0) && ended.last_words().contains("No such") {
        return Ok(None);
    }
    let text = command::expect_success(&argv, ended, ENGINE)?;
    match text.split_whitespace().collect::<Vec<_>>().as_slice() {
        [pid, "running"] if *pid != "0" => Ok(Some((*pid).to_owned())),
        [_, "created" | "running"] => Ok(None),
        // It could not be started. Why, its client says when it ends; the engine does not.
        [_, "removing" | "exited" | "dead"] => Ok(None),
        _ => bail!("docker container {name} is not running: {}", text.trim()),
    }
}

pub(crate) fn runc_pid(tools: Tools<'_>, name: &str) -> anyhow::Result<Option<String>> {
    let argv = ["runc", "--root", RUNC_ROOT, "state", name];
    let ended = command::run_in(tools.cgroup, &argv, b"", ENGINE)?;
    if ended.code != Some(0) && ended.last_words().contains("does not exist") {
        return Ok(None);
    }
    let text = command::expect_success(&argv, ended, ENGINE)?;
    let state: serde_json::Value = serde_json::from_str(&text)
        .with_context(|| format!("`{}` printed no JSON", argv.join(" ")))?;
    match (state["status"].as_str(), state["pid"].as_i64()) {
        (Some("running"), Some(pid)) if pid > 0 => Ok(Some(pid.to_string())),
        (Some("creating" | "created"), _) => Ok(None),
        _ => bail!("runc container {name} is not running: {}", text.trim()),
    }
}

pub(crate) fn remove_runc(tools: Tools<'_>, name: &str) -> anyhow::Result<()> {
    let folder = Path::new(RUNC_ROOT).join(name);
    if folder.exists() {
        let argv = ["runc", "--root", RUNC_ROOT, "delete", "--force", name];
        let ended = command::run_in(tools.cgroup, &argv, b"", ENGINE)?;
        if ended.code != Some(0) {
            // runc was killed before it wrote its state: then there is no container, only its folder, and in it
            // perhaps the mount by which runc hides its own program from the container.
            if folder.join("state.json").exists() {
                command::expect_success(&argv, ended, ENGINE)?;
            }
            remove_mounted_dir(&folder)?;
        }
    }
    // The root goes with the last container; runc may have been killed between making the two.
    match std::fs::remove_dir(RUNC_ROOT) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("failed to remove {RUNC_ROOT}")),
    }
}

/// The process id in a file that an engine writes once it has one.
pub(crate) fn pid_in(path: &str) -> anyhow::Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|pid| !pid.is_empty())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {path}")),
    }
}

/// Removes a folder in which an engine may have mounted what its containers see.
pub(crate) fn remove_mounted_dir(folder: &Path) -> anyhow::Result<()> {
    mounts::unmount_inside(folder)?;
    remove_dir(folder)
}

pub(crate) fn remove_dir(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("failed to remove folder {}", folder.display()))
        }
    }
}

/// Makes a table of nftables whose content is given as text, at once or not at all.
pub(crate) fn make_table(
    tools: Tools<'_>,
    netns: &str,
    name: &str,
    with: &[String],
) -> anyhow::Result<()> {
    let text = format!("table {name} {{\n{}\n}}\n", with.join("\n"));
    let argv = ["ip", "netns", "exec", netns, "nft", "-f", "-"];
    let ended = command::run_in(tools.cgroup, &argv, text.as_bytes(), ENGINE)?;
    command::expect_success(&argv, ended, ENGINE).with_context(|| format!("in table {name}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_running_container_of_the_engine_has_a_process() {
        let said =
            |head: &str, state: &str| Answer::of(&format!("{head}\r\n\r\n{state}"))?.running_pid();
        let fine = "HTTP/1.0 200 OK\r\nContent-Type: application/json";
        let running = r#"{"State":{"Status":"running","Pid":41}}"#;
        assert_eq!(said(fine, running).as_deref(), Some("41"));
        assert_eq!(said("HTTP/1.0 404 Not Found", running), None);
        assert_eq!(said(fine, r#"{"State":{"Status":"created","Pid":0}}"#), None);
        assert_eq!(said(fine, r#"{"State":{"Status":"exited","Pid":41}}"#), None);
        assert_eq!(said(fine, "{"), None);
        assert_eq!(Answer::of("no answer of HTTP"), None);
        let nowhere = tempfile::tempdir().unwrap();
        assert_eq!(pid_at_socket(&nowhere.path().join("docker.sock"), "x"), None);
    }

    #[test]
    fn only_the_engines_own_words_mean_that_something_is_gone() {
        assert!(says_gone("Error: No such container: ek1-sut0", "ek1-sut0"));
        assert!(says_gone("Error response from daemon: No such image: ek1:latest", "ek1"));
        assert!(says_gone("Error response from daemon: network ek1-net not found", "ek1-net"));
        assert!(says_gone("Error: No such network: ek1-net", "ek1-net"));
        let context = "Current context \"x\" is not found on the file system, please check";
        assert!(!says_gone(context, "ek1-net"));
        assert!(!says_gone("docker: command not found", "ek1-net"));
    }
}
