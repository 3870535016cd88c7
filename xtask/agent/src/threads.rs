//! Placement and scheduling policy of single threads.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use nix::sched::CpuSet;
use nix::unistd::Pid;

/// A scheduling policy: `other`, `batch`, `fifo:PRIORITY`, `rr:PRIORITY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The fair scheduler.
    Other,
    /// The fair scheduler, without wake-up preemption.
    Batch,
    /// Runs until it blocks; priority 1 to 99.
    Fifo(u8),
    /// Like FIFO, with time slices among equals.
    RoundRobin(u8),
}

impl FromStr for Policy {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Policy> {
        let priority = |text: &str| match text.parse::<u8>() {
            Ok(p @ 1..=99) => Ok(p),
            _ => bail!("priority `{text}` is not between 1 and 99"),
        };
        match text.split_once(':') {
            None if text == "other" => Ok(Policy::Other),
            None if text == "batch" => Ok(Policy::Batch),
            Some(("fifo", p)) => Ok(Policy::Fifo(priority(p)?)),
            Some(("rr", p)) => Ok(Policy::RoundRobin(priority(p)?)),
            _ => bail!("scheduling policy `{text}` is not other, batch, fifo:N or rr:N"),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Policy::Other => f.write_str("other"),
            Policy::Batch => f.write_str("batch"),
            Policy::Fifo(p) => write!(f, "fifo:{p}"),
            Policy::RoundRobin(p) => write!(f, "rr:{p}"),
        }
    }
}

/// Sets the policy of a thread.
///
/// # Errors
/// The thread is gone, or the kernel refuses (no CAP_SYS_NICE, or a cgroup without realtime budget).
pub fn set_policy(thread: i32, policy: Policy) -> anyhow::Result<()> {
    let (number, priority) = match policy {
        Policy::Other => (libc::SCHED_OTHER, 0),
        Policy::Batch => (libc::SCHED_BATCH, 0),
        Policy::Fifo(p) => (libc::SCHED_FIFO, p),
        Policy::RoundRobin(p) => (libc::SCHED_RR, p),
    };
    let parameters = libc::sched_param { sched_priority: priority.into() };
    // SAFETY: the pointer is to a live value of the right type.
    if unsafe { libc::sched_setscheduler(thread, number, &raw const parameters) } != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("failed to give thread {thread} the policy {policy}"));
    }
    Ok(())
}

/// The policy of a thread.
///
/// # Errors
/// The thread is gone, or has a policy that is none of ours (deadline, idle).
pub fn policy(thread: i32) -> anyhow::Result<Policy> {
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: both calls take a thread id; the pointer is to a live value of the right type.
    let (number, read) = unsafe {
        (libc::sched_getscheduler(thread), libc::sched_getparam(thread, &raw mut parameters))
    };
    if number < 0 || read != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("failed to read the policy of thread {thread}"));
    }
    let priority = parameters.sched_priority.clamp(0, 99) as u8;
    match number & !libc::SCHED_RESET_ON_FORK {
        libc::SCHED_OTHER => Ok(Policy::Other),
        libc::SCHED_BATCH => Ok(Policy::Batch),
        libc::SCHED_FIFO => Ok(Policy::Fifo(priority)),
        libc::SCHED_RR => Ok(Policy::RoundRobin(priority)),
        other => bail!("thread {thread} has scheduling policy number {other}"),
    }
}

/// Restricts a thread to these CPUs.
///
/// # Errors
/// The thread is gone, or none of the CPUs is there.
pub fn set_affinity(thread: i32, cpus: &[usize]) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).with_context(|| format!("CPU {cpu} is beyond what this system can have"))?;
    }
    nix::sched::sched_setaffinity(Pid::from_raw(thread), &set)
        .with_context(|| format!("failed to place thread {thread} on CPUs {}", list(cpus)))
}

/// The CPUs that a thread may use, ascending.
///
/// # Errors
/// The thread is gone.
pub fn affinity(thread: i32) -> anyhow::Result<Vec<usize>> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(thread))
        .with_context(|| format!("failed to read the placement of thread {thread}"))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

/// The threads of a process.
///
/// # Errors
/// The process is gone.
pub fn of_process(pid: i32) -> anyhow::Result<Vec<i32>> {
    let folder = format!("/proc/{pid}/task");
    let mut threads: Vec<i32> = std::fs::read_dir(&folder)
        .with_context(|| format!("failed to list the threads of process {pid}"))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    threads.sort_unstable();
    Ok(threads)
}

/// CPUs as the kernel writes them: `0,2-5`.
pub fn list(cpus: &[usize]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut words: Vec<String> = Vec::new();
    let mut rest = sorted.as_slice();
    while let Some(&first) = rest.first() {
        let run = rest.iter().enumerate().take_while(|&(i, &cpu)| cpu == first + i).count();
        words.push(match run {
            1 => first.to_string(),
            _ => format!("{first}-{}", first + run - 1),
        });
        rest = &rest[run..];
    }
    words.join(",")
}

/// Reads a list of CPUs as the kernel writes it.
///
/// # Errors
/// The text is no list, or names a CPU beyond 8191.
pub fn parse_list(text: &str) -> anyhow::Result<Vec<usize>> {
    let number = |word: &str| match word.trim().parse::<usize>() {
        Ok(cpu) if cpu < 8192 => Ok(cpu),
        _ => bail!("`{text}` is not a list of CPUs such as `0,2-3`"),
    };
    let mut cpus = Vec::new();
    for word in text.trim().split(',').filter(|w| !w.is_empty()) {
        match word.split_once('-') {
            Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
            None => cpus.push(number(word)?),
        }
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn policies_read_as_written() {
        for text in ["other", "batch", "fifo:1", "rr:99"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["fifo", "fifo:0", "fifo:100", "fifo:-1", "deadline", ""] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_thread_of_ours_can_be_placed_and_read_back() {
        let here = nix::unistd::gettid().as_raw();
        let before = affinity(here).unwrap();
        set_affinity(here, &before[..1]).unwrap();
        assert_eq!(affinity(here).unwrap(), before[..1]);
        set_affinity(here, &before).unwrap();
        assert_eq!(policy(here).unwrap(), Policy::Other);
    }

    proptest! {
        #[test]
        fn lists_survive_a_round_trip(mut cpus in proptest::collection::vec(0_usize..300, 0..40)) {
            let text = list(&cpus);
            cpus.sort_unstable();
            cpus.dedup();
            prop_assert_eq!(parse_list(&text).unwrap(), cpus);
        }

        #[test]
        fn any_text_is_a_list_or_an_error(text in "\\PC{0,20}") {
            if let Ok(cpus) = parse_list(&text) {
                prop_assert!(cpus.iter().all(|&c| c < 8192));
            }
        }
    }
}
