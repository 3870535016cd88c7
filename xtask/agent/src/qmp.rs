//! A client of QEMU's machine protocol, for what we ask a held guest: which threads are its
//! virtual CPUs, go, end. Every wait has a deadline. QEMU serves one client at a time on a socket,
//! so a connection is made for a question and dropped after it.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;
use serde_json::{Value, json};

/// A connection to the monitor of one QEMU.
#[derive(Debug)]
pub struct Qmp {
    stream: BufReader<UnixStream>,
    path: PathBuf,
    within: Duration,
}

/// What QEMU writes: the greeting, an event, or the answer to a command. Other keys are of no use here.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Refusal>,
}

/// Why QEMU refused a command.
#[derive(Deserialize)]
struct Refusal {
    desc: String,
}

/// An element of the answer to `query-cpus-fast`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cpu {
    cpu_index: u32,
    thread_id: i32,
}

impl Qmp {
    /// Connects to the monitor's socket and takes the greeting. `within` is the deadline of this
    /// and of every later answer.
    ///
    /// # Errors
    /// If nothing listens on the socket, or no QEMU answers in time.
    pub fn connect(path: &Path, within: Duration) -> anyhow::Result<Qmp> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("no QEMU listens on `{}`", path.display()))?;
        let mut qmp = Qmp { stream: BufReader::new(stream), path: path.to_owned(), within };
        let deadline = Instant::now() + within;
        let first = qmp.line(deadline).context(
            "the monitor gave no greeting: QEMU is stuck, or another client holds the connection",
        )?;
        if first.greeting.is_none() {
            bail!("what listens on `{}` is not a QEMU monitor", path.display());
        }
        qmp.execute("qmp_capabilities")?;
        Ok(qmp)
    }

    /// Whether a connection failed because nobody listens yet. A QEMU that has not come far has no socket, and for a moment one that is there and
    /// not listened on: on a busy machine the moment is long enough to be met.
    pub fn is_not_yet(error: &anyhow::Error) -> bool {
        error.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
        })
    }

    /// The host's ids of the threads that run the virtual CPUs, in the order of the CPUs.
    ///
    /// # Errors
    /// If QEMU refuses or does not answer in time.
    pub fn vcpu_threads(&mut self) -> anyhow::Result<Vec<i32>> {
        let answer = self.execute("query-cpus-fast")?;
        let mut cpus: Vec<Cpu> =
            serde_json::from_value(answer).context("failed to read QEMU's list of virtual CPUs")?;
        cpus.sort_by_key(|cpu| cpu.cpu_index);
        Ok(cpus.into_iter().map(|cpu| cpu.thread_id).collect())
    }

    /// Lets a guest run that was started with `-S`. Harmless when it runs already.
    ///
    /// # Errors
    /// If QEMU refuses or does not answer in time.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.execute("cont").map(drop)
    }

    /// Ends the QEMU process at once; the guest gets no chance to power off.
    ///
    /// # Errors
    /// If QEMU refuses or does not answer in time.
    pub fn quit(mut self) -> anyhow::Result<()> {
        self.execute("quit").map(drop)
    }

    /// Sends a command without arguments and waits for its answer; events in between are dropped.
    fn execute(&mut self, command: &str) -> anyhow::Result<Value> {
        let deadline = Instant::now() + self.within;
        let said = || format!("QEMU did not do `{command}`");
        let request = format!("{}\n", json!({ "execute": command }));
        let stream = self.stream.get_mut();
        stream.set_write_timeout(Some(self.within)).with_context(said)?;
        stream.write_all(request.as_bytes()).with_context(said)?;
        loop {
            let line = self.line(deadline).with_context(said)?;
            if let Some(Refusal { desc }) = line.error {
                return Err(anyhow!(desc)).with_context(said);
            }
            if let Some(answer) = line.answer {
                return Ok(answer);
            }
        }
    }

    fn line(&mut self, deadline: Instant) -> anyhow::Result<Line> {
        let mut text = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no answer on `{}` within {:?}", self.path.display(), self.within);
            }
            self.stream
                .get_ref()
                .set_read_timeout(Some(left))
                .context("failed to set a deadline")?;
            // What was read before a timeout or a signal stays in `text`.
            match self.stream.read_until(b'\n', &mut text) {
                Ok(_) if text.ends_with(b"\n") => break,
                Ok(_) => bail!("QEMU closed `{}`: it has ended", self.path.display()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("failed to read `{}`", self.path.display()));
                }
            }
        }
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "`{}` is not a line of a QEMU monitor",
                String::from_utf8_lossy(&text).trim_end()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    const GREETING: &str = r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#;
    const WITHIN: Duration = Duration::from_secs(20);

    /// A monitor that writes a greeting, then for each command read the lines of its turn, then closes.
    /// Gives the commands that it saw.
    fn monitor(
        greeting: &'static str,
        turns: Vec<&'static str>,
    ) -> (tempfile::TempDir, PathBuf, JoinHandle<Vec<String>>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let listener = UnixListener::bind(&path).unwrap();
        let served = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut commands = BufReader::new(stream);
            commands.get_mut().write_all(format!("{greeting}\n").as_bytes()).unwrap();
            let mut seen = Vec::new();
            for turn in turns {
                let mut line = String::new();
                if commands.read_line(&mut line).unwrap() == 0 {
                    break;
                }
                let command: Value = serde_json::from_str(&line).unwrap();
                seen.push(command["execute"].as_str().unwrap().to_owned());
                commands.get_mut().write_all(turn.as_bytes()).unwrap();
            }
            seen
        });
        (folder, path, served)
    }

    const OK: &str = "{\"return\": {}}\n";

    #[test]
    fn threads_come_in_the_order_of_the_cpus_and_events_are_skipped() {
        let cpus = concat!(
            "{\"event\": \"RESUME\", \"timestamp\": {}}\n",
            r#"{"return": [{"cpu-index": 1, "thread-id": 71, "qom-path": "/b"}, {"cpu-index": 0, "thread-id": 70}]}"#,
            "\n"
        );
        let (_folder, path, served) = monitor(GREETING, vec![OK, cpus, OK, OK]);
        let mut qmp = Qmp::connect(&path, WITHIN).unwrap();
        assert_eq!(qmp.vcpu_threads().unwrap(), [70, 71]);
        qmp.resume().unwrap();
        qmp.quit().unwrap();
        assert_eq!(served.join().unwrap(), ["qmp_capabilities", "query-cpus-fast", "cont", "quit"]);
    }

    #[test]
    fn a_refusal_is_told_in_qemus_words() {
        let refusal = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"Resetting the Virtual Machine is required\"}}\n";
        let (_folder, path, _served) = monitor(GREETING, vec![OK, refusal]);
        let error = Qmp::connect(&path, WITHIN).unwrap().resume().unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "QEMU did not do `cont`: Resetting the Virtual Machine is required"
        );
    }

    #[test]
    fn a_qemu_that_ends_meanwhile_is_told() {
        let (_folder, path, _served) = monitor(GREETING, vec![OK]);
        let error = Qmp::connect(&path, WITHIN).unwrap().vcpu_threads().unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("`query-cpus-fast`"), "{text}");
    }

    #[test]
    fn something_else_on_the_socket_is_not_a_monitor() {
        let (_folder, path, _served) = monitor("{\"hello\": 1}", vec![]);
        let error = Qmp::connect(&path, WITHIN).unwrap_err();
        assert!(error.to_string().contains("is not a QEMU monitor"), "{error}");
        let error = Qmp::connect(Path::new("/nowhere/qmp"), WITHIN).unwrap_err();
        assert_eq!(error.to_string(), "no QEMU listens on `/nowhere/qmp`");
        assert!(Qmp::is_not_yet(&error));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        // Who listened is gone, and the socket is not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let error = Qmp::connect(&path, Duration::from_secs(1)).unwrap_err();
        assert!(Qmp::is_not_yet(&error), "{error:#}");
        assert!(!Qmp::is_not_yet(&anyhow!("the monitor gave no greeting")));
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qmp");
        let _listener = UnixListener::bind(&path).unwrap();
        let error = Qmp::connect(&path, Duration::from_millis(20)).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("no greeting") && text.contains("within 20ms"), "{text}");
    }
}
