//! Init of a guest: what makes an agent out of a machine whose root is nothing but our initramfs.
//! It mounts the kernel's file systems, loads the modules that the initramfs lists, opens the
//! control port and serves until told to quit. It never hangs: whatever goes wrong is said on the
//! console, and the machine powers off.

pub mod lab;
mod network;

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};

use crate::netlink::{Events, Netlink};
use crate::threads;

pub use network::configure;

/// The name of the virtio-serial port that QEMU connects to the agent's control channel.
pub const CONTROL_PORT: &str = "evenkeel.control";

/// Where the initramfs lists its modules: one path a line, in the order of loading.
pub const MODULE_LIST: &str = "/lib/modules/evenkeel.order";

/// How long the control port may take to appear after the modules are loaded. Long because an
/// emulated machine on a busy host is slow; a machine without the port fails, it does not wait for ever.
const PORT_APPEARS: Duration = Duration::from_secs(30);

/// A file system that the guest's programs expect.
struct Mount {
    kind: &'static str,
    at: &'static str,
    flags: MsFlags,
}

const MOUNTS: [Mount; 7] = [
    Mount { kind: "proc", at: "/proc", flags: SAFE },
    Mount { kind: "sysfs", at: "/sys", flags: SAFE },
    Mount { kind: "devtmpfs", at: "/dev", flags: MsFlags::MS_NOSUID },
    Mount { kind: "tmpfs", at: "/tmp", flags: NO_DEVICES },
    Mount { kind: "tmpfs", at: "/run", flags: NO_DEVICES },
    Mount { kind: "tmpfs", at: "/var/tmp", flags: NO_DEVICES },
    Mount { kind: "cgroup2", at: "/sys/fs/cgroup", flags: SAFE },
];
const NO_DEVICES: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const SAFE: MsFlags = NO_DEVICES.union(MsFlags::MS_NOEXEC);

/// Whether this process is the init of a guest.
pub fn is_init() -> bool {
    std::process::id() == 1
        && std::env::args_os().next().is_some_and(|name| Path::new(&name).ends_with("init"))
}

/// The life of a guest: prepare, serve on the control port, power off.
/// An error or a panic is written to the console first.
pub fn main(serve: impl FnOnce(File) -> anyhow::Result<()>) -> ! {
    let life = catch_unwind(AssertUnwindSafe(|| prepare().and_then(serve)));
    match life {
        Ok(Ok(())) => {}
        Ok(Err(error)) => eprintln!("evenkeel: the guest gives up: {error:#}"),
        Err(_) => eprintln!("evenkeel: the guest gives up: its init panicked (see above)"),
    }
    power_off()
}

/// Makes a bare machine usable and opens the control port.
///
/// # Errors
/// If a file system cannot be mounted, a module cannot be loaded, or the port does not appear.
pub fn prepare() -> anyhow::Result<File> {
    for Mount { kind, at, flags } in MOUNTS {
        fs::create_dir_all(at).with_context(|| format!("failed to make folder `{at}`"))?;
        mount(Some(kind), at, Some(kind), flags, None::<&str>)
            .with_context(|| format!("failed to mount {kind} on `{at}`"))?;
    }
    // Shows how the kernel preempts. One that was built without it is measured all the same.
    let debugfs = "/sys/kernel/debug";
    if let Err(error) = mount(Some("debugfs"), debugfs, Some("debugfs"), SAFE, None::<&str>) {
        eprintln!("evenkeel: no debugfs on `{debugfs}`: {error}");
    }
    let events = Events::of_devices()?;
    if lab::is_lab() {
        load_what_loads(Path::new(MODULE_LIST))?;
    } else {
        load_modules(Path::new(MODULE_LIST))?;
        serve_on_isolated()?;
    }
    let mut netlink = Netlink::open()?;
    let loopback = netlink.links()?.into_iter().find(|link| link.name == "lo");
    netlink.set_up(loopback.context("the kernel has no loopback link")?.index)?;

    let port = events.until("virtio-serial port `evenkeel.control`", PORT_APPEARS, || {
        find_port(Path::new("/sys/class/virtio-ports"), CONTROL_PORT)
    })?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&port)
        .with_context(|| format!("failed to open the control port `{}`", port.display()))
}

/// A kernel that was told to isolate CPUs puts nothing on them by itself. What a guest isolates them for is what it serves: this process, and
/// so all threads and programs that it starts.
fn serve_on_isolated() -> anyhow::Result<()> {
    let path = "/sys/devices/system/cpu/isolated";
    let list = match fs::read_to_string(path) {
        // Kernels that cannot isolate any have no such file.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        read => read.with_context(|| format!("failed to read `{path}`"))?,
    };
    let cpus = threads::parse_list(&list).with_context(|| format!("failed to read `{path}`"))?;
    match cpus.is_empty() {
        true => Ok(()),
        false => threads::set_affinity(0, &cpus),
    }
}

/// Ends the machine. Falls back to a reset, which ends a QEMU started with `-no-reboot` as well.
pub fn power_off() -> ! {
    nix::unistd::sync();
    for mode in [RebootMode::RB_POWER_OFF, RebootMode::RB_AUTOBOOT] {
        match reboot(mode) {
            Ok(never) => match never {},
            Err(error) => eprintln!("evenkeel: failed to power off ({mode:?}): {error}"),
        }
    }
    // The kernel panics when init ends, and `panic=-1` on its command line resets the machine.
    std::process::exit(1)
}

fn load_modules(list: &Path) -> anyhow::Result<()> {
    modules(list)?.iter().try_for_each(|path| load(path))
}

/// A lab can do without most of its modules: what does not load is said on the console, and missed by what needs it.
fn load_what_loads(list: &Path) -> anyhow::Result<()> {
    for path in modules(list)? {
        if let Err(error) = load(&path) {
            eprintln!("evenkeel: {error:#}");
        }
    }
    Ok(())
}

/// The paths in a list, in its order.
fn modules(list: &Path) -> anyhow::Result<Vec<String>> {
    let text = fs::read_to_string(list)
        .with_context(|| format!("failed to read the module list `{}`", list.display()))?;
    Ok(text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn load(path: &str) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("failed to open module `{path}`"))?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(error) => Err(anyhow!(error)).with_context(|| format!("failed to load `{path}`")),
    }
}

/// The device of the virtio-serial port with this name, if it is there by now.
fn find_port(class: &Path, name: &str) -> anyhow::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(class) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to list `{}`", class.display()));
        }
    };
    for entry in entries {
        let entry = entry.with_context(|| format!("failed to list `{}`", class.display()))?;
        // A port without a name has no such file, and one that is just being made may not have it yet.
        let Ok(found) = fs::read_to_string(entry.path().join("name")) else { continue };
        let device = Path::new("/dev").join(entry.file_name());
        if found.trim_end() == name {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_port_is_found_by_name_among_others() {
        let class = tempfile::tempdir().unwrap();
        let missing = class.path().join("nothing");
        assert_eq!(find_port(&missing, CONTROL_PORT).unwrap(), None);
        for (port, name) in [
            ("vport1p0", None),
            ("vport1p1", Some("org.qemu\n")),
            ("vport1p2", Some("evenkeel.control\n")),
        ] {
            let folder = class.path().join(port);
            fs::create_dir(&folder).unwrap();
            if let Some(name) = name {
                fs::write(folder.join("name"), name).unwrap();
            }
        }
        let found = find_port(class.path(), CONTROL_PORT).unwrap();
        assert_eq!(found.as_deref(), Some(Path::new("/dev/vport1p2")));
        assert_eq!(find_port(class.path(), "evenkeel").unwrap(), None);
    }

    #[test]
    fn a_module_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("order");
        fs::write(&list, "/nowhere/virtio_net.ko\n").unwrap();
        let error = load_modules(&list).unwrap_err();
        assert!(format!("{error:#}").contains("`/nowhere/virtio_net.ko`"), "{error:#}");
    }

    #[test]
    fn a_test_is_not_an_init() {
        assert!(!is_init());
    }
}
