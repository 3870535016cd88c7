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

/// The threads of a process and of all that descend from it. Processes that end meanwhile are left out.
///
/// # Errors
/// The process itself is gone, or /proc cannot be listed.
pub fn of_tree(root: i32) -> anyhow::Result<Vec<i32>> {
    let processes: Vec<(i32, i32)> = std::fs::read_dir("/proc")
        .context("failed to list /proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&pid) = tree.get(next) {
        tree.extend(processes.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| child));
        next += 1;
    }
    let mut threads = of_process(root)?;
    threads.extend(tree[1..].iter().filter_map(|pid| of_process(*pid).ok()).flatten());
    threads.sort_unstable();
    Ok(threads)
}

/// The one process that a process has started.
///
/// # Errors
/// It has started none, or several, or `/proc` cannot be listed.
pub fn child_of(pid: i32) -> anyhow::Result<i32> {
    let children: Vec<i32> = std::fs::read_dir("/proc")
        .context("failed to list /proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|child| parent(*child) == Some(pid))
        .collect();
    match children.as_slice() {
        [child] => Ok(*child),
        _ => bail!("process {pid} has {} children, and not one", children.len()),
    }
}

/// The parent of a process; `None` once it is gone (proc_pid_stat(5): state and parent follow the name, which may hold anything).
fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// CPUs as the kernel writes them: `0,2-5`.
pub fn list(cpus: &[usize]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
        .chunk_by(|a, b| a + 1 == *b)
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            _ => run.iter().map(ToString::to_string).collect(),
        })
        .collect::<Vec<_>>()
        .join(",")
}

/// Reads a list of CPUs as the kernel writes it; the empty list is one.
///
/// # Errors
/// The text is no list, or names a CPU beyond 8191.
pub fn parse_list(text: &str) -> anyhow::Result<Vec<usize>> {
    /// What kernels are built for at most: a bound against lists that would fill the memory.
    const MOST: usize = 8192;

    let wrong = || format!("`{text}` is not a list of CPUs such as `0,2-3`");
    let mut cpus = Vec::new();
    for range in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
        let (first, last) = range.trim().split_once('-').unwrap_or((range.trim(), range.trim()));
        let first: usize = first.parse().ok().with_context(wrong)?;
        let last: usize = last.parse().ok().with_context(wrong)?;
        if first > last || last >= MOST {
            bail!(wrong());
        }
        cpus.extend(first..=last);
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

    #[test]
    fn a_tree_holds_children_and_not_strangers() {
        let mut child =
            crate::command::start(None, &["cat"], std::fs::File::open("/dev/null").unwrap())
                .unwrap();
        let own = nix::unistd::getpid().as_raw();
        let id = child.id() as i32;
        let tree = of_tree(own).unwrap();
        assert!(tree.contains(&own) && tree.contains(&id) && !tree.contains(&1));
        assert_eq!(of_tree(id).unwrap(), [id]);
        let error = child_of(id).unwrap_err().to_string();
        assert!(error.ends_with("has 0 children, and not one"), "{error}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(of_tree(id).is_err());
    }

    #[test]
    fn lists_that_are_none_are_refused() {
        for list in ["a", "1-", "-1", "3-1", "0,,2", "0-99999999999", "1 2"] {
            assert!(parse_list(list).is_err(), "{list}");
        }
        assert!(parse_list("\n").unwrap().is_empty());
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
