//! A run that was measured with `sudo` belongs to who asked for it: a runner's user must be able to ship its files, and to remove them.

use std::path::Path;

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{Gid, Uid, fchownat};

use super::PAGE;
use crate::record::store::{BOOTS, RESULTS, RUN};

/// What a run consists of, folders behind what lies in them.
const OWN: [&str; 8] = [RUN, BOOTS, RESULTS, "summary.md", "junit.xml", PAGE, "report", "."];

/// Gives a run in a folder that was made for it to the user of `sudo`; nothing where there is none. Only what a run consists of, and no link is
/// followed. What cannot be given away stays root's, which hurts nobody's figures.
pub fn hand_over(dir: &Path) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (Some(user), Some(group)) = (number("SUDO_UID"), number("SUDO_GID")) else { return };
    if !Uid::effective().is_root() || user == 0 {
        return;
    }
    let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
    for name in OWN {
        let path = dir.join(name);
        let ours = std::fs::symlink_metadata(&path)
            .is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0);
        if ours {
            fchownat(AT_FDCWD, &path, user, group, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
        }
    }
}
