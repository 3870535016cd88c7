//! The cache: folders named by what is in them, complete or not there. Two runs may fill it at
//! once; whoever finishes first wins, and the other uses that.

use std::fs;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use nix::fcntl::{Flock, FlockArg};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// A folder of things that can be made again.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache of this user: `/var/cache/evenkeel` for root, else `$XDG_CACHE_HOME/evenkeel` or
    /// `~/.cache/evenkeel`.
    ///
    /// # Errors
    /// If there is no home folder, or the folder cannot be made.
    pub fn open() -> anyhow::Result<Cache> {
        let root = if nix::unistd::geteuid().is_root() {
            PathBuf::from("/var/cache/evenkeel")
        } else {
            let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
            set("XDG_CACHE_HOME")
                .or_else(|| set("HOME").map(|home| home.join(".cache")))
                .context("no place for the cache: set HOME or XDG_CACHE_HOME")?
                .join("evenkeel")
        };
        Cache::at(&root)
    }

    /// A cache in this folder.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn at(root: &Path) -> anyhow::Result<Cache> {
        fs::create_dir_all(root)
            .with_context(|| format!("failed to make the cache folder `{}`", root.display()))?;
        Ok(Cache { root: root.to_owned() })
    }

    /// The entry of this name, if it is complete.
    pub fn get(&self, name: &str) -> Option<PathBuf> {
        let path = self.root.join(name);
        path.exists().then_some(path)
    }

    /// The entry of this name: a folder. If it is not there, `fill` writes into an empty folder, which
    /// then appears under the name at once and as a whole.
    ///
    /// # Errors
    /// What `fill` returns, and errors of the file system; nothing is left behind.
    pub fn folder(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let is_made_often = MADE_OFTEN.iter().any(|kept| name.starts_with(kept));
        if let Some(path) = self.get(name) {
            if is_made_often {
                touch(&path)?;
            }
            return Ok(path);
        }
        let path = self.root.join(name);
        let in_cache = || format!("failed to write `{}`", path.display());
        let parent = path.parent().unwrap_or(&self.root);
        // Copies of a user's files keep nobody's permissions: what others may not read must not be read here.
        let mode = if is_made_often { 0o700 } else { 0o755 };
        DirBuilder::new().recursive(true).mode(mode).create(parent).with_context(in_cache)?;
        let only_one = lock(parent)?;
        sweep(parent)?;
        if is_made_often {
            prune(parent)?;
        }
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(parent)
            .with_context(in_cache)?;
        // Held while it is filled, and by the kernel's hand no longer than we live.
        let _held = lock(unfinished.path())?;
        drop(only_one);
        fill(unfinished.path())?;
        match fs::rename(unfinished.path(), &path) {
            // Somebody else was faster, with the same contents.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) => {}
            done => done.with_context(in_cache)?,
        }
        Ok(path)
    }

    /// Removes an entry, if it is there.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        let path = self.root.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("failed to remove `{}`", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// A remembered value; nothing if it was never remembered or cannot be read any more.
    pub fn recall<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        let text = fs::read(self.root.join(name)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Remembers a value, in place of an older one.
    ///
    /// # Errors
    /// Errors of the file system.
    pub fn remember<T: Serialize>(&self, name: &str, value: &T) -> anyhow::Result<()> {
        let path = self.root.join(name);
        let in_cache = || format!("failed to write `{}`", path.display());
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).with_context(in_cache)?;
        let unfinished = tempfile::NamedTempFile::new_in(parent).with_context(in_cache)?;
        serde_json::to_writer(&unfinished, value).with_context(in_cache)?;
        unfinished.persist(&path).with_context(in_cache)?;
        Ok(())
    }
}

/// Folders of what is made anew with every change, and may hold copies of a user's files.
const MADE_OFTEN: [&str; 3] = ["commands/", "containers/", "initramfs/"];

/// For how long what is made often is kept after it was last asked for.
const KEPT: Duration = Duration::from_secs(14 * 24 * 3600);

/// How the name of a folder begins that is being filled.
const UNFINISHED: &str = ".unfinished-";

/// Locks a folder, waiting for whoever holds it.
fn lock(folder: &Path) -> anyhow::Result<Flock<fs::File>> {
    let file = fs::File::open(folder)
        .with_context(|| format!("failed to open folder `{}`", folder.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("failed to lock folder `{}`", folder.display()))
}

/// Removes what writers that were killed have left unfinished: folders that nobody holds. The caller holds `parent`.
fn sweep(parent: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        let path = entry.path();
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        // One that is renamed or removed at this moment is not left behind.
        let Ok(file) = fs::File::open(&path) else { continue };
        if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_ok() {
            fs::remove_dir_all(&path)
                .with_context(|| format!("failed to remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// An entry was asked for now.
fn touch(path: &Path) -> anyhow::Result<()> {
    fs::File::open(path)
        .and_then(|folder| folder.set_modified(SystemTime::now()))
        .with_context(|| format!("failed to date `{}`", path.display()))
}

/// Removes what nobody has asked for since long: or a runner that measures every commit would fill its disk. The caller holds `parent`.
fn prune(parent: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(parent)?.flatten() {
        // What is gone meanwhile has no date, and one from the future has no age.
        let asked = entry.metadata().and_then(|found| found.modified());
        let age = asked.ok().and_then(|asked| asked.elapsed().ok()).unwrap_or_default();
        if age > KEPT {
            let path = entry.path();
            fs::remove_dir_all(&path)
                .with_context(|| format!("failed to remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// SHA-256 of a file's contents, in hexadecimal.
///
/// # Errors
/// If it cannot be read.
pub fn sha256_of_file(path: &Path) -> anyhow::Result<String> {
    let of_file = || format!("failed to read `{}`", path.display());
    let mut file = fs::File::open(path).with_context(of_file)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut hash).with_context(of_file)?;
    Ok(hex(&hash.finalize()))
}

/// Bytes in hexadecimal, lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_entry_is_filled_once() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let first = cache.folder("a/b", |at| Ok(fs::write(at.join("x"), "1")?)).unwrap();
        let second = cache.folder("a/b", |_| panic!("it is there")).unwrap();
        assert_eq!(first, second);
        assert_eq!(fs::read_to_string(second.join("x")).unwrap(), "1");
    }

    #[test]
    fn what_is_made_often_goes_when_nobody_has_asked_for_it_for_long() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let make = |name: &str| cache.folder(name, |at| Ok(fs::write(at.join("x"), "")?)).unwrap();
        let long_ago = SystemTime::now() - KEPT - Duration::from_secs(60);
        let all = ["commands/old", "commands/asked", "kernels/old"].map(make);
        for path in &all {
            fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
        }
        make("commands/asked");
        make("commands/new");
        make("kernels/new");
        assert_eq!(names(&place.path().join("commands")), ["asked", "new"]);
        assert_eq!(names(&place.path().join("kernels")), ["new", "old"]);
    }

    #[test]
    fn what_failed_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let failed = cache.folder("entry", |at| {
            fs::write(at.join("half"), "")?;
            anyhow::bail!("no network")
        });
        assert_eq!(failed.unwrap_err().to_string(), "no network");
        assert_eq!(cache.get("entry"), None);
        assert!(names(place.path()).is_empty());
    }

    #[test]
    fn the_slower_of_two_writers_uses_what_the_faster_made() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let slower = cache.folder("entry", |at| {
            cache.folder("entry", |at| Ok(fs::write(at.join("by"), "faster")?))?;
            Ok(fs::write(at.join("by"), "slower")?)
        });
        assert_eq!(fs::read_to_string(slower.unwrap().join("by")).unwrap(), "faster");
        assert_eq!(names(place.path()), ["entry"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_what_a_living_one_fills_is_not() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        let left = place.path().join(".unfinished-killed");
        fs::create_dir(&left).unwrap();
        cache
            .folder("slow", |slow| {
                cache.folder("fast", |_| Ok(()))?;
                assert!(slow.exists() && !left.exists());
                Ok(())
            })
            .unwrap();
        assert_eq!(names(place.path()), ["fast", "slow"]);
    }

    #[test]
    fn a_damaged_memory_is_no_memory() {
        let place = tempfile::tempdir().unwrap();
        let cache = Cache::at(place.path()).unwrap();
        assert_eq!(cache.recall::<u32>("answers/x"), None);
        cache.remember("answers/x", &42u32).unwrap();
        assert_eq!(cache.recall::<u32>("answers/x"), Some(42));
        fs::write(place.path().join("answers/x"), "{").unwrap();
        assert_eq!(cache.recall::<u32>("answers/x"), None);
    }

    #[test]
    fn a_file_is_hashed_as_sha256sum_does() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of_file(&file).unwrap(), known);
    }
}
