//! Installs what is missing, where that was asked for: first says what will change, then changes it.
//!
//! A second run has nothing to do. What cannot be had is named, and the rest goes on. The order is fixed:
//! sources, lists of packages, packages, engine, kernels; each depends on the ones before it. Decisions are made over
//! the `System` trait, so that a fake one shows the order of effects.

use std::collections::BTreeMap;

use anyhow::bail;

mod apt;
mod packages;
mod sources;

use packages::{DOCKER, GUESTS, PACKAGES, Package};
use sources::{Extra, LineEdit};

pub(super) use apt::component_here;
pub(super) use packages::package_of;

/// Kernels for guests, which another part of the tool fetches.
pub struct GuestKernels<'a> {
    /// Lines that say what would be fetched; none if all are there.
    pub planned: &'a dyn Fn() -> Vec<String>,
    /// Fetches them and says in lines what was done.
    pub fetch: &'a dyn Fn() -> anyhow::Result<Vec<String>>,
}

/// How provisioning ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is there that can be.
    Nothing,
    /// Changes were made; what could not be had, with the reason, may remain.
    Changed {
        /// What could not be had, a line each.
        refused: Vec<String>,
    },
}

/// What to provision for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    /// Everything that there is.
    All,
    /// Cells of these kinds with these workloads alone, by their names, and what every cell wants.
    Named(&'a [&'a str]),
}

impl For<'_> {
    fn wants(self, package: &Package) -> bool {
        package.wanted_by.is_empty() || self.names(package.wanted_by)
    }

    /// Whether it is for any of these.
    fn names(self, any: &[&str]) -> bool {
        match self {
            For::All => true,
            For::Named(names) => any.iter().any(|name| names.contains(name)),
        }
    }
}

/// Installs what is missing on this host for these cells, and starts the Docker engine if they want one and none answers; it keeps running.
///
/// `say` gets a line of what will change or was done. Without root it fails before any change, with the exact
/// commands. Without apt, packages are named for the user to install, and the rest goes on.
pub fn provision(
    cells: For<'_>,
    kernels: &GuestKernels<'_>,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<Outcome> {
    let mut system = apt::Apt::new();
    let planned = if cells.names(GUESTS) { (kernels.planned)() } else { Vec::new() };
    let mut changes = Changes::needed(&mut system, cells, planned);
    if changes.is_empty() {
        say("nothing to do");
        return Ok(Outcome::Nothing);
    }
    let mut refused = Vec::new();
    if !apt::is_here() {
        refused.extend(changes.leave_packages(&apt::os_release()));
    }
    changes.lines(&mut system).iter().for_each(|line| say(line));
    if !changes.is_empty() && !nix::unistd::geteuid().is_root() {
        bail!(
            "provisioning changes this host and needs root; as root, run:\n{}",
            changes.commands().join("\n")
        );
    }
    refused.extend(changes.make(&mut system, cells, kernels, say));
    refused.iter().for_each(|line| say(&format!("could not be had: {line}")));
    Ok(Outcome::Changed { refused })
}

/// What a distribution keeps beyond the free part of its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Beyond {
    /// Software that is not free.
    NonFree,
    /// Newer versions, for hosts that already have some of them: an older one would make apt remove those.
    Backports,
}

/// A package to install.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    package: &'static Package,
    /// The suite that it must come from; the release's own where there is none.
    suite: Option<String>,
}

impl Wanted {
    /// Words for apt's command line that name the suite.
    fn from(suite: Option<&str>) -> Vec<&str> {
        suite.map_or_else(Vec::new, |suite| vec!["-t", suite])
    }

    /// Names of packages by the suite that they come from: what one command installs.
    fn by_suite<'a>(
        wanted: impl IntoIterator<Item = &'a Wanted>,
    ) -> BTreeMap<Option<&'a str>, Vec<&'static str>> {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Wanted { package, suite } in wanted {
            groups.entry(suite.as_deref()).or_default().push(package.name);
        }
        groups
    }
}

/// A host that can be changed.
trait System {
    /// Whether a program is there.
    fn has(&self, program: &str) -> bool;
    /// The version that would be installed; `None` where no source has it.
    fn candidate(&mut self, wanted: &Wanted) -> Option<String>;
    /// Why it cannot be installed beside what the user has; `None` if it can.
    fn obstacle(&mut self, wanted: &Wanted) -> Option<String>;
    /// The name of the suite with newer versions; `None` where that is not known.
    fn backports(&self) -> Option<String>;
    /// Why the lists of packages are not to be relied on; `None` if they are.
    fn stale(&mut self) -> Option<String>;
    /// The edit that makes the sources offer something; `None` if they do or cannot.
    fn edit(&mut self, of: Beyond) -> Option<Edit>;
    /// Other packages that come along with these.
    fn along(&mut self, suite: Option<&str>, packages: &[&str]) -> Vec<String>;
    /// Whether a Docker engine answers.
    fn engine_answers(&mut self) -> bool;

    /// Changes the sources, in place.
    fn write(&mut self, edit: &Edit) -> anyhow::Result<()>;
    /// Takes that change back.
    fn take_back(&mut self, edit: &Edit) -> anyhow::Result<()>;
    /// Fetches the lists of packages.
    fn update(&mut self) -> anyhow::Result<()>;
    /// Installs packages, all or none of them.
    fn install(&mut self, suite: Option<&str>, packages: &[&str]) -> anyhow::Result<()>;
    /// Starts the Docker engine; says what answers.
    fn start_engine(&mut self) -> anyhow::Result<String>;
}

/// A change of a file of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    of: Beyond,
    path: String,
    extra: Extra,
    change: LineEdit,
}

/// The packages that are wanted, and what must be done before they can be installed.
#[derive(Debug, Default)]
struct Packages {
    edits: Vec<Edit>,
    /// Why the lists of packages are fetched, if they are.
    update: Option<String>,
    wanted: Vec<Wanted>,
}

impl Packages {
    /// What this system lacks, by its present lists.
    fn needed(system: &mut dyn System, cells: For<'_>) -> Packages {
        let missing = PACKAGES
            .iter()
            .filter(|package| cells.wants(package))
            .filter(|package| package.programs.iter().any(|program| !system.has(program)))
            .collect::<Vec<_>>();
        let mut beyond = Vec::new();
        let mut unknown = None;
        let mut wanted = Vec::new();
        for package in missing {
            let mut one = Wanted { package, suite: None };
            if system.candidate(&one).is_none() {
                unknown = unknown.or(Some(package.name));
                beyond.extend(package.is_non_free.then_some(Beyond::NonFree));
            } else if let (Some(_), Some(suite)) = (system.obstacle(&one), system.backports()) {
                one.suite = Some(suite);
                beyond.push(Beyond::Backports);
            }
            wanted.push(one);
        }
        beyond.sort();
        beyond.dedup();
        let edits: Vec<Edit> = beyond.into_iter().filter_map(|of| system.edit(of)).collect();
        let update = match (wanted.is_empty(), edits.is_empty(), unknown) {
            (true, _, _) => None,
            (_, false, _) => Some("the sources change".to_owned()),
            (_, true, Some(package)) => Some(format!("no list has {package}")),
            (_, true, None) => system.stale(),
        };
        Packages { edits, update, wanted }
    }

    /// What will be done to the sources and the lists, a line each.
    fn preparing(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Edit { path, extra, change, .. } in &self.edits {
            let to = change.to.trim().replace('\n', "` and `");
            lines.push(format!("will add {extra} to line {} of {path}: `{to}`", change.line + 1));
        }
        if let Some(why) = &self.update {
            lines.push(format!("will fetch the lists of packages: {why}"));
        }
        lines
    }

    /// Makes the changes; gives back what could not be had.
    fn make(
        &self,
        system: &mut dyn System,
        cells: For<'_>,
        say: &mut dyn FnMut(&str),
    ) -> Vec<String> {
        let mut refused = self.refresh(system, say);
        // Fresh lists may tell what old ones could not.
        let mut fresh = Packages::needed(system, cells);
        fresh.edits.retain(|edit| self.edits.iter().all(|tried| tried.of != edit.of));
        if !fresh.edits.is_empty() {
            fresh.preparing().iter().for_each(|line| say(line));
            refused.extend(fresh.refresh(system, say));
        }
        refused.extend(fresh.install(system, say));
        refused
    }

    /// Edits the sources and fetches the lists. An edit that does not help is taken back.
    fn refresh(&self, system: &mut dyn System, say: &mut dyn FnMut(&str)) -> Vec<String> {
        let mut refused = Vec::new();
        let mut edited = Vec::new();
        for of in self.edits.iter().map(|edit| edit.of) {
            // Made anew: an edit before may have changed the same line.
            let Some(edit) = system.edit(of) else { continue };
            match system.write(&edit) {
                Ok(()) => {
                    say(&format!("added {} to {}", edit.extra.name(), edit.path));
                    edited.push(edit);
                }
                Err(error) => refused.push(format!("{}: {error:#}", edit.extra)),
            }
        }
        if self.update.is_none() {
            return refused;
        }
        let mut updated = system.update();
        let mut is_useless = |edit: &Edit| match &updated {
            Err(error) => Some(format!("{error:#}")),
            Ok(()) if !self.is_offered(system, edit.of) => {
                Some("it does not have what is wanted of it".to_owned())
            }
            Ok(()) => None,
        };
        let useless: Vec<(Edit, String)> = edited
            .into_iter()
            .filter_map(|edit| is_useless(&edit).map(|why| (edit, why)))
            .collect();
        for (edit, why) in useless.iter().rev() {
            refused.push(format!("{}: {why}", edit.extra));
            match system.take_back(edit) {
                Ok(()) => say(&format!("took {} out of {} again", edit.extra.name(), edit.path)),
                Err(error) => refused.push(format!("{} as it was: {error:#}", edit.path)),
            }
        }
        if !useless.is_empty() {
            updated = system.update();
        }
        match updated {
            Ok(()) => say("fetched the lists of packages"),
            Err(error) => refused.push(format!("the lists of packages: {error:#}")),
        }
        refused
    }

    /// Whether the sources have any of the packages for which they were edited.
    fn is_offered(&self, system: &mut dyn System, of: Beyond) -> bool {
        let mut wanted = self.wanted.iter().filter(|wanted| match of {
            Beyond::NonFree => wanted.package.is_non_free,
            Beyond::Backports => wanted.suite.is_some(),
        });
        wanted.any(|wanted| system.candidate(wanted).is_some() && system.obstacle(wanted).is_none())
    }

    /// Installs the packages together; where that fails, each alone, so that one does not keep the others away.
    fn install(&self, system: &mut dyn System, say: &mut dyn FnMut(&str)) -> Vec<String> {
        let mut refused = Vec::new();
        let mut known = Vec::new();
        for wanted in &self.wanted {
            let name = wanted.package.name;
            if system.candidate(wanted).is_none() {
                let plain = Wanted { suite: None, ..wanted.clone() };
                refused.push(match (&wanted.suite, system.obstacle(&plain)) {
                    (Some(suite), Some(why)) => {
                        format!("{name}: no package source has it in {suite}, and {why} otherwise")
                    }
                    _ => format!("{name}: no package source has it"),
                });
                continue;
            }
            match system.obstacle(wanted) {
                None => known.push(wanted),
                Some(why) => refused.push(format!("{name}: {why}")),
            }
        }
        for (suite, names) in Wanted::by_suite(known) {
            if system.install(suite, &names).is_ok() {
                say(&format!("installed {}", names.join(", ")));
                continue;
            }
            for name in names {
                match system.install(suite, &[name]) {
                    Ok(()) => say(&format!("installed {name}")),
                    Err(error) => refused.push(format!("{name}: {error:#}")),
                }
            }
        }
        refused
    }
}

/// What is to change, found before anything does.
#[derive(Debug)]
struct Changes {
    packages: Packages,
    engine: bool,
    kernels: Vec<String>,
}

impl Changes {
    /// What this system lacks.
    fn needed(system: &mut dyn System, cells: For<'_>, kernels: Vec<String>) -> Changes {
        Changes {
            packages: Packages::needed(system, cells),
            engine: cells.names(&[DOCKER]) && !system.engine_answers(),
            kernels,
        }
    }

    /// Whether everything is there.
    fn is_empty(&self) -> bool {
        self.packages.wanted.is_empty() && !self.engine && self.kernels.is_empty()
    }

    /// Leaves packages and their sources to the user, where they cannot be installed from here; says which.
    fn leave_packages(&mut self, os_release: &str) -> Option<String> {
        let wanted = std::mem::take(&mut self.packages).wanted;
        let wanted: Vec<&Package> = wanted.iter().map(|wanted| wanted.package).collect();
        (!wanted.is_empty()).then(|| {
            format!(
                "packages: only apt is known here; install with the package manager of this host: {}",
                packages::by_hand(os_release, &wanted)
            )
        })
    }

    /// What will change, a line each.
    fn lines(&self, system: &mut dyn System) -> Vec<String> {
        let mut lines = self.packages.preparing();
        let mut known = Vec::new();
        for wanted in &self.packages.wanted {
            let programs = wanted.package.programs.join(", ");
            let version = system.candidate(wanted);
            let shown = version.as_deref().unwrap_or("the version that the lists will have");
            let from = wanted.suite.as_ref().map(|suite| format!(" from {suite}"));
            let (name, from) = (wanted.package.name, from.unwrap_or_default());
            lines.push(format!("will install {name}{from} ({shown}) for {programs}"));
            known.extend(version.map(|_| wanted));
        }
        let groups = Wanted::by_suite(known).into_iter();
        let along: Vec<String> =
            groups.flat_map(|(suite, names)| system.along(suite, &names)).collect();
        if !along.is_empty() {
            lines.push(format!("will install with them: {}", along.join(", ")));
        }
        if self.engine {
            lines.push("will start the Docker engine, which then keeps running".to_owned());
        }
        lines.extend(self.kernels.iter().map(|line| format!("will fetch {line}")));
        lines
    }

    /// The same as commands for a shell of root.
    fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        for Edit { path, change, .. } in &self.packages.edits {
            let to = change.to.replace('\'', r"'\''").replace('\n', "\\n");
            commands.push(format!("sed -i '{}c\\{to}' {path}", change.line + 1));
        }
        if self.packages.update.is_some() {
            commands.push("apt-get update".to_owned());
        }
        for (suite, names) in Wanted::by_suite(&self.packages.wanted) {
            let words = [Wanted::from(suite), names].concat().join(" ");
            commands.push(format!("apt-get install --no-install-recommends {words}"));
        }
        if self.engine {
            commands.push(super::engine::start_command());
        }
        if !self.kernels.is_empty() {
            commands.push(super::PROVISION.to_owned());
        }
        commands
    }

    /// Makes the changes; gives back what could not be had.
    fn make(
        &self,
        system: &mut dyn System,
        cells: For<'_>,
        kernels: &GuestKernels<'_>,
        say: &mut dyn FnMut(&str),
    ) -> Vec<String> {
        let mut refused = match self.packages.wanted.is_empty() {
            true => Vec::new(),
            false => self.packages.make(system, cells, say),
        };
        if self.engine {
            // A package may have started it.
            let started = match system.engine_answers() {
                true => Ok("started by its package".to_owned()),
                false => system.start_engine(),
            };
            match started {
                Ok(engine) => say(&format!("the Docker engine answers: {engine}")),
                Err(error) => refused.push(format!("the Docker engine: {error:#}")),
            }
        }
        if !self.kernels.is_empty() {
            match (kernels.fetch)() {
                Ok(lines) => lines.iter().for_each(|line| say(line)),
                Err(error) => refused.push(format!("kernels for guests: {error:#}")),
            }
        }
        refused
    }
}

/// The value of a key of os-release(5), without its quotes.
fn os_release_value(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests;
