//! What must be there before the first boot: root file system and image of containers, kernels and initramfs of guests, and
//! a network that nobody uses. All of it is made before anything is measured; what lies on the host is journaled.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use evenkeel_agent::clock;
use evenkeel_agent::command;
use evenkeel_agent::entry::NAME as AGENT;
use evenkeel_agent::interpret::{self, Slots, Undone};
use evenkeel_agent::journal::Journal;
use evenkeel_agent::machine::links;
use evenkeel_agent::machine::real::Real;
use evenkeel_agent::state::{StateDir, host_boot};
use evenkeel_agent::step::{Ensure, Object, Phase, Step};

use super::host::Host;
use crate::artifact::bundle::bundle;
use crate::artifact::cache::Cache;
use crate::artifact::initramfs::initramfs;
use crate::artifact::programs::Programs;
use crate::artifact::rootfs::{Entry, RootFs, Source};
use crate::axis::kernel::lock::Lock;
use crate::axis::names::{FOLDER, RunTag};
use crate::axis::tuning::Profile;
use crate::axis::virtualization::GUEST_MEMORY_MB;
use crate::axis::virtualization::accelerator::Accelerator;
use crate::axis::{Addresses, Artifacts, Guest, Powers, Site, kernel, make, steps, virtualization};
use crate::fingerprint;
use crate::matrix::{Cell, Matrix, RUNNING};
use crate::workload;

/// Deadline of a question to `ip`.
const SOON: Duration = Duration::from_secs(20);

/// Everything that boots of a run start from.
#[derive(Debug)]
pub struct Prepared {
    artifacts: Artifacts,
    /// Why there is no root file system for systems that need one.
    no_root_fs: Option<String>,
    /// By name of the kernel in the matrix and modules of the machine: a guest's files and its version, or why there is none.
    guests: BTreeMap<GuestKey, Result<(Guest, String), String>>,
    net: u8,
}

impl Prepared {
    /// Makes artifacts for these cells, around this program as their agent. `programs` are the user's, of this side and of the other: a root
    /// has both, so that both sides start from one. What cannot be had is remembered as the reason of the cells that need it.
    ///
    /// # Errors
    /// What all cells need cannot be made.
    pub fn new<'a>(
        cells: impl Iterator<Item = &'a Cell> + Clone,
        matrix: &Matrix,
        cache: &Cache,
        lock: &Lock,
        agent: PathBuf,
        tag: &RunTag,
        programs: [Option<&Programs>; 2],
    ) -> anyhow::Result<Prepared> {
        let (root, no_root_fs) = match tools(matrix, programs) {
            Ok(root) => (root, None),
            Err(error) => (RootFs::base(), Some(format!("{error:#}"))),
        };
        let is_guest = |cell: &&Cell| {
            virtualization::find(&cell.virtualization).is_some_and(|kind| kind.is_guest())
        };
        let own = programs[0].cloned();
        let mut artifacts =
            Artifacts { image: tag.image(), agent, programs: own, ..Artifacts::default() };
        let is_container = |cell: &Cell| has_own_root(cell) && !is_guest(&cell);
        if no_root_fs.is_none() && cells.clone().any(is_container) {
            artifacts.rootfs = container_root(cache, root.clone(), &artifacts.agent)?;
        }
        let mut guests = BTreeMap::new();
        for cell in cells.filter(is_guest) {
            let key = key(cell);
            if no_root_fs.is_none() && !guests.contains_key(&key) {
                let made = guest(&key, matrix, (cache, lock), &artifacts.agent, root.clone());
                guests.insert(key, made.map_err(|error| format!("{error:#}")));
            }
        }
        Ok(Prepared { artifacts, no_root_fs, guests, net: free_net()? })
    }

    /// What a lab starts from: what was made for it outside, and a network that nobody uses inside.
    ///
    /// # Errors
    /// No network is free, or this program's own file is not known.
    pub fn in_lab(
        rootfs: PathBuf,
        programs: Option<Programs>,
        tag: &RunTag,
    ) -> anyhow::Result<Prepared> {
        let agent = std::env::current_exe().context("failed to find this program's own file")?;
        let artifacts = Artifacts { image: tag.image(), agent, rootfs, programs, guest: None };
        Ok(Prepared { artifacts, no_root_fs: None, guests: BTreeMap::new(), net: free_net()? })
    }

    /// Facts that preparing has found: `accelerator`, what executes guests here and why, where there are guests.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let guests = self.guests.values().flatten();
        let mut found: Vec<String> =
            guests.map(|(guest, _)| guest.accelerator.to_string()).collect();
        found.sort();
        found.dedup();
        let fact = (!found.is_empty()).then(|| ("accelerator".to_owned(), found.join("; ")));
        fact.into_iter().collect()
    }

    /// Version and configuration of a kernel that was prepared for guests.
    pub fn guest_kernel(&self, name: &str) -> Option<(&str, Option<&Path>)> {
        let mut guests = self.guests.iter().filter(|((kernel, _), _)| kernel == name);
        let (guest, version) = guests.find_map(|(_, made)| made.as_ref().ok())?;
        Some((version, guest.config.as_ref().map(|config| config.path.as_path())))
    }

    /// Why a cell cannot be measured although its host could: its programs or its kernel cannot be had.
    pub fn missing(&self, cell: &Cell) -> Option<&str> {
        if let (Some(reason), true) = (&self.no_root_fs, has_own_root(cell)) {
            return Some(reason);
        }
        match self.guests.get(&key(cell)) {
            Some(Err(reason)) if self.is_guest(cell) => Some(reason),
            _ => None,
        }
    }

    fn is_guest(&self, cell: &Cell) -> bool {
        virtualization::find(&cell.virtualization).is_some_and(|kind| kind.is_guest())
    }

    /// The site of one boot, and the facts of its instrument.
    ///
    /// # Errors
    /// The cell's profile or kernel cannot be had.
    pub fn site(
        &self,
        cell: &Cell,
        host: &Host,
        matrix: &Matrix,
        tag: &RunTag,
        number: u32,
    ) -> anyhow::Result<(Site, BTreeMap<String, String>)> {
        let guest = match self.guests.get(&key(cell)) {
            Some(Ok(guest)) if self.is_guest(cell) => Some(guest),
            Some(Err(reason)) if self.is_guest(cell) => bail!("{reason}"),
            _ => None,
        };
        let accelerator = guest.map(|(guest, _)| guest.accelerator.name());
        let version = guest.map(|(_, version)| version.as_str());
        let instrument = fingerprint::instrument(cell, &host.facts, accelerator, version);
        let site = Site {
            cell: cell.clone(),
            powers: host.powers_for(cell),
            names: tag.boot(number),
            addresses: Addresses { family: matrix.measure.family, net: self.net },
            placement: host.placement.clone(),
            artifacts: Artifacts {
                guest: guest.map(|(guest, _)| guest.clone()),
                ..self.artifacts.clone()
            },
            cpus: host.cpus.clone(),
            profile: Profile::of(matrix, &cell.tuning)?,
            realtime_groups: host.realtime_groups,
            fair_servers: host.fair_servers.clone(),
            found: host.found.clone(),
        };
        Ok((site, instrument))
    }

    /// The static binary that is the agent everywhere.
    pub fn agent(&self) -> &Path {
        &self.artifacts.agent
    }

    /// The user's programs of its side.
    pub fn programs(&self) -> Option<&Programs> {
        self.artifacts.programs.as_ref()
    }

    /// The folder that holds the containers' root, for the engine's image.
    pub fn rootfs(&self) -> &Path {
        &self.artifacts.rootfs
    }
}

/// What the files of a guest differ by.
type GuestKey = (String, &'static [&'static str]);

fn key(cell: &Cell) -> GuestKey {
    let system = virtualization::find(&cell.virtualization);
    (cell.kernel.to_string(), system.map_or(&[], |system| system.modules()))
}

fn has_own_root(cell: &Cell) -> bool {
    virtualization::find(&cell.virtualization).is_some_and(|kind| kind.has_own_root())
}

/// The site of a boot that will not happen: artifacts are shown by where they would lie.
///
/// # Errors
/// The cell's profile cannot be read.
pub fn imagined(cell: &Cell, host: &Host, matrix: &Matrix) -> anyhow::Result<Site> {
    let tag = RunTag::new(0);
    let guest = Guest {
        kernel: PathBuf::from(format!("KERNEL({})", cell.kernel)),
        initramfs: PathBuf::from("INITRAMFS"),
        cmdline: matrix.kernels.get(&*cell.kernel).map(|k| k.cmdline.clone()).unwrap_or_default(),
        config: None,
        accelerator: Accelerator::Tcg { reason: String::new() },
        tsc_khz: None,
    };
    Ok(Site {
        cell: cell.clone(),
        powers: host.powers_for(cell),
        names: tag.boot(0),
        addresses: Addresses { family: matrix.measure.family, net: 0 },
        placement: host.placement.clone(),
        artifacts: Artifacts {
            agent: std::env::current_exe().context("failed to find this program's own file")?,
            rootfs: PathBuf::from("ROOT"),
            image: tag.image(),
            programs: None,
            guest: Some(guest),
        },
        cpus: host.cpus.clone(),
        profile: Profile::of(matrix, &cell.tuning)?,
        realtime_groups: host.realtime_groups,
        fair_servers: host.fair_servers.clone(),
        found: host.found.clone(),
    })
}

/// A root with the programs of the matrix's workloads, the user's, and the libraries of both, but without an agent.
fn tools(matrix: &Matrix, own: [Option<&Programs>; 2]) -> anyhow::Result<RootFs> {
    let workloads = matrix.measure.workloads.iter();
    let workloads = workloads.filter_map(|name| workload::find(name, &matrix.commands));
    let mut programs: Vec<PathBuf> = workloads
        .flat_map(|workload| workload.programs())
        .filter_map(|program| command::which(program))
        .collect();
    programs.sort();
    programs.dedup();
    let mut root = bundle(&programs)?;
    own.into_iter().flatten().try_for_each(|programs| programs.bring(&mut root))?;
    Ok(root)
}

/// The containers' root as a folder, and beside it the archive that the engine imports. Named by its contents.
fn container_root(cache: &Cache, mut root: RootFs, agent: &Path) -> anyhow::Result<PathBuf> {
    let entry = Entry::File(Source::Host(agent.to_owned()), 0o755);
    root.put(&Path::new("/").join(AGENT), entry)?;
    let digest = root.digest()?;
    let folder = cache.folder(&format!("containers/{digest}"), |folder| {
        let place = folder.join("root");
        std::fs::create_dir(&place)
            .with_context(|| format!("failed to make {}", place.display()))?;
        root.write_folder(&place)?;
        let archive = std::fs::File::create(folder.join("root.tar"))?;
        root.write_tar(std::io::BufWriter::new(archive))
    })?;
    Ok(folder.join("root"))
}

fn guest(
    (name, modules): &GuestKey,
    matrix: &Matrix,
    (cache, lock): (&Cache, &Lock),
    agent: &Path,
    root: RootFs,
) -> anyhow::Result<(Guest, String)> {
    let most = u64::from(GUEST_MEMORY_MB) << 20 >> 2;
    let bytes = root.bytes()?;
    ensure!(
        bytes <= most,
        "programs and files of {} MiB do not fit a guest's memory of {} MiB, which holds them twice while they are unpacked: name less in \
         `files` and `programs` of [command], or leave guests out",
        bytes >> 20,
        GUEST_MEMORY_MB
    );
    let source = matrix.kernels.get(name);
    let found = match source {
        Some(source) => kernel::resolve(cache, lock, source)?,
        None if name == RUNNING => kernel::running(cache)?,
        None => bail!("kernel `{name}` is not defined"),
    };
    let accelerator = virtualization::accelerator::probe(cache, &found)?;
    let initramfs = initramfs(cache, &found, modules, agent, root)?;
    let version = found.version.clone();
    let config = found.config.map(|path| kernel::ConfigFile { path, version });
    let guest = Guest {
        kernel: found.image,
        initramfs,
        cmdline: source.map(|source| source.cmdline.clone()).unwrap_or_default(),
        config,
        tsc_khz: matches!(accelerator, Accelerator::Tcg { .. }).then(clock::tsc_khz).flatten(),
        accelerator,
    };
    Ok((guest, found.version))
}

/// A pair of networks out of the ranges for benchmarks that no route of this host touches, of neither version of IP.
fn free_net() -> anyhow::Result<u8> {
    let mut used = Vec::new();
    for family in ["-4", "-6"] {
        let argv = ["ip", family, "-json", "route", "show", "table", "all"];
        let text = command::output(&argv, SOON)?;
        let routes: serde_json::Value = serde_json::from_str(&text)
            .with_context(|| format!("`{}` printed no JSON", argv.join(" ")))?;
        let routes = routes.as_array().into_iter().flatten();
        used.extend(routes.filter_map(|route| covered(route["dst"].as_str()?)).flatten());
    }
    (0..=254)
        .step_by(2)
        .find(|net| !used.contains(net) && !used.contains(&(net + 1)))
        .context("every network of 198.18.0.0/16 and 2001:2::/48, the ranges for benchmarks, is routed on this host: free a pair")
}

/// Steps that make what lasts for a whole run: the folder of boots, the mount for namespaces where there is none, and the engine's image of
/// the root `image_of`. The tools that make the image, and labs, live in a cgroup, so that none of them outlives an undo.
pub fn standing(
    tag: &RunTag,
    folder: &Path,
    image_of: Option<&Path>,
    makes_netns_mount: bool,
    holds_labs: bool,
) -> Vec<Step> {
    let mut acts = vec![make(Object::Dir(folder.display().to_string()), &[])];
    if makes_netns_mount {
        acts.push(make(Object::NetnsMount, &[]));
    }
    if image_of.is_some() || holds_labs {
        acts.push(make(Object::Cgroup(tag.to_string()), &[]));
    }
    if let Some(root) = image_of {
        let archive = root.with_extension("tar");
        acts.push(make(Object::DockerImage(tag.image()), &[&archive.to_string_lossy()]));
    }
    steps(Phase::Prepare, acts)
}

/// Numbers of the networks (third byte of 198.18.0.0/16, fourth word of 2001:2::/48) that a route covers. Routes that are wider
/// than the ranges for benchmarks (a default, a VPN's halves of everything) do not count: ours are longer, and win.
fn covered(destination: &str) -> Option<RangeInclusive<u8>> {
    let (address, length) = match destination.split_once('/') {
        Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
        None => (destination, None),
    };
    // The address, its bits, the bits of the range, those of its prefix, and where the number of a network begins in it.
    let (address, bits, range, prefix, below): (u128, u32, u128, u32, u32) =
        match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(four) => {
                let range = u32::from(Ipv4Addr::new(198, 18, 0, 0));
                (u32::from(four).into(), 32, range.into(), 15, 8)
            }
            IpAddr::V6(six) => {
                let range = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0);
                (six.into(), 128, range.into(), 48, 64)
            }
        };
    let length = length.unwrap_or(bits);
    if !(prefix..=bits).contains(&length) {
        return None;
    }
    let hosts = (1_u128 << (bits - length)) - 1;
    let last_of_range = range | ((1 << (below + 8)) - 1);
    let (first, last) = ((address & !hosts).max(range), (address | hosts).min(last_of_range));
    let net = |address: u128| (address >> below).to_le_bytes()[0];
    (first <= last).then(|| net(first)..=net(last))
}

/// What lasts for a whole run on the host, with its own journal.
#[derive(Debug)]
pub struct Standing {
    machine: Real,
    undo: Vec<Ensure>,
}

impl Standing {
    /// Makes what lasts for the run: its folder, and on a host of root's the mount for namespaces and the engine's image.
    ///
    /// # Errors
    /// It cannot be made; what was made is undone.
    pub fn make(
        state: &StateDir,
        tag: &RunTag,
        powers: Powers,
        image_of: Option<&Path>,
        holds_labs: bool,
    ) -> anyhow::Result<Standing> {
        let journal = Journal::begin(&state.run_journal(), &tag.to_string(), &host_boot()?)?;
        let folder = match powers {
            Powers::Root => PathBuf::from(FOLDER),
            // The host's /run is not theirs; what boots need of one, their namespaces have.
            Powers::Namespaces => state.run_folder(),
        };
        let makes_mount = powers == Powers::Root && !links::has_netns_mount()?;
        let all = standing(tag, &folder, image_of, makes_mount, holds_labs);
        let mut standing = Standing { machine: Real::new(journal, &folder), undo: Vec::new() };
        let made = interpret::run(
            &mut standing.machine,
            &all,
            &mut Slots::new(),
            &mut standing.undo,
            |_| (),
        );
        match made {
            Ok(()) => Ok(standing),
            Err(failure) => {
                let undone = standing.undo()?;
                let error = anyhow::Error::new(failure);
                Err(match undone.failed.as_slice() {
                    [] => error,
                    left => error.context(left.join("; ")),
                })
            }
        }
    }

    /// Undoes it.
    ///
    /// # Errors
    /// The journal cannot be cleared.
    pub fn undo(mut self) -> anyhow::Result<Undone> {
        let undone = interpret::undo_all(&mut self.machine, &self.undo);
        if undone.failed.is_empty() {
            self.machine.finish()?;
        }
        Ok(undone)
    }
}

#[cfg(test)]
mod tests {
    use super::covered;

    #[test]
    fn routes_cover_networks_of_the_range_for_benchmarks() {
        for (route, networks) in [
            ("198.18.4.0/24", Some(4..=4)),
            ("198.18.4.9", Some(4..=4)),
            ("198.18.8.0/22", Some(8..=11)),
            ("198.18.0.0/16", Some(0..=255)),
            ("198.18.0.0/15", Some(0..=255)),
            ("198.19.0.0/16", None),
            ("198.0.0.0/8", None),
            ("10.0.0.0/24", None),
            ("default", None),
            ("fd00::/64", None),
            ("2001:2:0:4::/64", Some(4..=4)),
            ("2001:2:0:4::2", Some(4..=4)),
            ("2001:2:0:8::/62", Some(8..=11)),
            ("2001:2::/48", Some(0..=255)),
            ("2001:2:0:100::/64", None),
            ("2001::/32", None),
            ("::1", None),
            ("198.18.4.0/33", None),
        ] {
            assert_eq!(covered(route), networks, "{route}");
        }
    }
}
