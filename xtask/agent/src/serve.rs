//! The agent's main loop: reads requests, answers them one after the other, and ends when its control
//! channel does. Everything that it started ends with it.
//!
//! Requests are done on the calling thread, so that what they start inherits where that was placed.
//! Running programs is not done here: it is plugged in as a [`Runner`], and what differs between a
//! process and a guest as [`Hooks`].

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::burn::Burn;
use crate::engine::{self, Flow, Late, Server};
use crate::facts;
use crate::lines::{CONTROL_LINE, Line, Lines};
use crate::load::Load;
use crate::wire::{Answer, Ask, FaultCounters, Hello, LoadCounters, PROTOCOL, Ran, Reply, Request};

/// Runs programs on the agent's node.
pub trait Runner {
    /// Runs a program to its end, in a folder if it is not ours, or kills it with all its children after `within`.
    ///
    /// # Errors
    /// The program cannot be started. How it ended is no error.
    fn run(&self, argv: &[String], folder: Option<&Path>, within: Duration) -> Result<Ran>;

    /// Starts a program, in a folder if it is not ours, and leaves it running; returns once something listens on TCP `port` or is bound to it
    /// over UDP.
    ///
    /// # Errors
    /// The program cannot be started, ends, or does not listen `within` its deadline.
    fn daemon(
        &self,
        argv: &[String],
        folder: Option<&Path>,
        port: u16,
        within: Duration,
    ) -> Result<()>;
}

/// What only some nodes can do; the defaults refuse.
pub trait Hooks {
    /// Gives the link with this hardware address its addresses, brings it up, and sets the gateway.
    ///
    /// # Errors
    /// Refused unless the node is a guest; else no such link, or the kernel's refusal.
    fn configure(&self, mac: &str, addresses: &[String], gateway: Option<IpAddr>) -> Result<()> {
        bail!(
            "failed to configure {mac} with {addresses:?} and gateway {gateway:?}: not supported here"
        )
    }

    /// Facts of the node, by name.
    ///
    /// # Errors
    /// Refused unless the node gathers facts.
    fn facts(&self) -> Result<BTreeMap<String, String>> {
        bail!("facts are not supported here")
    }

    /// Called last, after `Quit` was answered or the channel ended: a guest powers off.
    ///
    /// # Errors
    /// Those of the node.
    fn quit(&self) -> Result<()> {
        Ok(())
    }
}

/// A node that refuses everything that must be plugged in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unsupported;

impl Hooks for Unsupported {}

impl Runner for Unsupported {
    fn run(&self, argv: &[String], _: Option<&Path>, _within: Duration) -> Result<Ran> {
        bail!("failed to run {argv:?}: not supported here")
    }

    fn daemon(
        &self,
        argv: &[String],
        _: Option<&Path>,
        port: u16,
        _within: Duration,
    ) -> Result<()> {
        bail!("failed to start {argv:?} on port {port}: not supported here")
    }
}

/// Says hello, then answers requests until `Quit` or the end of `input`.
///
/// A line that is no request gets an error as its answer, with the number that it carries or 0.
///
/// # Errors
/// The channel cannot be read or written, or [`Hooks::quit`] failed.
pub fn run(
    input: impl Read,
    mut output: impl Write,
    runner: &dyn Runner,
    hooks: &dyn Hooks,
) -> Result<()> {
    let mut agent = Agent {
        servers: Vec::new(),
        load: None,
        flow: None,
        late: None,
        burn: None,
        runner,
        hooks,
    };
    say(&mut output, &hello()?)?;
    let mut lines = Lines::new(input, CONTROL_LINE);
    while let Some(line) = lines.next_line().context("failed to read the control channel")? {
        let reply = match parse(&line) {
            Parsed::Empty => continue,
            Parsed::Rubbish { id, why } => Reply { id, said: Err(why) },
            Parsed::Request(request) if request.ask == Ask::Quit => {
                say(&mut output, &Reply { id: request.id, said: Ok(Answer::Done) })?;
                break;
            }
            Parsed::Request(Request { id, ask }) => {
                Reply { id, said: agent.answer(ask).map_err(|error| format!("{error:#}")) }
            }
        };
        say(&mut output, &reply)?;
    }
    drop(agent);
    hooks.quit()
}

/// What the agent has started.
struct Agent<'a> {
    servers: Vec<Server>,
    load: Option<Load>,
    flow: Option<Flow>,
    late: Option<Arc<Late>>,
    burn: Option<Burn>,
    runner: &'a dyn Runner,
    hooks: &'a dyn Hooks,
}

impl Agent<'_> {
    fn answer(&mut self, ask: Ask) -> Result<Answer> {
        Ok(match ask {
            Ask::Configure { mac, addresses, gateway } => {
                self.hooks.configure(&mac, &addresses, gateway)?;
                Answer::Done
            }
            Ask::Serve { address, port } => {
                let server = Server::start_late(address, port, self.late.clone())?;
                let port = server.port();
                self.servers.push(server);
                Answer::Listening { port }
            }
            Ask::Drive(job) => Answer::Measured(Box::new(engine::drive(&job)?)),
            Ask::Exec { argv, folder, within } => {
                Answer::Ran(self.runner.run(&argv, folder.as_deref().map(Path::new), within)?)
            }
            Ask::Daemon { argv, folder, port, within } => {
                self.runner.daemon(&argv, folder.as_deref().map(Path::new), port, within)?;
                Answer::Done
            }
            Ask::LoadStart { cpus } => {
                if self.load.is_some() {
                    bail!("the load is running already");
                }
                let load = self.load.insert(Load::start(&cpus)?);
                Answer::Load(load.count())
            }
            Ask::FlowStart { address, port, within } => {
                if self.flow.is_some() {
                    bail!("the flow is running already");
                }
                self.flow = Some(Flow::start(SocketAddr::new(address, port), within)?);
                Answer::Load(self.load_count()?)
            }
            Ask::LoadCount => Answer::Load(self.load_count()?),
            Ask::Delay(delay) => {
                // Those that were started before would not be late, and nobody would know.
                if self.late.is_some() || !self.servers.is_empty() {
                    bail!("a server is running already: its replies cannot be given late");
                }
                self.late = Some(Arc::new(Late::new(delay)));
                Answer::Done
            }
            Ask::Burn { cpus, percent } => {
                if self.burn.is_some() {
                    bail!("the burner is running already");
                }
                self.burn = Some(Burn::start(&cpus, percent)?);
                Answer::Fault(self.fault_count())
            }
            Ask::FaultCount => Answer::Fault(self.fault_count()),
            Ask::Facts => Answer::Facts(self.hooks.facts()?),
            Ask::Config { options } => Answer::Config(
                facts::config::shown()?.map(|text| facts::config::options(&text, &options)),
            ),
            // The main loop answers it; a second way would be a second meaning.
            Ask::Quit => bail!("quit is answered by the main loop"),
        })
    }
}

impl Agent<'_> {
    /// Counters of all faults; 0 of what was not asked for.
    fn fault_count(&self) -> FaultCounters {
        FaultCounters {
            burned_ns: self.burn.as_ref().map_or(0, Burn::burned_ns),
            ..self.late.as_ref().map(|late| late.count()).unwrap_or_default()
        }
    }

    /// Counters of everything that was started as load.
    fn load_count(&self) -> Result<LoadCounters> {
        if self.load.is_none() && self.flow.is_none() {
            bail!("no load is running: start it first");
        }
        let mut counters = self.load.as_ref().map(Load::count).unwrap_or_default();
        if let Some(flow) = &self.flow {
            counters.arrived_bytes = flow.arrived_bytes()?;
            counters.sent_bytes = flow.sent_bytes();
        }
        Ok(counters)
    }
}

/// What a line of the channel turned out to be.
enum Parsed {
    Request(Request),
    Empty,
    Rubbish { id: u64, why: String },
}

fn parse(line: &Line) -> Parsed {
    let text = match line {
        Line::Text(text) => text.trim(),
        Line::TooLong => {
            let why = format!("a request of more than {CONTROL_LINE} bytes");
            return Parsed::Rubbish { id: 0, why };
        }
    };
    if text.is_empty() {
        return Parsed::Empty;
    }
    match serde_json::from_str(text) {
        Ok(request) => Parsed::Request(request),
        Err(error) => {
            // A request of a newer host is no request here, but it has a number that it waits for.
            let value: Option<serde_json::Value> = serde_json::from_str(text).ok();
            let id = value.and_then(|value| value.get("id")?.as_u64()).unwrap_or(0);
            Parsed::Rubbish { id, why: format!("not a request of protocol {PROTOCOL}: {error}") }
        }
    }
}

fn hello() -> Result<Hello> {
    let system = nix::sys::utsname::uname().context("failed to ask the kernel for its name")?;
    Ok(Hello {
        protocol: PROTOCOL,
        pid: std::process::id(),
        kernel: system.release().to_string_lossy().into_owned(),
        version: system.version().to_string_lossy().into_owned(),
    })
}

/// Writes one line, with a line's end before it: on a serial port the kernel may have left half a line.
fn say(output: &mut impl Write, what: &impl serde::Serialize) -> Result<()> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, what).context("failed to write an answer as JSON")?;
    line.push(b'\n');
    output
        .write_all(&line)
        .and_then(|()| output.flush())
        .context("failed to write to the control channel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the agent says to this input: hello, then its replies.
    fn said(input: &[u8]) -> (Hello, Vec<Reply>) {
        let mut output = Vec::new();
        run(input, &mut output, &Unsupported, &Unsupported).unwrap();
        let output = String::from_utf8(output).unwrap();
        let mut lines = output.lines().filter(|line| !line.is_empty());
        let hello = serde_json::from_str(lines.next().unwrap()).unwrap();
        (hello, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn line(id: u64, ask: Ask) -> String {
        serde_json::to_string(&Request { id, ask }).unwrap() + "\n"
    }

    #[test]
    fn the_agent_says_hello_and_ends_with_its_channel() {
        let (hello, replies) = said(b"");
        assert_eq!((hello.protocol, hello.pid), (PROTOCOL, std::process::id()));
        assert!(!hello.kernel.is_empty() && !hello.version.is_empty());
        assert_eq!(replies, []);
    }

    #[test]
    fn quit_is_answered_and_nothing_after_it() {
        let input = line(7, Ask::Quit) + &line(8, Ask::LoadCount);
        assert_eq!(said(input.as_bytes()).1, [Reply { id: 7, said: Ok(Answer::Done) }]);
    }

    #[test]
    fn what_is_not_plugged_in_is_refused_by_name() {
        let within = Duration::from_secs(1);
        let input = line(1, Ask::Exec { argv: vec!["netperf".into()], folder: None, within })
            + &line(2, Ask::Facts)
            + &line(3, Ask::LoadCount);
        let (_, replies) = said(input.as_bytes());
        let errors: Vec<_> = replies.into_iter().map(|reply| reply.said.unwrap_err()).collect();
        assert!(errors[0].contains("netperf") && errors[0].contains("not supported here"));
        assert!(errors[1].contains("facts"));
        assert!(errors[2].contains("no load is running"));
    }

    #[test]
    fn a_request_of_another_protocol_is_answered_by_its_number() {
        let (_, replies) = said(b"{\"id\":41,\"ask\":\"sing\"}\nrubbish\n");
        assert_eq!(replies.iter().map(|reply| reply.id).collect::<Vec<_>>(), [41, 0]);
        assert!(replies.iter().all(|reply| reply.said.is_err()));
    }

    proptest! {
        #[test]
        fn rubbish_is_answered_by_errors(input in prop::collection::vec(any::<u8>(), 0..300)) {
            let (_, replies) = said(&input);
            prop_assert!(replies.iter().all(|reply| reply.said.is_err()));
        }
    }
}
