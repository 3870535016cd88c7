//! Control of an agent: one JSON object a line, over its standard input and output
//! (namespace, container) or a virtio-serial port (guest). Requests are numbered, answers carry the number.
//! Measured traffic never takes this way.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::samples::Samples;

/// Changes with every incompatible change of these types; both sides must agree.
pub const PROTOCOL: u32 = 1;

/// The first line of an agent.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Hello {
    /// [`PROTOCOL`] of the agent.
    pub protocol: u32,
    /// Its process id in its own namespace.
    pub pid: u32,
    /// The kernel it runs on (`uname -r`).
    pub kernel: String,
    /// The kernel's version line (`uname -v`), which names the preemption model.
    pub version: String,
}

/// A numbered request.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Request {
    /// Repeated by the answer.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
}

/// A numbered answer.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Reply {
    /// The request's number.
    pub id: u64,
    /// The answer, or why there is none.
    pub said: Result<Answer, String>,
}

/// What can be asked of an agent.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Give a link its addresses and bring it up (guests, which have no `ip`). Answer: `Done`.
    Configure {
        /// Hardware address by which the link is found.
        mac: String,
        /// Addresses with prefix length (`198.18.0.2/24`).
        addresses: Vec<String>,
        /// Default gateway, where the path needs one.
        gateway: Option<IpAddr>,
    },
    /// Listen for measuring connections. Answer: `Listening`, once connections are accepted.
    Serve {
        /// Address to listen on; port 0 lets the kernel choose.
        address: IpAddr,
        /// Port.
        port: u16,
    },
    /// Measure as a client. Answer: `Measured`.
    Drive(Job),
    /// Run a program to its end. Answer: `Ran`. Killed with all its children at the deadline.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// The folder that it runs in, where that matters to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        /// Deadline.
        within: Duration,
    },
    /// Start a program that serves and leave it running until the agent ends; answers `Done` once something listens on TCP `port`, or is
    /// bound to it over UDP.
    Daemon {
        /// Program and arguments.
        argv: Vec<String>,
        /// The folder that it runs in, where that matters to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        /// Port that shows readiness.
        port: u16,
        /// Deadline for readiness.
        within: Duration,
    },
    /// Start the noisy load, one fixed set of workers for each of these CPUs. Answer: `Load` once every worker has moved.
    LoadStart {
        /// CPUs to load.
        cpus: Vec<usize>,
    },
    /// Start a bulk flow to a server of the engine, as load. Answer: `Load` once something has arrived.
    FlowStart {
        /// Server address.
        address: IpAddr,
        /// Server port.
        port: u16,
        /// Deadline for the first bytes to arrive.
        within: Duration,
    },
    /// Counters of the load so far. Answer: `Load`.
    LoadCount,
    /// Give the replies of servers that are started from now on late. Answer: `Done`.
    Delay(Delay),
    /// Start a burner of CPU time. Answer: `Fault`.
    Burn {
        /// CPUs to burn.
        cpus: Vec<usize>,
        /// Share of the time that each is wanted for.
        percent: u8,
    },
    /// Counters of what was asked by `Delay` and `Burn` so far. Answer: `Fault`.
    FaultCount,
    /// Facts of the node. Answer: `Facts`.
    Facts,
    /// Options of the kernel's configuration, as the kernel itself shows it. Answer: `Config`.
    Config {
        /// Names (`CONFIG_HZ`).
        options: Vec<String>,
    },
    /// End: a guest powers off cleanly, others exit. Answer: `Done`, before it happens.
    Quit,
}

/// What an agent answers.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The server accepts connections here.
    Listening {
        /// The port in use.
        port: u16,
    },
    /// What the client measured.
    Measured(Box<Samples>),
    /// A program ended.
    Ran(Ran),
    /// Counters of the load.
    Load(LoadCounters),
    /// Counters of faults.
    Fault(FaultCounters),
    /// Options by name, `n` for one that is not set; nothing from a kernel that does not show its configuration.
    Config(Option<std::collections::BTreeMap<String, String>>),
    /// Facts of the node, by name.
    Facts(std::collections::BTreeMap<String, String>),
}

/// The most of a program's standard output that an agent passes on, bytes.
pub const MOST_OUTPUT: usize = 1 << 20;

/// How a program ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Ran {
    /// Exit code; absent if it was killed.
    pub code: Option<i32>,
    /// Whether the deadline killed it.
    pub timed_out: bool,
    /// Standard output, at most [`MOST_OUTPUT`].
    pub stdout: String,
    /// Standard error, at most 64 KiB.
    pub stderr: String,
}

/// How often the workers of a load have moved, summed over CPUs; what its flow has moved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LoadCounters {
    /// Rounds of the compute workers.
    pub compute: u64,
    /// Expiries of the timer workers.
    pub timers: u64,
    /// Round trips of the context-switch pairs.
    pub switches: u64,
    /// Bytes that the flow's kernel has taken.
    #[serde(default)]
    pub sent_bytes: u64,
    /// Bytes of them that the other end has acknowledged, at least.
    #[serde(default)]
    pub arrived_bytes: u64,
}

/// By which law replies are late.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Delay {
    /// Each by as much.
    Always {
        /// How much.
        ns: u64,
    },
    /// One of so many.
    Every {
        /// Which: the first is 1.
        nth: u32,
        /// How much.
        ns: u64,
    },
    /// Each with a chance.
    Share {
        /// The chance.
        percent: u8,
        /// How much.
        ns: u64,
    },
    /// The first after a time, again and again.
    Pause {
        /// The time between two.
        every_ns: u64,
        /// How much.
        ns: u64,
    },
    /// Each by another amount: lognormal, with a standard deviation of the logarithm of 1.
    Spread {
        /// The median amount.
        median_ns: u64,
    },
}

/// What faults have done so far.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FaultCounters {
    /// Replies that were given.
    pub replies: u64,
    /// Those of them that were given late.
    pub delayed: u64,
    /// By how much, all together.
    pub delayed_ns: u64,
    /// CPU time that was burned, all CPUs together.
    pub burned_ns: u64,
}

/// A measurement by the built-in client.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Job {
    /// Server address.
    pub address: IpAddr,
    /// Server port.
    pub port: u16,
    /// What to do.
    pub shape: Shape,
    /// Time before anything is counted.
    pub warmup: Duration,
    /// Length of a window.
    pub window: Duration,
    /// How many windows.
    pub windows: u32,
    /// Deadline for connecting and for the whole, beyond warm-up and windows.
    pub grace: Duration,
}

/// The traffic of a job.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Request, answer, next request, as fast as answers come.
    TcpRr {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
    },
    /// Connect, request, answer, the server's end, next connection, as fast as answers come.
    TcpCrr {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
        /// Where the server listens for these connections; 0 lets its kernel choose.
        port: u16,
    },
    /// Requests at fixed intended times, whatever the answers do; latency counts from the intended time.
    TcpRrPaced {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
        /// Requests a second.
        rate: u32,
    },
    /// Bulk transfer from client to server, counted by the receiver.
    TcpStream,
    /// Request, answer, next request, in datagrams. A request that gets no answer in time is lost, and the next one is sent.
    UdpRr {
        /// Bytes of a request.
        request: u32,
        /// Bytes of an answer.
        response: u32,
    },
    /// Datagrams from client to server as fast as the client's kernel takes them, counted by the receiver.
    UdpStream {
        /// Bytes of a datagram, headers not counted.
        datagram: u32,
        /// Whether it may be larger than what a link carries in one piece.
        fragments: bool,
    },
    /// Echo, answer, next echo (ICMP). The server's kernel answers, not its process; the port is not used.
    Icmp {
        /// Bytes of an echo, headers not counted.
        payload: u32,
    },
}
