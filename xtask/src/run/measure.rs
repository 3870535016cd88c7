//! Measuring inside a boot that has been built: evidence before, workloads, evidence after.

use std::time::Duration;

use anyhow::{Context as _, bail};
use evenkeel_agent::counters;
use evenkeel_agent::facts::config;
use evenkeel_agent::interpret::Slots;
use evenkeel_agent::machine::links::{self, Counters};
use evenkeel_agent::machine::real::Real;
use evenkeel_agent::noise::{Measured as Watched, NoiseRecorder};
use evenkeel_agent::samples::{Loss, Noise};
use evenkeel_agent::step::{Role, Slot};
use evenkeel_agent::threads;
use evenkeel_agent::wire::{Answer, Ask, LoadCounters};

use super::spec::BootSpec;
use super::{fault, programs};
use crate::axis::load::Recipe;
use crate::axis::tuning::Probe;
use crate::axis::virtualization::SUT;
use crate::axis::{Hop, load, peer, virtualization};
use crate::matrix::{Expect, RUNNING};
use crate::record::{Counted, Effect, Evidence, Measured, Unmeasured};
use crate::workload::{self, Crossed, Endpoints, Folders, Workload};

/// Deadline of a request that an agent answers at once; emulated guests under load take seconds.
const SOON: Duration = Duration::from_secs(30);

/// So many workloads of a boot may fail, each at its own deadline, before the rest is not tried.
const MOST_FAILED: usize = 3;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) workloads: Vec<Measured>,
    pub(super) failed: Vec<Unmeasured>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) noise: Option<Noise>,
    pub(super) counted: Option<Counted>,
    /// Facts of the guest that was measured, for guests.
    pub(super) guest: Option<std::collections::BTreeMap<String, String>>,
}

/// Measures everything that the boot asks for.
///
/// # Errors
/// An end that does not answer, a kernel that is not the expected one, packets that took another path, or the failure of every
/// workload; that of some is among what was gathered.
pub(super) fn measure(
    spec: &BootSpec,
    machine: &mut Real,
    slots: &Slots,
) -> anyhow::Result<Gathered> {
    let mut gathered =
        Gathered { evidence: programs::evidence(spec.programs.as_ref()), ..Gathered::default() };
    if let Some(guest) = &spec.path.guest {
        let ask = Ask::Configure {
            mac: guest.mac.clone(),
            addresses: vec![guest.address.clone()],
            gateway: guest.gateway,
        };
        machine.control(virtualization::NAME)?.ask(ask, SOON)?;
        let facts = facts_of_guest(machine)?;
        expected(spec, machine, &facts)?;
        if spec.cell.kernel != RUNNING {
            gathered.evidence.push(runs_kernel(spec, &facts));
        }
        gathered.guest = Some(facts);
    } else if spec.cell.kernel != RUNNING {
        // A container under a kernel that was asked for: the one of the lab, or of a host that boots it.
        let facts = evenkeel_agent::facts::facts();
        expected(spec, machine, &facts)?;
        gathered.evidence.push(runs_kernel(spec, &facts));
    }
    fault::before_servers(spec, machine)?;
    let (driven, unserved) = serve_all(spec, machine)?;
    gathered.failed = unserved;
    start_load(spec, machine)?;
    fault::beside(spec, machine)?;
    let knobs_before = probe_all(spec, machine, slots)?;
    let hops_before = count_all(&spec.hops)?;
    let load_before = load_counters(spec, machine)?;
    let fault_before = fault::count(spec, machine, slots)?;
    let counters = match spec.diagnoses {
        true => Some(counters::Recorder::start(pid_of_sut(slots), spec.measure.window)?),
        false => None,
    };
    let recorder = NoiseRecorder::start(&watched(spec, slots)?, spec.measure.window)?;
    let began = std::time::Instant::now();
    let mut crossed = Crossed::default();
    let run = run_workloads(spec, machine, &driven, &mut gathered, &mut crossed);
    let lasted = began.elapsed();
    let noise = recorder.stop()?;
    let counters = counters.map(counters::Recorder::stop).transpose()?;
    run?;
    if let ([], [first, ..]) = (&*gathered.workloads, &*gathered.failed) {
        bail!("{first}");
    }
    for measured in &mut gathered.workloads {
        noise.join(&mut measured.samples);
    }
    gathered.noise = Some(noise.total());
    gathered.counted = counters.map(|counters| joined(&counters, &gathered.workloads));
    let fault_after = fault::count(spec, machine, slots)?;
    let load_after = load_counters(spec, machine)?;
    // What the load moved moves the counters too, and must not pass for what was measured.
    crossed.bytes += load_after.arrived_bytes.saturating_sub(load_before.sent_bytes);
    gathered.evidence.extend(crossed_every_hop(&spec.hops, &hops_before, crossed)?);
    gathered.evidence.extend(load_moved(&spec.load, load_before, load_after, lasted)?);
    gathered.evidence.extend(fault::evidence(spec, [fault_before, fault_after], lasted));
    let knobs_after = probe_all(spec, machine, slots)?;
    for ((knob, before), after) in spec.knobs.iter().zip(knobs_before).zip(knobs_after) {
        gathered.evidence.push(Evidence::Knob {
            knob: knob.knob.clone(),
            requested: knob.requested.clone(),
            applied: knob.applied.clone(),
            seen: [before.join("; "), after.join("; ")],
            effect: knob.judge([&before, &after], machine.refused()),
        });
    }
    Ok(gathered)
}

/// What was counted in the windows of each workload.
fn joined(counters: &counters::Counters, workloads: &[Measured]) -> Counted {
    let of_workload = |Measured { samples, .. }: &Measured| {
        let windows = samples.windows.iter().map(|window| {
            let from = samples.began_monotonic_ns + window.start_ns;
            counters.between(from, from + window.length_ns)
        });
        windows.collect()
    };
    Counted {
        names: counters.names().to_vec(),
        windows: workloads.iter().map(of_workload).collect(),
    }
}

/// The process whose control group the system under test is in, as far as it has one.
fn pid_of_sut(slots: &Slots) -> Option<i32> {
    slots.get(&Slot::Pid(SUT))?.first()?.parse().ok()
}

/// A workload with what its client is asked to do.
type Driven<'a> = (&'a str, &'a dyn Workload, Ask);

/// Starts every server that the workloads and the load talk to, each once. They start before the load does: what it takes
/// to start a process beside a load is in no figure, and on some kernels it takes forever.
///
/// A server that does not start takes its workloads with it, and no others.
fn serve_all<'a>(
    spec: &'a BootSpec,
    machine: &mut Real,
) -> anyhow::Result<(Vec<Driven<'a>>, Vec<Unmeasured>)> {
    let ends = ends(spec);
    let commands = spec.programs.as_ref().map_or(&[][..], |of| &of.commands);
    let sut = machine.control(virtualization::NAME)?;
    let mut asked: Vec<(Ask, Result<(), String>)> = Vec::new();
    if spec.load == Recipe::Flow {
        let own = workload::own_server(&ends);
        sut.ask(own.clone(), SOON)?;
        asked.push((own, Ok(())));
    }
    let (mut driven, mut unserved) = (Vec::new(), Vec::new());
    for name in &spec.measure.workloads {
        let kind = workload::find(name, commands)
            .with_context(|| format!("there is no workload `{name}`"))?;
        let launch = kind.start(&ends, &spec.measure);
        let known = asked.iter().position(|(ask, _)| *ask == launch.serve);
        let at = known.unwrap_or_else(|| {
            let served = sut.ask(launch.serve.clone(), SOON);
            asked.push((launch.serve, served.map(drop).map_err(|error| format!("{error:#}"))));
            asked.len() - 1
        });
        match &asked[at].1 {
            Ok(()) => driven.push((name.as_str(), kind, launch.drive)),
            Err(reason) => {
                unserved.push(Unmeasured { workload: name.clone(), reason: reason.clone() });
            }
        }
    }
    Ok((driven, unserved))
}

fn run_workloads(
    spec: &BootSpec,
    machine: &mut Real,
    driven: &[Driven<'_>],
    gathered: &mut Gathered,
    crossed: &mut Crossed,
) -> anyhow::Result<()> {
    let within = spec.measure.time() + workload::GRACE * 2;
    let peer = machine.control(peer::NAME)?;
    for (name, kind, drive) in driven {
        let workload = || (*name).to_owned();
        if gathered.failed.len() >= MOST_FAILED {
            let reason = format!("not tried: {MOST_FAILED} others of this boot had failed");
            gathered.failed.push(Unmeasured { workload: workload(), reason });
            continue;
        }
        let own = match drive {
            Ask::Exec { within, .. } => *within,
            _ => Duration::ZERO,
        };
        let samples = peer.ask(drive.clone(), within + own).and_then(|answer| kind.read(answer));
        let measured = match samples {
            Ok(samples) => Measured { workload: workload(), samples },
            Err(error) => {
                let reason = format!("{error:#}");
                gathered.failed.push(Unmeasured { workload: workload(), reason });
                continue;
            }
        };
        let more = kind.crossed(&measured.samples);
        crossed.packets += more.packets;
        crossed.bytes += more.bytes;
        if let Some(Loss { sent, lost }) = measured.samples.loss {
            gathered.evidence.push(Evidence::Loss {
                workload: measured.workload.clone(),
                sent,
                lost,
            });
        }
        gathered.workloads.push(measured);
    }
    Ok(())
}

/// Both ends of the path.
fn ends(spec: &BootSpec) -> Endpoints<'_> {
    let [sut, peer] = &spec.folders;
    Endpoints {
        target: spec.path.target,
        listen: spec.path.sut,
        family: spec.path.family,
        folders: Folders { sut, peer },
    }
}

/// Facts of the guest.
fn facts_of_guest(
    machine: &mut Real,
) -> anyhow::Result<std::collections::BTreeMap<String, String>> {
    match machine.control(virtualization::NAME)?.ask(Ask::Facts, SOON)? {
        Answer::Facts(facts) => Ok(facts),
        other => bail!("the guest answered {other:?} instead of its facts"),
    }
}

/// Evidence that the cell's kernel is the one below the container, or in the guest.
fn runs_kernel(spec: &BootSpec, facts: &std::collections::BTreeMap<String, String>) -> Evidence {
    let found = |name: &str| facts.get(name).map_or("unknown", String::as_str);
    let seen = format!("{}, preemption {}", found("kernel"), found("preemption"));
    let Expect { version, preempt, .. } = &spec.expect;
    let asked = [("version", version), ("preemption", preempt)].into_iter();
    let asked = asked.filter_map(|(name, value)| Some(format!(", {name} {}", value.as_ref()?)));
    Evidence::Knob {
        knob: "kernel".to_owned(),
        requested: format!("{}{}", spec.cell.kernel, asked.collect::<String>()),
        applied: "booted".to_owned(),
        seen: [seen.clone(), seen],
        effect: Effect::Effective,
    }
}

/// The kernel must be the expected one.
fn expected(
    spec: &BootSpec,
    machine: &mut Real,
    facts: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let found = |name: &str| facts.get(name).map_or("unknown", String::as_str);
    if let Some(version) = &spec.expect.version
        && !found("kernel").starts_with(version.as_str())
    {
        bail!(
            "kernel `{}` was expected to be {version}, but is {}",
            spec.cell.kernel,
            found("kernel")
        );
    }
    if let Some(preempt) = &spec.expect.preempt
        && found("preemption") != preempt
    {
        bail!(
            "kernel `{}` was expected to have preemption `{preempt}`, but has `{}`",
            spec.cell.kernel,
            found("preemption")
        );
    }
    expect_config(spec, machine, found("kernel"))
}

/// The options that the matrix expects, as the kernel shows them; where it does not, as the file of its package has them.
fn expect_config(spec: &BootSpec, machine: &mut Real, running: &str) -> anyhow::Result<()> {
    let expected = &spec.expect.config;
    if expected.is_empty() {
        return Ok(());
    }
    let options: Vec<String> = expected.keys().cloned().collect();
    let ask = Ask::Config { options: options.clone() };
    let (seen, by) = match machine.control(virtualization::NAME)?.ask(ask, SOON)? {
        Answer::Config(Some(seen)) => (seen, config::SHOWN_AT.to_owned()),
        Answer::Config(None) => {
            let file = spec.config.as_ref().filter(|file| file.version == running);
            let file = file.with_context(|| {
                format!(
                    "kernel `{}` was expected to have {}, but neither shows its configuration nor came with the file `config-{running}`",
                    spec.cell.kernel,
                    options.join(", ")
                )
            })?;
            let text = std::fs::read_to_string(&file.path)
                .with_context(|| format!("failed to read `{}`", file.path.display()))?;
            (config::options(&text, &options), format!("`{}` of its package", file.path.display()))
        }
        other => bail!("the guest answered {other:?} instead of its configuration"),
    };
    for (option, value) in expected {
        let found = seen.get(option).map_or("n", String::as_str);
        if found != value {
            bail!(
                "kernel `{}` was expected to have {option}={value}, but has {option}={found} by {by}",
                spec.cell.kernel
            );
        }
    }
    Ok(())
}

fn start_load(spec: &BootSpec, machine: &mut Real) -> anyhow::Result<()> {
    let ask = match &spec.load {
        Recipe::Nothing => return Ok(()),
        Recipe::Cpus(cpus) => Ask::LoadStart { cpus: cpus.clone() },
        Recipe::Flow => workload::flow(&ends(spec)),
    };
    machine.control(load::NAME)?.ask(ask, SOON)?;
    Ok(())
}

/// Counters of the load; all 0 where there is none.
fn load_counters(spec: &BootSpec, machine: &mut Real) -> anyhow::Result<LoadCounters> {
    if spec.load == Recipe::Nothing {
        return Ok(LoadCounters::default());
    }
    match machine.control(load::NAME)?.ask(Ask::LoadCount, SOON)? {
        Answer::Load(counters) => Ok(counters),
        other => bail!("the load answered {other:?} instead of its counters"),
    }
}

/// Proof that the load ran while we measured: every kind of worker moved.
fn load_moved(
    recipe: &Recipe,
    before: LoadCounters,
    after: LoadCounters,
    lasted: Duration,
) -> anyhow::Result<Vec<Evidence>> {
    let kinds = match recipe {
        Recipe::Nothing => Vec::new(),
        Recipe::Cpus(_) => vec![
            ("compute", before.compute, after.compute),
            ("timers", before.timers, after.timers),
            ("switches", before.switches, after.switches),
        ],
        Recipe::Flow => vec![("flow (bytes)", before.arrived_bytes, after.arrived_bytes)],
    };
    kinds
        .into_iter()
        .map(|(worker, before, after)| {
            if after <= before {
                bail!("the load stood still while measuring: {worker}");
            }
            let per_second = (after - before) as f64 / lasted.as_secs_f64();
            Ok(Evidence::Load { worker: worker.to_owned(), per_second })
        })
        .collect()
}

/// Whose involuntary switches are counted: processes of which threads come and go, and the threads of virtual CPUs.
fn watched(spec: &BootSpec, slots: &Slots) -> anyhow::Result<Vec<Watched>> {
    let mut all = Vec::new();
    for slot in &spec.watched {
        for id in slots.get(slot).into_iter().flatten() {
            let id = id.parse().with_context(|| format!("`{id}` is not a process id"))?;
            all.push(match slot {
                Slot::Pid(_) => Watched::Process(id),
                Slot::Threads(..) => Watched::Thread(id),
            });
        }
    }
    Ok(all)
}

/// One reading a probe, for every knob.
fn probe_all(
    spec: &BootSpec,
    machine: &mut Real,
    slots: &Slots,
) -> anyhow::Result<Vec<Vec<String>>> {
    let asks_guest =
        spec.knobs.iter().flat_map(|knob| &knob.probes).any(|(probe, _)| probe.is_of_guest());
    let guest = match asks_guest {
        true => facts_of_guest(machine)?,
        false => std::collections::BTreeMap::new(),
    };
    spec.knobs
        .iter()
        .map(|knob| knob.probes.iter().map(|(probe, _)| read(probe, slots, &guest)).collect())
        .collect()
}

/// What the kernel says of a process under a name (`/proc/PID/status`, proc(5)).
fn status(slot: &Slot, slots: &Slots, name: &str) -> anyhow::Result<String> {
    let text = of_process(slot, slots, "status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.unwrap_or_default().trim().to_owned())
}

/// A file of a process below `/proc`.
fn of_process(slot: &Slot, slots: &Slots, file: &str) -> anyhow::Result<String> {
    let pid = slots.get(slot).and_then(|ids| ids.first());
    let path = format!("/proc/{}/{file}", pid.with_context(|| format!("{slot} was never bound"))?);
    std::fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))
}

/// Kibibytes under a name of a process's status; 0 if it has none.
fn kib(slot: &Slot, slots: &Slots, name: &str) -> anyhow::Result<u64> {
    let text = status(slot, slots, name)?;
    Ok(text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// `yes` or `no` as a probe's words.
fn word(is: bool, yes: &str, no: &str) -> String {
    if is { yes } else { no }.to_owned()
}

/// Whether a word is on a kernel's command line.
fn has_word(line: &str, wanted: &str) -> String {
    word(has(line, wanted), "there", "missing")
}

fn has(line: &str, wanted: &str) -> bool {
    line.split_whitespace().any(|word| word == wanted)
}

/// What a probe reads now; for threads, the distinct values of all that are there now. A file that cannot be read has those words for a
/// value: the knob is not effective then, and the rest of the boot is not concerned.
fn read(
    probe: &Probe,
    slots: &Slots,
    guest: &std::collections::BTreeMap<String, String>,
) -> anyhow::Result<String> {
    let fact = |name: &str| guest.get(name).cloned().unwrap_or_default();
    let (slot, value): (_, fn(i32) -> anyhow::Result<String>) = match probe {
        Probe::File(path) => return Ok(or_why(evenkeel_agent::machine::value_of(path))),
        Probe::OwnFile { netns, path } => {
            return Ok(or_why(evenkeel_agent::machine::value_of_own(netns, path)));
        }
        Probe::Number(path) => return Ok(or_why(number_in(path))),
        Probe::Locked(slot) => {
            let [locked, resident] = [kib(slot, slots, "VmLck")?, kib(slot, slots, "VmRSS")?];
            return Ok(word(locked >= resident && locked > 0, "all", "not all"));
        }
        Probe::HugePages(slot) => {
            return Ok(word(kib(slot, slots, "HugetlbPages")? > 0, "some", "none"));
        }
        Probe::Resident(slot, mb) => {
            let has = kib(slot, slots, "VmRSS")? + kib(slot, slots, "HugetlbPages")?;
            return Ok(word(has >= u64::from(*mb) * 1024, "all", "not all"));
        }
        Probe::Mems(slot) => return status(slot, slots, "Mems_allowed_list"),
        Probe::HostWord(word) => {
            let line =
                std::fs::read_to_string("/proc/cmdline").context("failed to read /proc/cmdline")?;
            return Ok(has_word(&line, word));
        }
        Probe::GuestWord(asked) => {
            let is_unknown = has(&fact("command-line-unknown"), asked);
            let seen = has_word(&fact("command-line"), asked);
            return Ok(if is_unknown { "unknown to this kernel".to_owned() } else { seen });
        }
        Probe::GuestFact(name) => return Ok(fact(name)),
        Probe::Affinity(slot) => (slot, |thread| Ok(threads::list(&threads::affinity(thread)?))),
        Probe::Policy(slot) => (slot, |thread| Ok(threads::policy(thread)?.to_string())),
    };
    let mut seen = Vec::new();
    for thread in threads_now(slot, slots)? {
        match value(thread) {
            Ok(value) => seen.push(value),
            // Threads come and go; one that has ended since it was listed has no value.
            Err(_) if !std::path::Path::new(&format!("/proc/{thread}")).exists() => {}
            Err(error) => return Err(error),
        }
    }
    seen.sort();
    seen.dedup();
    Ok(seen.join(" "))
}

/// A value, or why there is none.
fn or_why(value: anyhow::Result<String>) -> String {
    value.unwrap_or_else(|error| format!("unreadable: {error:#}"))
}

/// The number that a file holds in four bytes.
fn number_in(path: &str) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("failed to read {path}"))?;
    let bytes: [u8; 4] =
        bytes.try_into().ok().with_context(|| format!("{path} does not hold four bytes"))?;
    Ok(i32::from_ne_bytes(bytes).to_string())
}

/// The threads of a slot that are there now. Servers start and end threads and, for tools, processes; QEMU starts and ends
/// workers: those that measure are among them, so the tree of the system under test is listed anew.
fn threads_now(slot: &Slot, slots: &Slots) -> anyhow::Result<Vec<i32>> {
    let bound = |slot: &Slot| -> anyhow::Result<Vec<i32>> {
        let ids = slots.get(slot).with_context(|| format!("{slot} was never bound"))?;
        let number = |id: &String| id.parse().with_context(|| format!("`{id}` is not an id"));
        ids.iter().map(number).collect()
    };
    let tree = || -> anyhow::Result<Vec<i32>> {
        let trees = bound(&Slot::Pid(SUT))?.into_iter().map(threads::of_tree);
        Ok(trees.collect::<anyhow::Result<Vec<_>>>()?.concat())
    };
    match slot {
        Slot::Threads(SUT, Role::Server) => tree(),
        Slot::Threads(SUT, Role::Emulator) => {
            let vcpus = bound(&Slot::Threads(SUT, Role::Vcpu))?;
            Ok(tree()?.into_iter().filter(|thread| !vcpus.contains(thread)).collect())
        }
        _ => bound(slot),
    }
}

fn count_all(hops: &[Hop]) -> anyhow::Result<Vec<Counters>> {
    hops.iter()
        .map(|hop| match hop {
            Hop::Link { netns, link, .. } => links::counters(netns, link),
            Hop::OtherPort { bridge, ours, .. } => {
                links::counters("", &links::other_port(bridge, ours)?)
            }
        })
        .collect()
}

/// Evidence that what was measured crossed every hop.
///
/// # Errors
/// A hop whose counters moved by less: the packets took another path, and the figures are not those of this cell.
fn crossed_every_hop(
    hops: &[Hop],
    before: &[Counters],
    crossed: Crossed,
) -> anyhow::Result<Vec<Evidence>> {
    let after = count_all(hops)?;
    let mut evidence = Vec::new();
    for ((hop, before), after) in hops.iter().zip(before).zip(&after) {
        let moved = |field: fn(&Counters) -> u64| field(after).saturating_sub(field(before));
        // Requests go one way and answers the other; bulk data goes one way.
        let packets = moved(|c| c.rx_packets).min(moved(|c| c.tx_packets));
        let bytes = moved(|c| c.rx_bytes).max(moved(|c| c.tx_bytes));
        if packets < crossed.packets || bytes < crossed.bytes {
            bail!(
                "packets took another path: {} counted {packets} packets and {bytes} bytes, but {} transactions and {} bytes were measured",
                hop.what(),
                crossed.packets,
                crossed.bytes
            );
        }
        evidence.push(Evidence::Hop {
            hop: hop.what().to_owned(),
            packets,
            bytes,
            needed_packets: crossed.packets,
            needed_bytes: crossed.bytes,
        });
    }
    Ok(evidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_take_another_path_are_no_evidence() {
        let hop =
            Hop::Link { what: "loopback".to_owned(), netns: String::new(), link: "lo".to_owned() };
        let hops = [hop];
        let before = count_all(&hops).unwrap();
        let crossed = Crossed { packets: u64::MAX, bytes: 1 };
        let error = crossed_every_hop(&hops, &before, crossed).unwrap_err().to_string();
        assert!(error.starts_with("packets took another path: loopback"), "{error}");
    }
}
