//! The host's side of an agent's control channel. Every wait has a deadline, and every error names the agent.

use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;

use crate::lines::{CONTROL_LINE, Line, Lines};
use crate::wire::{Answer, Ask, Hello, PROTOCOL, Reply, Request};

/// Most lines that are not the agent's before its hello, and before each answer: a kernel that boots
/// talks on the same port.
const MOST_NOISE: usize = 10_000;

/// How often it is asked whether an agent that is silent can still answer.
const LOOK: Duration = Duration::from_secs(1);

/// Lines that are read ahead.
const READ_AHEAD: usize = 16;

/// A channel to one agent: its standard input and output, or a socket that leads to a guest's port.
///
/// Dropping it closes the writer, by which an agent on pipes ends.
pub struct Control {
    name: String,
    writer: Box<dyn Write + Send>,
    lines: Receiver<std::io::Result<Line>>,
    next_id: u64,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Control({})", self.name)
    }
}

impl Control {
    /// A channel that reads from `reader` on a thread of its own until that ends. `name` is the agent's (`sut0`, `peer`).
    ///
    /// # Errors
    /// No thread can be started.
    pub fn new(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
        name: &str,
    ) -> Result<Control> {
        let (heard, lines) = mpsc::sync_channel(READ_AHEAD);
        let read = move || {
            let mut reader = Lines::new(reader, CONTROL_LINE);
            while let Some(line) = reader.next_line().transpose() {
                let failed = line.is_err();
                if heard.send(line).is_err() || failed {
                    break;
                }
            }
        };
        // Not joined: it ends with the reader, which may outlive us where the two share a socket.
        thread::Builder::new()
            .name("ek-control".into())
            .spawn(read)
            .with_context(|| format!("failed to start the reader of agent `{name}`"))?;
        Ok(Control { name: name.to_owned(), writer: Box::new(writer), lines, next_id: 1 })
    }

    /// The agent's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for the agent's hello; other lines before it are skipped.
    ///
    /// # Errors
    /// The deadline, the end of the channel, more noise than a boot makes, or an agent of another protocol.
    pub fn hello(&mut self, within: Duration) -> Result<Hello> {
        self.hello_while(within, &mut || Ok(()))
    }

    /// The same, and asks `alive` every now and then whether there is anything to wait for.
    ///
    /// # Errors
    /// As [`Control::hello`], and that of `alive`.
    pub fn hello_while(
        &mut self,
        within: Duration,
        alive: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Hello> {
        let found = |text: &str| {
            let said: Version = serde_json::from_str(text).ok()?;
            Some((said, text.to_owned()))
        };
        let text = self.find(within, "say hello", found, alive);
        let (Version { protocol }, text) = text?;
        if protocol != PROTOCOL {
            bail!(
                "agent `{}` speaks protocol {protocol} and this host {PROTOCOL}: use one build on both",
                self.name
            );
        }
        serde_json::from_str(&text)
            .with_context(|| format!("the hello of agent `{}` is broken", self.name))
    }

    /// Asks and waits for the answer. Answers to earlier requests, given up by then, are skipped.
    ///
    /// The deadline is for the answer: where the other side may stop reading (a socket to a
    /// guest), the caller bounds writes with the socket's own timeout.
    ///
    /// # Errors
    /// The deadline, the end of the channel, or the agent's own error.
    pub fn ask(&mut self, ask: Ask, within: Duration) -> Result<Answer> {
        let id = self.next_id;
        self.next_id += 1;
        let what = format!("answer `{}`", verb(&ask));
        let mut line =
            serde_json::to_vec(&Request { id, ask }).context("failed to write a request")?;
        line.push(b'\n');
        self.writer
            .write_all(&line)
            .and_then(|()| self.writer.flush())
            .with_context(|| format!("failed to write to agent `{}`: it has ended", self.name))?;
        let found = |text: &str| {
            let reply: Reply = serde_json::from_str(text).ok()?;
            (reply.id == id).then_some(reply.said)
        };
        let said = self.find(within, &what, found, &mut || Ok(()))?;
        said.map_err(|why| anyhow!("agent `{}`: {why}", self.name))
    }

    /// The first line that `wanted` accepts, as long as `alive` has no reason to give up.
    fn find<T>(
        &self,
        within: Duration,
        what: &str,
        wanted: impl Fn(&str) -> Option<T>,
        alive: &mut dyn FnMut() -> Result<()>,
    ) -> Result<T> {
        let name = &self.name;
        let started = Instant::now();
        let mut noise = 0;
        while noise < MOST_NOISE {
            let left = within.saturating_sub(started.elapsed());
            let heard = self.lines.recv_timeout(left.min(LOOK));
            noise += usize::from(heard.is_ok());
            match heard {
                Ok(Ok(Line::Text(text))) => {
                    if let Some(found) = wanted(text.trim()) {
                        return Ok(found);
                    }
                }
                Ok(Ok(Line::TooLong)) => {}
                // A socket that was closed with our request unread.
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => {
                    bail!("agent `{name}` ended")
                }
                Ok(Err(error)) => {
                    return Err(error)
                        .with_context(|| format!("failed to read from agent `{name}`"));
                }
                Err(RecvTimeoutError::Disconnected) => bail!("agent `{name}` ended"),
                Err(RecvTimeoutError::Timeout) if left > LOOK => {
                    alive().with_context(|| format!("agent `{name}` did not {what}"))?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    bail!("agent `{name}` did not {what} within {within:?}")
                }
            }
        }
        bail!("agent `{name}` did not {what}: {MOST_NOISE} other lines came instead")
    }
}

/// The part of a hello that every version has.
#[derive(Deserialize)]
struct Version {
    protocol: u32,
}

/// The name of a request, for errors.
fn verb(ask: &Ask) -> &'static str {
    match ask {
        Ask::Configure { .. } => "configure",
        Ask::Serve { .. } => "serve",
        Ask::Drive(_) => "drive",
        Ask::Exec { .. } => "exec",
        Ask::Daemon { .. } => "daemon",
        Ask::LoadStart { .. } => "load-start",
        Ask::FlowStart { .. } => "flow-start",
        Ask::LoadCount => "load-count",
        Ask::Delay(_) => "delay",
        Ask::Burn { .. } => "burn",
        Ask::FaultCount => "fault-count",
        Ask::Facts => "facts",
        Ask::Config { .. } => "config",
        Ask::Quit => "quit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::{self, Unsupported};
    use std::io::{self, BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    const LONG: Duration = Duration::from_secs(30);
    const HELLO: &str = r#"{"protocol":1,"pid":1,"kernel":"6.18","version":"PREEMPT_RT"}"#;

    /// A channel to something that says `text` and then stays silent as long as the socket is held.
    fn to(text: &str) -> (Control, UnixStream) {
        let (host, mut agent) = UnixStream::pair().unwrap();
        agent.write_all(text.as_bytes()).unwrap();
        (Control::new(host.try_clone().unwrap(), host, "sut0").unwrap(), agent)
    }

    #[test]
    fn a_real_agent_answers_over_a_socket() {
        let (host, agent) = UnixStream::pair().unwrap();
        let serves = thread::spawn(move || {
            serve::run(agent.try_clone().unwrap(), agent, &Unsupported, &Unsupported)
        });
        let mut control = Control::new(host.try_clone().unwrap(), host, "sut0").unwrap();
        assert_eq!(control.hello(LONG).unwrap().protocol, PROTOCOL);
        let address = "127.0.0.1".parse().unwrap();
        let answer = control.ask(Ask::Serve { address, port: 0 }, LONG).unwrap();
        assert!(matches!(answer, Answer::Listening { port } if port > 0), "{answer:?}");
        let refused = control.ask(Ask::Facts, LONG).unwrap_err().to_string();
        assert_eq!(refused, "agent `sut0`: facts are not supported here");
        assert_eq!(control.ask(Ask::Quit, LONG).unwrap(), Answer::Done);
        serves.join().unwrap().unwrap();
        assert!(control.ask(Ask::Facts, LONG).unwrap_err().to_string().contains("ended"));
    }

    #[test]
    fn dropping_the_channel_ends_an_agent_on_pipes() {
        let (from_host, to_agent) = io::pipe().unwrap();
        let (from_agent, to_host) = io::pipe().unwrap();
        let serves =
            thread::spawn(move || serve::run(from_host, to_host, &Unsupported, &Unsupported));
        let mut control = Control::new(from_agent, to_agent, "peer").unwrap();
        control.hello(LONG).unwrap();
        drop(control);
        serves.join().unwrap().unwrap();
    }

    #[test]
    fn a_kernel_that_talks_before_the_hello_is_skipped() {
        let noise = "[    0.000000] Linux version 6.18\r\n\u{0}\u{fffd}\n{}\n[1,2]\n{\"half\":\n\n";
        let (mut control, _agent) = to(&format!("{noise}{HELLO}\r\n"));
        assert_eq!(control.hello(LONG).unwrap().version, "PREEMPT_RT");
    }

    #[test]
    fn noise_without_end_is_an_error() {
        let (host, mut agent) = UnixStream::pair().unwrap();
        let talks = thread::spawn(move || while agent.write_all(b"[ 1.0] oops\n").is_ok() {});
        let mut control = Control::new(host.try_clone().unwrap(), io::sink(), "sut0").unwrap();
        let error = control.hello(LONG).unwrap_err().to_string();
        assert!(error.contains("other lines came instead"), "{error}");
        host.shutdown(std::net::Shutdown::Both).unwrap();
        talks.join().unwrap();
    }

    #[test]
    fn another_protocol_is_an_error_that_names_both() {
        let (mut control, _agent) = to("{\"protocol\":99,\"colour\":\"blue\"}\n");
        let error = control.hello(LONG).unwrap_err().to_string();
        assert_eq!(error, "agent `sut0` speaks protocol 99 and this host 1: use one build on both");
    }

    #[test]
    fn silence_and_the_end_are_told_apart() {
        let (mut control, agent) = to(&format!("{HELLO}\n"));
        control.hello(LONG).unwrap();
        let error = control.ask(Ask::Facts, Duration::from_millis(10)).unwrap_err().to_string();
        assert_eq!(error, "agent `sut0` did not answer `facts` within 10ms");
        drop(agent);
        let error = control.hello(LONG).unwrap_err().to_string();
        assert_eq!(error, "agent `sut0` ended");
    }

    #[test]
    fn a_late_answer_does_not_answer_the_next_request() {
        let (mut control, agent) = to("");
        let error = control.ask(Ask::Facts, Duration::ZERO).unwrap_err().to_string();
        assert!(error.contains("did not answer"), "{error}");
        let answers = thread::spawn(move || {
            let mut requests = BufReader::new(agent.try_clone().unwrap()).lines();
            let mut agent = agent;
            for said in [Err("late".to_owned()), Ok(Answer::Done)] {
                let request: Request =
                    serde_json::from_str(&requests.next().unwrap().unwrap()).unwrap();
                let reply = Reply { id: request.id, said };
                writeln!(agent, "[ 2.0] oops\n{}", serde_json::to_string(&reply).unwrap()).unwrap();
            }
        });
        assert_eq!(control.ask(Ask::LoadCount, LONG).unwrap(), Answer::Done);
        answers.join().unwrap();
    }
}
