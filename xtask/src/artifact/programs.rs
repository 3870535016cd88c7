//! The user's programs of one revision, as a copy in the cache: what `[command.NAME]` names of the repository, at the same relative places.
//!
//! The copy is named by its contents and measured instead of the tree. So what somebody builds while a run goes on is in none of its boots,
//! a run that goes on finds what it began with, a lab sees it, and both sides of a comparison lie on one file system under paths of one
//! length. Who runs what is not decided here.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::command;
use serde::{Deserialize, Serialize};

use super::bundle;
use super::cache::{self, Cache};
use super::rootfs::{Entry, RootFs, Source};
use crate::matrix::{Command, is_of_repository};
use crate::wrong::wrong;

/// The most files of a copy, and bytes of all of them: they go into every container and guest.
const MOST_FILES: usize = 2000;
const MOST_BYTES: u64 = 512 << 20;

/// The folder of copies in another root.
const INSIDE: &str = "/command";

/// The programs of one side.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// What is measured with them.
    pub commands: Vec<Command>,
    /// The copy, on this host.
    pub folder: PathBuf,
    /// SHA-256 of the copy: of all its files with their paths.
    pub digest: String,
    /// SHA-256 of the programs that commands begin with, as they are written there.
    pub sums: BTreeMap<String, String>,
}

impl Programs {
    /// Copies what the commands name out of a folder.
    ///
    /// # Errors
    /// A file that is not there, lies elsewhere, or cannot be run, is wrong input; a program that the host lacks, or a copy that cannot be
    /// made, is not.
    pub fn keep(commands: Vec<Command>, tree: &Path, cache: &Cache) -> anyhow::Result<Programs> {
        let real =
            tree.canonicalize().with_context(|| format!("failed to find `{}`", tree.display()))?;
        let mut copy = Copy { tree: real, root: RootFs::empty(), files: 0, bytes: 0 };
        for of in &commands {
            let own = |error: anyhow::Error| wrong(format!("[command.{}]: {error:#}", of.name()));
            let begins = [of.serve.first(), of.drive.first()].into_iter().flatten();
            for program in begins.filter(|program| is_of_repository(program)) {
                copy.program(program).map_err(own)?;
            }
            for file in &of.files {
                copy.put(Path::new(file)).map_err(own)?;
            }
            for program in of_host(of) {
                on_host(program).map_err(|error| match tree.join(program).exists() {
                    true => own(error
                        .context(format!("write `./{program}` for the file of the repository"))),
                    false => error.context(format!("[command.{}]", of.name())),
                })?;
            }
        }
        let digest = copy.root.digest()?;
        let name = name(&digest);
        // Programs run in it: what one has left there, or changed, is nobody's else.
        if cache.get(&name).is_some_and(|found| !holds(&found, &digest)) {
            cache.remove(&name)?;
        }
        let folder = cache.folder(&name, |folder| copy.root.write_folder(folder))?;
        ensure!(
            holds(&folder, &digest),
            "the files that [command] names changed while they were copied: let nothing write them meanwhile"
        );
        Programs::at(commands, folder, digest)
    }

    /// The copy that an earlier run has made, if the cache has it.
    pub fn kept(commands: Vec<Command>, digest: &str, cache: &Cache) -> Option<Programs> {
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = is_digest.then(|| cache.get(&name(digest))).flatten()?;
        if !holds(&folder, digest) {
            return None;
        }
        Programs::at(commands, folder, digest.to_owned()).ok()
    }

    fn at(commands: Vec<Command>, folder: PathBuf, digest: String) -> anyhow::Result<Programs> {
        let mut sums = BTreeMap::new();
        for program in commands.iter().flat_map(|of| [of.serve.first(), of.drive.first()]).flatten()
        {
            let file = match is_of_repository(program) {
                true => folder.join(program),
                false => on_host(program)?,
            };
            sums.insert(program.clone(), cache::sha256_of_file(&file)?);
        }
        Ok(Programs { commands, folder, digest, sums })
    }

    /// Where the copy lies in a root of its own.
    pub fn inside(&self) -> String {
        // Enough to tell two sides apart.
        format!("{INSIDE}/{}", &self.digest[..16.min(self.digest.len())])
    }

    /// Puts what servers need into a root: the copy, the host's programs that are named, and the libraries of both.
    ///
    /// # Errors
    /// A library or an interpreter that this host lacks.
    pub fn bring(&self, root: &mut RootFs) -> anyhow::Result<()> {
        if self.commands.iter().all(|of| of.serve.is_empty()) {
            return Ok(());
        }
        let inside = PathBuf::from(self.inside());
        root.put(&inside, Entry::Folder(0o755))?;
        for file in files_of(&self.folder)? {
            let at = inside.join(file.strip_prefix(&self.folder)?);
            let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
            bundle::bring_needed(root, &file, &self.folder)?;
            root.put(&at, Entry::File(Source::Host(file), mode))?;
        }
        for of in self.commands.iter().filter(|of| !of.serve.is_empty()) {
            let begins = of.serve.first().filter(|program| !is_of_repository(program));
            for program in begins.into_iter().chain(&of.programs) {
                bundle::bring(root, &on_host(program)?)?;
            }
        }
        Ok(())
    }
}

fn name(digest: &str) -> String {
    format!("commands/{digest}")
}

/// A program of the host.
fn on_host(program: &str) -> anyhow::Result<PathBuf> {
    command::which(program)
        .with_context(|| format!("program `{program}` is not installed on this host"))
}

/// The programs that a command names without a folder.
fn of_host(of: &Command) -> impl Iterator<Item = &String> {
    let begins = [of.serve.first(), of.drive.first()].into_iter().flatten();
    begins.filter(|program| !is_of_repository(program)).chain(&of.programs)
}

/// What is copied so far.
struct Copy {
    tree: PathBuf,
    root: RootFs,
    files: usize,
    bytes: u64,
}

impl Copy {
    /// A file that is run.
    fn program(&mut self, program: &str) -> anyhow::Result<()> {
        let file = self.real(Path::new(program))?;
        let mode = fs::metadata(&file)?.permissions().mode();
        ensure!(file.is_file(), "`{program}` is no file");
        ensure!(mode & 0o111 != 0, "`{program}` cannot be run: `chmod +x {program}`");
        self.put(Path::new(program))
    }

    /// A file, or a folder with all that is in it, at its relative place.
    fn put(&mut self, path: &Path) -> anyhow::Result<()> {
        let file = self.real(path)?;
        let found = fs::metadata(&file)?;
        if found.is_dir() {
            // One could lead in a circle.
            let is_link = self.tree.join(path).is_symlink();
            ensure!(!is_link, "`{}` is a link to a folder: name the folder itself", path.display());
            let mut names: Vec<_> = fs::read_dir(&file)?
                .map(|entry| Ok(entry?.file_name()))
                .collect::<anyhow::Result<_>>()?;
            names.sort();
            return names.into_iter().try_for_each(|name| self.put(&path.join(name)));
        }
        ensure!(found.is_file(), "`{}` is no file", path.display());
        self.count(found.len())?;
        let mode = if found.permissions().mode() & 0o111 != 0 { 0o755 } else { 0o644 };
        let at: PathBuf = Path::new("/").components().chain(plain(path)).collect();
        self.root.put(&at, Entry::File(Source::Host(file), mode))
    }

    fn count(&mut self, bytes: u64) -> anyhow::Result<()> {
        self.files += 1;
        self.bytes += bytes;
        if self.files > MOST_FILES || self.bytes > MOST_BYTES {
            bail!("more than {MOST_FILES} files or {} MiB: name what is needed", MOST_BYTES >> 20);
        }
        Ok(())
    }

    /// Where a path leads, links followed: nowhere outside of the tree.
    fn real(&self, path: &Path) -> anyhow::Result<PathBuf> {
        let shown = path.display();
        let found = self.tree.join(path).canonicalize();
        let found = found.with_context(|| format!("`{shown}` is not there"))?;
        ensure!(found.starts_with(&self.tree), "`{shown}` leads out of the repository");
        Ok(found)
    }
}

/// The parts of a path that name something.
fn plain(path: &Path) -> impl Iterator<Item = std::path::Component<'_>> {
    path.components().filter(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Whether a copy still is what it is named by.
fn holds(folder: &Path, digest: &str) -> bool {
    let found = || -> anyhow::Result<String> {
        let mut root = RootFs::empty();
        for file in files_of(folder)? {
            let at = Path::new("/").join(file.strip_prefix(folder)?);
            let mode = fs::symlink_metadata(&file)?.permissions().mode() & 0o777;
            root.put(&at, Entry::File(Source::Host(file), mode))?;
        }
        root.digest()
    };
    found().is_ok_and(|found| found == digest)
}

/// All files below a folder of ours.
fn files_of(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("failed to read folder `{}`", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;
    use crate::matrix::Reads;

    fn command(serve: &[&str], files: &[&str]) -> Command {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Command {
            workload: "command-echo".into(),
            build: Vec::new(),
            serve: owned(serve),
            drive: owned(&["./bench/client"]),
            programs: Vec::new(),
            files: owned(files),
            reads: Reads::Lines,
            unit: "us".into(),
            within: Duration::from_secs(1),
        }
    }

    /// A tree with a server, a client and a file.
    fn tree() -> (tempfile::TempDir, PathBuf, Cache) {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir_all(tree.join("bench/data")).unwrap();
        for (file, mode) in [("server", 0o755), ("client", 0o700), ("data/a", 0o600)] {
            let file = tree.join("bench").join(file);
            fs::write(&file, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let cache = Cache::at(&place.path().join("cache")).unwrap();
        (place, tree, cache)
    }

    #[test]
    fn a_copy_is_named_by_its_contents_and_outlives_its_tree() {
        let (_place, tree, cache) = tree();
        let of = command(&["bench/server", "{port}"], &["bench/data"]);
        let one = Programs::keep(vec![of.clone()], &tree, &cache).unwrap();
        assert_eq!(one.sums.keys().collect::<Vec<_>>(), ["./bench/client", "bench/server"]);
        assert!(one.folder.join("bench/data/a").is_file());
        fs::write(tree.join("bench/server"), "#!/bin/sh\nexit 1\n").unwrap();
        let other = Programs::keep(vec![of.clone()], &tree, &cache).unwrap();
        assert_ne!(one.digest, other.digest);
        assert_eq!(one.sums["./bench/client"], other.sums["./bench/client"]);
        assert_ne!(one.sums["bench/server"], other.sums["bench/server"]);
        assert_eq!(one.inside().len(), other.inside().len());
        assert_eq!(Programs::kept(vec![of.clone()], &one.digest, &cache), Some(one));
        for none in ["", "../commands", &"0".repeat(64)] {
            assert_eq!(Programs::kept(vec![of.clone()], none, &cache), None);
        }
    }

    #[test]
    fn what_programs_left_in_a_copy_or_changed_is_not_in_the_next_run() {
        let (_place, tree, cache) = tree();
        let of = command(&["bench/server", "{port}"], &["bench/data"]);
        let one = Programs::keep(vec![of.clone()], &tree, &cache).unwrap();
        let left = one.folder.join("bench/data/cache.db");
        fs::write(&left, "of the last boot").unwrap();
        assert_eq!(Programs::kept(vec![of.clone()], &one.digest, &cache), None);
        assert_eq!(Programs::keep(vec![of.clone()], &tree, &cache).unwrap(), one);
        assert!(!left.exists());
        fs::write(one.folder.join("bench/server"), "#!/bin/sh\nexit 7\n").unwrap();
        assert_eq!(Programs::keep(vec![of], &tree, &cache).unwrap(), one);
        let server = fs::read_to_string(one.folder.join("bench/server")).unwrap();
        assert_eq!(server, "#!/bin/sh\n");
        // Copies have lost the permissions of what they are of.
        let above = fs::metadata(one.folder.parent().unwrap()).unwrap();
        assert_eq!(above.permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_a_server_needs_is_in_its_root() {
        let (_place, tree, cache) = tree();
        let mut of = command(&["bench/server", "{port}"], &[]);
        of.programs.push("sleep".into());
        let programs = Programs::keep(vec![of], &tree, &cache).unwrap();
        let mut root = RootFs::base();
        programs.bring(&mut root).unwrap();
        let there: Vec<&str> = root.entries().map(|(path, _)| path).collect();
        let server = format!("{}/bench/server", programs.inside());
        let sleep = command::which("sleep").unwrap().to_string_lossy().into_owned();
        for path in [&server, "/bin/sh", &sleep] {
            assert!(there.contains(&path.trim_start_matches('/')), "{path}: {there:?}");
        }
        // Who only asks needs nothing there.
        let programs = Programs::keep(vec![command(&[], &["bench/data"])], &tree, &cache).unwrap();
        let mut root = RootFs::base();
        programs.bring(&mut root).unwrap();
        assert_eq!(root, RootFs::base());
    }

    #[test]
    fn what_is_not_there_leads_out_or_cannot_be_run_is_refused() {
        let (place, tree, cache) = tree();
        fs::write(place.path().join("outside"), "").unwrap();
        symlink("../../outside", tree.join("bench/link")).unwrap();
        symlink(".", tree.join("bench/circle")).unwrap();
        fs::write(tree.join("bench/text"), "").unwrap();
        fs::write(tree.join("server"), "").unwrap();
        let told = |serve: &[&str], files: &[&str]| {
            let error = Programs::keep(vec![command(serve, files)], &tree, &cache).unwrap_err();
            format!("{error:#}")
        };
        let all = [
            told(&["bench/none"], &[]),
            told(&["bench/link"], &[]),
            told(&["bench/text"], &[]),
            told(&["bench/data"], &[]),
            told(&[], &["bench/circle"]),
            told(&["ek-no-such-program"], &[]),
            told(&["server"], &[]),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        [command.echo]: `bench/none` is not there: No such file or directory (os error 2)
        [command.echo]: `bench/link` leads out of the repository
        [command.echo]: `bench/text` cannot be run: `chmod +x bench/text`
        [command.echo]: `bench/data` is no file
        [command.echo]: `bench/circle` is a link to a folder: name the folder itself
        [command.echo]: program `ek-no-such-program` is not installed on this host
        [command.echo]: write `./server` for the file of the repository: program `server` is not installed on this host
        ");
    }
}
