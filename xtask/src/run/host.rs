//! The host as a run sees it: what it can do, and so which cells can be measured here and why not the rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use evenkeel_agent::machine::cgroup::Hierarchies;
use evenkeel_agent::{facts, threads};

use super::rootless;
use crate::artifact::cache::Cache;
use crate::axis::placement::Placement;
use crate::axis::tuning::{Found, Profile};
use crate::axis::virtualization::accelerator;
use crate::axis::{Port, Powers, common_port, load, network, virtualization};
use crate::doctor::{self, NeedName, Survey};
use crate::matrix::{Cell, Matrix, RUNNING, UnitName, Vocabulary};
use crate::plan::Scope;
use crate::record::Status;
use crate::record::import::unit;
use crate::workload;

/// The host.
#[derive(Debug)]
pub struct Host {
    /// What it can run.
    pub survey: Survey,
    /// With whose powers this process can act on it.
    pub powers: Powers,
    /// What it is, the placement of the peer included.
    pub facts: BTreeMap<String, String>,
    /// Which threads run where.
    pub placement: Placement,
    /// CPUs online.
    pub cpus: Vec<usize>,
    /// Whether realtime time is given by cgroup.
    pub realtime_groups: bool,
    /// Runtimes of the fair servers that can be set.
    pub fair_servers: Vec<String>,
    /// What it has of what knobs write.
    pub found: Found,
    /// Which kernels its containers can be measured under.
    pub kernels: Kernels,
}

/// Which kernels containers can be measured under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// The host's own.
    Own,
    /// The host's own, and others in labs.
    Labs,
    /// The one that is asked for: this is the lab.
    Asked,
}

impl Host {
    /// Looks at this host. Changes nothing.
    pub fn look(cache: &Cache) -> Host {
        let survey = doctor::survey(&doctor::Outside {
            kvm_boots: &|| accelerator::kvm_boots(cache),
            guest_kernels: &|| crate::axis::kernel::available(cache),
            user_namespaces: &rootless::probe,
        });
        let mut host = Host::with(survey);
        host.facts.extend(doctor::tools());
        host
    }

    /// Looks at the lab that this process runs in, as far as these cells need it: each question costs an emulated machine seconds.
    pub fn look_in_lab(cells: &[Cell], matrix: &Matrix) -> Host {
        let nested = || "a lab has no guests of its own".to_owned();
        let mut needs: Vec<NeedName> =
            cells.iter().flat_map(|cell| needs_of(cell, matrix)).collect();
        needs.extend([NeedName::Root, NeedName::Fifo]);
        let outside = doctor::Outside {
            kvm_boots: &|| Err(nested()),
            guest_kernels: &|| Err(nested()),
            user_namespaces: &rootless::probe,
        };
        Host { kernels: Kernels::Asked, ..Host::with(doctor::survey_of(&needs, &outside)) }
    }

    /// The same host, which offers labs or not.
    pub fn with_labs(self, offered: bool) -> Host {
        let kernels = if offered { Kernels::Labs } else { Kernels::Own };
        Host { kernels, ..self }
    }

    fn with(survey: Survey) -> Host {
        let powers = match survey.missing(&[NeedName::Root]) {
            None => Powers::Root,
            Some(_) => Powers::Namespaces,
        };
        let cpus = facts::topology().cpus;
        let may_fifo = survey.missing(&[NeedName::Fifo]).is_none();
        let placement = Placement::on(&cpus, may_fifo);
        let mut known = facts::facts();
        let peer = format!("CPUs {}, {}", threads::list(&placement.peer), placement.peer_policy);
        known.insert("peer".to_owned(), peer);
        known.insert("powers".to_owned(), powers.to_string());
        let budget = |cpu: &Path| cpu.join("cpu.rt_runtime_us").exists();
        // Who has no cgroup of their own gives none a budget: what the survey asked for is what there is.
        let realtime_groups = powers == Powers::Root
            && Hierarchies::mounted()
                .is_ok_and(|mounted| mounted.controller("cpu").is_some_and(budget));
        Host {
            survey,
            powers,
            facts: known,
            placement,
            fair_servers: fair_servers(&cpus),
            found: Found::look(),
            cpus,
            realtime_groups,
            kernels: Kernels::Own,
        }
    }

    /// Whether a cell can be measured here.
    pub fn judge(&self, cell: &Cell, matrix: &Matrix) -> Status {
        self.judged(cell, matrix).0
    }

    /// [`Host::judge`], and of which other cells the same is true.
    pub(super) fn judged(&self, cell: &Cell, matrix: &Matrix) -> (Status, Scope) {
        if let Some(reason) = unfit(cell, matrix) {
            return (Status::NotApplicable { reason }, Scope::Kinds);
        }
        match (needs_lab(cell), self.kernels) {
            (true, Kernels::Own) => (self.other_kernel(cell, matrix), Scope::Kernel),
            (false, _) if cell.host_kernel != RUNNING => {
                (self.other_host_kernel(&cell.host_kernel, matrix), Scope::Kernel)
            }
            (lab, kernels) => {
                let needs = needs_of(cell, matrix);
                let missing = match lab && kernels == Kernels::Labs {
                    true => super::lab::missing(&self.survey, &needs),
                    false => self
                        .survey
                        .missing(&needs)
                        .or_else(|| self.cannot_tune(matrix, &cell.tuning)),
                };
                let skipped = missing.map(|(reason, remedy)| Status::Skipped { reason, remedy });
                (skipped.unwrap_or(Status::Runnable), Scope::Kinds)
            }
        }
    }

    /// A system without a kernel of its own, whose host would have to run another one.
    fn other_kernel(&self, cell: &Cell, matrix: &Matrix) -> Status {
        let kernel = self.facts.get("kernel").map_or("another kernel", String::as_str);
        let labels = matrix.kernels.get(&*cell.kernel).map(|source| source.runner.join(", "));
        Status::Skipped {
            reason: format!(
                "{} runs under the host's kernel, which is {kernel}, not `{}`",
                cell.virtualization, cell.kernel
            ),
            remedy: match labels.filter(|labels| !labels.is_empty()) {
                Some(labels) => format!("--lab, or run it on a runner with the labels {labels}"),
                None => format!("--lab, or run it on a host that boots `{}`", cell.kernel),
            },
        }
    }

    /// A guest whose host would have to run another kernel than this one does. A lab is no such host: it has no guests of its own.
    fn other_host_kernel(&self, wanted: &str, matrix: &Matrix) -> Status {
        let kernel = self.facts.get("kernel").map_or("another kernel", String::as_str);
        let labels = matrix.kernels.get(wanted).map(|source| source.runner.join(", "));
        Status::Skipped {
            reason: format!("the host below the guest runs {kernel}, not `{wanted}`"),
            remedy: match labels.filter(|labels| !labels.is_empty()) {
                Some(labels) => format!("run it on a runner with the labels {labels}"),
                None => format!("run it on a host that boots `{wanted}`"),
            },
        }
    }

    /// The knobs of a profile that this host cannot turn, and what helps with the first: (reason, remedy). A cell without them would carry the profile's name
    /// and not be what it says.
    fn cannot_tune(&self, matrix: &Matrix, tuning: &str) -> Option<(String, String)> {
        let profile = match Profile::of(matrix, tuning) {
            Ok(profile) => profile,
            Err(error) => {
                let remedy = format!("correct matrices/tuning/{tuning}.toml");
                return Some((format!("{error:#}"), remedy));
            }
        };
        let missing = profile.needs().filter_map(|(knob, needs)| {
            let (reason, remedy) = self.survey.missing(needs)?;
            Some((format!("knob `{knob}`: {reason}"), remedy))
        });
        let (reasons, remedies): (Vec<_>, Vec<_>) = missing.unzip();
        let reason = format!("profile `{tuning}` cannot be had, {}", reasons.join("; "));
        remedies.into_iter().next().map(|remedy| (reason, remedy))
    }

    /// With whose powers a cell is made: root's for what only root can make, wherever it is asked.
    pub fn powers_for(&self, cell: &Cell) -> Powers {
        let system = virtualization::find(&cell.virtualization);
        match system.is_some_and(|system| system.needs().contains(&NeedName::Root)) {
            true => Powers::Root,
            false => self.powers,
        }
    }
}

/// What a host must have for a cell, knobs aside. Nothing for one that names a kind that there is not.
fn needs_of(cell: &Cell, matrix: &Matrix) -> Vec<NeedName> {
    let (Some(system), Some(path), Some(load)) = (
        virtualization::find(&cell.virtualization),
        network::find(&cell.network),
        load::find(&cell.load),
    ) else {
        return Vec::new();
    };
    let of_port = common_port(system, path)
        .map_or(&[][..], |port| path.needs_of(port, matrix.measure.family));
    let workloads = matrix.measure.workloads.iter();
    let workloads = workloads.filter_map(|name| workload::find(name, &matrix.commands));
    [system.needs(), path.needs(), of_port, load.needs()]
        .into_iter()
        .chain(workloads.map(|workload| workload.needs()))
        .flatten()
        .copied()
        .collect()
}

/// Whether a cell runs under the kernel of its host, and asks for another one than the host's own.
pub fn needs_lab(cell: &Cell) -> bool {
    cell.kernel != RUNNING
        && virtualization::find(&cell.virtualization).is_some_and(|system| !system.is_guest())
}

/// Why no host can measure a cell: its kinds do not fit together.
fn unfit(cell: &Cell, matrix: &Matrix) -> Option<String> {
    let (Some(system), Some(path), Some(_)) = (
        virtualization::find(&cell.virtualization),
        network::find(&cell.network),
        load::find(&cell.load),
    ) else {
        return Some("it names a kind that there is not".to_owned());
    };
    let Some(port) = common_port(system, path) else {
        let names = |ports: &[Port]| ports.iter().map(|p| p.name()).collect::<Vec<_>>().join(", ");
        let (takes, offers) = (names(system.ports()), names(path.ports()));
        return Some(format!("{} takes {takes}; {} offers {offers}", system.name(), path.name()));
    };
    let workloads = matrix.measure.workloads.iter();
    let workloads = workloads.filter_map(|name| workload::find(name, &matrix.commands));
    let stopped = workloads
        .map(|workload| {
            (workload.name(), path.stops(port, workload.traffic(), matrix.measure.family))
        })
        .find_map(|(name, why)| Some((name, why?)));
    if let Some((workload, why)) = stopped {
        return Some(format!("{workload} over {}: {why}", path.name()));
    }
    if cell.host_kernel != RUNNING && !system.is_guest() {
        return Some(format!(
            "{} has no kernel of its own above the host's: name that on the axis `kernel`, and --lab measures it there",
            cell.virtualization
        ));
    }
    let refused = matrix.study.as_ref().and_then(|study| study.refused(&cell.tuning));
    refused.map(str::to_owned)
}

/// How many times longer building and undoing takes in an emulated lab.
const IN_LAB: u32 = 7;

/// How much longer the boot of an emulated guest takes beside a load.
const BESIDE_LOAD: Duration = Duration::from_secs(5);

/// Estimated time to build and undo one boot; guests and labs are assumed to be emulated.
pub fn overhead(cell: &Cell) -> Duration {
    let Some(system) = virtualization::find(&cell.virtualization) else { return Duration::ZERO };
    let beside = system.is_guest() && cell.load != "idle";
    let here = system.overhead() + if beside { BESIDE_LOAD } else { Duration::ZERO };
    here * if needs_lab(cell) { IN_LAB } else { 1 }
}

/// The names that matrices may use.
pub fn vocabulary() -> Vocabulary {
    vocabulary_in(Path::new("."))
}

/// [`vocabulary`] with another working directory.
pub fn vocabulary_in(directory: &Path) -> Vocabulary {
    fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<String> {
        all.map(str::to_owned).collect()
    }
    Vocabulary {
        virtualization: names(virtualization::ALL.iter().map(|kind| kind.name())),
        network: names(network::ALL.iter().map(|kind| kind.name())),
        tuning: crate::axis::tuning::names_in(directory),
        load: names(load::ALL.iter().map(|kind| kind.name())),
        workloads: names(workload::ALL.iter().map(|workload| workload.name())),
        units: unit::all()
            .map(|(name, unit)| UnitName { name: name.to_owned(), better: unit.better() })
            .collect(),
    }
}

fn fair_servers(cpus: &[usize]) -> Vec<String> {
    cpus.iter()
        .map(|cpu| format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime"))
        // A kernel that is locked down shows the files and lets nobody read them.
        .filter(|path| std::fs::read(path).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::vocabulary;
    use crate::matrix::{EMBEDDED, parse};

    #[test]
    fn shipped_matrices_use_names_that_there_are() {
        for (name, text) in EMBEDDED {
            let matrix =
                parse(text, name, &vocabulary()).unwrap_or_else(|errors| panic!("{errors}"));
            assert_eq!(matrix.name, name);
        }
    }
}
