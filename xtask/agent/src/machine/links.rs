//! Network namespaces and links, through `ip`; counters read from the kernel directly.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::ip::ip_in;
use super::tools::Tools;

/// Packets and bytes that a link has received and sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
}

/// Where `ip` keeps named network namespaces.
const NETNS: &str = "/run/netns";

fn netns_file(name: &str) -> PathBuf {
    Path::new(NETNS).join(name)
}

/// Whether the folder of named network namespaces is mounted: the first `ip netns add` of a host mounts it on itself.
///
/// # Errors
/// The mounts cannot be listed.
pub fn has_netns_mount() -> anyhow::Result<bool> {
    Ok(super::mounts::places()?.iter().any(|place| place == Path::new(NETNS)))
}

/// Whether there is a namespace of this name, or the file of one that is only half made.
pub(crate) fn netns_is_there(name: &str) -> bool {
    netns_file(name).exists()
}

/// What `ip netns add` would do by itself, done before so that it can be undone.
///
/// # Errors
/// The folder cannot be made or mounted.
pub fn make_netns_mount() -> anyhow::Result<()> {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    std::fs::create_dir_all(NETNS).with_context(|| format!("failed to make {NETNS}"))?;
    mount(Some(NETNS), NETNS, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .and_then(|()| mount(NONE, NETNS, NONE, MsFlags::MS_SHARED | MsFlags::MS_REC, NONE))
        .with_context(|| format!("failed to mount {NETNS} on itself"))
}

/// Undoes [`make_netns_mount`], unless somebody else has named a namespace since.
pub(crate) fn remove_netns_mount() -> anyhow::Result<()> {
    // Closed before unmounting: an open folder keeps its mount busy.
    let is_empty = std::fs::read_dir(NETNS).map(|mut entries| entries.next().is_none());
    if !is_empty.unwrap_or(false) {
        return Ok(());
    }
    match nix::mount::umount(NETNS) {
        // It was not mounted yet when we were killed.
        Ok(()) | Err(nix::errno::Errno::EINVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("failed to unmount {NETNS}")),
    }
    std::fs::remove_dir(NETNS).with_context(|| format!("failed to remove {NETNS}"))
}

/// Makes and names a network namespace, or names that of a process: what `ip netns add` and `attach` do, for
/// which starting `ip` would take longer than the work.
pub(crate) fn make_netns(name: &str, with: &[String]) -> anyhow::Result<()> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use std::os::unix::fs::OpenOptionsExt as _;
    const NONE: Option<&str> = None;
    let file = netns_file(name);
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o000).open(&file);
    made.with_context(|| format!("failed to make {}", file.display()))?;
    let name_it = |of: &str| {
        mount(Some(of), &file, NONE, MsFlags::MS_BIND, NONE)
            .with_context(|| format!("failed to mount {of} on {}", file.display()))
    };
    match with {
        [] => on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .with_context(|| format!("failed to make network namespace {name}"))?;
            name_it("/proc/thread-self/ns/net")
        }),
        [pid] => name_it(&format!("/proc/{pid}/ns/net")),
        _ => bail!("network namespace {name}: at most one process to attach to"),
    }
}

/// Takes the name of a network namespace away; it goes with its last process.
pub(crate) fn remove_netns(name: &str) -> anyhow::Result<()> {
    use nix::errno::Errno;
    let file = netns_file(name);
    match nix::mount::umount2(&file, nix::mount::MntFlags::MNT_DETACH) {
        // Killed between making the file and mounting on it: then it is a plain file.
        Ok(()) | Err(Errno::EINVAL) => {}
        Err(Errno::ENOENT) => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to unmount {}", file.display()));
        }
    }
    std::fs::remove_file(&file).with_context(|| format!("failed to remove {}", file.display()))
}

pub(crate) fn remove_link(tools: Tools<'_>, name: &str) -> anyhow::Result<()> {
    if !exists(name) {
        return Ok(());
    }
    match tools.output(&["ip", "link", "delete", "dev", name]) {
        Ok(_) => Ok(()),
        // It went with its other end or its namespace meanwhile.
        Err(_) if !exists(name) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(crate) fn exists(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// Whether a link has a carrier and, if it is a port of a bridge, forwards.
pub(crate) fn forwards(tools: Tools<'_>, netns: &str, link: &str) -> anyhow::Result<bool> {
    let shown = show(tools, netns, "link", link)?;
    let up = |flag: &serde_json::Value| flag == "LOWER_UP";
    let carrier = shown[0]["flags"].as_array().is_some_and(|flags| flags.iter().any(up));
    let port = &shown[0]["linkinfo"]["info_slave_data"]["state"];
    Ok(carrier && (port.is_null() || port == "forwarding"))
}

/// Whether no address of a link is tentative.
pub(crate) fn addresses_ready(tools: Tools<'_>, netns: &str, link: &str) -> anyhow::Result<bool> {
    let shown = show(tools, netns, "address", link)?;
    let tentative = |address: &serde_json::Value| address["tentative"] == true;
    let addresses = shown[0]["addr_info"].as_array();
    Ok(addresses.is_some_and(|all| !all.is_empty() && !all.iter().any(tentative)))
}

fn show(
    tools: Tools<'_>,
    netns: &str,
    what: &str,
    link: &str,
) -> anyhow::Result<serde_json::Value> {
    let mut argv = ip_in(netns);
    argv.extend(["-details", "-json", what, "show", "dev", link]);
    let text = tools.output(&argv)?;
    serde_json::from_str(&text).with_context(|| format!("`{}` printed no JSON", argv.join(" ")))
}

/// Counters of a link in a named namespace, or in ours if the name is empty.
///
/// # Errors
/// No such namespace or link.
pub fn counters(netns: &str, link: &str) -> anyhow::Result<Counters> {
    let text = if netns.is_empty() {
        std::fs::read_to_string("/proc/thread-self/net/dev").context("failed to read net/dev")?
    } else {
        inside(netns, || Ok(std::fs::read_to_string("/proc/thread-self/net/dev")?))?
    };
    parse_counters(&text, link)
        .with_context(|| format!("no link {link} in network namespace `{netns}`"))
}

/// The one port of a bridge of the host's that is not `ours`.
///
/// # Errors
/// No such bridge, or it has not exactly one other port.
pub fn other_port(bridge: &str, ours: &str) -> anyhow::Result<String> {
    let folder = Path::new("/sys/class/net").join(bridge).join("brif");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("failed to list the ports of bridge {bridge}"))?;
    let mut others: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|port| port != ours)
        .collect();
    match (others.pop(), others.is_empty()) {
        (Some(port), true) => Ok(port),
        (None, _) => bail!("bridge {bridge} has no port but {ours}"),
        (Some(_), false) => bail!("bridge {bridge} has more ports than two"),
    }
}

/// Does something in a named network namespace, on a thread of its own. It must not start processes: they would die with the thread.
///
/// # Errors
/// The namespace is not there, or `work` fails.
pub fn inside<T: Send>(
    netns: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let path = netns_file(netns);
    let file = std::fs::File::open(&path)
        .with_context(|| format!("failed to open network namespace {}", path.display()))?;
    on_a_thread(move || {
        nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET)
            .with_context(|| format!("failed to enter network namespace {}", path.display()))?;
        work()
    })
}

/// Like [`inside`], where `/sys` shows the links of that namespace: by itself it shows those of whoever mounted it. The mount is the thread's
/// own, and goes with it.
///
/// # Errors
/// As [`inside`], or `/sys` cannot be mounted.
pub fn inside_with_links<T: Send>(
    netns: &str,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    inside(netns, move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE))
            .and_then(|()| mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), NONE))
            // A container that mounts its own read-only makes the file system so, not only its mount, which stays as it is.
            .and_then(|()| mount(NONE, "/sys", NONE, MsFlags::MS_REMOUNT, NONE))
            .context("failed to see the links of another network namespace")?;
        work()
    })
}

/// Does something on a thread that ends with it, and takes with it what the thread alone was changed in.
fn on_a_thread<T: Send>(work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(work);
        thread.join().unwrap_or_else(|_| bail!("a thread in another network namespace panicked"))
    })
}

/// Parses `/proc/net/dev` (proc(5)): after the name, eight fields received and eight sent.
fn parse_counters(text: &str, link: &str) -> Option<Counters> {
    text.lines().find_map(|line| {
        let (name, fields) = line.split_once(':')?;
        if name.trim() != link {
            return None;
        }
        let fields: Vec<u64> = fields.split_whitespace().map_while(|f| f.parse().ok()).collect();
        Some(Counters {
            rx_bytes: *fields.first()?,
            rx_packets: *fields.get(1)?,
            tx_bytes: *fields.get(8)?,
            tx_packets: *fields.get(9)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_name() {
        let text = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       2    0    0    0     0          0         0      300       4    0    0    0     0       0          0
ek1-p:18446744073709551615 7 0 0 0 0 0 0 8 9 0 0 0 0 0 0
";
        let lo = Counters { rx_bytes: 100, rx_packets: 2, tx_bytes: 300, tx_packets: 4 };
        assert_eq!(parse_counters(text, "lo"), Some(lo));
        assert_eq!(parse_counters(text, "ek1-p").unwrap().rx_bytes, u64::MAX);
        assert_eq!(parse_counters(text, "ek1"), None);
    }

    #[test]
    fn a_mount_for_namespaces_goes_away_unless_somebody_uses_it() {
        use nix::mount::{MsFlags, mount};
        use nix::sched::{CloneFlags, unshare};
        const NONE: Option<&str> = None;
        if !nix::unistd::geteuid().is_root() {
            eprintln!("not tested: only root may mount");
            return;
        }
        // In a mount namespace of its own with an empty /run, so that the host's is not touched.
        let tested = on_a_thread(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
            mount(Some("none"), "/run", Some("tmpfs"), MsFlags::empty(), NONE)?;
            make_netns_mount()?;
            let theirs = Path::new(NETNS).join("theirs");
            std::fs::write(&theirs, "")?;
            remove_netns_mount()?;
            assert!(theirs.exists(), "what somebody uses stays");
            std::fs::remove_file(&theirs)?;
            remove_netns_mount()?;
            assert!(!Path::new(NETNS).exists());
            remove_netns_mount()
        });
        tested.unwrap();
    }

    #[test]
    fn the_host_has_a_loopback() {
        assert!(counters("", "lo").is_ok());
    }
}
