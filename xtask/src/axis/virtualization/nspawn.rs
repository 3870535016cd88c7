//! A container of systemd-nspawn, from a folder, without systemd around it. It sees a `/run` of its own, in which it keeps what it knows of its
//! containers, so that nothing of that is left on the host.

use std::time::Duration;

use evenkeel_agent::step::{Act, Arg, Node, Object, Phase, Query, Role, Slot, Step};

use super::{NAME, SUT, Virtualization, hello, learn_server};
use crate::axis::{Kind, Port, Site, make, network::Network, steps};
use crate::doctor::NeedName;

/// The kind.
#[derive(Debug)]
pub struct Nspawn;

/// Hides the host's `/run`. Where both versions of control groups are mounted, nspawn would make groups of its own at the root of the older; it
/// sees the newer alone, in which it is in a group of the boot.
const HIDE: &str = r#"mount -t tmpfs tmpfs /run && c=/sys/fs/cgroup && { [ ! -d $c/unified ] || mount --bind $c/unified $c; } && exec "$@""#;

/// Keeps nspawn from a lock beside the root, in the cache: killed, it would leave that. Nobody writes to the root.
const UNLOCKED: &str = "SYSTEMD_NSPAWN_LOCK=0";

impl Kind for Nspawn {
    fn name(&self) -> &'static str {
        "nspawn"
    }

    fn about(&self) -> &'static str {
        "a container of systemd-nspawn from a folder, in a network namespace that is made for it"
    }

    fn needs(&self) -> &'static [NeedName] {
        &[NeedName::Root, NeedName::Ip, NeedName::Veth, NeedName::Cgroup, NeedName::Nspawn]
    }
}

impl Virtualization for Nspawn {
    fn ports(&self) -> &'static [Port] {
        &[Port::Netdev]
    }

    fn roles(&self) -> &'static [Role] {
        &[Role::Server]
    }

    fn overhead(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn steps(&self, site: &Site, _port: Port, _network: &dyn Network) -> Vec<Step> {
        let names = &site.names;
        let mut all = steps(Phase::Prepare, [make(Object::Netns(names.sut_netns()), &[])]);
        let monitor = Slot::Pid(Node::Host);
        let start = Act::Start {
            name: NAME.to_owned(),
            argv: argv(site).into_iter().map(Arg::from).collect(),
            gives: monitor,
            // Groups below the boot's own, in hierarchies that the boot is not held by.
            leaves: vec![Object::ControllerCgroups(names.tag().to_owned())],
        };
        let learn = Act::Learn { slot: Slot::Pid(SUT), query: Query::Child(monitor.into()) };
        all.extend(steps(Phase::Hold, [start, hello(), learn]));
        all.extend(steps(Phase::Place, [learn_server()]));
        all
    }
}

/// The command line: nspawn itself takes the place of what enters the namespace and hides the rest.
fn argv(site: &Site) -> Vec<String> {
    let names = &site.names;
    #[rustfmt::skip]
    let argv = [
        "nsenter", &format!("--net=/run/netns/{}", names.sut_netns()),
        "unshare", "--mount", "--propagation", "slave", "sh", "-c", HIDE, "sh",
        "env", UNLOCKED, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--pipe",
        &format!("--machine={}", names.container()),
        &format!("--directory={}", site.artifacts.rootfs.display()), "--read-only",
        "--resolv-conf=off", "--timezone=off", "--link-journal=no",
        "/evenkeel-agent",
    ];
    argv.map(str::to_owned).to_vec()
}
