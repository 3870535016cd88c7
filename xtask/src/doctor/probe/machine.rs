//! Probes of the machine and of what this process may do on it.

use std::fs;
use std::path::Path;

use nix::libc;
use nix::unistd::{AccessFlags, access, geteuid};

use super::Host;
use crate::axis::placement::PRIORITY;
use crate::doctor::Finding;

/// Root, and not a root that a container took the capabilities from.
pub(super) fn root() -> Finding {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    judge_root(geteuid().is_root(), &status)
}

/// `status` is /proc/self/status.
fn judge_root(is_root: bool, status: &str) -> Finding {
    /// Numbers of capabilities(7).
    const NEEDED: [(u32, &str); 2] = [(12, "CAP_NET_ADMIN"), (21, "CAP_SYS_ADMIN")];

    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let lacks = |bit: u32| effective.is_some_and(|mask| mask & (1 << bit) == 0);
    match NEEDED.iter().find(|(bit, _)| lacks(*bit)) {
        _ if !is_root => Finding::missing("needs root", "run as root, for instance with sudo"),
        Some((_, name)) => Finding::missing(
            format!("root, but without {name}"),
            "run outside of the container, or give it its capabilities (--privileged)",
        ),
        None => Finding::Ok(String::new()),
    }
}

/// Root, or else user namespaces.
pub(super) fn namespaces(host: &Host<'_>) -> Finding {
    either(root(), || user_namespaces(host))
}

/// What root can do on the host, an ordinary user may do in user namespaces.
fn either(root: Finding, user_namespaces: impl FnOnce() -> Finding) -> Finding {
    match root {
        Finding::Ok(_) => Finding::Ok("as root".to_owned()),
        Finding::Missing { reason: no_root, remedy: be_root } => match user_namespaces() {
            Finding::Missing { reason, remedy } => Finding::missing(
                format!("{no_root}, or user namespaces: {reason}"),
                format!("{be_root}; or {remedy}"),
            ),
            found => found,
        },
    }
}

/// The limits of user namespaces. For an ordinary user, who needs them, whether a boot can work in them.
pub(super) fn user_namespaces(host: &Host<'_>) -> Finding {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let limits = judge_user_namespaces(
        Path::new("/proc/self/ns/user").exists(),
        number("/proc/sys/user/max_user_namespaces"),
        number("/proc/sys/kernel/unprivileged_userns_clone"),
        geteuid().is_root(),
    );
    match (limits, root()) {
        (Finding::Ok(_), Finding::Missing { .. }) => {
            let restricted = number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns");
            judge_entered((host.outside.user_namespaces)(), restricted)
        }
        (limits, _) => limits,
    }
}

/// `entered` is how trying went; `restricted` is Ubuntu's kernel.apparmor_restrict_unprivileged_userns, under which namespaces can be
/// made and nothing be done in them.
fn judge_entered(entered: Result<String, String>, restricted: Option<u64>) -> Finding {
    match (entered, restricted) {
        (Ok(detail), _) => Finding::Ok(detail),
        (Err(why), Some(1)) => Finding::missing(
            format!("AppArmor restricts those of ordinary users: {why}"),
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or load an AppArmor profile \
             with `userns` for this program",
        ),
        (Err(why), _) => Finding::missing(
            why,
            "run outside of the container, or let its security profile allow user namespaces",
        ),
    }
}

/// `most` is user.max_user_namespaces; `unprivileged` is Debian's kernel.unprivileged_userns_clone.
fn judge_user_namespaces(
    known: bool,
    most: Option<u64>,
    unprivileged: Option<u64>,
    is_root: bool,
) -> Finding {
    match (known, most, unprivileged) {
        (false, _, _) => Finding::missing(
            "this kernel has no user namespaces (CONFIG_USER_NS)",
            "boot a kernel that has them",
        ),
        (_, Some(0), _) => Finding::missing(
            "user.max_user_namespaces is 0",
            "sysctl user.max_user_namespaces=10000",
        ),
        (_, _, Some(0)) if !is_root => Finding::missing(
            "kernel.unprivileged_userns_clone is 0",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (_, most, _) => Finding::Ok(most.map_or(String::new(), |most| format!("at most {most}"))),
    }
}

/// Room for a system under test beside everything else.
pub(super) fn two_cpus(online: usize) -> Finding {
    match online {
        0 | 1 => Finding::missing(
            "one CPU: the system under test would share it with the client and the load",
            "use a machine with at least two CPUs",
        ),
        many => Finding::Ok(format!("{many} CPUs")),
    }
}

/// Asks for FIFO at the priority of measured threads for the life of one thread, because no file tells all that may forbid it: capabilities,
/// limits, and the runtime of the cgroup.
pub(super) fn fifo() -> Finding {
    let asked = std::thread::spawn(|| {
        let parameters = libc::sched_param { sched_priority: PRIORITY.into() };
        // SAFETY: the parameters outlive the call, and id 0 means the calling thread, which ends next.
        let status = unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameters) };
        nix::errno::Errno::result(status).map(drop)
    })
    .join();
    let grouped = Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    match asked {
        Ok(Ok(())) if grouped => Finding::Ok(
            "allowed; RT_GROUP_SCHED: a new cgroup has no runtime until cpu.rt_runtime_us is set"
                .to_owned(),
        ),
        Ok(Ok(())) => Finding::Ok("allowed".to_owned()),
        Ok(Err(errno)) => Finding::missing(
            format!("SCHED_FIFO is refused ({errno})"),
            match (geteuid().is_root(), grouped) {
                (true, true) => {
                    "give our cgroup a runtime (cpu.rt_runtime_us), or start from the root cgroup"
                }
                (true, false) => "run with CAP_SYS_NICE",
                (false, _) => "run as root, or raise the limit of realtime priority (ulimit -r 49)",
            },
        ),
        Err(_) => Finding::missing("the thread that asked for SCHED_FIFO ended early", "run again"),
    }
}

/// A place for cgroups of ours.
pub(super) fn cgroup() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    judge_cgroup(&mounts, |path| access(path, AccessFlags::W_OK).is_ok())
}

/// `mounts` is /proc/self/mounts.
fn judge_cgroup(mounts: &str, writable: impl Fn(&str) -> bool) -> Finding {
    let mounted: Vec<(&str, &str)> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(_, kind)| matches!(*kind, "cgroup" | "cgroup2"))
        .collect();
    if mounted.is_empty() {
        return Finding::missing("no cgroups are mounted", "mount -t cgroup2 none /sys/fs/cgroup");
    }
    let usable = |wanted| mounted.iter().find(|(path, kind)| *kind == wanted && writable(path));
    match usable("cgroup2").or_else(|| usable("cgroup")) {
        Some((path, "cgroup2")) => Finding::Ok(format!("v2 at {path}")),
        Some((path, _)) => Finding::Ok(format!("v1, with {path}")),
        None => Finding::missing(
            format!("cgroups are mounted but cannot be written ({})", mounted[0].0),
            "run as root, outside of a container",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_in_a_container_is_not_root() {
        let full = "CapEff:\t000001ffffffffff\n";
        let docker = "CapEff:\t00000000a80425fb\n";
        assert_eq!(judge_root(true, full), Finding::Ok(String::new()));
        assert!(
            matches!(judge_root(false, full), Finding::Missing { reason, .. } if reason == "needs root")
        );
        assert!(
            matches!(judge_root(true, docker), Finding::Missing { reason, .. } if reason.contains("CAP_NET_ADMIN"))
        );
    }

    #[test]
    fn user_namespaces_may_be_unknown_limited_or_roots_alone() {
        let is_ok = |finding| matches!(finding, Finding::Ok(_));
        assert!(is_ok(judge_user_namespaces(true, Some(1000), None, false)));
        assert!(is_ok(judge_user_namespaces(true, None, Some(0), true)));
        assert!(!is_ok(judge_user_namespaces(true, Some(1000), Some(0), false)));
        assert!(!is_ok(judge_user_namespaces(true, Some(0), None, true)));
        assert!(!is_ok(judge_user_namespaces(false, None, None, true)));
    }

    #[test]
    fn an_ordinary_user_may_do_with_namespaces_and_is_told_both_ways_otherwise() {
        let no_root = || judge_root(false, "");
        let refused = judge_entered(Err("failed to mount a fresh /proc: EPERM".into()), Some(1));
        let Finding::Missing { reason, remedy } = either(no_root(), || refused) else {
            panic!("neither root nor namespaces")
        };
        assert!(reason.starts_with("needs root, or user namespaces: AppArmor"), "{reason}");
        assert!(reason.ends_with("/proc: EPERM") && remedy.contains("sudo; or sysctl"), "{remedy}");
        let entered = || judge_entered(Ok("entered".to_owned()), Some(1));
        assert_eq!(either(no_root(), entered), Finding::Ok("entered".to_owned()));
        let never = || panic!("root asks for nothing else");
        assert_eq!(either(Finding::Ok(String::new()), never), Finding::Ok("as root".to_owned()));
    }

    #[test]
    fn version_2_of_cgroups_is_taken_where_both_can_be_written() {
        let both = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                    cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(
            judge_cgroup(both, |_| true),
            Finding::Ok("v2 at /sys/fs/cgroup/unified".into())
        );
        assert_eq!(
            judge_cgroup(both, |path| path.ends_with("cpu")),
            Finding::Ok("v1, with /sys/fs/cgroup/cpu".into())
        );
        assert!(matches!(judge_cgroup(both, |_| false), Finding::Missing { .. }));
        assert!(matches!(judge_cgroup("", |_| true), Finding::Missing { .. }));
    }

    #[test]
    fn one_cpu_is_too_few() {
        assert!(matches!(two_cpus(1), Finding::Missing { .. }));
        assert_eq!(two_cpus(2), Finding::Ok("2 CPUs".to_owned()));
    }
}
