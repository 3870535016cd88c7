//! The agent as a program: on a host or in a container over standard input and output, in a guest as init over its control port.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::command::Watch;
use crate::serve::{self, Hooks, Runner};
use crate::wire::{MOST_OUTPUT, Ran};
use crate::{command, facts, guest, threads, wait};

/// The name by which the program is an agent.
pub const NAME: &str = "evenkeel-agent";

/// Whether this process was started as an agent: by name, or as the init of a guest.
pub fn is_agent() -> bool {
    let name = std::env::args_os().next();
    guest::is_init() || name.is_some_and(|name| Path::new(&name).ends_with(NAME))
}

/// The life of an agent.
///
/// # Errors
/// The control channel cannot be read or written.
pub fn main() -> anyhow::Result<()> {
    if guest::is_init() && guest::lab::is_lab() {
        guest::main(guest::lab::live)
    }
    if guest::is_init() {
        guest::main(|port| {
            let output = port.try_clone().context("failed to share the control port")?;
            serve::run(port, output, &Programs::default(), &Inside)
        })
    }
    serve::run(io::stdin().lock(), io::stdout().lock(), &Programs::default(), &Outside)
}

/// A process on a host or in a container.
struct Outside;

impl Hooks for Outside {
    fn facts(&self) -> anyhow::Result<BTreeMap<String, String>> {
        Ok(facts_and_boot())
    }
}

/// Facts of this node, and which boot of its kernel this is.
fn facts_and_boot() -> BTreeMap<String, String> {
    let mut all = facts::facts();
    all.extend(facts::boot_id().map(|id| ("boot-id".to_owned(), id)));
    all
}

/// A guest.
struct Inside;

impl Hooks for Inside {
    fn configure(
        &self,
        mac: &str,
        addresses: &[String],
        gateway: Option<IpAddr>,
    ) -> anyhow::Result<()> {
        guest::configure(mac, addresses, gateway)
    }

    /// Beside the facts of every node, `cpus-that-serve`: where this process may run.
    fn facts(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut all = facts_and_boot();
        let cpus = threads::list(&threads::affinity(0)?);
        all.insert("cpus-that-serve".to_owned(), cpus);
        Ok(all)
    }
}

/// Programs of the node. Servers that were started run until the agent ends, and end with it.
#[derive(Debug, Default)]
struct Programs(Mutex<Vec<Child>>);

impl Runner for Programs {
    fn run(&self, argv: &[String], folder: Option<&Path>, within: Duration) -> anyhow::Result<Ran> {
        let watch = Watch { folder, keep: MOST_OUTPUT, alone: true, ..Watch::within(within) };
        let ended = command::watch(watch, argv)?;
        let text = |bytes: &[u8], most: usize| plain(&bytes[..bytes.len().min(most)]);
        Ok(Ran {
            code: ended.code,
            timed_out: ended.timed_out,
            stdout: text(&ended.stdout, MOST_OUTPUT),
            stderr: text(&ended.stderr, 1 << 16),
        })
    }

    fn daemon(
        &self,
        argv: &[String],
        folder: Option<&Path>,
        port: u16,
        within: Duration,
    ) -> anyhow::Result<()> {
        if listens(port)? {
            bail!("port {port} is in use already: `{}` cannot listen on it", argv.join(" "));
        }
        let mut words = words()?;
        let shared = words.try_clone().context("failed to share a file in memory")?;
        let mut child = command::serve(argv, folder, shared)?;
        let what = format!("`{}` to listen on port {port}", argv.join(" "));
        let ready = wait::until(&what, within, || {
            if let Some(status) = child.try_wait()? {
                let said = said(&mut words)?;
                bail!("`{}` ended at once: {status}: {said}", argv.join(" "));
            }
            Ok(listens(port)?.then_some(()))
        });
        if let Err(why) = ready {
            // What comes up late would run beside the next workloads.
            child.kill().and_then(|()| child.wait()).context("failed to end a server")?;
            return Err(why);
        }
        let mut running = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        running.push(child);
        Ok(())
    }
}

/// What a program printed, as text. Control characters would take six bytes each on the way, and an answer must fit in a line of it.
fn plain(bytes: &[u8]) -> String {
    let shown = |c: char| match c {
        '\n' | '\r' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    String::from_utf8_lossy(bytes).chars().map(shown).collect()
}

/// A file for what a server prints: in memory, because a container's root may be read-only.
fn words() -> anyhow::Result<File> {
    let file = memfd_create("words", MFdFlags::MFD_CLOEXEC);
    file.map(File::from).context("failed to make a file in memory")
}

/// What a server has printed, its last words in one line.
fn said(words: &mut File) -> anyhow::Result<String> {
    let mut stderr = Vec::new();
    words.rewind().and_then(|()| words.read_to_end(&mut stderr)).context("failed to read words")?;
    let stdout = Vec::new();
    Ok(command::Ended { code: None, timed_out: false, stdout, stderr }.last_words())
}

/// Whether some socket of this network namespace listens on a TCP port, or is bound to it over UDP and to no peer (proc(5): local address in
/// hexadecimal; state 0A listens, 07 is not connected).
fn listens(port: u16) -> anyhow::Result<bool> {
    let tables = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];
    for (table, waits) in tables.map(|(name, waits)| (format!("/proc/self/net/{name}"), waits)) {
        let text = match std::fs::read_to_string(&table) {
            Ok(text) => text,
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("failed to read {table}")),
        };
        let wanted = format!(":{port:04X}");
        let found = text.lines().skip(1).any(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&wanted))
                && fields.nth(1) == Some(waits)
        });
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(port).unwrap());
        drop(listener);
        // A child that another test has just started holds it until it runs its program.
        let gone = || Ok((!listens(port)?).then_some(()));
        crate::wait::until("the listener to be gone", Duration::from_secs(60), gone).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(listens(port).unwrap());
        // One that asks somebody else serves nobody.
        socket.connect("127.0.0.1:9").unwrap();
        assert!(!listens(port).unwrap());
    }

    #[test]
    fn a_program_runs_in_its_folder_and_all_that_it_says_fits_in_an_answer() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("here"), "").unwrap();
        let argv = ["sh", "-c", "ls; head -c 2000000 /dev/zero"].map(str::to_owned);
        let within = Duration::from_secs(60);
        let ran = Programs::default().run(&argv, Some(place.path()), within).unwrap();
        assert!(ran.stdout.starts_with("here\n\u{fffd}"), "{:.20}", ran.stdout);
        assert!(serde_json::to_vec(&ran).unwrap().len() < crate::lines::CONTROL_LINE);
    }

    #[test]
    fn a_server_that_talks_before_it_listens_is_not_ended_by_that() {
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        // More than a pipe holds.
        let script = format!("head -c 200000 /dev/zero && exec iperf3 -s -B 127.0.0.1 -p {port}");
        let argv = ["sh", "-c", &script].map(str::to_owned);
        let programs = Programs::default();
        programs.daemon(&argv, None, port, Duration::from_secs(60)).unwrap();
        let mut running = programs.0.into_inner().unwrap();
        running[0].kill().unwrap();
        running[0].wait().unwrap();
    }

    #[test]
    fn a_server_that_ends_at_once_is_an_error() {
        let argv = ["sh", "-c", "echo no such family; exit 3"].map(str::to_owned);
        let within = Duration::from_secs(20);
        let error = Programs::default().daemon(&argv, None, 1, within).unwrap_err();
        let text = error.to_string();
        assert!(text.ends_with("ended at once: exit status: 3: no such family"), "{text}");
    }
}
