//! Knobs that only write a path: one row each. What a row writes is machine-wide, journaled before, read back twice, and undone
//! after every boot.
//!
//! The rule for what a kernel lacks or refuses: the cell is measured with the rest of its profile, and the knob is reported as *not effective*,
//! with the reason. A path that is not there, a write that is refused (EPERM, EACCES, EBUSY, EROFS, EIO, EINVAL) and a value
//! that reads differently afterwards are all told; of a row with many paths (CPUs, interrupts) some of which refuse, it is *partial*.

use evenkeel_agent::step::{Act, Phase, Setting};
use evenkeel_agent::threads;

use super::{Knob, Probe, Target, Turned, Without};
use crate::axis::placement::Placement;
use crate::axis::steps;
use crate::doctor::NeedName;
use crate::matrix::nearest;

/// What a row takes.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of some words, each with what is written for it.
    Words(&'static [(&'static str, &'static str)]),
    /// A number from one bound to the other.
    Number(u64, u64),
    /// `housekeeping`, `isolated`, or a list of CPUs; written as a list (`0,2-3`).
    CpuList,
    /// The same; written as a mask (`d`).
    CpuMask,
}

/// A knob that is data.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in a profile.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Where: `*` stands for any number, `+` for any number from one on.
    pub paths: &'static str,
    /// What it takes.
    pub values: Values,
}

/// What values of CPUs are, in words.
pub(super) const CPUS: &str = "housekeeping, isolated, or CPUs such as 0,2-3";

const SWITCH: Values = Values::Words(&[("off", "0"), ("on", "1")]);

const fn row(name: &'static str, paths: &'static str, values: Values, about: &'static str) -> Row {
    Row { name, about, paths, values }
}

/// All rows. Each is applied, read back and undone on a real host by a test.
#[rustfmt::skip]
pub static ROWS: &[Row] = &[
    row("thp", "/sys/kernel/mm/transparent_hugepage/enabled",
        Values::Words(&[("always", "always"), ("madvise", "madvise"), ("never", "never")]),
        "transparent huge pages: whose collapse and splitting stalls threads"),
    row("thp-defrag", "/sys/kernel/mm/transparent_hugepage/defrag",
        Values::Words(&[("always", "always"), ("defer", "defer"), ("defer+madvise", "defer+madvise"), ("madvise", "madvise"), ("never", "never")]),
        "whether a page fault compacts memory for a huge page"),
    row("ksm", "/sys/kernel/mm/ksm/run", SWITCH,
        "the daemon that merges equal pages; merged pages stay merged when it is `off`"),
    row("numa-balancing", "/proc/sys/kernel/numa_balancing", SWITCH,
        "moving of pages to the node that uses them, by faults taken on purpose"),
    row("timer-migration", "/proc/sys/kernel/timer_migration", SWITCH,
        "moving of timers from idle CPUs to busy ones"),
    row("watchdog", "/proc/sys/kernel/watchdog", SWITCH,
        "both lockup detectors of the kernel"),
    row("soft-watchdog", "/proc/sys/kernel/soft_watchdog", SWITCH,
        "the detector of soft lockups: a timer and a thread on every CPU"),
    row("watchdog-cpus", "/proc/sys/kernel/watchdog_cpumask", Values::CpuList,
        "CPUs that lockup detectors run on"),
    row("hung-task-timeout", "/proc/sys/kernel/hung_task_timeout_secs", Values::Number(0, 86_400),
        "seconds after which a task that waits counts as hung; 0 looks for none"),
    row("vm-stat-interval", "/proc/sys/vm/stat_interval", Values::Number(1, 86_400),
        "seconds between two times that every CPU adds up its counters of memory"),
    row("swappiness", "/proc/sys/vm/swappiness", Values::Number(0, 200),
        "how willingly memory is swapped out"),
    row("dirty-ratio", "/proc/sys/vm/dirty_ratio", Values::Number(1, 100),
        "percent of memory with unwritten pages from which writers wait"),
    row("dirty-background-ratio", "/proc/sys/vm/dirty_background_ratio", Values::Number(1, 100),
        "percent of memory with unwritten pages from which they are written in the background"),
    row("hugepages", "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", Values::Number(0, 1 << 20),
        "how many huge pages of 2 MiB are kept ready"),
    row("address-randomization", "/proc/sys/kernel/randomize_va_space",
        Values::Words(&[("off", "0"), ("on", "2")]),
        "whether programs lie at other addresses at every start"),
    row("autogroup", "/proc/sys/kernel/sched_autogroup_enabled", SWITCH,
        "grouping of a session's tasks by the scheduler"),
    row("workqueue-cpus", "/sys/devices/virtual/workqueue/cpumask", Values::CpuMask,
        "CPUs of the kernel's workers that are bound to none"),
    row("writeback-cpus", "/sys/devices/virtual/workqueue/writeback/cpumask", Values::CpuMask,
        "CPUs of the workers that write pages back"),
    row("irq-default-cpus", "/proc/irq/default_smp_affinity", Values::CpuMask,
        "CPUs that new interrupts are given to"),
    row("irq-cpus", "/proc/irq/*/smp_affinity_list", Values::CpuList,
        "CPUs of every interrupt that lets itself be moved"),
    row("busy-poll", "/proc/sys/net/core/busy_poll", Values::Number(0, 1_000_000),
        "microseconds that poll and select ask a card for packets before they sleep"),
    row("busy-read", "/proc/sys/net/core/busy_read", Values::Number(0, 1_000_000),
        "microseconds that a read asks a card for packets before it sleeps"),
    row("c-states", "/sys/devices/system/cpu/cpu*/cpuidle/state+/disable",
        Values::Words(&[("off", "1"), ("on", "0")]),
        "idle states of every CPU below the shallowest"),
];

impl Row {
    /// What is written for a value; without a host (placement and CPUs online) only its form is checked.
    ///
    /// # Errors
    /// It takes no such value.
    pub fn written(
        &self,
        want: &str,
        on: Option<(&Placement, &[usize])>,
    ) -> anyhow::Result<String> {
        match self.values {
            Values::Words(words) => match words.iter().find(|(word, _)| *word == want) {
                Some((_, written)) => Ok((*written).to_owned()),
                None => {
                    let words = words.iter().map(|(word, _)| *word);
                    let near = nearest(want, words.clone());
                    let hint =
                        near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
                    let words: Vec<String> = words.map(|word| format!("`{word}`")).collect();
                    anyhow::bail!("`{want}` is none of {}{hint}", words.join(", "))
                }
            },
            Values::Number(least, most) => match want.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(number.to_string()),
                _ => anyhow::bail!("`{want}` is not a whole number from {least} to {most}"),
            },
            Values::CpuList => Ok(threads::list(&cpus(want, on)?)),
            Values::CpuMask => Ok(mask(&cpus(want, on)?)),
        }
    }
}

/// The CPUs that a value means; without a host only its form is checked.
pub(super) fn cpus(want: &str, on: Option<(&Placement, &[usize])>) -> anyhow::Result<Vec<usize>> {
    let Some((placement, online)) = on else {
        return match want {
            "housekeeping" | "isolated" => Ok(Vec::new()),
            list => super::cpus_named(list, None),
        };
    };
    match want {
        "housekeeping" => Ok(placement.housekeeping.clone()),
        "isolated" => Ok(placement.isolated.clone()),
        list => super::cpus_named(list, Some(online)),
    }
}

/// CPUs as the kernel reads a mask: groups of eight hexadecimal digits.
pub(super) fn mask(cpus: &[usize]) -> String {
    let words = cpus.iter().max().map_or(1, |last| last / 32 + 1);
    let word = |at: usize| {
        let bits = cpus.iter().filter(|cpu| **cpu / 32 == at);
        bits.fold(0_u32, |word, cpu| word | 1 << (cpu % 32))
    };
    let groups: Vec<String> = (0..words).rev().map(|at| format!("{:08x}", word(at))).collect();
    groups.join(",")
}

impl Knob for Row {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn values(&self) -> String {
        match self.values {
            Values::Words(words) => {
                words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
            }
            Values::Number(least, most) => format!("{least} to {most}"),
            Values::CpuList | Values::CpuMask => CPUS.to_owned(),
        }
    }

    fn needs(&self, _want: &str) -> &'static [NeedName] {
        &[NeedName::Root]
    }

    fn check(&self, want: &str) -> anyhow::Result<()> {
        self.written(want, None).map(|_| ())
    }

    fn turn(&self, want: &str, to: &Target<'_>) -> anyhow::Result<Turned> {
        let written = self.written(want, Some((&to.site.placement, &to.site.cpus)))?;
        let paths = to.site.found.paths(self.paths);
        let put = |path: &String| Act::Put {
            on: Setting::Asked(path.as_str().into()),
            value: written.as_str().into(),
        };
        let without = paths.is_empty().then(|| {
            Without::Unsupported(format!("this kernel has no {}", self.paths.replace('+', "*")))
        });
        let many =
            if paths.len() > 1 { format!(" in {} files", paths.len()) } else { String::new() };
        Ok(Turned {
            applied: match &without {
                None => format!("{written}{many} (shared by the whole machine)"),
                Some(_) => "nothing".to_owned(),
            },
            probes: paths.iter().map(|path| (Probe::File(path.clone()), written.clone())).collect(),
            each: paths.len() > 1,
            without,
            steps: steps(Phase::Prepare, paths.iter().map(put).collect::<Vec<_>>()),
            ..Turned::new(self.name, want)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_read_as_the_kernel_writes_them() {
        assert_eq!(mask(&[0, 1]), "00000003");
        assert_eq!(mask(&[0, 33]), "00000002,00000001");
        assert!(evenkeel_agent::machine::same_value("3", &mask(&[0, 1])));
    }

    #[test]
    fn values_that_are_none_say_what_would_be() {
        let error = |name: &str, want: &str| {
            let row = ROWS.iter().find(|row| row.name == name).unwrap();
            row.check(want).unwrap_err().to_string()
        };
        assert_eq!(
            error("thp", "nevr"),
            "`nevr` is none of `always`, `madvise`, `never`: did you mean `never`?"
        );
        assert_eq!(error("swappiness", "-1"), "`-1` is not a whole number from 0 to 200");
        assert_eq!(error("irq-cpus", "3-1"), "`3-1` is not a list of CPUs such as `0,2-3`");
        assert_eq!(error("irq-cpus", ""), "`` names no CPU");
    }
}
