//! The tree of a root file system as a value: what lies where, before it becomes a folder
//! (runc), a tar archive (Docker) or a cpio archive (a guest's initramfs).

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::archive::{Cpio, Tar};
use super::cache;

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder with these permissions.
    Folder(u32),
    /// A file with these permissions.
    File(Source, u32),
    /// A symbolic link to this target.
    Link(String),
    /// A character device: major and minor number. Only an initramfs has them; elsewhere a runtime makes `/dev`.
    Device(u32, u32),
}

/// Where a file's contents come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of the host.
    Host(PathBuf),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Source {
    pub(super) fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Source::Bytes(bytes) => Ok(bytes.clone()),
            Source::Host(path) => {
                fs::read(path).with_context(|| format!("failed to read `{}`", path.display()))
            }
        }
    }
}

/// A root file system. Paths are relative to the root, without a leading slash; every entry's
/// parents are folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFs {
    entries: BTreeMap<String, Entry>,
}

/// The one user that servers ask the C library about.
const PASSWD: &str = "root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";
/// Names are looked up in files, never on a network.
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";
const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n";

impl RootFs {
    /// Nothing.
    pub fn empty() -> RootFs {
        RootFs { entries: BTreeMap::new() }
    }

    /// The folders that every system has, and the few files that the C library asks for.
    pub fn base() -> RootFs {
        let mut root = RootFs::empty();
        for folder in ["dev", "etc", "proc", "run", "sys", "usr", "var"] {
            root.entries.insert(folder.to_owned(), Entry::Folder(0o755));
        }
        for folder in ["tmp", "var/tmp"] {
            root.entries.insert(folder.to_owned(), Entry::Folder(0o1777));
        }
        root.entries.insert("var/run".to_owned(), Entry::Link("../run".to_owned()));
        for (path, text) in
            [("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NSSWITCH), ("hosts", HOSTS)]
        {
            let contents = Source::Bytes(text.as_bytes().to_vec());
            root.entries.insert(format!("etc/{path}"), Entry::File(contents, 0o644));
        }
        root
    }

    /// Puts an entry at an absolute path, with the folders above it.
    ///
    /// # Errors
    /// If the path is not absolute and plain, or leads through something that is no folder.
    pub fn put(&mut self, path: &Path, entry: Entry) -> anyhow::Result<()> {
        let text = path.to_str().with_context(|| format!("`{}` is not UTF-8", path.display()))?;
        let relative = text.strip_prefix('/').unwrap_or_default();
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if !relative.split('/').all(plain) {
            bail!("`{text}` is not an absolute path without `.`, `..` and empty parts");
        }
        for (end, _) in relative.match_indices('/') {
            let parent = &relative[..end];
            match self.entries.get(parent) {
                None => {
                    self.entries.insert(parent.to_owned(), Entry::Folder(0o755));
                }
                Some(Entry::Folder(_)) => {}
                Some(_) => bail!("`{text}` leads through `/{parent}`, which is no folder"),
            }
        }
        self.entries.insert(relative.to_owned(), entry);
        Ok(())
    }

    /// All entries, every folder before what lies in it.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// Bytes of all files.
    ///
    /// # Errors
    /// If a file of the host is not there.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        let of = |entry: &Entry| match entry {
            Entry::File(Source::Host(host), _) => Ok(std::fs::metadata(host)
                .with_context(|| format!("failed to look at `{}`", host.display()))?
                .len()),
            Entry::File(Source::Bytes(bytes), _) => Ok(bytes.len() as u64),
            Entry::Folder(_) | Entry::Link(_) | Entry::Device(..) => Ok(0),
        };
        self.entries.values().map(of).sum()
    }

    /// Names the whole tree by its contents: SHA-256 in hexadecimal.
    ///
    /// # Errors
    /// If a file of the host cannot be read.
    pub fn digest(&self) -> anyhow::Result<String> {
        let mut hash = Sha256::new();
        for (path, entry) in &self.entries {
            let line = match entry {
                Entry::Folder(mode) => format!("folder {mode:o}"),
                Entry::Link(target) => format!("link {target}"),
                Entry::Device(major, minor) => format!("device {major} {minor}"),
                Entry::File(Source::Host(host), mode) => {
                    format!("file {mode:o} {}", cache::sha256_of_file(host)?)
                }
                Entry::File(Source::Bytes(bytes), mode) => {
                    format!("file {mode:o} {}", cache::hex(&Sha256::digest(bytes)))
                }
            };
            hash.update(format!("{path}\0{line}\0"));
        }
        Ok(cache::hex(&hash.finalize()))
    }

    /// Writes the tree into an existing folder: the root of a runc container.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn write_folder(&self, root: &Path) -> anyhow::Result<()> {
        for (path, entry) in &self.entries {
            let at = root.join(path);
            write_entry(&at, entry)
                .with_context(|| format!("failed to make `{}`", at.display()))?;
        }
        Ok(())
    }

    /// Writes the tree as a tar archive, as `docker import` takes it.
    ///
    /// # Errors
    /// If a file cannot be read, a name is too long for the format, or the output cannot be written.
    pub fn write_tar(&self, output: impl Write) -> anyhow::Result<()> {
        let mut tar = Tar::new(output);
        for (path, entry) in &self.entries {
            tar.append(path, entry).with_context(|| format!("failed to archive `{path}`"))?;
        }
        tar.finish().context("failed to end the archive")
    }

    /// Writes the tree as a cpio archive, as the kernel unpacks it.
    ///
    /// # Errors
    /// If a file cannot be read, or the output cannot be written.
    pub fn write_cpio(&self, output: impl Write) -> anyhow::Result<()> {
        let mut cpio = Cpio::new(output);
        for (path, entry) in &self.entries {
            cpio.append(path, entry).with_context(|| format!("failed to archive `{path}`"))?;
        }
        cpio.finish().context("failed to end the archive")
    }
}

fn write_entry(at: &Path, entry: &Entry) -> anyhow::Result<()> {
    match entry {
        Entry::Folder(mode) => {
            fs::create_dir(at)?;
            fs::set_permissions(at, Permissions::from_mode(*mode))?;
        }
        Entry::File(source, mode) => {
            let mut file = File::create_new(at)?;
            match source {
                Source::Bytes(bytes) => file.write_all(bytes)?,
                Source::Host(path) => {
                    io::copy(&mut File::open(path)?, &mut file)?;
                }
            }
            file.set_permissions(Permissions::from_mode(*mode))?;
        }
        Entry::Link(target) => symlink(target, at)?,
        Entry::Device(..) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Entry {
        Entry::File(Source::Bytes(text.as_bytes().to_vec()), 0o644)
    }

    #[test]
    fn folders_come_before_what_lies_in_them() {
        let mut root = RootFs::base();
        root.put(Path::new("/usr/lib/x86_64-linux-gnu/libm.so.6"), text("")).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for (path, entry) in root.entries() {
            if let Some((parent, _)) = path.rsplit_once('/') {
                assert!(seen.contains(parent), "`{path}` came before its folder");
            }
            if matches!(entry, Entry::Folder(_)) {
                seen.insert(path.to_owned());
            }
        }
        assert!(seen.contains("usr/lib/x86_64-linux-gnu"));
    }

    #[test]
    fn nothing_is_put_outside_of_the_root() {
        let mut root = RootFs::base();
        for wrong in ["etc/passwd", "/../etc/passwd", "/a/./b", "/a//b", "/", "/a/"] {
            let error = root.put(Path::new(wrong), text("")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("`{wrong}` is not")), "{error}");
        }
        let error = root.put(Path::new("/etc/passwd/x"), text("")).unwrap_err();
        assert!(error.to_string().contains("leads through `/etc/passwd`"), "{error}");
    }

    #[test]
    fn the_digest_depends_on_contents_paths_and_modes_and_on_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let host = place.path().join("tool");
        fs::write(&host, "a").unwrap();
        let with = |entry| {
            let mut root = RootFs::base();
            root.put(Path::new("/bin/tool"), entry).unwrap();
            root.digest().unwrap()
        };
        let same = with(Entry::File(Source::Host(host), 0o644));
        assert_eq!(with(text("a")), same);
        assert_ne!(with(text("b")), same);
        assert_ne!(with(Entry::File(Source::Bytes(b"a".to_vec()), 0o755)), same);
        assert_ne!(with(Entry::Link("a".to_owned())), same);
    }

    #[test]
    fn a_folder_gets_modes_links_and_contents() {
        let place = tempfile::tempdir().unwrap();
        RootFs::base().write_folder(place.path()).unwrap();
        let mode = |path: &str| fs::metadata(place.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode("tmp") & 0o7777, 0o1777);
        assert_eq!(mode("etc/passwd") & 0o7777, 0o644);
        assert_eq!(fs::read_link(place.path().join("var/run")).unwrap(), Path::new("../run"));
    }
}
