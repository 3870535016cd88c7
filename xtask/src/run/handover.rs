//! A run that is measured with `sudo` belongs to who asked for it: a runner's user must be able to ship its files, and to remove them. Also those of a run
//! that is killed: so the folder is given away when the run begins, and from then on the run writes and reads there as that user, whose links lead
//! nowhere that the user could not go alone.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use nix::fcntl::{AtFlags, OFlag, open};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, fchown, fchownat, getgroups, setfsgid, setfsuid};

use crate::record::store::{BOOTS, RUN, Store};
use crate::streams::say;

/// As whom the files of a run are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(Option<(Uid, Gid)>);

impl Owner {
    /// The user of `sudo`, where a folder is theirs and they can go there; else whoever we are.
    ///
    /// # Errors
    /// As [`Owner::acting`].
    pub(super) fn of(dir: &Path) -> anyhow::Result<Owner> {
        let Some(user) = asked_by() else { return Ok(Owner(None)) };
        let theirs = Owner(Some(user));
        let is = |found: &std::fs::Metadata| found.is_dir() && found.uid() == user.0.as_raw();
        let reached = theirs.acting(|| Ok(std::fs::metadata(dir).ok()))?;
        Ok(if reached.as_ref().is_some_and(is) { theirs } else { Owner(None) })
    }

    /// Does what concerns the folder's files as its owner. Nothing may be started meanwhile.
    ///
    /// # Errors
    /// Those of the work, and where this thread cannot act as the owner: then nothing is done.
    pub(super) fn acting<T>(self, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let _as_before = self.0.map(|(user, group)| AsUser::new(user, group)).transpose()?;
        work()
    }
}

/// Does what concerns the files of a run in this folder as its owner, where that is the user of `sudo`. Nothing may be started meanwhile.
///
/// # Errors
/// Those of the work, and where this thread cannot act as the owner: then nothing is done.
pub fn as_owner<T>(dir: &Path, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    Owner::of(dir)?.acting(work)
}

/// This thread asks for files as somebody else, until it is dropped. Whoever is not root has none of root's powers over files.
struct AsUser {
    before: (Uid, Gid),
    groups: Vec<libc::gid_t>,
}

impl AsUser {
    fn new(user: Uid, group: Gid) -> anyhow::Result<AsUser> {
        // A pool's threads stay whoever began it: its first use may be meanwhile.
        rayon::current_num_threads();
        let groups: Vec<_> = getgroups()
            .context("failed to read the groups of this process")?
            .into_iter()
            .map(Gid::as_raw)
            .collect();
        let theirs = groups_of(user, Path::new("/etc"));
        let as_user = || format!("failed to act as user {user}, whose files these are");
        set_groups(&theirs).with_context(as_user)?;
        // The user last: only root may change the group.
        let group_before = setfsgid(group);
        let changed = AsUser { before: (setfsuid(user), group_before), groups };
        // Neither call says whether it did anything: one that cannot succeed answers who this thread is now.
        let nobody = u32::MAX;
        let now = (setfsuid(Uid::from_raw(nobody)), setfsgid(Gid::from_raw(nobody)));
        // What was changed is changed back by its drop.
        ensure!(
            now == (user, group),
            "{}: the kernel does not know them here: run this as themselves, or as root without SUDO_UID",
            as_user()
        );
        Ok(changed)
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        setfsuid(self.before.0);
        setfsgid(self.before.1);
        // Without them it can do less, which whoever needs more is told.
        if let Err(error) = set_groups(&self.groups) {
            say(format_args!("warning: failed to give this thread its groups back: {error}"));
        }
    }
}

/// Sets the groups of this thread alone: the C library would set those of all.
fn set_groups(groups: &[libc::gid_t]) -> std::io::Result<()> {
    // SAFETY: the pointer is to as many live group numbers as are told.
    match unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// The groups that this host's files give a user beside their first; none of those that a directory service gives, which this program, being static,
/// cannot ask.
fn groups_of(user: Uid, etc: &Path) -> Vec<libc::gid_t> {
    let read = |name: &str| std::fs::read_to_string(etc.join(name)).unwrap_or_default();
    let (users, groups) = (read("passwd"), read("group"));
    let number = user.to_string();
    let fields = |line: &'_ str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let is_theirs = |line: &Vec<String>| line.get(2) == Some(&number);
    let Some(name) = users.lines().map(fields).find(is_theirs).map(|line| line[0].clone()) else {
        return Vec::new();
    };
    let of_group = |line: &str| {
        let mut fields = line.splitn(4, ':').skip(2);
        let (group, members) = (fields.next()?.parse().ok()?, fields.next()?);
        members.split(',').any(|member| member == name).then_some(group)
    };
    groups.lines().filter_map(of_group).collect()
}

/// The user of `sudo`, where there is one, and we are root.
fn asked_by() -> Option<(Uid, Gid)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let (user, group) = (number("SUDO_UID")?, number("SUDO_GID")?);
    (Uid::effective().is_root() && user != 0).then(|| (Uid::from_raw(user), Gid::from_raw(group)))
}

/// Gives a run that was begun in a folder which was made for it to the user of `sudo`; nothing where there is none, or where they cannot go there. The folder
/// is opened once, and is only ours while it is root's and holds the very file that the run writes to: who may move folders on the way to it cannot
/// give another one. No link is followed, and no file is given away that has another name elsewhere. What cannot be given away stays root's,
/// which hurts nobody's figures.
pub(super) fn hand_over(dir: &Path, store: &Store) {
    let Some((user, group)) = asked_by() else { return };
    let Ok(boots) = store.boots().metadata() else { return };
    give(dir, &boots, user, group);
}

fn give(dir: &Path, boots: &std::fs::Metadata, user: Uid, group: Gid) -> Option<()> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let folder = File::from(open(dir, flags, Mode::empty()).ok()?);
    let here = fstat(&folder).ok().filter(is_ours)?;
    let found = |name: &str| {
        let of = fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW).ok();
        of.filter(|of| is_ours(of) && is_file(of) && of.st_nlink == 1)
    };
    let is_known = |of: FileStat| (of.st_dev, of.st_ino) == (boots.dev(), boots.ino());
    found(RUN)?;
    found(BOOTS).filter(|of| is_known(*of))?;
    // A folder that they cannot go to is of no use to them, and they could not write there.
    let theirs = Owner(Some((user, group)));
    let reached = theirs.acting(|| Ok(std::fs::metadata(dir)?)).ok()?;
    if (reached.dev(), reached.ino()) != (here.st_dev, here.st_ino) {
        return None;
    }
    // Nobody but root changes the folder until it is given away itself.
    for name in [RUN, BOOTS] {
        fchownat(&folder, name, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    }
    fchown(&folder, Some(user), Some(group)).ok()
}

fn is_ours(found: &FileStat) -> bool {
    found.st_uid == 0
}

fn is_file(found: &FileStat) -> bool {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::record::testing::{cell, run};

    const NOBODY: u32 = 65534;

    fn nobody() -> (Uid, Gid) {
        (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY))
    }

    fn owner(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().uid()
    }

    /// A folder that everybody may go to, with a run in it, just begun.
    fn begun(name: &str) -> (tempfile::TempDir, std::path::PathBuf, Store) {
        assert!(Uid::effective().is_root(), "this test gives files away: run it as root");
        let place = tempfile::tempdir().unwrap();
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(place.path(), all).unwrap();
        let dir = place.path().join(name);
        let store = Store::create(&dir, &run(&[cell("netns", "stock")])).unwrap();
        (place, dir, store)
    }

    #[test]
    fn real_a_run_that_was_just_begun_is_given_away_whole() {
        let (_place, dir, store) = begun("run");
        let boots = store.boots().metadata().unwrap();
        give(&dir, &boots, nobody().0, nobody().1).unwrap();
        let all = [dir.clone(), dir.join(RUN), dir.join(BOOTS)];
        assert_eq!(all.map(|path| owner(&path)), [NOBODY; 3]);
        // What is written from now on is theirs.
        let theirs = Owner(Some(nobody()));
        theirs.acting(|| Ok(std::fs::write(dir.join("summary.md"), "x")?)).unwrap();
        assert_eq!(owner(&dir.join("summary.md")), NOBODY);
    }

    #[test]
    fn real_neither_another_folder_nor_a_file_of_two_names_is_given_away() {
        let (place, dir, store) = begun("run");
        let boots = store.boots().metadata().unwrap();
        let moved = |dir: &Path| give(dir, &boots, nobody().0, nobody().1);
        // A link to it, and another run in its place.
        let link = place.path().join("link");
        symlink(&dir, &link).unwrap();
        assert_eq!(moved(&link), None);
        let (_other, elsewhere, _store) = begun("run");
        assert_eq!(moved(&elsewhere), None);
        assert_eq!(owner(&elsewhere.join(RUN)), 0);
        let second = place.path().join("second");
        std::fs::hard_link(dir.join(RUN), &second).unwrap();
        assert_eq!(moved(&dir), None);
        assert_eq!([&dir, &second].map(|path| owner(path)), [0, 0]);
        std::fs::remove_file(second).unwrap();
        // Where they cannot go.
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(place.path(), closed).unwrap();
        assert_eq!(moved(&dir), None);
        assert_eq!(owner(&dir), 0);
    }

    #[test]
    fn real_what_is_written_as_the_owner_follows_their_links_nowhere_else() {
        let (place, dir, store) = begun("run");
        give(&dir, &store.boots().metadata().unwrap(), nobody().0, nobody().1).unwrap();
        let secret = place.path().join("secret");
        std::fs::write(&secret, "root's").unwrap();
        symlink(&secret, dir.join("summary.md")).unwrap();
        symlink(place.path(), dir.join("report")).unwrap();
        let theirs = Owner(Some(nobody()));
        theirs
            .acting(|| {
                assert!(std::fs::write(dir.join("summary.md"), "evil").is_err());
                assert!(std::fs::write(dir.join("report/index.html"), "evil").is_err());
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "root's");
        // And afterwards this thread is who it was.
        std::fs::write(place.path().join("index.html"), "ours").unwrap();
    }

    #[test]
    fn real_what_roots_groups_may_read_is_not_read_as_the_owner() {
        let (place, _dir, _store) = begun("run");
        let secret = place.path().join("secret");
        std::fs::write(&secret, "root's").unwrap();
        let of_group = std::os::unix::fs::PermissionsExt::from_mode(0o040);
        std::fs::set_permissions(&secret, of_group).unwrap();
        std::thread::spawn(move || {
            // As a login's root has it, and a test's may not.
            set_groups(&[0]).unwrap();
            let read = Owner(Some(nobody())).acting(|| Ok(std::fs::read(&secret)?)).unwrap_err();
            assert!(read.to_string().contains("denied"), "{read}");
            assert_eq!(getgroups().unwrap(), [Gid::from_raw(0)]);
            assert_eq!(std::fs::read(&secret).unwrap(), b"root's");
        })
        .join()
        .unwrap();
    }

    #[test]
    fn real_a_pool_that_is_first_used_as_the_owner_is_not_theirs() {
        let owner = Owner(Some(nobody()));
        let who = owner.acting(|| Ok(rayon::broadcast(|_| setfsuid(Uid::from_raw(u32::MAX)))));
        assert!(who.unwrap().iter().all(|who| who.is_root()));
    }

    #[test]
    fn real_where_the_owner_cannot_be_acted_as_nothing_is_done() {
        let no_user = Owner(Some((Uid::from_raw(u32::MAX), nobody().1)));
        let mut done = false;
        let error = no_user.acting(|| Ok(done = true)).unwrap_err();
        assert!(!done);
        assert!(format!("{error:#}").contains("run this as themselves"), "{error:#}");
        assert!(setfsuid(Uid::from_raw(u32::MAX)).is_root());
    }

    #[test]
    fn groups_are_those_of_the_hosts_files() {
        let etc = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(etc.path().join(name), text).unwrap();
        write("passwd", "root:x:0:0::/:/bin/sh\nada:x:1000:100:Ada:/home/ada:/bin/sh\n");
        write("group", "root:x:0:\nadam:x:7:adam\nbench:x:30:bob,ada\nbroken\nvm:x:31:ada\n");
        assert_eq!(groups_of(Uid::from_raw(1000), etc.path()), [30, 31]);
        assert_eq!(groups_of(Uid::from_raw(1001), etc.path()), [0; 0]);
    }
}
