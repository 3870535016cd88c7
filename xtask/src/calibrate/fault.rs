//! Faults of known size, for a candidate's boots: what `calibrate` gives them to see whether it is found. A fault is data: the steps that make
//! it, what the agents are asked, what proves it. Nothing else than `calibrate` makes one, and a boot without one has nothing of this.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use evenkeel_agent::machine::cgroup::Throttled;
use evenkeel_agent::machine::queues::Queued;
use evenkeel_agent::step::{Act, Node, Phase, Query, Role, Setting, Slot, Step};
use evenkeel_agent::wire::{Ask, Delay, FaultCounters};
use serde::{Deserialize, Serialize};

use super::rate::percent;
use crate::axis::virtualization::{self, SUT};
use crate::axis::{INSIDE, Port, Powers, Site, common_port, load, network, steps};
use crate::matrix::duration::{parse, show};
use crate::matrix::{Cell, quoted, suggestion};
use crate::record::{Effect, Evidence};
use crate::verdict::Aspect;

/// The agent that burns CPU time.
pub const NAME: &str = "fault";

/// What its evidence is called.
pub const EVIDENCE: &str = "fault";

/// How long that agent may take to say hello.
const HELLO: Duration = Duration::from_secs(20);

/// Of the CPU time that a burner wanted, it must have got this much to be effective as asked.
const MOST_OF_IT: f64 = 0.8;

/// And this much to be effective at all.
const SOME_OF_IT: f64 = 0.1;

/// A fault of known size.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// Every reply is later.
    Location(Duration),
    /// Replies are later, each by another amount, about this median.
    Dispersion(Duration),
    /// One of so many replies is later.
    Tail(Duration, u32),
    /// The server stands still for the first time, once in every second.
    Stall(Duration, Duration),
    /// Replies are later, each with this chance in a hundred.
    Modes(Duration, u8),
    /// The CPUs of the system under test are wanted by others for this share of the time, percent.
    Contention(u8),
    /// The system under test may have this share of one CPU, percent.
    Quota(u8),
    /// What the peer sends gets this rate, kilobits a second.
    Rate(u32),
    /// What the peer sends is later, give or take.
    Netem(Duration, Duration),
}

/// What can be asked for: a name, how its size is written, and what it is.
pub const KINDS: [(&str, &str, &str); 9] = [
    ("location", "2us", "every reply is so much later"),
    ("dispersion", "300ns", "every reply is later by another amount, lognormal about this median"),
    ("tail", "50us/64", "every 64th reply is so much later"),
    ("stall", "50ms/1s", "the server stands still for so long, once in so much time"),
    ("modes", "20us/30%", "so many replies are so much later"),
    (
        "contention",
        "50%",
        "others want the CPUs of the system under test for this share of the time",
    ),
    ("quota", "20%", "a container may have this share of one CPU (cgroup)"),
    ("rate", "100mbit", "what the peer sends is held to a rate (tc tbf)"),
    ("netem", "20us~5us", "what the peer sends is later, give or take (tc netem)"),
];

/// Workloads whose requests our own server answers.
const ANSWERED: [&str; 4] = ["tcp-rr", "tcp-rr-paced", "tcp-crr", "udp-rr"];

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let (name, size) = text.split_once('=').unwrap_or((text, ""));
        let Some((_, example, _)) = KINDS.iter().find(|(known, ..)| *known == name) else {
            let known = KINDS.map(|(known, ..)| known);
            let near = suggestion(name, known).unwrap_or_default();
            return Err(format!("no fault {}; {near}", quoted(name)));
        };
        let fault = Fault::read(name, size);
        fault.ok_or_else(|| {
            format!("{} is no size of it; write it as: {name}={example}", quoted(size))
        })
    }
}

impl Fault {
    fn read(name: &str, size: &str) -> Option<Fault> {
        let time = |text: &str| parse(text).ok().filter(|time| !time.is_zero() && *time <= LONGEST);
        let share = |text: &str| {
            let number = text.strip_suffix('%')?.parse::<u8>().ok();
            number.filter(|number| (1..=100).contains(number))
        };
        let (first, second) = size.split_once(['/', '~']).unwrap_or((size, ""));
        let separator = size.get(first.len()..first.len() + 1).unwrap_or("");
        match (name, separator) {
            ("location", "") => Some(Fault::Location(time(first)?)),
            ("dispersion", "") => Some(Fault::Dispersion(time(first)?)),
            ("tail", "/") => {
                let nth = second.parse().ok().filter(|nth| (2..=1_000_000).contains(nth))?;
                Some(Fault::Tail(time(first)?, nth))
            }
            ("stall", "/") => {
                let (by, every) = (time(first)?, time(second)?);
                (by < every).then_some(Fault::Stall(by, every))
            }
            ("modes", "/") => {
                Some(Fault::Modes(time(first)?, share(second).filter(|share| *share < 100)?))
            }
            ("contention", "") => Some(Fault::Contention(share(first)?)),
            ("quota", "") => Some(Fault::Quota(share(first)?)),
            ("rate", "") => {
                let units = [("kbit", 1), ("mbit", 1_000), ("gbit", 1_000_000)];
                let (number, kilo) = units
                    .iter()
                    .find_map(|(unit, kilo)| Some((first.strip_suffix(unit)?, *kilo)))?;
                let rate = number.parse::<u32>().ok()?.checked_mul(kilo);
                rate.filter(|rate| *rate > 0).map(Fault::Rate)
            }
            ("netem", "") => Some(Fault::Netem(time(first)?, Duration::ZERO)),
            ("netem", "~") => {
                let (by, give) = (time(first)?, time(second)?);
                (give <= by).then_some(Fault::Netem(by, give))
            }
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Location(_) => "location",
            Fault::Dispersion(_) => "dispersion",
            Fault::Tail(..) => "tail",
            Fault::Stall(..) => "stall",
            Fault::Modes(..) => "modes",
            Fault::Contention(_) => "contention",
            Fault::Quota(_) => "quota",
            Fault::Rate(_) => "rate",
            Fault::Netem(..) => "netem",
        }
    }

    /// How its size is written.
    fn size(self) -> String {
        match self {
            Fault::Location(by) | Fault::Dispersion(by) => show(by),
            Fault::Tail(by, nth) => format!("{}/{nth}", show(by)),
            Fault::Stall(by, every) => format!("{}/{}", show(by), show(every)),
            Fault::Modes(by, chance) => format!("{}/{chance}%", show(by)),
            Fault::Contention(share) | Fault::Quota(share) => format!("{share}%"),
            Fault::Rate(kilobits) => match kilobits {
                _ if kilobits % 1_000_000 == 0 => format!("{}gbit", kilobits / 1_000_000),
                _ if kilobits % 1_000 == 0 => format!("{}mbit", kilobits / 1_000),
                _ => format!("{kilobits}kbit"),
            },
            Fault::Netem(by, Duration::ZERO) => show(by),
            Fault::Netem(by, give) => format!("{}~{}", show(by), show(give)),
        }
    }

    /// What it does, in words.
    pub fn about(self) -> String {
        match self {
            Fault::Location(by) => format!("every reply {} later", show(by)),
            Fault::Dispersion(by) => {
                format!("every reply later, lognormal about {}", show(by))
            }
            Fault::Tail(by, nth) => format!("one of {nth} replies {} later", show(by)),
            Fault::Stall(by, every) => format!("a reply {} later every {}", show(by), show(every)),
            Fault::Modes(by, chance) => format!("{chance} % of replies {} later", show(by)),
            Fault::Contention(share) => {
                format!(
                    "the CPUs of the system under test wanted by others for {share} % of the time"
                )
            }
            Fault::Quota(share) => format!("{share} % of one CPU for the container"),
            Fault::Rate(_) => format!("{} for what the peer sends", self.size()),
            Fault::Netem(by, give) => {
                format!("what the peer sends {} later, give or take {}", show(by), show(give))
            }
        }
    }

    /// The aspect that it is a fault of, where it is one of a single aspect.
    pub fn meant(self) -> Option<Aspect> {
        match self {
            Fault::Location(_) => Some(Aspect::Location),
            Fault::Dispersion(_) => Some(Aspect::Dispersion),
            Fault::Tail(..) => Some(Aspect::Tail),
            Fault::Stall(..) => Some(Aspect::Stall),
            Fault::Modes(..) => Some(Aspect::Modes),
            Fault::Contention(_) | Fault::Quota(_) | Fault::Rate(_) | Fault::Netem(..) => None,
        }
    }

    /// The law by which our own server's replies are late.
    pub fn delay(self) -> Option<Delay> {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match self {
            Fault::Location(by) => Some(Delay::Always { ns: ns(by) }),
            Fault::Dispersion(median) => Some(Delay::Spread { median_ns: ns(median) }),
            Fault::Tail(by, nth) => Some(Delay::Every { nth, ns: ns(by) }),
            Fault::Stall(by, every) => Some(Delay::Pause { every_ns: ns(every), ns: ns(by) }),
            Fault::Modes(by, percent) => Some(Delay::Share { percent, ns: ns(by) }),
            Fault::Contention(_) | Fault::Quota(_) | Fault::Rate(_) | Fault::Netem(..) => None,
        }
    }

    /// Why workloads like these would not meet it.
    pub fn misses(self, workloads: &[String]) -> Option<String> {
        let answered = workloads.iter().any(|workload| ANSWERED.contains(&workload.as_str()));
        (self.delay().is_some() && !answered).then(|| {
            format!(
                "it delays replies, and none of the matrix's workloads has any: {}",
                ANSWERED.join(", ")
            )
        })
    }

    /// Why a cell cannot have it.
    pub fn unfit(self, cell: &Cell) -> Option<String> {
        let system = virtualization::find(&cell.virtualization)?;
        let is_container = system.has_own_root() && !system.is_guest();
        if matches!(self, Fault::Quota(_)) && !is_container {
            return Some(format!("{} is in no control group of its own", cell.virtualization));
        }
        let path = network::find(&cell.network)?;
        let shared = common_port(system, path) == Some(Port::Shared);
        (self.queue().is_some() && shared)
            .then(|| format!("the peer has no link of its own: {} is shared", cell.network))
    }

    /// The queue that the peer's link gets: its kind, and the words for it.
    pub fn queue(self) -> Option<(&'static str, String)> {
        match self {
            // As much at once as a driver hands over in one piece.
            Fault::Rate(kilobits) => {
                Some(("tbf", format!("tbf rate {kilobits}kbit burst 128kb latency 50ms")))
            }
            Fault::Netem(by, give) => {
                let us = |time: Duration| format!("{:.3}us", time.as_secs_f64() * 1e6);
                let give = if give.is_zero() { String::new() } else { format!(" {}", us(give)) };
                Some(("netem", format!("netem limit 100000 delay {}{give}", us(by))))
            }
            _ => None,
        }
    }

    /// What it does to a boot's machine.
    pub fn steps(self, site: &Site) -> Vec<Step> {
        if let Some((_, words)) = self.queue() {
            let (netns, link) = (site.names.peer_netns(), INSIDE);
            let on = Setting::Queue { netns: netns.into(), link: link.into() };
            return steps(Phase::Place, [Act::Put { on, value: words.into() }]);
        }
        match self {
            Fault::Contention(_) => {
                let agent = site.artifacts.agent.to_string_lossy();
                let start = Act::Start {
                    name: NAME.to_owned(),
                    argv: vec![agent.as_ref().into(), "agent".into()],
                    gives: Slot::Pid(Node::Fault),
                    leaves: Vec::new(),
                };
                let mut all = steps(Phase::Prepare, [load::no_autogroups()]);
                all.extend(steps(Phase::Hold, [start]));
                let hello = Act::Await { query: Query::Hello(NAME.into()), within: HELLO };
                all.extend(steps(Phase::Go, [hello]));
                all
            }
            Fault::Quota(share) => {
                let on = Setting::CpuQuota(Slot::Pid(SUT).into());
                let value = (u32::from(share) * 1000).to_string();
                steps(Phase::Place, [Act::Put { on, value: value.into() }])
            }
            _ => Vec::new(),
        }
    }

    /// What its evidence is by what was counted while measuring, which took so long.
    pub fn evidence(self, counted: [Counted; 2], cpus: usize, lasted: Duration) -> Evidence {
        let [before, after] = counted;
        let not = |reason: &str| Effect::NotEffective { reason: reason.to_owned() };
        let seen = [before, after].map(|counted| counted.told(self));
        let effect = match self {
            Fault::Contention(share) => {
                let burned = after.agent.burned_ns.saturating_sub(before.agent.burned_ns) as f64;
                let wanted = f64::from(share) / 100.0;
                let got = burned / 1e9 / (lasted.as_secs_f64() * cpus.max(1) as f64);
                let told = format!("{} of each CPU were got", percent(got));
                match got {
                    _ if got >= MOST_OF_IT * wanted => Effect::Effective,
                    _ if got >= SOME_OF_IT * wanted => Effect::Partial { reason: told },
                    _ => Effect::NotEffective { reason: told },
                }
            }
            Fault::Quota(_) if after.throttled.periods > before.throttled.periods => {
                Effect::Effective
            }
            Fault::Quota(_) => not("the container never used up its share"),
            Fault::Rate(_) if after.queued.overlimits > before.queued.overlimits => {
                Effect::Effective
            }
            Fault::Rate(_) => not("no packet had to wait for the rate"),
            Fault::Netem(..) if after.queued.packets > before.queued.packets => Effect::Effective,
            Fault::Netem(..) => not("no packet came by"),
            _ if after.agent.delayed > before.agent.delayed => Effect::Effective,
            _ => not("no reply was late"),
        };
        Evidence::Knob {
            knob: EVIDENCE.to_owned(),
            requested: self.to_string(),
            applied: self.about(),
            seen,
            effect,
        }
    }
}

/// No delay is longer: a boot has deadlines.
const LONGEST: Duration = Duration::from_secs(5);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name(), self.size())
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Fault, String> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> String {
        fault.to_string()
    }
}

/// What counts a fault's doings, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By an agent.
    pub agent: FaultCounters,
    /// By the container's quota.
    pub throttled: Throttled,
    /// By the queue of the peer's link.
    pub queued: Queued,
}

impl Counted {
    fn told(self, fault: Fault) -> String {
        let Counted { agent, throttled, queued } = self;
        let ms = |ns: u64| format!("{:.1} ms", ns as f64 / 1e6);
        match fault {
            Fault::Contention(_) => format!("{} burned", ms(agent.burned_ns)),
            Fault::Quota(_) => {
                format!("held for {} in {} periods", ms(throttled.ns), throttled.periods)
            }
            Fault::Rate(_) | Fault::Netem(..) => format!(
                "{} packets, waited {} times, {} dropped",
                queued.packets, queued.overlimits, queued.drops
            ),
            _ => format!(
                "{} of {} replies late by {}",
                agent.delayed,
                agent.replies,
                ms(agent.delayed_ns)
            ),
        }
    }
}

/// A fault in a boot.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Planted {
    /// Which.
    pub fault: Fault,
    /// The CPUs that the system under test may use.
    pub cpus: Vec<usize>,
}

impl Planted {
    /// A fault at a site.
    pub fn at(fault: Fault, site: &Site) -> Planted {
        let system = virtualization::find(&site.cell.virtualization);
        let role = match system.is_some_and(|system| system.is_guest()) {
            true => Role::Vcpu,
            false => Role::Server,
        };
        let cpus = site.profile.cpus_of(site, role).unwrap_or_else(|| site.cpus.clone());
        Planted { fault, cpus }
    }

    /// What its own agent is asked, once everything else runs.
    pub fn own_ask(&self) -> Option<Ask> {
        match self.fault {
            Fault::Contention(percent) => Some(Ask::Burn { cpus: self.cpus.clone(), percent }),
            _ => None,
        }
    }
}

/// A fault in some cells of a run: in the boots of their candidate.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// Which.
    pub fault: Fault,
    /// The ids of these cells.
    pub cells: Vec<String>,
}

impl Injection {
    /// Whether a cell has it.
    pub fn is_in(&self, cell: &Cell) -> bool {
        let id = cell.id();
        self.cells.contains(&id)
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) in ", self.fault, self.fault.about())?;
        match &self.cells[..] {
            [only] => f.write_str(only),
            several => write!(f, "{} cells", several.len()),
        }
    }
}

/// Why a host cannot have a fault, with its remedy where there is one. Asks the host.
pub fn missing(fault: Fault, powers: Powers) -> Option<String> {
    if powers != Powers::Root && matches!(fault, Fault::Quota(_)) {
        return Some("only root may set a quota".to_owned());
    }
    let (kind, words) = fault.queue()?;
    let why = evenkeel_agent::machine::queues::missing(&words)?;
    Some(format!("this host has no {kind}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        text.parse::<Fault>().unwrap_err()
    }

    #[test]
    fn every_kind_reads_its_example_and_prints_it_back() {
        for (name, example, about) in KINDS {
            let text = format!("{name}={example}");
            let fault: Fault = text.parse().unwrap();
            assert_eq!((fault.to_string(), fault.name()), (text, name));
            assert!(!about.is_empty() && !fault.about().is_empty());
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault);
        }
        for text in ["netem=20us", "rate=1500kbit", "rate=2gbit"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_fault_is_told_with_what_would_be() {
        assert_eq!(
            wrong("tial=1us/4"),
            "no fault `tial`; did you mean `tail`? known: location, dispersion, tail, stall, modes, contention, quota, rate, netem"
        );
        assert_eq!(wrong("tail=1us"), "`1us` is no size of it; write it as: tail=50us/64");
        for text in [
            "tail",
            "tail=",
            "tail=0us/64",
            "tail=1us/1",
            "tail=1us~64",
            "tail=1us/64/2",
            "stall=2s/1s",
            "stall=50ms",
            "modes=1us/100%",
            "modes=1us/30",
            "contention=0%",
            "contention=101%",
            "contention=50",
            "quota=-1%",
            "rate=0mbit",
            "rate=5000gbit",
            "rate=10",
            "netem=5us~6us",
            "location=6s",
            "location=2us/3",
            "dispersion=é/",
        ] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }

    fn effect(text: &str, after: Counted) -> Effect {
        let fault: Fault = text.parse().unwrap();
        match fault.evidence([Counted::default(), after], 2, Duration::from_secs(1)) {
            Evidence::Knob { knob, requested, effect, .. } => {
                assert_eq!((knob.as_str(), requested.as_str()), (EVIDENCE, text));
                effect
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_its_counters_show_is_effective() {
        let none = Counted::default();
        for (name, example, _) in KINDS {
            let text = format!("{name}={example}");
            assert!(matches!(effect(&text, none), Effect::NotEffective { .. }), "{text}");
        }
        let delayed = FaultCounters { replies: 9, delayed: 1, delayed_ns: 5, burned_ns: 0 };
        assert_eq!(effect("tail=50us/64", Counted { agent: delayed, ..none }), Effect::Effective);
        let burned = |ms: u64| Counted {
            agent: FaultCounters { burned_ns: ms * 1_000_000, ..FaultCounters::default() },
            ..none
        };
        // Of a second of two CPUs, half is wanted.
        assert!(matches!(effect("contention=50%", burned(99)), Effect::NotEffective { .. }));
        assert_eq!(effect("contention=50%", burned(900)), Effect::Effective);
        let reason = "30 % of each CPU were got".to_owned();
        assert_eq!(effect("contention=50%", burned(600)), Effect::Partial { reason });
        let throttled = Throttled { periods: 1, ns: 5 };
        assert_eq!(effect("quota=20%", Counted { throttled, ..none }), Effect::Effective);
        let queued = Queued { packets: 5, overlimits: 0, drops: 0 };
        assert_eq!(effect("netem=20us~5us", Counted { queued, ..none }), Effect::Effective);
        assert!(matches!(
            effect("rate=100mbit", Counted { queued, ..none }),
            Effect::NotEffective { .. }
        ));
    }

    #[test]
    fn faults_say_where_they_do_not_fit() {
        let cell = |kind| Cell::of(["running", kind, "bridge", "stock", "idle", "running"]);
        let quota: Fault = "quota=20%".parse().unwrap();
        assert_eq!(quota.unfit(&cell("docker")), None);
        let floor = Cell::of(["running", "host", "loopback", "stock", "idle", "running"]);
        let rate: Fault = "rate=100mbit".parse().unwrap();
        let why = rate.unfit(&floor).unwrap();
        assert_eq!(why, "the peer has no link of its own: loopback is shared");
        assert_eq!(rate.unfit(&cell("netns")), None);
        for kind in ["netns", "qemu"] {
            let why = format!("{kind} is in no control group of its own");
            assert_eq!(quota.unfit(&cell(kind)), Some(why));
        }
        let tail: Fault = "tail=50us/64".parse().unwrap();
        assert_eq!(tail.unfit(&cell("netns")), None);
        assert_eq!(tail.misses(&["tcp-stream".into(), "udp-rr".into()]), None);
        assert!(tail.misses(&["tcp-stream".into()]).is_some());
        assert_eq!(quota.misses(&["tcp-stream".into()]), None);
    }
}
