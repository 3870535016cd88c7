//! The host as apt sees it: Debian and Ubuntu. Never asks anything back, never removes a package, and waits for other
//! users of apt with a deadline.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use evenkeel_agent::command;

use super::super::engine;
use super::sources::{self, Archive, Extra, Format, LineEdit, Offer};
use super::{Beyond, Edit, System, Wanted, os_release_value};

/// Time for a question to apt.
const ASK: Duration = Duration::from_secs(30);
/// Time to fetch the lists of packages.
const UPDATE: Duration = Duration::from_secs(300);
/// Time to fetch and install packages. Long, because ending apt in the middle leaves packages half installed.
const INSTALL: Duration = Duration::from_secs(1800);
/// Older lists may name versions that are no longer on offer.
const STALE: Duration = Duration::from_secs(24 * 3600);
/// Where apt keeps its lists of packages.
const LISTS: &str = "/var/lib/apt/lists";

/// Distributions, and their component with what is not free.
const COMPONENTS: [(&str, &str); 2] = [("debian", "non-free"), ("ubuntu", "multiverse")];

/// This host.
pub(super) struct Apt {
    archive: Option<(Archive, &'static str)>,
}

impl Apt {
    /// This host, by its os-release(5).
    pub(super) fn new() -> Apt {
        Apt { archive: archive(&os_release()) }
    }
}

/// Whether apt is there.
pub(super) fn is_here() -> bool {
    command::which("apt-get").is_some()
}

/// The text of os-release(5); empty where there is none.
pub(super) fn os_release() -> String {
    ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default()
}

/// The component with what is not free, if this host's sources offer it. The error says why it cannot be known.
pub(in crate::doctor) fn component_here() -> Result<Option<String>, String> {
    if !is_here() {
        return Err("this host has no apt".to_owned());
    }
    let (archive, component) = archive(&os_release())
        .ok_or("it is not known which package source of this distribution offers netperf")?;
    let component = Extra::Component(component.to_owned());
    let enabled = files().iter().any(|path| {
        read(path).is_some_and(|(text, format)| {
            sources::offer(&text, format, &archive, &component) == Offer::Enabled
        })
    });
    Ok(enabled.then(|| component.name().to_owned()))
}

/// The archive and component of a distribution that is known.
fn archive(os_release: &str) -> Option<(Archive, &'static str)> {
    let id = os_release_value(os_release, "ID")?;
    let (_, component) = COMPONENTS.into_iter().find(|(name, _)| *name == id)?;
    let rolling = ["stable", "oldstable", "testing", "unstable", "sid"].map(str::to_owned);
    let suites = os_release_value(os_release, "VERSION_CODENAME").into_iter().chain(rolling);
    Some((Archive { id, suites: suites.collect() }, component))
}

/// Files of sources, in apt's order.
fn files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    files.insert(0, PathBuf::from("/etc/apt/sources.list"));
    files
}

/// The text of a file of sources, and its format by the end of its name; `None` for other files.
fn read(path: &Path) -> Option<(String, Format)> {
    let format = match path.extension()?.to_str()? {
        "list" => Format::OneLine,
        "sources" => Format::Deb822,
        _ => return None,
    };
    Some((fs::read_to_string(path).ok()?, format))
}

/// Changes a file, whole and at once, unless what the edit starts from is not there any more.
fn change(path: &Path, edit: &LineEdit) -> anyhow::Result<()> {
    // A link stays one: what it points to is replaced.
    let path = path.canonicalize().with_context(|| format!("failed to find {}", path.display()))?;
    let shown = path.display();
    let text = fs::read_to_string(&path).with_context(|| format!("failed to read {shown}"))?;
    let text = sources::apply(&text, edit).with_context(|| {
        format!("line {} of {shown} changed meanwhile; run again", edit.line + 1)
    })?;
    let folder = path.parent().with_context(|| format!("{shown} lies nowhere"))?;
    let permissions = fs::metadata(&path)?.permissions();
    let mut file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("failed to write beside {shown}"))?;
    file.write_all(text.as_bytes()).with_context(|| format!("failed to write {shown}"))?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(&path).with_context(|| format!("failed to replace {shown}"))?;
    Ok(())
}

/// Runs a command of apt in the language that is parsed here.
fn apt(argv: &[&str], within: Duration) -> anyhow::Result<String> {
    let quiet = ["env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"];
    command::output(&[&quiet, argv].concat(), within)
}

/// The command that installs packages, without asking and without what is only recommended.
fn installing<'a>(
    options: &[&'a str],
    suite: Option<&'a str>,
    packages: &[&'a str],
) -> Vec<&'a str> {
    let from = Wanted::from(suite);
    [&["apt-get", "-q", "--no-install-recommends"], options, &from, &["install"], packages].concat()
}

/// What installing packages would do.
fn simulate(suite: Option<&str>, packages: &[&str]) -> anyhow::Result<String> {
    apt(&installing(&["-s"], suite, packages), ASK)
}

impl System for Apt {
    fn has(&self, program: &str) -> bool {
        command::which(program).is_some()
    }

    fn candidate(&mut self, wanted: &Wanted) -> Option<String> {
        let from = Wanted::from(wanted.suite.as_deref());
        let argv = [&["apt-cache"], &from[..], &["policy", wanted.package.name]].concat();
        candidate(&apt(&argv, ASK).ok()?)
    }

    fn obstacle(&mut self, wanted: &Wanted) -> Option<String> {
        match simulate(wanted.suite.as_deref(), &[wanted.package.name]) {
            Err(error) => Some(format!("{error:#}")),
            Ok(told) => {
                let removed: Vec<&str> = removals(&told).collect();
                (!removed.is_empty())
                    .then(|| format!("apt would remove {} for it", removed.join(", ")))
            }
        }
    }

    fn backports(&self) -> Option<String> {
        let (archive, _) = self.archive.as_ref()?;
        archive.suites.first().map(|suite| format!("{suite}-backports"))
    }

    fn stale(&mut self) -> Option<String> {
        // The files carry the server's time; the folder that they are fetched into, ours.
        let fetched =
            fs::metadata(Path::new(LISTS).join("partial")).and_then(|data| data.modified());
        let age = fetched.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
        match age {
            Some(age) if age <= STALE => None,
            Some(age) => Some(format!("they are {} days old", age.as_secs() / (24 * 3600))),
            None => Some("there are none".to_owned()),
        }
    }

    fn edit(&mut self, of: Beyond) -> Option<Edit> {
        let (archive, component) = self.archive.as_ref()?;
        let extra = match of {
            Beyond::NonFree => Extra::Component((*component).to_owned()),
            Beyond::Backports => Extra::Suite(self.backports()?),
        };
        let mut edit = None;
        for path in files() {
            let Some((text, format)) = read(&path) else { continue };
            match sources::offer(&text, format, archive, &extra) {
                Offer::Enabled => return None,
                Offer::Elsewhere => {}
                Offer::With(_) if edit.is_some() => {}
                Offer::With(change) => {
                    let (path, extra) = (path.to_str()?.to_owned(), extra.clone());
                    edit = Some(Edit { of, path, extra, change });
                }
            }
        }
        edit
    }

    fn along(&mut self, suite: Option<&str>, packages: &[&str]) -> Vec<String> {
        let told = simulate(suite, packages).unwrap_or_default();
        installs(&told)
            .filter(|(name, _)| !packages.contains(name))
            .map(|(name, version)| format!("{name} {version}"))
            .collect()
    }

    fn engine_answers(&mut self) -> bool {
        engine::is_here()
    }

    fn write(&mut self, edit: &Edit) -> anyhow::Result<()> {
        change(Path::new(&edit.path), &edit.change)
    }

    fn take_back(&mut self, edit: &Edit) -> anyhow::Result<()> {
        change(Path::new(&edit.path), &edit.change.back())
    }

    fn update(&mut self) -> anyhow::Result<()> {
        let argv = ["apt-get", "-q", "-o", "APT::Update::Error-Mode=any", "update"];
        apt(&argv, UPDATE).map(drop)
    }

    fn install(&mut self, suite: Option<&str>, packages: &[&str]) -> anyhow::Result<()> {
        let options = [
            "-y",
            "-o",
            "DPkg::Lock::Timeout=120",
            "-o",
            "Dpkg::Options::=--force-confold",
            "--no-remove",
        ];
        apt(&installing(&options, suite, packages), INSTALL).map(drop)
    }

    fn start_engine(&mut self) -> anyhow::Result<String> {
        if !self.has("dockerd") {
            bail!("`dockerd` is not installed");
        }
        engine::start().map(|engine| format!("{}, {}", engine.version, engine.storage))
    }
}

/// The version that `apt-cache policy` would install.
fn candidate(policy: &str) -> Option<String> {
    let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    Some(line.trim().to_owned()).filter(|version| !version.is_empty() && version != "(none)")
}

/// Names of what a simulated `apt-get` would remove: `Remv name [version]`.
fn removals(simulation: &str) -> impl Iterator<Item = &str> {
    simulation.lines().filter_map(|line| line.strip_prefix("Remv ")?.split(' ').next())
}

/// Names and versions of what a simulated `apt-get` would install: `Inst name [old] (new source)`.
fn installs(simulation: &str) -> impl Iterator<Item = (&str, &str)> {
    simulation.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split([' ', ')']).next()?;
        Some((name, version))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_a_source_has_no_candidate() {
        let known = "netperf:\n  Installed: (none)\n  Candidate: 2.7.0-0.1\n  Version table:\n";
        assert_eq!(candidate(known).as_deref(), Some("2.7.0-0.1"));
        assert_eq!(candidate("netperf:\n  Installed: (none)\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }

    #[test]
    fn a_simulation_tells_new_and_upgraded_packages() {
        let told = "Building dependency tree...\nInst libx [1.0-1] (1.0-2 Debian:12.15/oldstable [amd64])\n\
                    Inst kmod (30+20221128-1 Debian:12.15/oldstable [amd64])\nConf kmod (30+20221128-1 Debian)\n";
        let got: Vec<_> = installs(told).collect();
        assert_eq!(got, [("libx", "1.0-2"), ("kmod", "30+20221128-1")]);
    }

    #[test]
    fn a_simulation_tells_what_would_go() {
        let told = "Remv qemu-utils [1:10.0.2+ds-2~bpo12+1]\nInst qemu-system-x86 (1:7.2 Debian [amd64])\n";
        assert_eq!(removals(told).collect::<Vec<_>>(), ["qemu-utils"]);
    }

    #[test]
    fn the_archive_of_a_distribution_is_known_or_not() {
        let (debian, component) = archive("ID=debian\nVERSION_CODENAME=bookworm\n").unwrap();
        assert_eq!((debian.suites[0].as_str(), component), ("bookworm", "non-free"));
        assert_eq!(archive("ID=ubuntu\nVERSION_CODENAME=noble\n").unwrap().1, "multiverse");
        assert_eq!(archive("ID=fedora\n"), None);
    }

    #[test]
    fn a_line_is_replaced_in_place_unless_somebody_else_changed_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a.list"), folder.path().join("b.list"));
        fs::write(&path, "one\ntwo\nthree").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let edit = LineEdit { line: 1, from: "two".to_owned(), to: "2".to_owned() };
        change(&link, &edit).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n2\nthree");
        assert!(link.is_symlink());
        let error = change(&path, &edit).unwrap_err().to_string();
        assert!(error.contains("changed meanwhile"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }
}
