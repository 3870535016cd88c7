//! Programs of the host, with the shared libraries that they need, at the same paths in another
//! root: so netperf and iperf3 run in a container or a guest that has nothing else. The program's
//! own loader says which libraries these are; it knows the search path and we do not.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use evenkeel_agent::command;

use super::elf::Elf;
use super::rootfs::{Entry, RootFs, Source};

const LOADER_ANSWERS: Duration = Duration::from_secs(10);
/// Where the loader remembers folders outside of its built-in search path.
const LOADER_CACHE: &str = "/etc/ld.so.cache";

/// A root file system with these programs (absolute paths) and all that they need to run.
///
/// # Errors
/// If a program is missing or neither ELF file nor script, or something that it needs is missing on this host.
pub fn bundle(programs: &[PathBuf]) -> anyhow::Result<RootFs> {
    let mut root = RootFs::base();
    programs.iter().try_for_each(|program| bring(&mut root, program))?;
    Ok(root)
}

/// Puts a program of the host into a root, at its own path, with all that it needs to run.
///
/// # Errors
/// It is missing, or neither ELF file nor script; or something that it needs is missing on this host.
pub fn bring(root: &mut RootFs, program: &Path) -> anyhow::Result<()> {
    put_program(root, program)?;
    let of_program = || format!("cannot bundle `{}`", program.display());
    let bytes = std::fs::read(program).with_context(of_program)?;
    if !is_script(&bytes) {
        Elf::parse(&bytes).with_context(of_program)?;
    }
    bring_needed(root, program, Path::new("/nonexistent"))
}

/// Puts what a file needs to run into a root: a program's libraries and loader, a script's interpreter. What is neither needs nothing.
/// What lies below `own` is the caller's to bring.
///
/// # Errors
/// Something that it needs is missing on this host.
pub fn bring_needed(root: &mut RootFs, file: &Path, own: &Path) -> anyhow::Result<()> {
    let of_program = || format!("cannot bundle `{}`", file.display());
    let bytes = std::fs::read(file).with_context(of_program)?;
    if is_script(&bytes) {
        // One that is a script in turn ends here, and not where scripts name each other.
        return interpreters(&bytes).with_context(of_program)?.iter().try_for_each(|program| {
            put_program(root, program)?;
            bring_libraries(root, program, own)
        });
    }
    bring_libraries(root, file, own)
}

fn bring_libraries(root: &mut RootFs, file: &Path, own: &Path) -> anyhow::Result<()> {
    let of_program = || format!("cannot bundle `{}`", file.display());
    let bytes = std::fs::read(file).with_context(of_program)?;
    let Ok(elf) = Elf::parse(&bytes) else { return Ok(()) };
    let Some(loader) = elf.interpreter().with_context(of_program)? else { return Ok(()) };
    for library in libraries(file, loader)?.iter().filter(|library| !library.starts_with(own)) {
        put(root, library)?;
    }
    let loader_cache = Path::new(LOADER_CACHE);
    if loader_cache.exists() {
        root.put(loader_cache, Entry::File(Source::Host(loader_cache.to_owned()), 0o644))?;
    }
    Ok(())
}

/// Puts a program at its own path, and where that is no folder in which programs are looked up in another root, also below its name where they are.
fn put_program(root: &mut RootFs, program: &Path) -> anyhow::Result<()> {
    put(root, program)?;
    let folder = program.parent().and_then(Path::to_str).unwrap_or_default();
    let (Some(name), Some(target)) = (program.file_name(), program.to_str()) else { return Ok(()) };
    let found = Path::new(LOOKED_UP[0]).join(name);
    let is_taken = || root.entries().any(|(path, _)| Path::new("/").join(path) == found);
    if !LOOKED_UP.contains(&folder) && !is_taken() {
        root.put(&found, Entry::Link(target.to_owned()))?;
    }
    Ok(())
}

/// Folders of programs that all roots have on their `PATH`.
const LOOKED_UP: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

fn put(root: &mut RootFs, path: &Path) -> anyhow::Result<()> {
    root.put(path, Entry::File(Source::Host(path.to_owned()), 0o755))
}

fn is_script(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!")
}

/// The programs that a script's first line names: its interpreter, and of `env` the program that it looks up.
fn interpreters(script: &[u8]) -> anyhow::Result<Vec<PathBuf>> {
    let line = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = std::str::from_utf8(line).context("its first line is no text")?;
    let mut words = line.trim_start_matches("#!").split_whitespace();
    let first = words.next().context("its first line names no interpreter")?;
    let mut programs = vec![PathBuf::from(first)];
    if first.ends_with("/env") {
        let name = words.find(|word| !word.starts_with('-')).context("`env` is told no program")?;
        let found = command::which(name);
        programs.push(found.with_context(|| format!("`{name}` is not installed on this host"))?);
    }
    Ok(programs)
}

/// The loader and every library, direct or not, of a program that has a loader.
fn libraries(program: &Path, loader: &str) -> anyhow::Result<Vec<PathBuf>> {
    let of_program = || format!("cannot bundle `{}`", program.display());
    let program = program.to_str().context("its path is not UTF-8").with_context(of_program)?;
    let listing =
        command::output(&[loader, "--list", program], LOADER_ANSWERS).with_context(of_program)?;
    let mut libraries = read_listing(&listing).with_context(of_program)?;
    libraries.push(PathBuf::from(loader));
    Ok(libraries)
}

/// Reads what `ld.so --list` prints: `name => path (address)` of a library that was searched for,
/// `path (address)` of one named by its path, and the kernel's own `linux-vdso.so.1 (address)`.
fn read_listing(listing: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in listing.lines() {
        let (name, found) = line.trim().split_once(" => ").unwrap_or((line.trim(), line.trim()));
        let path = found.rsplit_once(" (").map_or(found, |(path, _)| path);
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        } else if path == "not found" {
            bail!("library `{name}` is not found on this host: install the package that has it");
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_gives_files_and_not_the_kernels_own_library() {
        let listing = "\tlinux-vdso.so.1 (0x00007f2d4025f000)\n\
            \tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007f2d40127000)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f2d40261000)\n";
        let expected = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(read_listing(listing).unwrap(), expected.map(PathBuf::from));
        assert_eq!(read_listing("\tstatically linked\n").unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = read_listing("\tlibsctp.so.1 => not found\n").unwrap_err();
        assert!(error.to_string().contains("`libsctp.so.1`"), "{error}");
    }

    #[test]
    fn a_static_program_needs_nothing_else() {
        let own = std::env::current_exe().unwrap();
        let root = bundle(std::slice::from_ref(&own)).unwrap();
        let mut expected = RootFs::base();
        expected.put(&own, Entry::File(Source::Host(own.clone()), 0o755)).unwrap();
        // Where it is looked up by its name.
        let found = Path::new("/usr/bin").join(own.file_name().unwrap());
        expected.put(&found, Entry::Link(own.to_str().unwrap().to_owned())).unwrap();
        assert_eq!(root, expected);
    }

    #[test]
    fn a_program_of_an_unusual_folder_is_also_where_programs_are_looked_up() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("tool");
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let root = bundle(std::slice::from_ref(&program)).unwrap();
        let link = root.entries().find(|(path, _)| *path == "usr/bin/tool").map(|(_, it)| it);
        assert_eq!(link, Some(&Entry::Link(program.to_str().unwrap().to_owned())));
        // The shell lies where it is looked for.
        assert!(root.entries().all(|(path, _)| path != "usr/bin/sh"));
    }

    #[test]
    fn a_script_brings_its_interpreter_and_text_is_no_program() {
        let place = tempfile::tempdir().unwrap();
        let script = place.path().join("script");
        let has = |text: &str, wanted: &str| {
            std::fs::write(&script, text).unwrap();
            let root = bundle(std::slice::from_ref(&script)).unwrap();
            root.entries().any(|(path, _)| format!("/{path}").ends_with(wanted))
        };
        assert!(has("#!/bin/sh\n", "/bin/sh") && has("#! /usr/bin/env sleep", "bin/sleep"));
        for (text, why) in [
            ("text", "not an ELF file"),
            ("#!\n", "names no interpreter"),
            ("#!/usr/bin/env ek-no-such", "`ek-no-such` is not installed on this host"),
        ] {
            std::fs::write(&script, text).unwrap();
            let error = bundle(std::slice::from_ref(&script)).unwrap_err();
            assert!(format!("{error:#}").ends_with(why), "{error:#}");
        }
    }

    /// The one proof that counts: the programs run where there is nothing else.
    #[test]
    fn real_tools_run_in_a_root_of_their_own() {
        let tools = ["netserver", "netperf", "iperf3"].map(|t| Path::new("/usr/bin").join(t));
        for tool in &tools {
            assert!(tool.exists(), "`{}` is missing: install netperf and iperf3", tool.display());
        }
        assert!(nix::unistd::geteuid().is_root(), "chroot needs root");
        let place = tempfile::Builder::new().prefix("ekt").tempdir().unwrap();
        bundle(&tools).unwrap().write_folder(place.path()).unwrap();
        let root = place.path().to_str().unwrap();
        for (tool, shows) in [
            ("/usr/bin/netserver", "Netperf version"),
            ("/usr/bin/netperf", "Netperf version"),
            ("/usr/bin/iperf3", "iperf 3"),
        ] {
            let version = if tool.ends_with("iperf3") { "--version" } else { "-V" };
            let argv = ["chroot", root, tool, version];
            let said = command::output(&argv, Duration::from_secs(20)).unwrap();
            assert!(said.contains(shows), "{tool}: {said}");
        }
    }
}
