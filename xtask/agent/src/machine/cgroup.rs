//! Cgroups that hold our children. Killing one ends everything that was started in it, without a process id being remembered.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::wait;

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(10);
/// How long a removed cgroup may hold its realtime budget.
const BUDGET: Duration = Duration::from_secs(5);

/// The mounted hierarchies.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hierarchies {
    /// Where version 2 is mounted.
    pub unified: Option<PathBuf>,
    /// Version 1 mounts: their options (`cpu,cpuacct`, `name=systemd`) and places.
    pub controllers: Vec<(String, PathBuf)>,
}

impl Hierarchies {
    /// Reads what is mounted.
    ///
    /// # Errors
    /// `/proc/self/mountinfo` cannot be read.
    pub fn mounted() -> anyhow::Result<Hierarchies> {
        let text = std::fs::read_to_string("/proc/self/mountinfo")
            .context("failed to read /proc/self/mountinfo")?;
        Ok(Hierarchies::parse(&text))
    }

    /// Parses `/proc/self/mountinfo` (proc(5)): field 5 is the place, after ` - ` come type, source, super options.
    pub fn parse(mountinfo: &str) -> Hierarchies {
        let mut found = Hierarchies::default();
        for line in mountinfo.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(place), mut right) = (left.split(' ').nth(4), right.split(' ')) else {
                continue;
            };
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) if found.unified.is_none() => {
                    found.unified = Some(PathBuf::from(place));
                }
                (Some("cgroup"), Some(options)) => {
                    found.controllers.push((options.to_owned(), PathBuf::from(place)));
                }
                _ => {}
            }
        }
        found
    }

    /// Where processes are tracked: version 2, else a version 1 hierarchy without side effects on scheduling.
    ///
    /// # Errors
    /// No hierarchy is mounted that can track processes.
    pub fn tracking(&self) -> anyhow::Result<&Path> {
        let named = |wanted: &str| {
            let has = |options: &str| options.split(',').any(|option| option == wanted);
            self.controllers.iter().find(|(options, _)| has(options)).map(|(_, place)| place)
        };
        let old = || named("name=systemd").or_else(|| named("pids")).or_else(|| named("freezer"));
        self.unified.as_ref().or_else(old).map(PathBuf::as_path).context(
            "no cgroup hierarchy is mounted that can track processes: mount cgroup2 on /sys/fs/cgroup",
        )
    }

    /// Where hierarchies are mounted, of either version.
    pub fn places(&self) -> impl Iterator<Item = &Path> {
        let old = self.controllers.iter().map(|(_, place)| place);
        old.chain(&self.unified).map(PathBuf::as_path)
    }

    /// The version 1 mount of a controller.
    pub fn controller(&self, name: &str) -> Option<&Path> {
        let has = |options: &str| options.split(',').any(|option| option == name);
        self.controllers.iter().find(|(options, _)| has(options)).map(|(_, place)| place.as_path())
    }
}

/// Makes the tracking cgroup of this name and answers its folder.
///
/// # Errors
/// It cannot be made.
pub fn make(name: &str) -> anyhow::Result<PathBuf> {
    let path = Hierarchies::mounted()?.tracking()?.join(name);
    std::fs::create_dir(&path)
        .with_context(|| format!("failed to make cgroup {}", path.display()))?;
    Ok(path)
}

/// Kills everything in the tracking cgroup of this name and removes it with its children. Answers whether anything was there to be killed.
///
/// # Errors
/// Processes in it do not end, or the kernel refuses.
pub fn remove(name: &str) -> anyhow::Result<bool> {
    let path = Hierarchies::mounted()?.tracking()?.join(name);
    if !path.is_dir() {
        return Ok(false);
    }
    let some = !members(&path)?.is_empty();
    kill(&path)?;
    remove_tree(&path)?;
    Ok(some)
}

/// Ends everything in the tracking cgroup of this name and leaves the cgroup.
///
/// # Errors
/// Processes in it do not end, or the kernel refuses.
pub fn kill_members(name: &str) -> anyhow::Result<()> {
    let path = Hierarchies::mounted()?.tracking()?.join(name);
    if path.is_dir() { kill(&path) } else { Ok(()) }
}

/// Whether there is a tracking cgroup of this name.
///
/// # Errors
/// No hierarchy is mounted that can track processes.
pub fn is_there(name: &str) -> anyhow::Result<bool> {
    Ok(Hierarchies::mounted()?.tracking()?.join(name).exists())
}

/// Whether there is a cgroup of this name under any hierarchy.
///
/// # Errors
/// `/proc/self/mountinfo` cannot be read.
pub fn is_anywhere(name: &str) -> anyhow::Result<bool> {
    Ok(Hierarchies::mounted()?.places().any(|place| place.join(name).exists()))
}

/// Makes the cgroup of this name under every version 1 controller that schedules CPUs.
///
/// # Errors
/// It cannot be made.
pub fn make_controllers(name: &str) -> anyhow::Result<()> {
    if let Some(mount) = Hierarchies::mounted()?.controller("cpu") {
        let path = mount.join(name);
        std::fs::create_dir_all(&path)
            .with_context(|| format!("failed to make cgroup {}", path.display()))?;
    }
    Ok(())
}

/// Removes the cgroups of this name, with their children, under every hierarchy.
///
/// # Errors
/// Processes in them do not end, or the kernel refuses.
pub fn remove_controllers(name: &str) -> anyhow::Result<()> {
    for mount in Hierarchies::mounted()?.places() {
        let path = mount.join(name);
        if path.is_dir() {
            kill(&path)?;
            remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Gives the cgroup of a process, and those above it up to the root, a realtime budget, where the kernel accounts realtime by cgroup.
/// Only where the topmost of them begins with `ours`: the budgets of others are not ours to set.
///
/// # Errors
/// The kernel refuses the budget: more is given than there is.
pub fn realtime_budget(pid: i32, microseconds: &str, ours: &str) -> anyhow::Result<()> {
    let mounted = Hierarchies::mounted()?;
    let Some(mount) = mounted.controller("cpu") else { return Ok(()) };
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
        .with_context(|| format!("failed to read the cgroups of process {pid}"))?;
    let is_cpu = |controllers: &str| controllers.split(',').any(|c| c == "cpu");
    let path = text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        is_cpu(controllers).then_some(path)
    });
    let mut folder = mount.to_owned();
    let mut names = path.unwrap_or("/").split('/').filter(|name| !name.is_empty()).peekable();
    if ours.is_empty() || !names.peek().is_some_and(|name| name.starts_with(ours)) {
        return Ok(());
    }
    for name in names {
        folder.push(name);
        let file = folder.join("cpu.rt_runtime_us");
        if file.exists() {
            give_budget(&file, microseconds)?;
        }
    }
    Ok(())
}

/// Writes a realtime budget. A cgroup that was just removed holds its own for a moment longer, and as long as that is so the
/// kernel says that more is given than there is (`EINVAL`).
fn give_budget(file: &Path, microseconds: &str) -> anyhow::Result<()> {
    let mut refused = None;
    let given =
        wait::until(
            &format!("{} to take a budget", file.display()),
            BUDGET,
            || match std::fs::write(file, microseconds) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    refused = Some(error);
                    Ok(None)
                }
                Err(error) => Err(error.into()),
            },
        );
    given.map_err(|error| refused.map_or(error, anyhow::Error::from)).with_context(|| {
        format!(
            "failed to write `{microseconds}` to {}: more would be given than there is",
            file.display()
        )
    })
}

/// How often a cgroup was kept from running because its quota was used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttled {
    /// Periods in which it was.
    pub periods: u64,
    /// For how long, all its CPUs together.
    pub ns: u64,
}

/// The period of a quota, microseconds: the kernel's own.
const PERIOD_US: u64 = 100_000;

/// Gives the cgroup that holds this process so much CPU time in each period.
///
/// # Errors
/// It is not a cgroup of that process's own, or the kernel refuses.
pub fn limit_cpu(pid: i32, microseconds: &str) -> anyhow::Result<()> {
    let (folder, is_unified) = own_cpu_cgroup(pid)?;
    let writes = match is_unified {
        true => vec![("cpu.max", format!("{microseconds} {PERIOD_US}"))],
        false => vec![
            ("cpu.cfs_period_us", PERIOD_US.to_string()),
            ("cpu.cfs_quota_us", microseconds.to_owned()),
        ],
    };
    for (name, value) in writes {
        let file = folder.join(name);
        std::fs::write(&file, &value)
            .with_context(|| format!("failed to write `{value}` to {}", file.display()))?;
    }
    Ok(())
}

/// What the quota of the cgroup that holds this process has done so far.
///
/// # Errors
/// It is not a cgroup of that process's own, or it does not tell.
pub fn throttled(pid: i32) -> anyhow::Result<Throttled> {
    let (folder, _) = own_cpu_cgroup(pid)?;
    let file = folder.join("cpu.stat");
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("failed to read {}", file.display()))?;
    Ok(Throttled::parse(&text))
}

impl Throttled {
    /// Parses `cpu.stat`: nanoseconds as `throttled_time` in version 1, microseconds as `throttled_usec` in version 2.
    fn parse(text: &str) -> Throttled {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.trim().parse::<u64>().ok())
        };
        let ns = value("throttled_time").or(value("throttled_usec").map(|us| us * 1000));
        Throttled { periods: value("nr_throttled").unwrap_or(0), ns: ns.unwrap_or(0) }
    }
}

/// The folder of the cgroup by which a process's CPU time is given, and whether it is of version 2. Only one that the process has to itself
/// and those that it started: neither the root nor one that this process is in, too.
fn own_cpu_cgroup(pid: i32) -> anyhow::Result<(PathBuf, bool)> {
    let read = |pid: &str| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .with_context(|| format!("failed to read the cgroups of process {pid}"))
    };
    let [its, ours] = [read(&pid.to_string())?, read("self")?];
    let mounted = Hierarchies::mounted()?;
    let (mount, is_unified) = match (mounted.controller("cpu"), &mounted.unified) {
        (Some(mount), _) => (mount.to_owned(), false),
        (None, Some(mount)) => (mount.clone(), true),
        (None, None) => bail!("no cgroup hierarchy is mounted that gives CPU time"),
    };
    let path = cpu_path(&its, is_unified).unwrap_or("/");
    if path == "/" || cpu_path(&ours, is_unified) == Some(path) {
        bail!("process {pid} has no cgroup of its own that CPU time is given by");
    }
    Ok((mount.join(path.trim_start_matches('/')), is_unified))
}

/// The cgroup by which CPU time is given, as `/proc/PID/cgroup` has it (cgroups(7)).
fn cpu_path(text: &str, is_unified: bool) -> Option<&str> {
    text.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let is_it = match is_unified {
            true => controllers.is_empty(),
            false => controllers.split(',').any(|controller| controller == "cpu"),
        };
        is_it.then_some(path)
    })
}

fn kill(path: &Path) -> anyhow::Result<()> {
    let all_at_once = path.join("cgroup.kill");
    let at_once = all_at_once.exists();
    wait::until(&format!("processes in {} to end", path.display()), GONE, || {
        let left = members(path)?;
        if left.is_empty() {
            return Ok(Some(()));
        }
        if at_once {
            std::fs::write(&all_at_once, "1")
                .with_context(|| format!("failed to write {}", all_at_once.display()))?;
        } else {
            for pid in left {
                end(pid)?;
            }
        }
        Ok(None)
    })
}

/// Ends a process that was just listed as a member of a cgroup of ours.
fn end(pid: i32) -> anyhow::Result<()> {
    use nix::errno::Errno;
    use nix::sys::signal::{Signal, kill};
    match kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => bail!("failed to end process {pid}: {error}"),
    }
}

fn members(path: &Path) -> anyhow::Result<Vec<i32>> {
    let mut found = Vec::new();
    for folder in tree(path)? {
        match std::fs::read_to_string(folder.join("cgroup.procs")) {
            Ok(text) => found.extend(
                text.lines().filter_map(|line| line.parse::<i32>().ok().filter(|pid| *pid > 0)),
            ),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("failed to list {}", folder.display()));
            }
        }
    }
    Ok(found)
}

/// A cgroup and those below it, deepest last.
fn tree(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut all = vec![path.to_owned()];
    let mut next = 0;
    while let Some(folder) = all.get(next).cloned() {
        next += 1;
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                return Err(error).with_context(|| format!("failed to list {}", folder.display()));
            }
        };
        all.extend(
            entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()),
        );
    }
    Ok(all)
}

/// Removes empty cgroups. A process that was killed may hold its cgroup for a moment longer (`EBUSY`).
fn remove_tree(path: &Path) -> anyhow::Result<()> {
    for folder in tree(path)?.iter().rev() {
        wait::until(&format!("cgroup {} to be removable", folder.display()), GONE, || {
            match std::fs::remove_dir(folder) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(())),
                Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    for pid in members(folder)? {
                        end(pid)?;
                    }
                    Ok(None)
                }
                Err(error) => {
                    Err(error).with_context(|| format!("failed to remove {}", folder.display()))
                }
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "\
25 21 0:22 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
27 25 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
28 25 0:25 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn what_a_quota_did_is_read_in_both_versions() {
        let old = "nr_periods 12\nnr_throttled 3\nthrottled_time 4500000\n";
        let new = "usage_usec 9\nnr_periods 12\nnr_throttled 3\nthrottled_usec 4500\n";
        for text in [old, new] {
            assert_eq!(Throttled::parse(text), Throttled { periods: 3, ns: 4_500_000 });
        }
        assert_eq!(Throttled::parse(""), Throttled::default());
        let both = "3:cpuset:/x\n1:cpu,cpuacct:/docker/4f2a\n0::/unified\n";
        assert_eq!(cpu_path(both, false), Some("/docker/4f2a"));
        assert_eq!(cpu_path(both, true), Some("/unified"));
    }

    #[test]
    fn the_quota_of_others_is_not_ours_to_set() {
        // This process is in no cgroup that it has to itself.
        let this = i32::try_from(std::process::id()).unwrap();
        let error = limit_cpu(this, "1000").unwrap_err().to_string();
        assert!(error.contains("has no cgroup of its own"), "{error}");
    }

    #[test]
    fn version_two_is_preferred_and_version_one_found() {
        let both = Hierarchies::parse(BOTH);
        assert_eq!(both.tracking().unwrap(), Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(both.controller("cpu"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        let old = Hierarchies { unified: None, ..both };
        assert_eq!(old.tracking().unwrap(), Path::new("/sys/fs/cgroup/systemd"));
        assert!(Hierarchies::default().tracking().is_err());
    }
}
