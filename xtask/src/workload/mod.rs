//! Workloads: how each is started at both ends, and how to read what it says.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::bail;
use evenkeel_agent::samples::{Moments, Samples, Unit};
use evenkeel_agent::wire::{Answer, Ask, Job, Shape};

use crate::axis::network::{PORTS, Traffic};
use crate::doctor::NeedName;
use crate::matrix::{self, COMMAND, Family, Measure};

pub mod command;
mod iperf3;
mod netperf;
mod ping;

/// Both ends of a path, as the agents there see them.
#[derive(Clone, Copy, Debug)]
pub struct Endpoints<'a> {
    /// Address that the client connects to.
    pub target: IpAddr,
    /// Address that the server listens on.
    pub listen: IpAddr,
    /// IP version.
    pub family: Family,
    /// Where the user's programs lie.
    pub folders: Folders<'a>,
}

/// Where the user's programs lie at both ends; empty where a boot has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Folders<'a> {
    /// In the system under test.
    pub sut: &'a str,
    /// At the peer.
    pub peer: &'a str,
}

/// What to ask of both ends.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Of the system under test, first.
    pub serve: Ask,
    /// Of the peer.
    pub drive: Ask,
}

/// The least that counters of a path must have moved by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossed {
    /// Packets each way: transactions of which every one is a packet of its own.
    pub packets: u64,
    /// Bytes one way.
    pub bytes: u64,
}

/// A workload.
pub trait Workload: Sync {
    /// Its name in a matrix.
    fn name(&self) -> &str;

    /// What it measures, in a sentence.
    fn about(&self) -> &str;

    /// What a host must have for it.
    fn needs(&self) -> &'static [NeedName];

    /// The host's programs that the system under test runs; they are brought into containers and guests. Those of the user's bring theirs
    /// themselves.
    fn programs(&self) -> &'static [&'static str];

    /// What it sends.
    fn traffic(&self) -> Traffic {
        Traffic::Ports
    }

    /// How it is started.
    fn start(&self, ends: &Endpoints<'_>, measure: &Measure) -> Launch;

    /// The least that must have crossed every hop of the path for these samples.
    fn crossed(&self, samples: &Samples) -> Crossed;

    /// Reads what the client said.
    ///
    /// # Errors
    /// It is no measurement: quotes it.
    fn read(&self, answer: Answer) -> anyhow::Result<Samples>;
}

/// All workloads but those of the user's.
pub const ALL: &[&dyn Workload] = &[
    &BuiltIn::Rr,
    &BuiltIn::RrPaced,
    &BuiltIn::Crr,
    &BuiltIn::Stream,
    &BuiltIn::UdpRr,
    &BuiltIn::UdpStream,
    &BuiltIn::Icmp,
    &netperf::Netperf::Rr,
    &netperf::Netperf::Crr,
    &netperf::Netperf::Stream,
    &netperf::Netperf::UdpRr,
    &netperf::Netperf::UdpStream,
    &iperf3::Iperf3,
    &ping::Ping,
];

/// The workload of this name, which may be one of the user's.
pub fn find<'a>(name: &str, commands: &'a [matrix::Command]) -> Option<&'a dyn Workload> {
    let own = commands.iter().map(|command| command as &dyn Workload);
    ALL.iter().copied().chain(own).find(|workload| workload.name() == name)
}

/// Whether a workload may have this name, in whatever matrix.
pub fn may_be(name: &str) -> bool {
    find(name, &[]).is_some() || name.strip_prefix(COMMAND).is_some_and(|rest| !rest.is_empty())
}

/// Time allowed beyond warm-up and windows: connecting under load, and an emulated guest's slowness.
pub const GRACE: Duration = Duration::from_secs(20);

/// The port of our own server.
const OWN_PORT: u16 = *PORTS.start();

/// The port of our own server for connections of one transaction each.
const CALLS_PORT: u16 = *PORTS.start() + 4;

/// The workloads of the agent itself.
#[derive(Clone, Copy, Debug)]
enum BuiltIn {
    Rr,
    RrPaced,
    Crr,
    Stream,
    UdpRr,
    UdpStream,
    Icmp,
}

impl Workload for BuiltIn {
    fn name(&self) -> &str {
        match self {
            BuiltIn::Rr => "tcp-rr",
            BuiltIn::RrPaced => "tcp-rr-paced",
            BuiltIn::Crr => "tcp-crr",
            BuiltIn::Stream => "tcp-stream",
            BuiltIn::UdpRr => "udp-rr",
            BuiltIn::UdpStream => "udp-stream",
            BuiltIn::Icmp => "icmp",
        }
    }

    fn about(&self) -> &str {
        match self {
            BuiltIn::Rr => "latency of one-byte transactions over TCP, one at a time (closed loop)",
            BuiltIn::RrPaced => {
                "latency of one-byte transactions sent at fixed times, counted from the intended time (open loop)"
            }
            BuiltIn::Crr => {
                "latency of TCP connections of one one-byte transaction each, made and ended one at a time (closed loop)"
            }
            BuiltIn::Stream => "bandwidth of one TCP connection, counted by the receiver",
            BuiltIn::UdpRr => {
                "latency of one-byte transactions over UDP, one at a time; a lost datagram is counted as lost and is no latency"
            }
            BuiltIn::UdpStream => {
                "bandwidth of one flow of datagrams that fit the MTU (1472 bytes over IPv4), counted by the receiver, and what was lost"
            }
            BuiltIn::Icmp => {
                "latency of ICMP echoes, one at a time; a kernel answers them: a container's is the host's, wherever the container is pinned"
            }
        }
    }

    fn needs(&self) -> &'static [NeedName] {
        &[]
    }

    fn programs(&self) -> &'static [&'static str] {
        &[]
    }

    fn traffic(&self) -> Traffic {
        match self {
            BuiltIn::Icmp => Traffic::Echoes,
            _ => Traffic::Ports,
        }
    }

    fn start(&self, ends: &Endpoints<'_>, measure: &Measure) -> Launch {
        let shape = match self {
            BuiltIn::Rr => Shape::TcpRr { request: 1, response: 1 },
            BuiltIn::RrPaced => Shape::TcpRrPaced { request: 1, response: 1, rate: measure.rate },
            BuiltIn::Crr => Shape::TcpCrr { request: 1, response: 1, port: CALLS_PORT },
            BuiltIn::Stream => Shape::TcpStream,
            BuiltIn::UdpRr => Shape::UdpRr { request: 1, response: 1 },
            BuiltIn::UdpStream => {
                Shape::UdpStream { datagram: datagram(ends.family), fragments: false }
            }
            BuiltIn::Icmp => Shape::Icmp { payload: ECHO },
        };
        Launch {
            serve: own_server(ends),
            drive: Ask::Drive(Job {
                address: ends.target,
                port: OWN_PORT,
                shape,
                warmup: measure.warmup,
                window: measure.window,
                windows: measure.windows,
                grace: GRACE,
            }),
        }
    }

    fn crossed(&self, samples: &Samples) -> Crossed {
        let packets = match self {
            BuiltIn::Rr | BuiltIn::UdpRr | BuiltIn::Icmp => samples.crossed_operations,
            // Each way one that opens the connection and one that carries the byte, at least.
            BuiltIn::Crr => 2 * samples.crossed_operations,
            // Requests that are late together may share a packet; bulk data is not counted in packets.
            BuiltIn::RrPaced | BuiltIn::Stream | BuiltIn::UdpStream => 0,
        };
        Crossed { packets, bytes: samples.crossed_bytes }
    }

    fn read(&self, answer: Answer) -> anyhow::Result<Samples> {
        match answer {
            Answer::Measured(samples) => Ok(*samples),
            other => bail!("the client answered {other:?} instead of a measurement"),
        }
    }
}

/// What starts our own server.
pub fn own_server(ends: &Endpoints<'_>) -> Ask {
    Ask::Serve { address: ends.listen, port: OWN_PORT }
}

/// What starts a flow to our own server, as load.
pub fn flow(ends: &Endpoints<'_>) -> Ask {
    Ask::FlowStart { address: ends.target, port: OWN_PORT, within: GRACE }
}

/// Bytes of a datagram that fits a link of 1500 bytes: the thesis's 1472 over IPv4, whose header is 20 bytes; that of IPv6 is 40.
fn datagram(family: Family) -> u32 {
    match family {
        Family::Ipv4 => 1472,
        Family::Ipv6 => 1452,
    }
}

/// Bytes of an echo, as ping sends by default.
const ECHO: u32 = 56;

/// The flag by which netperf and iperf3 choose an IP version.
fn family_flag(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "-4",
        Family::Ipv6 => "-6",
    }
}

/// A command line of a tool.
fn line(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

/// Whole seconds that a tool measures for: as long as our own windows, at least one.
fn seconds(measure: &Measure) -> u64 {
    (measure.window * measure.windows).as_secs_f64().round().max(1.0) as u64
}

/// What a tool printed, if it ended well.
///
/// # Errors
/// It did not; quotes its words.
fn printed(tool: &str, answer: Answer) -> anyhow::Result<String> {
    let ran = match answer {
        Answer::Ran(ran) => ran,
        other => bail!("the client answered {other:?} instead of {tool}'s output"),
    };
    match ran.code {
        _ if ran.timed_out => bail!("{tool} did not end in time"),
        Some(0) => Ok(ran.stdout),
        Some(code) => {
            bail!("{tool} failed with code {code}: {} {}", words(&ran.stderr), words(&ran.stdout))
        }
        None => bail!("{tool} was killed: {}", words(&ran.stderr)),
    }
}

/// Samples of a tool that tells one figure a run.
fn single(unit: Unit, value: f64, seconds: f64, raw: String) -> Samples {
    Samples {
        unit,
        moments: Moments { count: 1, mean: value, m2: 0.0 },
        histogram: None,
        min: value,
        max: value,
        values: vec![value],
        windows: Vec::new(),
        began_monotonic_ns: 0,
        measured_ns: (seconds * 1e9) as u64,
        crossed_operations: match unit {
            Unit::TransactionsPerSecond => (value * seconds) as u64,
            Unit::Nanoseconds | Unit::BytesPerSecond => 0,
        },
        crossed_bytes: match unit {
            Unit::BytesPerSecond => (value * seconds) as u64,
            Unit::Nanoseconds | Unit::TransactionsPerSecond => 0,
        },
        closed_view: None,
        loss: None,
        raw: Some(raw.chars().take(4000).collect()),
    }
}

/// A finite number above zero, as a rate must be, out of what a tool said.
fn rate(tool: &str, name: &str, value: Option<f64>, said: &str) -> anyhow::Result<f64> {
    match value {
        Some(value) if value.is_finite() && value > 0.0 => Ok(value),
        Some(value) => bail!("{tool} reported {name} {value}, which is no rate"),
        None => bail!("{tool} did not report {name}, but said: {}", words(said)),
    }
}

/// A whole number, as a count must be, out of what a tool said.
fn count(tool: &str, name: &str, value: Option<f64>, said: &str) -> anyhow::Result<u64> {
    match value {
        // Beyond that a double does not hold every whole number.
        Some(value) if value >= 0.0 && value <= 2_f64.powi(53) && value.fract() == 0.0 => {
            Ok(value as u64)
        }
        Some(value) => bail!("{tool} reported {name} {value}, which is no count"),
        None => bail!("{tool} did not report {name}, but said: {}", words(said)),
    }
}

/// The beginning of what a tool printed, for a message.
fn words(said: &str) -> String {
    said.trim().chars().take(400).collect()
}
