//! Names of everything that a boot makes: fixed by the run and the boot, so that a journal and a sweep can find it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The folder of boots: sockets, configurations, what children say.
pub const FOLDER: &str = "/run/evenkeel";

/// A run's tag: `ek` and four hexadecimal digits.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct RunTag(String);

impl RunTag {
    /// The tag of a run, from a number that differs between runs.
    pub fn new(number: u64) -> RunTag {
        // Mixed, so that runs that start one second apart differ in more than the last digit (splitmix64's finaliser).
        let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        RunTag(format!("ek{:04x}", (mixed >> 48) & 0xffff))
    }

    /// The names of one boot of the run.
    pub fn boot(&self, number: u32) -> Names {
        Names(format!("{}{}", self.0, base36(number)))
    }

    /// The image that the run gives to the Docker engine.
    pub fn image(&self) -> String {
        format!("evenkeel-agent:{}", self.0)
    }
}

impl fmt::Display for RunTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of a boot's objects. Interface names hold 15 characters: `ek4f2a01x-br0`.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct Names(String);

impl Names {
    /// The tag that all names begin with; also the boot's cgroup.
    pub fn tag(&self) -> &str {
        &self.0
    }

    /// The boot's folder: sockets, configurations, what children say.
    pub fn dir(&self) -> String {
        format!("{FOLDER}/{}", self.0)
    }

    /// The namespace of the system under test.
    pub fn sut_netns(&self) -> String {
        format!("{}-sut", self.0)
    }

    /// The namespace of the peer.
    pub fn peer_netns(&self) -> String {
        format!("{}-peer", self.0)
    }

    /// The namespace that holds what lies between the two: a bridge or a router of ours.
    pub fn path_netns(&self) -> String {
        format!("{}-path", self.0)
    }

    /// The bridge.
    pub fn bridge(&self) -> String {
        format!("{}-br0", self.0)
    }

    /// The end of the peer's link that lies on the path.
    pub fn peer_port(&self) -> String {
        format!("{}-p", self.0)
    }

    /// The end of the system under test's link that lies on the path.
    pub fn sut_port(&self) -> String {
        format!("{}-s", self.0)
    }

    /// The end of a trunk, or of an overlay, that is a port of the bridge.
    pub fn trunk_port(&self) -> String {
        format!("{}-v", self.0)
    }

    /// The container of the system under test.
    pub fn container(&self) -> String {
        format!("{}-sut0", self.0)
    }

    /// The engine's network.
    pub fn network(&self) -> String {
        format!("{}-net", self.0)
    }

    /// The cgroup that an engine is told to put the container under.
    pub fn engine_cgroup(&self) -> String {
        format!("{}-engine", self.0)
    }

    /// The monitor socket of a guest.
    pub fn qmp(&self) -> String {
        format!("{}/qmp", self.dir())
    }
}

/// Three digits at least.
fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    while number > 0 || digits.len() < 3 {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_read_well() {
        let names = RunTag::new(1).boot(69);
        assert_eq!(names.bridge().len(), 13);
        assert!(names.bridge().ends_with("01x-br0"), "{}", names.bridge());
    }

    proptest! {
        #[test]
        fn interface_names_fit_and_differ(run in any::<u64>(), a in 0_u32..46_656, b in 0_u32..46_656) {
            let (one, other) = (RunTag::new(run).boot(a), RunTag::new(run).boot(b));
            for name in [one.bridge(), one.peer_port(), one.sut_port(), one.trunk_port()] {
                prop_assert!(name.len() <= 15);
            }
            prop_assert_eq!(one == other, a == b);
        }
    }
}
