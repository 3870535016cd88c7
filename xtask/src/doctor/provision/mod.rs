//! Installs what is missing, where that was asked for: first says what will change, then changes it.
//!
//! A second run has nothing to do. What cannot be had is named, and the rest goes on. The order is fixed:
//! sources, lists of packages, packages, engine, kernels; each depends on the ones before it. Decisions are made over
//! the `System` trait, so that a fake one shows the order of effects.

use anyhow::bail;

mod apt;
mod packages;
mod sources;

use packages::{PACKAGES, Package};
use sources::LineEdit;

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

/// Installs what is missing on this host, and starts the Docker engine if none answers; it keeps running.
///
/// `say` gets a line of what will change or was done. Without root it fails before any change, with the exact
/// commands. Without apt, packages are named for the user to install, and the rest goes on.
pub fn provision(kernels: &GuestKernels<'_>, say: &mut dyn FnMut(&str)) -> anyhow::Result<Outcome> {
    let mut system = apt::Apt::new();
    let mut changes = Changes::needed(&mut system, (kernels.planned)());
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
    refused.extend(changes.make(&mut system, kernels, say));
    refused.iter().for_each(|line| say(&format!("could not be had: {line}")));
    Ok(Outcome::Changed { refused })
}

/// A host that can be changed.
trait System {
    /// Whether a program is there.
    fn has(&self, program: &str) -> bool;
    /// The version that would be installed of a package; `None` where no source has it.
    fn candidate(&mut self, package: &str) -> Option<String>;
    /// Why the lists of packages are not to be relied on; `None` if they are.
    fn stale(&mut self) -> Option<String>;
    /// The edit that makes the sources offer what is not free; `None` if they do or cannot.
    fn edit(&mut self) -> Option<Edit>;
    /// Other packages that come along with these.
    fn along(&mut self, packages: &[&str]) -> Vec<String>;
    /// Whether a Docker engine answers.
    fn engine_answers(&mut self) -> bool;

    /// Changes one line of the sources, in place.
    fn write(&mut self, edit: &Edit) -> anyhow::Result<()>;
    /// Takes that change back.
    fn take_back(&mut self, edit: &Edit) -> anyhow::Result<()>;
    /// Fetches the lists of packages.
    fn update(&mut self) -> anyhow::Result<()>;
    /// Installs packages, all or none of them.
    fn install(&mut self, packages: &[&str]) -> anyhow::Result<()>;
    /// Starts the Docker engine; says what answers.
    fn start_engine(&mut self) -> anyhow::Result<String>;
}

/// A change of one line of a file of sources.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edit {
    path: String,
    component: String,
    old_line: String,
    change: LineEdit,
}

/// What is to change, found before anything does.
#[derive(Debug)]
struct Changes {
    edit: Option<Edit>,
    /// Why the lists of packages are fetched, if they are.
    update: Option<String>,
    packages: Vec<&'static Package>,
    engine: bool,
    kernels: Vec<String>,
}

impl Changes {
    /// What this system lacks.
    fn needed(system: &mut dyn System, kernels: Vec<String>) -> Changes {
        let packages: Vec<&Package> = PACKAGES
            .iter()
            .filter(|package| package.programs.iter().any(|program| !system.has(program)))
            .collect();
        let unknown: Vec<&Package> =
            packages.iter().copied().filter(|p| system.candidate(p.name).is_none()).collect();
        let edit = match unknown.iter().any(|package| package.is_non_free) {
            true => system.edit(),
            false => None,
        };
        let update = match (packages.is_empty(), &edit, unknown.first()) {
            (true, _, _) => None,
            (_, Some(_), _) => Some("the sources change".to_owned()),
            (_, None, Some(package)) => Some(format!("no list has {}", package.name)),
            (_, None, None) => system.stale(),
        };
        Changes { edit, update, packages, engine: !system.engine_answers(), kernels }
    }

    /// Whether everything is there.
    fn is_empty(&self) -> bool {
        self.packages.is_empty() && !self.engine && self.kernels.is_empty()
    }

    /// Leaves packages and their sources to the user, where they cannot be installed from here; says which.
    fn leave_packages(&mut self, os_release: &str) -> Option<String> {
        let wanted = std::mem::take(&mut self.packages);
        (self.edit, self.update) = (None, None);
        (!wanted.is_empty()).then(|| {
            format!(
                "packages: only apt is known here; install with the package manager of this host: {}",
                packages::by_hand(os_release, &wanted)
            )
        })
    }

    /// What will change, a line each.
    fn lines(&self, system: &mut dyn System) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(Edit { path, component, change, .. }) = &self.edit {
            lines.push(format!(
                "will add the component {component} to line {} of {path}: `{}`",
                change.line + 1,
                change.text.trim()
            ));
        }
        if let Some(why) = &self.update {
            lines.push(format!("will fetch the lists of packages: {why}"));
        }
        let mut known = Vec::new();
        for package in &self.packages {
            let programs = package.programs.join(", ");
            let version = system.candidate(package.name);
            let shown = version.as_deref().unwrap_or("the version that the lists will have");
            lines.push(format!("will install {} ({shown}) for {programs}", package.name));
            known.extend(version.map(|_| package.name));
        }
        let along = system.along(&known);
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
        if let Some(Edit { path, change, .. }) = &self.edit {
            commands.push(format!(
                "sed -i '{}c\\{}' {path}",
                change.line + 1,
                change.text.replace('\'', r"'\''")
            ));
        }
        if self.update.is_some() {
            commands.push("apt-get update".to_owned());
        }
        if !self.packages.is_empty() {
            let names: Vec<&str> = self.packages.iter().map(|package| package.name).collect();
            commands.push(format!("apt-get install --no-install-recommends {}", names.join(" ")));
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
        kernels: &GuestKernels<'_>,
        say: &mut dyn FnMut(&str),
    ) -> Vec<String> {
        let mut refused = self.refresh(system, say);
        refused.extend(self.install(system, say));
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

    /// Edits the sources and fetches the lists. An edit that does not help is taken back.
    fn refresh(&self, system: &mut dyn System, say: &mut dyn FnMut(&str)) -> Vec<String> {
        let mut refused = Vec::new();
        let mut edited = None;
        if let Some(edit) = &self.edit {
            match system.write(edit) {
                Ok(()) => {
                    say(&format!("added {} to {}", edit.component, edit.path));
                    edited = Some(edit);
                }
                Err(error) => refused.push(format!("the component {}: {error:#}", edit.component)),
            }
        }
        if self.update.is_none() {
            return refused;
        }
        let mut updated = system.update();
        if let Some(edit) = edited {
            let useless = match &updated {
                Err(error) => Some(format!("{error:#}")),
                Ok(()) if !self.offers_non_free(system) => {
                    Some("it does not have what is wanted of it".to_owned())
                }
                Ok(()) => None,
            };
            if let Some(why) = useless {
                refused.push(format!("the component {}: {why}", edit.component));
                match system.take_back(edit) {
                    Ok(()) => say(&format!("took {} out of {} again", edit.component, edit.path)),
                    Err(error) => refused.push(format!("{} as it was: {error:#}", edit.path)),
                }
                updated = system.update();
            }
        }
        match updated {
            Ok(()) => say("fetched the lists of packages"),
            Err(error) => refused.push(format!("the lists of packages: {error:#}")),
        }
        refused
    }

    /// Whether the sources have any of the packages for which they were edited.
    fn offers_non_free(&self, system: &mut dyn System) -> bool {
        let mut wanted = self.packages.iter().filter(|package| package.is_non_free);
        wanted.any(|package| system.candidate(package.name).is_some())
    }

    /// Installs the packages together; where that fails, each alone, so that one does not keep the others away.
    fn install(&self, system: &mut dyn System, say: &mut dyn FnMut(&str)) -> Vec<String> {
        let mut refused = Vec::new();
        let mut known = Vec::new();
        for package in &self.packages {
            match system.candidate(package.name) {
                Some(_) => known.push(package.name),
                None => refused.push(format!("{}: no package source has it", package.name)),
            }
        }
        if known.is_empty() {
            return refused;
        }
        if system.install(&known).is_ok() {
            say(&format!("installed {}", known.join(", ")));
            return refused;
        }
        for name in known {
            match system.install(&[name]) {
                Ok(()) => say(&format!("installed {name}")),
                Err(error) => refused.push(format!("{name}: {error:#}")),
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
