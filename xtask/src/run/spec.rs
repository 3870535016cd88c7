//! What a boot process is told: everything about one boot, as data.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use evenkeel_agent::interpret;
use evenkeel_agent::step::{Node, Role, Slot, Step};
use serde::{Deserialize, Serialize};

use crate::artifact::programs::Programs;
use crate::axis::names::Names;
use crate::axis::tuning::Turned;
use crate::axis::{Hop, Powers, Site, common_port, kernel, load, network, peer, virtualization};
use crate::calibrate::fault::{Fault, Planted};
use crate::matrix::{Cell, Expect, Family, Measure};
use crate::record::Side;

/// One boot.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct BootSpec {
    /// The cell.
    pub cell: Cell,
    /// With whose powers it is made.
    pub powers: Powers,
    /// Which side of a comparison of revisions.
    pub side: String,
    /// Block of the plan.
    pub block: u32,
    /// Position in the block.
    pub position: u32,
    /// Which fresh start of this cell.
    pub boot: u32,
    /// Names of everything that it makes.
    pub names: Names,
    /// What it does to the host, in order.
    pub steps: Vec<Step>,
    /// The knobs among the steps, with what they must read.
    pub knobs: Vec<Turned>,
    /// Counters that measured packets must move.
    pub hops: Vec<Hop>,
    /// How traffic finds its way.
    pub path: Path,
    /// What the load does.
    pub load: load::Recipe,
    /// Processes and threads whose involuntary switches count as noise.
    pub watched: Vec<Slot>,
    /// What is measured.
    pub measure: Measure,
    /// The user's programs among it, of this boot's side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<Programs>,
    /// Where the system under test finds them, and where the peer does.
    #[serde(default)]
    pub folders: [String; 2],
    /// What the kernel inside must be.
    pub expect: Expect,
    /// The configuration file that came with the kernel of the guest, or below the container, for one that does not show its own.
    pub config: Option<kernel::ConfigFile>,
    /// The fault that it is given on purpose: by `calibrate`, and by nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Planted>,
    /// Whether it counts in no figure and is to tell what its tail coincides with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub diagnoses: bool,
    /// Facts of the instrument.
    pub instrument: BTreeMap<String, String>,
    /// Deadline for the whole boot.
    pub within: Duration,
}

/// How traffic finds its way.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Path {
    /// Address that the client connects to.
    pub target: IpAddr,
    /// Address of the system under test.
    pub sut: IpAddr,
    /// IP version.
    pub family: Family,
    /// What a guest is told about its link; absent for containers, which are configured from outside.
    pub guest: Option<GuestLink>,
}

/// A guest's link.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct GuestLink {
    /// Hardware address by which it is found.
    pub mac: String,
    /// Address with prefix length.
    pub address: String,
    /// Default gateway, where the path is routed.
    pub gateway: Option<IpAddr>,
}

/// The position of a boot in a plan.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Block.
    pub block: u32,
    /// Position in it.
    pub position: u32,
    /// Which fresh start of the cell.
    pub boot: u32,
    /// Of which revision.
    #[serde(default)]
    pub side: Side,
}

impl BootSpec {
    /// What one boot of a site's cell does.
    ///
    /// # Errors
    /// A kind that does not exist or does not fit, a knob's value, or steps that break a law.
    pub fn new(
        site: &Site,
        measure: &Measure,
        expect: &Expect,
        instrument: BTreeMap<String, String>,
        place: Place,
    ) -> anyhow::Result<BootSpec> {
        let cell = &site.cell;
        let system = virtualization::find(&cell.virtualization)
            .with_context(|| format!("there is no virtualization `{}`", cell.virtualization))?;
        let path = network::find(&cell.network)
            .with_context(|| format!("there is no network `{}`", cell.network))?;
        let load =
            load::find(&cell.load).with_context(|| format!("there is no load `{}`", cell.load))?;
        let port = common_port(system, path).with_context(|| {
            format!("{} and {} have no common port", system.name(), path.name())
        })?;
        let programs = site.artifacts.programs.as_ref();
        let hops = path.hops(site, port);
        let knobs = site.profile.turn(site, system, &hops)?;
        let mut steps = peer::steps_of(site);
        steps.extend(system.steps(site, port, path));
        steps.extend(path.steps(site, port));
        steps.extend(load.steps(site));
        steps.extend(knobs.iter().flat_map(|knob| knob.steps.clone()));
        let steps = interpret::in_order(steps);
        interpret::check(&steps)?;
        let watched = system
            .roles()
            .iter()
            .map(|role| match role {
                Role::Server | Role::Client => Slot::Pid(virtualization::SUT),
                Role::Vcpu | Role::Emulator => Slot::Threads(virtualization::SUT, *role),
            })
            .chain([Slot::Pid(Node::Peer)])
            .collect();
        let guest = system.is_guest().then(|| GuestLink {
            mac: virtualization::GUEST_MAC.to_owned(),
            address: site.addresses.with_prefix(site.addresses.sut()),
            gateway: path.gateway(site),
        });
        Ok(BootSpec {
            cell: cell.clone(),
            powers: site.powers,
            side: place.side.name().to_owned(),
            block: place.block,
            position: place.position,
            boot: place.boot,
            names: site.names.clone(),
            steps,
            knobs,
            hops,
            path: Path {
                target: path.target(site),
                sut: site.addresses.sut(),
                family: site.addresses.family,
                guest,
            },
            load: load.recipe(site),
            watched,
            measure: measure.clone(),
            folders: programs.map(|of| folders(of, system.has_own_root())).unwrap_or_default(),
            programs: programs.cloned(),
            expect: expect.clone(),
            config: site.artifacts.guest.as_ref().and_then(|guest| guest.config.clone()),
            fault: None,
            diagnoses: false,
            instrument,
            within: deadline(system.is_guest(), measure, programs),
        })
    }

    /// The same boot with a fault.
    ///
    /// # Errors
    /// Its steps break a law.
    pub fn with_fault(mut self, fault: Fault, site: &Site) -> anyhow::Result<BootSpec> {
        self.steps.extend(fault.steps(site));
        self.steps = interpret::in_order(self.steps);
        interpret::check(&self.steps)?;
        self.fault = Some(Planted::at(fault, site));
        Ok(self)
    }
}

/// Where both ends find the user's programs: the peer in their copy, the system under test in its own root if it has one.
fn folders(programs: &Programs, has_own_root: bool) -> [String; 2] {
    let copy = programs.folder.to_string_lossy().into_owned();
    [if has_own_root { programs.inside() } else { copy.clone() }, copy]
}

/// When the watchdog ends a boot: building, and every workload at its own deadline.
pub(super) fn deadline(guest: bool, measure: &Measure, programs: Option<&Programs>) -> Duration {
    let build = if guest { Duration::from_secs(300) } else { Duration::from_secs(120) };
    let workloads = u32::try_from(measure.workloads.len()).unwrap_or(u32::MAX);
    let of_programs: Duration =
        programs.iter().flat_map(|of| &of.commands).map(|command| command.within).sum();
    build + measure.time() * 2 + super::super::workload::GRACE * workloads * 2 + of_programs
}
