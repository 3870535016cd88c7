//! The two archive formats that we write: tar (POSIX.1-1988 "ustar") for Docker, and cpio
//! ("newc", linux Documentation/driver-api/early-userspace/buffer-format.rst) for the kernel.
//! Owner is root and times are zero, so that the same tree gives the same bytes.

use std::io::Write;

use anyhow::{Context, ensure};

use super::rootfs::Entry;

/// Types of a file as `st_mode` has them; both formats agree on permissions, only cpio stores these.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const DEVICE: u32 = 0o020_000;

/// Everything in a tar archive is padded to this many bytes.
const BLOCK: usize = 512;

/// Writes a tar archive.
pub(super) struct Tar<W> {
    output: W,
}

impl<W: Write> Tar<W> {
    pub(super) fn new(output: W) -> Tar<W> {
        Tar { output }
    }

    pub(super) fn append(&mut self, path: &str, entry: &Entry) -> anyhow::Result<()> {
        let (kind, mode, target, contents) = match entry {
            Entry::Folder(mode) => (b'5', *mode, "", Vec::new()),
            Entry::File(source, mode) => (b'0', *mode, "", source.read()?),
            Entry::Link(target) => (b'2', 0o777, target.as_str(), Vec::new()),
            Entry::Device(..) => return Ok(()),
        };
        ensure!(target.len() <= 100, "the link's target is longer than 100 bytes");
        ensure!(contents.len() < 1 << 33, "the file is larger than 8 GiB");
        let (prefix, name) = split_name(path)?;

        let mut header = [0; BLOCK];
        let mut set = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        set(0, name.as_bytes());
        set(100, format!("{mode:07o}\0{:07o}\0{:07o}\0", 0, 0).as_bytes());
        set(124, format!("{:011o}\0{:011o}\0", contents.len(), 0).as_bytes());
        // While it is summed up, the checksum counts as spaces.
        set(148, b"        ");
        set(156, &[kind]);
        set(157, target.as_bytes());
        set(257, b"ustar\x0000root\0");
        set(297, b"root\0");
        set(345, prefix.as_bytes());
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());

        self.output.write_all(&header)?;
        self.output.write_all(&contents)?;
        let padding = contents.len().next_multiple_of(BLOCK) - contents.len();
        self.output.write_all(&[0; BLOCK][..padding])?;
        Ok(())
    }

    /// An archive ends with two empty blocks.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.output.write_all(&[0; 2 * BLOCK])?;
        self.output.flush()?;
        Ok(())
    }
}

/// Splits a path for ustar: up to 155 bytes of folders, and up to 100 bytes after a slash.
fn split_name(path: &str) -> anyhow::Result<(&str, &str)> {
    if path.len() <= 100 {
        return Ok(("", path));
    }
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100)
        .context("the path is too long for a tar archive")
}

/// Writes a cpio archive.
pub(super) struct Cpio<W> {
    output: W,
    inode: u32,
}

impl<W: Write> Cpio<W> {
    pub(super) fn new(output: W) -> Cpio<W> {
        Cpio { output, inode: 0 }
    }

    pub(super) fn append(&mut self, path: &str, entry: &Entry) -> anyhow::Result<()> {
        let (mode, device, contents) = match entry {
            Entry::Folder(mode) => (FOLDER | mode, (0, 0), Vec::new()),
            Entry::File(source, mode) => (FILE | mode, (0, 0), source.read()?),
            Entry::Link(target) => (LINK | 0o777, (0, 0), target.clone().into_bytes()),
            Entry::Device(major, minor) => (DEVICE | 0o600, (*major, *minor), Vec::new()),
        };
        self.inode += 1;
        self.member(path, mode, device, &contents)
    }

    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.inode = 0;
        self.member("TRAILER!!!", 0, (0, 0), &[])?;
        self.output.flush()?;
        Ok(())
    }

    /// Magic, 13 numbers of 8 hexadecimal digits, name with its zero, contents; name and contents
    /// are padded to multiples of four bytes.
    fn member(
        &mut self,
        name: &str,
        mode: u32,
        (major, minor): (u32, u32),
        contents: &[u8],
    ) -> anyhow::Result<()> {
        let size = u32::try_from(contents.len()).context("the file is larger than 4 GiB")?;
        let name_size = u32::try_from(name.len() + 1).context("the name is too long")?;
        let (uid, gid, links, time, checksum) = (0, 0, 1, 0, 0);
        let numbers = [
            self.inode, mode, uid, gid, links, time, size, 0, 0, major, minor, name_size, checksum,
        ];
        let mut header = b"070701".to_vec();
        for number in numbers {
            write!(header, "{number:08x}")?;
        }
        header.extend(name.as_bytes());
        header.push(0);
        header.resize(header.len().next_multiple_of(4), 0);
        self.output.write_all(&header)?;
        self.output.write_all(contents)?;
        let padding = contents.len().next_multiple_of(4) - contents.len();
        self.output.write_all(&[0; 4][..padding])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::rootfs::{RootFs, Source};
    use super::*;
    use evenkeel_agent::command;

    #[test]
    fn long_paths_are_split_at_a_slash_or_refused() {
        let folder = "f".repeat(120);
        let path = format!("{folder}/name");
        assert_eq!(split_name(&path).unwrap(), (folder.as_str(), "name"));
        assert_eq!(split_name("short/name").unwrap(), ("", "short/name"));
        assert!(split_name(&"n".repeat(101)).is_err());
        assert!(split_name(&format!("{}/{}", "f".repeat(156), "n".repeat(100))).is_err());
    }

    /// A tree with everything that the formats can hold.
    fn tree() -> RootFs {
        let mut root = RootFs::base();
        let file = |bytes: &[u8], mode| Entry::File(Source::Bytes(bytes.to_vec()), mode);
        root.put(Path::new("/bin/odd"), file(b"12345", 0o755)).unwrap();
        root.put(Path::new("/bin/block"), file(&[7; 1024], 0o644)).unwrap();
        let deep = format!("/{}/{}", "d".repeat(90), "f".repeat(90));
        root.put(Path::new(&deep), file(b"deep", 0o600)).unwrap();
        root.put(Path::new("/dev/null"), Entry::Device(1, 3)).unwrap();
        root
    }

    #[test]
    fn tar_reads_back_what_was_written() {
        let place = tempfile::tempdir().unwrap();
        let archive = place.path().join("root.tar");
        tree().write_tar(std::fs::File::create(&archive).unwrap()).unwrap();
        let (from, to) = (archive.to_str().unwrap(), place.path().to_str().unwrap());
        command::output(&["tar", "-xf", from, "-C", to], Duration::from_secs(60)).unwrap();
        assert_eq!(std::fs::read(place.path().join("bin/odd")).unwrap(), b"12345");
        assert_eq!(std::fs::read(place.path().join("bin/block")).unwrap(), [7; 1024]);
        let deep = place.path().join("d".repeat(90)).join("f".repeat(90));
        assert_eq!(std::fs::read(deep).unwrap(), b"deep");
        let listing =
            command::output(&["tar", "-tvf", from, "bin/odd", "var/run"], Duration::from_secs(60));
        let listing = listing.unwrap();
        assert!(listing.contains("-rwxr-xr-x root/root"), "{listing}");
        assert!(listing.contains("var/run -> ../run"), "{listing}");
    }

    #[test]
    fn a_cpio_member_is_laid_out_as_the_kernel_documents() {
        let mut bytes = Vec::new();
        let mut cpio = Cpio::new(&mut bytes);
        cpio.append("init", &Entry::File(Source::Bytes(b"12345".to_vec()), 0o755)).unwrap();
        cpio.append("dev/null", &Entry::Device(1, 3)).unwrap();
        cpio.finish().unwrap();
        let text = String::from_utf8(bytes).unwrap().replace('\0', "~");
        insta::assert_snapshot!(text.replace("070701", "\n070701").trim_start(), @r"
        07070100000001000081ed0000000000000000000000010000000000000005000000000000000000000000000000000000000500000000init~~12345~~~
        07070100000002000021800000000000000000000000010000000000000000000000000000000000000001000000030000000900000000dev/null~~
        07070100000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000b00000000TRAILER!!!~~~~
        ");
    }
}
