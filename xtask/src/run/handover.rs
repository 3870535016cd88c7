//! A run that is measured with `sudo` belongs to who asked for it: a runner's user must be able to ship its files, and to remove them. Also those of a run
//! that is killed: so where the place is theirs, root makes, writes and reads the run as that user from the first file on, whose links lead nowhere that the
//! user could not go alone. Where the place is root's, the run is, too: nothing is given away.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::{AccessFlags, Gid, Uid, faccessat, getgroups, setfsgid, setfsuid};

use crate::streams::say;

/// As whom the files of a run are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner(Option<(Uid, Gid)>);

/// Where the host's files of users and groups are.
const ETC: &str = "/etc";

/// Whoever we are.
const OURS: Owner = Owner(None);

impl Owner {
    /// The user of `sudo`, where they can go to a folder, or to the nearest one above that is there, and it is theirs or they can write there; also
    /// where a link of theirs leads to it. Else whoever we are.
    ///
    /// # Errors
    /// As [`Owner::acting`].
    pub(super) fn of(dir: &Path) -> anyhow::Result<Owner> {
        asked_by().map_or(Ok(OURS), |user| Owner::where_theirs(dir, user))
    }

    /// The same, or else the user whose folder it is, where we are root: what lies there is from them.
    ///
    /// # Errors
    /// As [`Owner::acting`].
    pub(super) fn of_kept(dir: &Path) -> anyhow::Result<Owner> {
        let owner = Owner::of(dir)?;
        let found = nearest(dir).and_then(|place| place.metadata().ok());
        let (true, Some(of)) = (owner == OURS && Uid::effective().is_root(), found) else {
            return Ok(owner);
        };
        if of.uid() == 0 {
            return Ok(owner);
        }
        let user = Uid::from_raw(of.uid());
        // A folder may have a group that its owner is not in.
        let group = account(user, Path::new(ETC)).map_or(of.gid(), |(_, group)| group);
        Owner::where_theirs(dir, (user, Gid::from_raw(group)))
    }

    fn where_theirs(dir: &Path, user: (Uid, Gid)) -> anyhow::Result<Owner> {
        let (theirs, is) = (Owner(Some(user)), |uid: u32| uid == user.0.as_raw());
        let Some(place) = nearest(dir) else { return Ok(OURS) };
        let leads = |path: &Path| {
            path.symlink_metadata().is_ok_and(|found| found.is_symlink() && is(found.uid()))
        };
        if place.ancestors().any(leads) {
            return Ok(theirs);
        }
        let may_write = AccessFlags::W_OK | AccessFlags::X_OK;
        let writes = || faccessat(AT_FDCWD, place, may_write, AtFlags::AT_EACCESS).is_ok();
        let holds = || place.metadata().is_ok_and(|found| is(found.uid()) || writes());
        Ok(if theirs.acting(|| Ok(holds()))? { theirs } else { OURS })
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

/// A folder, or the nearest one above it that is there, or a link in its place.
fn nearest(dir: &Path) -> Option<&Path> {
    let named = |path: &Path| path.symlink_metadata().is_ok();
    let here = |path| if path == Path::new("") { Path::new(".") } else { path };
    dir.ancestors().map(here).find(|path| named(path))
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
        let theirs = groups_of(user, Path::new(ETC));
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

/// The name and the first group that this host's files give a user.
fn account(user: Uid, etc: &Path) -> Option<(String, libc::gid_t)> {
    let number = user.to_string();
    let users = std::fs::read_to_string(etc.join("passwd")).unwrap_or_default();
    users.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, of, group, ..] = fields[..] else { return None };
        (of == number).then_some((name.to_owned(), group.parse().ok()?))
    })
}

/// The groups that this host's files give a user beside their first; none of those that a directory service gives, which this program, being static,
/// cannot ask.
fn groups_of(user: Uid, etc: &Path) -> Vec<libc::gid_t> {
    let Some((name, _)) = account(user, etc) else { return Vec::new() };
    let groups = std::fs::read_to_string(etc.join("group")).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, lchown, symlink};
    use std::path::PathBuf;

    use super::*;
    use crate::record::store::{BOOTS, RUN, Store};
    use crate::record::testing::{cell, run};

    const NOBODY: u32 = 65534;

    fn nobody() -> (Uid, Gid) {
        (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY))
    }

    fn owner_of(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().uid()
    }

    /// A folder of root's that everybody may go to, and in it one of nobody's.
    fn place() -> (tempfile::TempDir, PathBuf) {
        assert!(Uid::effective().is_root(), "this test gives files away: run it as root");
        let place = tempfile::tempdir().unwrap();
        set_mode(place.path(), 0o755);
        let home = place.path().join("home");
        std::fs::create_dir(&home).unwrap();
        chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        (place, home)
    }

    fn set_mode(path: &Path, mode: u32) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    }

    #[test]
    fn real_a_run_in_a_place_of_theirs_is_theirs_whole() {
        let (_place, home) = place();
        let dir = home.join("out/run");
        let owner = Owner::where_theirs(&dir, nobody()).unwrap();
        owner.acting(|| Store::create(&dir, &run(&[cell("netns", "stock")]))).unwrap();
        let all = [home.join("out"), dir.clone(), dir.join(RUN), dir.join(BOOTS)];
        assert_eq!(all.map(|path| owner_of(&path)), [NOBODY; 4]);
    }

    #[test]
    fn real_a_place_is_theirs_by_its_nearest_folder_or_a_link_of_theirs() {
        let (place, home) = place();
        let is_theirs = |dir: &Path| Owner::where_theirs(dir, nobody()).unwrap() != OURS;
        assert!(!is_theirs(&place.path().join("run")), "in root's own place");
        assert!(is_theirs(&home.join("run")));
        let roots = home.join("roots");
        std::fs::create_dir(&roots).unwrap();
        assert!(!is_theirs(&roots.join("run")));
        set_mode(&roots, 0o777);
        assert!(is_theirs(&roots.join("run")), "they can write there");
        // Links in their place, wherever they lead, and though nothing is there.
        for (name, target) in [("link", place.path()), ("dangling", &place.path().join("new"))] {
            let link = home.join(name);
            symlink(target, &link).unwrap();
            lchown(&link, Some(NOBODY), Some(NOBODY)).unwrap();
            assert!(is_theirs(&link) && is_theirs(&link.join("home/run")), "{name}");
        }
        // Where they cannot go.
        set_mode(place.path(), 0o700);
        assert!(!is_theirs(&home.join("run")));
    }

    #[test]
    fn real_what_lies_in_somebodys_folder_is_read_and_written_as_them() {
        let (place, home) = place();
        let owner = Owner::of_kept(&home).unwrap();
        assert_eq!([owner, Owner::of_kept(place.path()).unwrap()], [Owner(Some(nobody())), OURS]);
        let secret = place.path().join("secret");
        std::fs::write(&secret, "root's").unwrap();
        symlink(&secret, home.join("summary.md")).unwrap();
        symlink(place.path(), home.join("report")).unwrap();
        owner
            .acting(|| {
                assert!(std::fs::write(home.join("summary.md"), "evil").is_err());
                assert!(std::fs::write(home.join("report/index.html"), "evil").is_err());
                Ok(())
            })
            .unwrap();
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "root's");
        // And afterwards this thread is who it was.
        std::fs::write(place.path().join("index.html"), "ours").unwrap();
    }

    #[test]
    fn real_what_roots_groups_may_read_is_not_read_as_the_owner() {
        let (place, _home) = place();
        let secret = place.path().join("secret");
        std::fs::write(&secret, "root's").unwrap();
        set_mode(&secret, 0o040);
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
        let work = || {
            done = true;
            Ok(())
        };
        let error = no_user.acting(work).unwrap_err();
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
        assert_eq!(account(Uid::from_raw(1000), etc.path()), Some(("ada".to_owned(), 100)));
        assert_eq!(groups_of(Uid::from_raw(1001), etc.path()), [0; 0]);
    }
}
