//! What is mounted where.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The places of all mounts, in the order in which they were made.
///
/// # Errors
/// `/proc/self/mountinfo` cannot be read.
pub(crate) fn places() -> anyhow::Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mountinfo")
        .context("failed to read /proc/self/mountinfo")?;
    // proc(5): the fifth field is the place; white space in it is written in octal, which names of ours do not have.
    Ok(text.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect())
}

/// Unmounts everything inside a folder, innermost first.
///
/// # Errors
/// Something cannot be unmounted.
pub(crate) fn unmount_inside(folder: &Path) -> anyhow::Result<()> {
    use nix::mount::{MntFlags, umount2};
    for place in places()?.iter().rev().filter(|place| place.starts_with(folder)) {
        match umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
            // It went with another one, or somebody else was faster.
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("failed to unmount {}", place.display()));
            }
        }
    }
    Ok(())
}
