//! A run that was measured with `sudo` belongs to who asked for it: a runner's user must be able to ship its files, and to remove them.

use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, fchown, fchownat};

use super::PAGE;
use crate::record::store::{BOOTS, DIAGNOSES, RESULTS, RUN};

/// What a run consists of, folders behind what lies in them.
const OWN: [&str; 8] = [RUN, BOOTS, DIAGNOSES, RESULTS, "summary.md", "junit.xml", PAGE, "report"];

/// Gives a run in a folder that was made for it to the user of `sudo`; nothing where there is none. The folder is opened once and is only ours while
/// it is root's and holds a run: who may move folders on the way to it cannot be given another one. No link is followed. What cannot be
/// given away stays root's, which hurts nobody's figures.
pub fn hand_over(dir: &Path) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (Some(user), Some(group)) = (number("SUDO_UID"), number("SUDO_GID")) else { return };
    if !Uid::effective().is_root() || user == 0 {
        return;
    }
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Ok(folder) = open(dir, flags, Mode::empty()) else { return };
    let is_ours = |found: &FileStat| found.st_uid == 0;
    let of = |name: &str| fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
    let is_file = |found: &FileStat| {
        SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
    };
    let holds_a_run = of(RUN).is_some_and(|found| is_ours(&found) && is_file(&found));
    if !holds_a_run || !fstat(&folder).is_ok_and(|found| is_ours(&found)) {
        return;
    }
    for name in OWN {
        if of(name).is_some_and(|found| is_ours(&found)) {
            fchownat(&folder, name, user, group, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
        }
    }
    fchown(&folder, user, group).ok();
}
