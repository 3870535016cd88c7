//! Boots of an ordinary user, by what user namespaces allow.
//!
//! Whose powers a boot has ([`Powers`]) is decided once, by [`super::host::Host`], and travels as data in the boot's order. An
//! ordinary user's boot first enters fresh user, mount, network and process namespaces ([`enter`]), in which it is root: its
//! links, named network namespaces and mounts exist only there, and go with it, whatever ends it. From then on it is
//! a boot like any other. What differs:
//!
//! - Nothing is made on the host: neither folders in `/run` nor the mount of `ip netns`. A `/run` of the boot's own holds both.
//! - No cgroup can be made. The boot is the first process of its process namespace, so that the kernel ends all others with it.
//! - Journals and the run's folder lie in the user's own state folder. After a SIGKILL `restore` finds that what it names is gone already.
//! - What needs the host's root is skipped with that reason: containers of engines, guests, machine-wide knobs, and
//!   realtime priority unless the user's limit (`ulimit -r`) allows it. Placing threads on CPUs needs no root.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::command;
use evenkeel_agent::machine::{cgroup, links};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getegid, geteuid, getpid};

use crate::axis::Powers;

/// Time to make the namespaces and to be gone again.
const WITHIN: Duration = Duration::from_secs(10);

/// Whether this user's boots can enter their namespaces: tried, because limits, sandboxes and security modules all have a say.
///
/// # Errors
/// Why not, in words.
pub fn probe() -> Result<String, String> {
    let tried = || -> anyhow::Result<command::Ended> {
        let this = std::env::current_exe().context("failed to find this program's own file")?;
        command::run(&[&this.to_string_lossy(), "boot", "--enter-only"], WITHIN)
    };
    match tried() {
        Ok(ended) if ended.code == Some(0) => Ok(Powers::Namespaces.to_string()),
        Ok(ended) if ended.timed_out => {
            Err(format!("making them did not end within {} s", WITHIN.as_secs()))
        }
        Ok(ended) => Err(ended.last_words().trim_start_matches("error: ").to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// Enters namespaces of this process's own, as their root. Answers in a new process, the first of its process namespace. The calling
/// process never returns: it passes SIGINT and SIGTERM on, and ends as the new one does.
///
/// Those two signals are blocked on return, because the first process of a namespace loses every signal that it has no handler for:
/// whoever has installed one must call [`hear_signals`].
///
/// # Errors
/// The process has threads, user namespaces are refused, or a file system cannot be mounted in them.
pub fn enter() -> anyhow::Result<()> {
    let (user, group) = (geteuid(), getegid());
    let fresh = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID;
    unshare(fresh).context("failed to make user, mount, network and process namespaces")?;
    // Who may not set groups anyway must say so before mapping any (user_namespaces(7)).
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("/proc/self/gid_map", &format!("0 {group} 1"))?;
    let mut awaited = passed_on();
    awaited.add(Signal::SIGCHLD);
    awaited.thread_block().context("failed to block signals")?;
    // SAFETY: `unshare` refuses to make a user namespace for a process with threads, so there is only this one.
    match unsafe { fork() }.context("failed to start the first process of a namespace")? {
        ForkResult::Parent { child } => std::process::exit(stand_in_for(child, &awaited)?),
        ForkResult::Child => settle(),
    }
}

/// Lets the signals through that [`enter`] blocks. Changes nothing where they are not blocked.
///
/// # Errors
/// The kernel refuses.
pub fn hear_signals() -> anyhow::Result<()> {
    let mut awaited = passed_on();
    awaited.add(Signal::SIGCHLD);
    awaited.thread_unblock().context("failed to unblock signals")
}

/// Ends every process of the namespace but this one, its first.
///
/// # Errors
/// This is not the first process of a namespace.
fn end_others() -> anyhow::Result<()> {
    ensure!(getpid() == Pid::from_raw(1), "only the first process of a namespace ends the others");
    match kill(Pid::from_raw(-1), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).context("failed to end the processes of the namespace"),
    }
}

/// What ends the processes of a boot, all at once.
///
/// # Errors
/// They do not end.
pub fn end_children(powers: Powers, tag: &str) -> anyhow::Result<()> {
    match powers {
        Powers::Root => cgroup::kill_members(tag),
        Powers::Namespaces => end_others(),
    }
}

fn passed_on() -> SigSet {
    [Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// The life of the process outside: passes signals on, and answers the exit code of the one inside.
fn stand_in_for(child: Pid, awaited: &SigSet) -> anyhow::Result<i32> {
    loop {
        match awaited.wait().context("failed to wait for signals")? {
            Signal::SIGCHLD => match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
                WaitStatus::Exited(_, code) => return Ok(code),
                WaitStatus::Signaled(_, signal, _) => bail!("the boot was ended by {signal}"),
                _ => {}
            },
            signal => match kill(child, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error).context("failed to pass a signal on"),
            },
        }
    }
}

/// Makes the namespaces a place to work in: the file systems that show processes, links and names are those of the namespaces.
fn settle() -> anyhow::Result<()> {
    const NONE: Option<&str> = None;
    // The kernel ends the namespace with its first process, and this ends the first process with the one outside.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("failed to tie us to our parent")?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("failed to keep our mounts from the host")?;
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let places =
        [("proc", "/proc", NONE), ("sysfs", "/sys", NONE), ("tmpfs", "/run", Some("mode=755"))];
    for (kind, place, options) in places {
        mount(Some(kind), place, Some(kind), safe, options)
            .with_context(|| format!("failed to mount a fresh {place}"))?;
    }
    links::make_netns_mount()
}

fn write(path: &str, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write `{text}` to {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_threads_is_left_as_it_is() {
        let entered = std::thread::scope(|scope| scope.spawn(enter).join());
        let error = format!("{:#}", entered.unwrap().unwrap_err());
        assert!(error.contains("failed to make user, mount"), "{error}");
    }

    #[test]
    fn only_the_first_process_of_a_namespace_may_end_all_others() {
        assert!(end_others().unwrap_err().to_string().contains("only the first process"));
    }
}
