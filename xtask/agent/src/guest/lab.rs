//! Init of a lab: a guest in which the tool runs boots of its own. Its root is the host's, shared read-only, under a layer in memory
//! that takes what is written; processes, devices, sockets, journals and an engine's storage are its own from the start. So every
//! program of the host is there, and nothing that happens in the lab reaches the host or outlives the machine.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{Pid, chdir, chroot};

use super::{Mount, NO_DEVICES, SAFE};
use crate::command;

/// The folder of the initramfs in which a lab's root is put together. Where it is there, the guest is a lab.
pub const PLACE: &str = "/lab";

/// The tag by which the guest finds the host's root.
pub const SHARE: &str = "evenkeel.root";

/// Where a lab's root holds what only labs have: this program, settings of an engine.
pub const FOLDER: &str = "/run/evenkeel-lab";

/// What lies over the host's root: states of the host that a lab must not see, and places for its own. Mounted in this order, from inside,
/// so that links of the host lead where they lead on the host.
const FRESH: [Mount; 13] = [
    Mount { kind: "proc", at: "/proc", flags: SAFE },
    Mount { kind: "sysfs", at: "/sys", flags: SAFE },
    Mount { kind: "cgroup2", at: "/sys/fs/cgroup", flags: SAFE },
    Mount { kind: "debugfs", at: "/sys/kernel/debug", flags: SAFE },
    Mount { kind: "devtmpfs", at: "/dev", flags: MsFlags::MS_NOSUID },
    Mount { kind: "devpts", at: "/dev/pts", flags: MsFlags::MS_NOSUID },
    Mount { kind: "tmpfs", at: "/dev/shm", flags: NO_DEVICES },
    Mount { kind: "tmpfs", at: "/run", flags: NO_DEVICES },
    Mount { kind: "tmpfs", at: "/var/lib/docker", flags: MsFlags::empty() },
    Mount { kind: "tmpfs", at: "/var/lib/containerd", flags: MsFlags::empty() },
    Mount { kind: "tmpfs", at: "/var/lib/evenkeel", flags: NO_DEVICES },
    Mount { kind: "tmpfs", at: "/var/tmp", flags: NO_DEVICES },
    Mount { kind: "tmpfs", at: "/var/log", flags: NO_DEVICES },
];

/// Where programs are looked for, and the home of who runs them.
const ENVIRONMENT: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", "/root")];

/// Whether this guest is a lab.
pub fn is_lab() -> bool {
    Path::new(PLACE).is_dir()
}

/// The life of a lab: takes the host's root for its own and runs this program as `lab` on the control port, until that ends.
///
/// # Errors
/// The root cannot be put together, or the program fails.
pub fn live(port: File) -> anyhow::Result<()> {
    enter(&take_root(Path::new(PLACE))?)?;
    freshen()?;
    let program = show_program()?;
    let child = command::attach(&[&program, "lab"], port, &ENVIRONMENT)?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("a process id is no number")?);
    // All orphans of the lab are ours to collect.
    loop {
        match wait().context("failed to wait for the lab's processes")? {
            WaitStatus::Exited(pid, code) if pid == child => {
                ensure!(code == 0, "the lab's program ended with code {code}");
                return Ok(());
            }
            ended @ WaitStatus::Signaled(pid, ..) if pid == child => {
                ensure!(false, "the lab's program was killed: {ended:?}");
            }
            _ => {}
        }
    }
}

/// The host's root, read-only, under a layer in memory; in `place`.
fn take_root(place: &Path) -> anyhow::Result<PathBuf> {
    let text = |path: &Path| path.display().to_string();
    mount_on(place, Some("tmpfs"), "tmpfs", MsFlags::empty(), "mode=755")?;
    let [lower, upper, work, root] = ["lower", "upper", "work", "root"].map(|at| place.join(at));
    for folder in [&lower, &upper, &work, &root] {
        make(folder)?;
    }
    // Nothing of it is watched for changes: what the host changes meanwhile may be seen late.
    let shared = "trans=virtio,version=9p2000.L,msize=524288,cache=loose";
    mount_on(&lower, Some(SHARE), "9p", MsFlags::MS_RDONLY, shared)?;
    let layers =
        format!("lowerdir={},upperdir={},workdir={}", text(&lower), text(&upper), text(&work));
    mount_on(&root, Some("overlay"), "overlay", MsFlags::empty(), &layers)?;
    Ok(root)
}

/// Mounts what the lab has of its own.
fn freshen() -> anyhow::Result<()> {
    for Mount { kind, at, flags } in FRESH {
        let at = Path::new(at);
        // Folders of kernel file systems are there, or cannot be made.
        if !at.is_dir() {
            make(at)?;
        }
        let mode = if kind == "tmpfs" { "mode=755" } else { "" };
        match mount_on(at, Some(kind), kind, flags, mode) {
            // Only knobs and facts look there, and say so where they find nothing.
            Err(error) if kind == "debugfs" && error.downcast_ref() == Some(&Errno::ENODEV) => {}
            mounted => mounted?,
        }
    }
    // Everybody writes there.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    fs::set_permissions("/dev/shm", open).context("failed to open /dev/shm to all")
}

/// Shows this program, which is a file of the initramfs, in the new root. Answers its path there.
fn show_program() -> anyhow::Result<String> {
    let program = format!("{FOLDER}/xtask");
    make(Path::new(FOLDER))?;
    File::create(&program).with_context(|| format!("failed to make {program}"))?;
    mount_on(Path::new(&program), Some("/proc/self/exe"), "", MsFlags::MS_BIND, "")?;
    Ok(program)
}

/// Makes a folder the root of this process and of all that it starts: moved over the initramfs, so that containers can leave it.
fn enter(root: &Path) -> anyhow::Result<()> {
    let entering = || format!("failed to enter {}", root.display());
    chdir(root).with_context(entering)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).with_context(entering)?;
    chroot(".").and_then(|()| chdir("/")).with_context(entering)
}

fn make(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("failed to make folder {}", folder.display()))
}

fn mount_on(
    at: &Path,
    source: Option<&str>,
    kind: &str,
    flags: MsFlags,
    options: &str,
) -> anyhow::Result<()> {
    mount(source, at, Some(kind), flags, Some(options)).with_context(|| {
        format!("failed to mount {kind} {} on {}", source.unwrap_or_default(), at.display())
    })
}
